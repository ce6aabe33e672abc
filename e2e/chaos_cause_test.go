package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"flint/e2e/node"
)

// causes are what has a node run functions although nobody calls them, while there is chaos.
type causes struct {
	heard *node.Function   // runs for every rule that is made
	timed []*node.Function // run every minute
	rules atomic.Int64     // whose making was acknowledged
	made  atomic.Int64     // names of rules
}

// chaosTimed is how many functions have a schedule.
const chaosTimed = 10

// cause deploys the functions.
func (c *chaosNode) cause(l *ledger, timeout int) *causes {
	c.t.Helper()
	n := c.current()
	deploy := func(f node.Function) *node.Function {
		f.Runtime, f.Entrypoint, f.Timeout = runtime(c.t, n, "node"), "index.js", timeout
		return n.Deploy(c.t, f, map[string]string{"LEDGER": l.URL}, map[string]string{"index.js": read(c.t, "functions/chaos.js")})
	}
	k := &causes{}
	for i := range chaosTimed {
		k.timed = append(k.timed, deploy(node.Function{ID: fmt.Sprintf("timed-%d", i), Schedule: "* * * * *"}))
	}
	k.heard = deploy(node.Function{ID: "heard", Events: []string{"rules.*.create"}}) // last: every new function comes with a rule
	return k
}

// generator makes rules.
func (k *causes) generator(rate int) *generator {
	return &generator{name: "that are events", rate: float64(rate) / 10, call: func(ctx context.Context, n *node.Node, _ *books) error {
		rule := map[string]any{"domain": fmt.Sprintf("chaos-%d.example.com", k.made.Add(1))}
		_, err := n.Do(ctx, http.MethodPost, "/v1/proxy/rules/api", rule, nil)
		if err == nil {
			k.rules.Add(1)
		}
		return err
	}}
}

// balance holds what was run against what has caused it: every rule that there is has one execution, every time of a
// schedule has one or is counted with the reason why not, and no body ran twice. It returns lines for the table.
func (k *causes) balance(t *testing.T, c *chaosNode, l *ledger, patience time.Duration) []string {
	t.Helper()
	settled(t, c.current(), k.heard, patience)
	var rules struct {
		Total int `json:"total"`
	}
	if _, err := c.current().Do(t.Context(), http.MethodGet, "/v1/proxy/rules?queries[]=%7B%22method%22:%22startsWith%22,%22attribute%22:%22domain%22,%22values%22:[%22chaos-%22]%7D", nil, &rules); err != nil {
		t.Fatal(err)
	}
	twice := 0
	once := func(f *node.Function) map[string]entry {
		found := recorded(t, c.current(), f.ID)
		for id, e := range found {
			began, ended := l.of(id)
			if began > 1 || ended > 1 {
				twice++
				t.Errorf("the body of execution %s of %s began %d times and ended %d times", id, f.ID, began, ended)
			}
			if !e.Final() || e.Status == "completed" && ended == 0 || e.Status == "failed" && e.Errors == "" {
				t.Errorf("execution %s of %s is %s: %q", id, f.ID, e.Status, e.Errors)
			}
		}
		return found
	}
	heard := once(k.heard)
	if int(k.rules.Load()) > rules.Total || len(heard) != rules.Total {
		t.Errorf("%d rules were acknowledged, there are %d, and %d executions", k.rules.Load(), rules.Total, len(heard))
	}
	runs, skipped := 0, 0
	for _, f := range k.timed {
		settled(t, c.current(), f, patience)
		var s struct {
			Runs    int `json:"runs"`
			Skipped int `json:"skipped"`
		}
		if _, err := c.current().Do(t.Context(), http.MethodGet, "/v1/flint/functions/"+f.ID+"/schedule", nil, &s); err != nil {
			t.Fatal(err)
		}
		found := once(f)
		if len(found) < s.Runs { // one may have come since it was asked
			t.Errorf("%s has run %d times and has %d executions", f.ID, s.Runs, len(found))
		}
		for _, e := range found {
			if e.Trigger != "schedule" {
				t.Errorf("execution %s of %s has the trigger %s", e.ID, f.ID, e.Trigger)
			}
		}
		runs, skipped = runs+s.Runs, skipped+s.Skipped
	}
	return []string{
		"events: rules made, acknowledged", fmt.Sprintf("%d, %d", rules.Total, k.rules.Load()), "  executions", fmt.Sprint(len(heard)),
		"schedules: runs, skipped", fmt.Sprintf("%d, %d", runs, skipped), "  bodies that ran twice", fmt.Sprint(twice),
	}
}

// due counts the minutes that began within a time: what a schedule of every minute has to account for.
func due(from, until time.Time) int {
	return int(until.Truncate(time.Minute).Sub(from.Truncate(time.Minute)) / time.Minute)
}

// accounts fails unless the schedules account for every minute of a time, to within the one that is going on.
func (k *causes) accounts(t *testing.T, n *node.Node, from, until time.Time) {
	t.Helper()
	want := due(from, until)
	for _, f := range k.timed {
		var s struct {
			Runs    int `json:"runs"`
			Skipped int `json:"skipped"`
		}
		if _, err := n.Do(t.Context(), http.MethodGet, "/v1/flint/functions/"+f.ID+"/schedule", nil, &s); err != nil {
			t.Fatal(err)
		}
		if got := s.Runs + s.Skipped; got < want-1 || got > want+1 {
			t.Errorf("the schedule of %s accounts for %d minutes, want about %d", f.ID, got, want)
		}
	}
}
