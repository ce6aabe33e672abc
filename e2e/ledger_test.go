package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"flint/e2e/node"
)

// runCounter counts how often each execution has run. Functions tell it.
type runCounter struct {
	*httptest.Server
	mu   sync.Mutex
	runs map[string]int
}

func newRunCounter(t *testing.T) *runCounter {
	t.Helper()
	c := &runCounter{runs: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.runs[r.URL.Query().Get("id")]++
	}))
	t.Cleanup(c.Close)
	return c
}

// Flag is the flag of a node whose functions are to reach the counter.
func (c *runCounter) Flag() string {
	return "--network-ports=" + c.URL[strings.LastIndexByte(c.URL, ':')+1:]
}

func (c *runCounter) of(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[id]
}

// all is how many executions have run.
func (c *runCounter) all() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.runs)
}

// load is calls without pause, in all ways, and what was acknowledged of them.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	finished map[string]int // execution to the status that its caller was told
	accepted []string       // asynchronous ones
	refusals []string       // answers that are no success
}

func startLoad(n *node.Node, f *node.Function) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, finished: map[string]int{}}
	for _, c := range []struct {
		call    func(context.Context, *node.Node, *node.Function) error
		callers int
	}{{l.visit, 4}, {l.execute, 4}, {l.enqueue, 1}} { // enqueuing is quicker than running
		for range c.callers {
			l.done.Go(func() {
				for ctx.Err() == nil && c.call(ctx, n, f) == nil {
				}
			})
		}
	}
	return l
}

// refused keeps an answer that is no success. Other errors are calls that nobody accepted, and the end of the load.
func (l *load) refused(err error) error {
	if _, ok := errors.AsType[*node.Error](err); ok {
		l.refusals = append(l.refusals, err.Error())
	}
	return err
}

func (l *load) visit(ctx context.Context, n *node.Node, f *node.Function) error {
	r, err := n.Visit(ctx, node.Request{Host: f.Domain(), Path: "/?ms=20"})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	if r.Status != http.StatusOK {
		l.refusals = append(l.refusals, fmt.Sprintf("%d %.300s", r.Status, r.Body))
	}
	if id := r.ExecutionID(); id != "" {
		l.finished[id] = r.Status
	}
	return nil
}

func (l *load) execute(ctx context.Context, n *node.Node, f *node.Function) error {
	e, err := n.Execute(ctx, f.ID, node.Call{Path: "/?ms=20"})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return l.refused(err)
	}
	l.finished[e.ID] = e.Code
	if e.Code != http.StatusOK {
		l.refusals = append(l.refusals, fmt.Sprintf("an execution that is %s: %s", e.Status, e.Errors))
	}
	return nil
}

// mostAccepted bounds what is left to run when the load ends.
const mostAccepted = 2000

var errEnough = errors.New("enough was accepted")

func (l *load) enqueue(ctx context.Context, n *node.Node, f *node.Function) error {
	if _, accepted := l.count(); accepted >= mostAccepted {
		return errEnough
	}
	e, err := n.Execute(ctx, f.ID, node.Call{Path: "/?ms=20", Async: true})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return l.refused(err)
	}
	l.accepted = append(l.accepted, e.ID)
	return nil
}

func (l *load) count() (finished, accepted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.finished), len(l.accepted)
}

// wait returns when as many calls of either kind were acknowledged.
func (l *load) wait(ctx context.Context, calls int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return node.Poll(ctx, func() error {
		if finished, accepted := l.count(); finished < calls || accepted < calls {
			return fmt.Errorf("%d calls were answered and %d accepted, want %d", finished, accepted, calls)
		}
		return nil
	})
}

// stop ends the load and waits for its callers.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// balance compares the ledger with the node: nothing that was acknowledged is missing or other than it was told, all of
// it ends, and nothing ran twice.
func (l *load) balance(t *testing.T, n *node.Node, f *node.Function, runs *runCounter) {
	t.Helper()
	for id, status := range l.finished {
		e, err := n.Execution(t.Context(), f.ID, id)
		if err != nil || !e.Final() || e.Code != status {
			t.Errorf("execution %s, which was answered with %d, is %+v, %v", id, status, e, err)
		}
		if ran := runs.of(id); ran > 1 || status == http.StatusOK && ran != 1 {
			t.Errorf("execution %s, which was answered with %d, ran %d times", id, status, ran)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second+30*time.Second) // the function's timeout, and half a minute
	defer cancel()
	failed := 0
	for _, id := range l.accepted {
		e, err := n.Finished(ctx, f.ID, id)
		if err != nil {
			t.Errorf("accepted execution %s: %+v, %v", id, e, err)
			continue
		}
		ran := runs.of(id)
		if e.Status == "failed" {
			failed++
			if e.Errors == "" {
				t.Errorf("accepted execution %s failed without a reason", id)
			}
		}
		if ran > 1 || e.Status == "completed" && ran != 1 {
			t.Errorf("accepted execution %s is %s and ran %d times", id, e.Status, ran)
		}
	}
	t.Logf("%d answered, %d accepted of which %d failed with a reason", len(l.finished), len(l.accepted), failed)
}
