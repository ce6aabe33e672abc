package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"flint/e2e/node"
)

// ledger is where functions write down that they begin and that they end. It is outside of Flint.
type ledger struct {
	*httptest.Server
	mu   sync.Mutex
	runs map[string]map[string]*bodyRun // by execution and name of the run
}

// bodyRun is one time that a function's body ran.
type bodyRun struct {
	attempt      string
	began, ended bool
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{runs: map[string]map[string]*bodyRun{}}
	l.Server = httptest.NewServer(http.HandlerFunc(l.write))
	t.Cleanup(l.Close)
	return l
}

func (l *ledger) write(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	l.mu.Lock()
	defer l.mu.Unlock()
	runs := l.runs[q.Get("id")]
	if runs == nil {
		runs = map[string]*bodyRun{}
		l.runs[q.Get("id")] = runs
	}
	one := runs[q.Get("run")]
	if one == nil {
		one = &bodyRun{attempt: q.Get("attempt")}
		runs[q.Get("run")] = one
	}
	switch r.URL.Path {
	case "/begin":
		one.began = true
	case "/end":
		one.ended = true
	default:
		http.NotFound(w, r)
	}
}

// of returns how often the body of an execution began and ended.
func (l *ledger) of(id string) (began, ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.runs[id] {
		began++
		if one.ended {
			ended++
		}
	}
	return began, ended
}

// flag is the flag of a node whose functions are to reach the ledger.
func (l *ledger) flag() string {
	return "--network-ports=" + l.URL[strings.LastIndexByte(l.URL, ':')+1:]
}

// books are what callers were told.
type books struct {
	mu       sync.Mutex
	accepted map[string]time.Time // asynchronous calls that were acknowledged, and when they were sent
	answered map[string]int       // synchronous ones, and the status
}

func newBooks() *books { return &books{accepted: map[string]time.Time{}, answered: map[string]int{}} }

func (b *books) accept(id string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepted[id] = at
}

func (b *books) answer(id string, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered[id] = status
}

func (b *books) size() (accepted, answered int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.accepted), len(b.answered)
}

// entry is what a node has of an execution.
type entry struct {
	node.Execution
	Created time.Time `json:"$createdAt"`
	Updated time.Time `json:"$updatedAt"`
}

// recorded reads all executions of a function, and fails when one comes twice.
func recorded(t *testing.T, n *node.Node, function string) map[string]entry {
	t.Helper()
	const page = 500
	all := map[string]entry{}
	for cursor := ""; ; {
		q := url.Values{"queries[]": {fmt.Sprintf(`{"method":"limit","values":[%d]}`, page)}, "total": {"false"}}
		if cursor != "" {
			q["queries[]"] = append(q["queries[]"], fmt.Sprintf(`{"method":"cursorAfter","values":[%q]}`, cursor))
		}
		var list struct {
			Executions []entry `json:"executions"`
		}
		if _, err := n.Do(t.Context(), http.MethodGet, "/v1/functions/"+function+"/executions?"+q.Encode(), nil, &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Executions {
			if _, twice := all[e.ID]; twice {
				t.Errorf("execution %s has two records", e.ID)
			}
			all[e.ID] = e
			cursor = e.ID
		}
		if len(list.Executions) < page {
			return all
		}
	}
}

// settled waits until all executions of a function are in a final state.
func settled(t *testing.T, n *node.Node, f *node.Function, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	path := "/v1/functions/" + f.ID + "/executions?queries[]=%7B%22method%22:%22equal%22,%22attribute%22:%22status%22,%22values%22:[%22waiting%22,%22processing%22]%7D"
	if err := node.Poll(ctx, func() error {
		var list struct {
			Total int `json:"total"`
		}
		if _, err := n.Do(ctx, http.MethodGet, path, nil, &list); err != nil {
			return err
		}
		if list.Total > 0 {
			return fmt.Errorf("%d executions are in no final state", list.Total)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// outcomes is what the books come to.
type outcomes struct {
	accepted, answered, records int
	completed, failed           int // of those accepted
	reasons                     map[string]int
	lost, missing, twice        int           // ended in the ledger and failed all the same; without a record; ended twice
	untouched                   int           // failed and never began
	worst                       time.Duration // from its call, or the last start of the node, to its end
}

// balance compares what callers were told with the node's records and with the ledger. Every acknowledged call has one
// record in a final state that says what its caller was told; no body ran twice; and since the node is as it is now,
// nobody waited longer than patience.
func (b *books) balance(t *testing.T, c *chaosNode, f *node.Function, l *ledger, patience time.Duration) outcomes {
	t.Helper()
	settled(t, c.current(), f, patience)
	records := recorded(t, c.current(), f.ID)
	o := outcomes{records: len(records), reasons: map[string]int{}}
	o.accepted, o.answered = b.size()
	complain := 0
	wrong := func(format string, args ...any) {
		if complain++; complain <= 20 {
			t.Errorf(format, args...)
		}
	}
	for id, sent := range b.accepted {
		e, ok := records[id]
		if !ok {
			o.missing++
			wrong("accepted execution %s has no record", id)
			continue
		}
		switch e.Status {
		case "completed":
			o.completed++
		case "failed":
			o.failed++
			o.reasons[reason(e.Errors)]++
		default:
			continue // see below
		}
		from := sent
		if c.born.After(from) {
			from = c.born
		}
		o.worst = max(o.worst, e.Updated.Sub(from))
	}
	for id, status := range b.answered {
		if e, ok := records[id]; !ok || e.Code != status {
			o.missing++
			wrong("execution %s, which was answered with %d, is %+v", id, status, e)
		}
	}
	for id, e := range records {
		began, ended := l.of(id)
		switch {
		case !e.Final():
			wrong("execution %s is %s", id, e.Status)
		case e.Status == "failed" && e.Errors == "":
			wrong("execution %s failed without a reason", id)
		case e.Status == "completed" && ended == 0:
			wrong("execution %s is completed and its body never ended", id)
		case e.Status == "failed" && ended > 0:
			o.lost++
		case e.Status == "failed" && began == 0:
			o.untouched++
		}
		if began > 1 || ended > 1 {
			o.twice++
			wrong("the body of execution %s, which is %s, began %d times and ended %d times", id, e.Status, began, ended)
		}
	}
	if complain > 20 {
		t.Errorf("and %d more", complain-20)
	}
	if o.worst > patience {
		t.Errorf("an execution waited for %s, want %s at most", o.worst, patience)
	}
	return o
}

// reason is what kind of failure it was: the last line that is no step of a stack.
func reason(errs string) string {
	var last string
	for line := range strings.Lines(errs) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "at ") && line != "}" {
			last = line
		}
	}
	if len(last) > 70 {
		last = last[:70] + "…"
	}
	return last
}

// table prints what the books come to.
func (o outcomes) table(l *chaosLoad, extra ...string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(w, "  %s\t%v\n", name, value) }
	for i := 0; i+1 < len(extra); i += 2 {
		row(extra[i], extra[i+1])
	}
	row("load", fmt.Sprintf("%s, %.0f acknowledged a second", l.lasted.Round(time.Second), float64(o.accepted+o.answered)/l.lasted.Seconds()))
	for _, g := range l.generators {
		row("calls "+g.name, fmt.Sprintf("%.0f/s; %d refused, %d without an answer, %d left out", g.rate, g.refused.Load(), g.unheard.Load(), g.leftOut.Load()))
	}
	for what, n := range l.refusals() {
		row("  refused: "+what, n)
	}
	row("acknowledged, asynchronous", o.accepted)
	row("  completed", share(o.completed, o.accepted))
	row("  failed", share(o.failed, o.accepted))
	for _, why := range slices.Sorted(maps.Keys(o.reasons)) {
		row("    "+why, o.reasons[why])
	}
	row("answered, synchronous", o.answered)
	row("records of the node", o.records)
	row("without a record", o.missing)
	row("body ran twice", o.twice)
	row("body ended, record failed", o.lost)
	row("body never began, record failed", o.untouched)
	row("worst wait", o.worst.Round(time.Millisecond))
	_ = w.Flush() // into memory
	return b.String()
}
