package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"flint/e2e/node"
)

// generator makes calls at a rate, whatever becomes of them. A further kind of work that must survive chaos (schedules,
// events, messages of a queue) is one more of these in chaosGenerators.
type generator struct {
	name string
	rate float64 // a second
	// call makes one call and tells the books what was acknowledged. An error is that it was not.
	call func(ctx context.Context, n *node.Node, b *books) error

	refused  atomic.Int64 // answers that are errors of the API
	unheard  atomic.Int64 // calls without an answer
	leftOut  atomic.Int64 // because too many were under way
	mu       sync.Mutex
	refusals map[string]int
}

const (
	chaosFlight   = 64               // calls of a generator at once
	chaosPatience = 30 * time.Second // of a caller
)

// chaosGenerators are the calls of a function in all ways. most is how many milliseconds it takes at most.
func chaosGenerators(f *node.Function, rate, most int) []*generator {
	path := func() string { return fmt.Sprintf("/?ms=%d", rand.IntN(most)) }
	return []*generator{
		{name: "asynchronous", rate: float64(rate), call: func(ctx context.Context, n *node.Node, b *books) error {
			at := time.Now()
			e, err := n.Execute(ctx, f.ID, node.Call{Path: path(), Async: true})
			if err == nil {
				b.accept(e.ID, at)
			}
			return err
		}},
		{name: "on the domain", rate: float64(rate) / 10, call: func(ctx context.Context, n *node.Node, b *books) error {
			r, err := n.Visit(ctx, node.Request{Host: f.Domain(), Path: path()})
			if err != nil {
				return err
			}
			if id := r.ExecutionID(); id != "" {
				b.answer(id, r.Status)
				return nil
			}
			return &node.Error{Status: r.Status, Type: "without an execution", Message: fmt.Sprintf("%.100s", r.Body)}
		}},
		{name: "synchronous by the API", rate: float64(rate) / 10, call: func(ctx context.Context, n *node.Node, b *books) error {
			e, err := n.Execute(ctx, f.ID, node.Call{Path: path()})
			if err == nil {
				b.answer(e.ID, e.Code)
			}
			return err
		}},
	}
}

// run makes calls until ctx ends, and waits for those under way. They are made of whatever node there is.
func (g *generator) run(ctx context.Context, c *chaosNode, b *books) {
	var calls sync.WaitGroup
	defer calls.Wait()
	flight := make(chan struct{}, chaosFlight)
	tick := time.NewTicker(time.Duration(float64(time.Second) / max(g.rate, 0.1)))
	defer tick.Stop()
	for {
		n := c.get(ctx)
		if n == nil { // it has ended
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		select {
		case flight <- struct{}{}:
		default:
			g.leftOut.Add(1)
			continue
		}
		calls.Go(func() {
			defer func() { <-flight }()
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), chaosPatience)
			defer cancel()
			g.note(g.call(limited, n, b))
		})
	}
}

func (g *generator) note(err error) {
	if err == nil {
		return
	}
	failed, ok := errors.AsType[*node.Error](err)
	if !ok {
		g.unheard.Add(1)
		return
	}
	g.refused.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusals == nil {
		g.refusals = map[string]int{}
	}
	g.refusals[fmt.Sprintf("%d %s", failed.Status, failed.Type)]++
}

// chaosLoad is generators at work.
type chaosLoad struct {
	generators []*generator
	cancel     context.CancelFunc
	done       sync.WaitGroup
	begun      time.Time
	lasted     time.Duration
}

func startChaosLoad(t *testing.T, c *chaosNode, b *books, generators []*generator) *chaosLoad {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &chaosLoad{generators: generators, cancel: cancel, begun: time.Now()}
	for _, g := range generators {
		l.done.Go(func() { g.run(ctx, c, b) })
	}
	t.Cleanup(l.stop)
	return l
}

// stop ends the load and waits for the calls under way.
func (l *chaosLoad) stop() {
	l.cancel()
	l.done.Wait()
	if l.lasted == 0 {
		l.lasted = time.Since(l.begun)
	}
}

// refusals returns how often which error of the API was answered.
func (l *chaosLoad) refusals() map[string]int {
	all := map[string]int{}
	for _, g := range l.generators {
		g.mu.Lock()
		for what, n := range g.refusals {
			all[what] += n
		}
		g.mu.Unlock()
	}
	return all
}

// tolerable fails the test for answers that say neither that it was done nor that there is too much to do.
func (l *chaosLoad) tolerable(t *testing.T) {
	t.Helper()
	for what, n := range l.refusals() {
		var status int
		_, _ = fmt.Sscanf(what, "%d", &status)
		if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
			t.Errorf("%d calls were answered with %s", n, what)
		}
	}
}
