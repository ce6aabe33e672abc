package trigger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/store"
)

func TestMatching(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := flint.WithActor(t.Context(), flint.Actor{User: "u"})
	const one = "[event waiting]"
	table := []struct {
		id, runtime string
		events      []string
		want        string
	}{
		{"several", "node-22", []string{"rules.*.create", "rules.*", "rules.r.create", "rules.r"}, one},
		{"any", "node-22", []string{"rules.*"}, one},
		{"this", "node-22", []string{"rules.r"}, one},
		{"other", "node-22", []string{"rules.q", "rules.q.create"}, "[]"},
		{"deleted", "node-22", []string{"rules.*.delete", "users.*"}, "[]"},
		{"nothing", "node-22", nil, "[]"},
	}
	for _, c := range table {
		b.function(t, c.id, c.runtime, c.events...)
	}
	must(t, b.CreateFunction(ctx, &flint.Function{Project: project, ID: "undeployed", Events: []string{"rules.*"}}, nil))
	b.rule(ctx, t, "r")
	r := b.relay(nil)
	r.all(t)
	for _, c := range table {
		if got := describe(b.executions(t, c.id)); got != c.want {
			t.Errorf("%s has the executions %s, want %s", c.id, got, c.want)
		}
	}
	if got := describe(b.executions(t, "undeployed")); got != "[]" {
		t.Errorf("what is not deployed has %s", got)
	}
	if got := b.executions(t, "any")[0].Permissions; len(got) != 1 || got[0] != `read("user:u")` {
		t.Errorf("permissions %v", got)
	}
	e, c := b.claim(t)
	if e.RequestMethod != "POST" || e.RequestPath != "/" || c.Event != "rules.r.create" || c.User != "u" || c.UserJWT != "" || c.Hops != 1 || string(c.Body) != `{"$id":"r"}` {
		t.Errorf("%s %s: %+v", e.RequestMethod, e.RequestPath, c)
	}
	want := []flint.Header{{Name: "user-agent", Value: "Appwrite/1.9.6"}, {Name: "content-type", Value: "application/json"}}
	if diff := cmp.Diff(want, c.Headers); diff != "" {
		t.Error(diff)
	}
	if got := counted(t, r.config.Registry, "flint_event_runs_total", "queued"); got != 3 {
		t.Errorf("%v runs are counted as queued", got)
	}
}

// TestMatchingIsUpToDate changes those who subscribe between events and before they are relayed.
func TestMatchingIsUpToDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	b.function(t, "f", "node-22")
	r := b.relay(nil)
	subscribe := func(events ...string) {
		t.Helper()
		_, err := b.UpdateFunction(ctx, project, "f", func(f *flint.Function) error { f.Events = events; return nil })
		must(t, err)
	}
	runs := func(want int, after string) {
		t.Helper()
		r.all(t)
		if got := len(b.executions(t, "f")); got != want {
			t.Errorf("%d executions after %s, want %d", got, after, want)
		}
	}
	b.rule(ctx, t, "a")
	runs(0, "an event that nobody wants")
	subscribe("rules.*")
	b.rule(ctx, t, "b")
	runs(1, "subscribing")
	b.rule(ctx, t, "c")
	subscribe()
	runs(1, "unsubscribing before it is relayed")
	must(t, b.CreateWebhook(ctx, &flint.Webhook{Project: project, ID: "w", Events: []string{"functions.f.update"}, Enabled: true}))
	subscribe("rules.*.delete", "rules.*.create")
	must(t, b.DeleteRule(ctx, project, "a"))
	runs(2, "another name")
	if d, _, err := b.Deliveries(ctx, project, "w", 10); len(d) != 1 || err != nil || !strings.HasPrefix(d[0].Names, "functions.f.update,functions.*.update,functions.f,") {
		t.Errorf("a webhook of functions has %v, %v", d, err)
	}
	_, err := b.UpdateWebhook(ctx, project, "w", func(w *flint.Webhook) error { w.Events = []string{"functions.f.executions.*.update"}; return nil })
	must(t, err)
	e, c := b.claim(t)
	e.Status = flint.ExecutionCompleted
	_, err = b.FinishExecution(ctx, e, store.Ending{Attempt: c.Attempt, Outcome: flint.OutcomeAnswered})
	must(t, err)
	runs(2, "the end of an execution")
	d, _, err := b.Deliveries(ctx, project, "w", 1)
	must(t, err)
	if want := fmt.Sprintf(`{"$id":"%s","status":"completed"}`, e.ID); string(d[0].Payload) != want {
		t.Errorf("the end of an execution is told as %s, want %s", d[0].Payload, want)
	}
	must(t, b.DeleteFunction(ctx, project, "f"))
	b.rule(ctx, t, "d")
	r.all(t)
}

func TestChainsAreCut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f", "node-22", "rules.*.create")
	r := b.relay(func(c *Config) { c.MaxHops = 3 })
	b.rule(flint.WithActor(t.Context(), flint.Actor{Hops: 2}), t, "last")
	r.all(t)
	if got := b.query(t, "select hops from call_requests"); got[0] != 3 {
		t.Errorf("the call has come %d hops, want 3", got[0])
	}
	b.rule(flint.WithActor(t.Context(), flint.Actor{Hops: 3}), t, "beyond")
	r.all(t)
	if got := describe(b.executions(t, "f")); got != "[event failed event waiting]" {
		t.Errorf("executions %s", got)
	}
	for _, e := range b.executions(t, "f") {
		if e.Status == flint.ExecutionFailed && !strings.HasPrefix(e.Errors, "The function was not run: it was triggered by 4 events in turn, the last rules.beyond.create — see docs/events.md.") {
			t.Errorf("the author is told %q", e.Errors)
		}
	}
	if counted(t, r.config.Registry, "flint_event_runs_total", "cut") != 1 {
		t.Error("it is not counted")
	}
}

// TestABadEventDoesNotBlock damages a row between good ones.
func TestABadEventDoesNotBlock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	b.function(t, "f", "node-22", "rules.*")
	r := b.relay(nil)
	r.all(t)
	for _, id := range []string{"a", "b", "c"} {
		b.rule(ctx, t, id)
	}
	events, err := b.Events(ctx, r.cursor, 10)
	must(t, err)
	b.query(t, fmt.Sprintf("update events set ids = '' || char(10) || '' where seq = %d returning 1", events[1].Seq))
	failures := 0
	for r.cursor < events[2].Seq {
		if _, err := r.step(ctx); err != nil {
			failures++
		}
		if failures > tries {
			t.Fatal("the event blocks those that follow")
		}
	}
	if n := len(b.executions(t, "f")); n != 2 || failures != tries-1 || counted(t, r.config.Registry, "flint_events_set_aside_total", "") != 1 {
		t.Errorf("%d executions after %d failures", n, failures)
	}
	if !strings.Contains(b.logs.String(), "event set aside") {
		t.Error("the log does not say it")
	}
}

func TestWatchersGetCopiesAndChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := make(chan []*flint.Event)
	r := b.relay(func(c *Config) {
		c.Publish = func(ctx context.Context, events []*flint.Event) error {
			select {
			case got <- events:
			case <-ctx.Done():
			}
			return errors.New("no")
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	b.rule(ctx, t, "a")
	if events := <-got; string(events[0].Payload) != `{"$id":"a"}` {
		t.Errorf("published %s", events[0].Payload)
	}
	b.rule(ctx, t, "b") // a bell wakes the relay
	if events := <-got; string(events[0].Payload) != `{"$id":"b"}` {
		t.Errorf("published %s", events[0].Payload)
	}
	stop()
	running.Wait()
	if r.lag() < 0 {
		t.Error("the lag is negative")
	}
}

// TestAnEndThatNobodyWantsIsNotRead has it published without what the execution has become: who watches reads that.
func TestAnEndThatNobodyWantsIsNotRead(t *testing.T) {
	t.Parallel()
	b, ctx := setup(t), t.Context()
	b.function(t, "f", "node-22")
	r := b.relay(func(c *Config) { c.Publish = func(context.Context, []*flint.Event) error { return nil } })
	must(t, b.EnqueueExecution(ctx, &flint.Execution{Project: project, ID: "e", Function: "f", CreatedAt: time.Now()}, &store.QueuedCall{Method: "GET", Path: "/"}))
	e, c := b.claim(t)
	e.Status = flint.ExecutionCompleted
	_, err := b.FinishExecution(ctx, e, store.Ending{Attempt: c.Attempt, Outcome: flint.OutcomeAnswered})
	must(t, err)
	r.all(t)
	var last *flint.Event
	for len(r.copies) > 0 {
		events := <-r.copies
		last = events[len(events)-1]
	}
	if last == nil || !strings.HasSuffix(last.Pattern, ".executions.[executionId].update") || len(last.Payload) > 0 {
		t.Errorf("published at the end %+v", last)
	}
}

// burst adds events at once, as many rules would have that were made. It writes only these: the relay is what is tried.
func (b *bed) burst(t *testing.T, n int) (last int64) {
	t.Helper()
	first := time.Now().UnixMicro()
	b.query(t, fmt.Sprintf(`with recursive n (i) as (select 1 union all select i + 1 from n where i < %d)
		insert into events (seq, project, pattern, ids, payload) select %d + i, 'p', 'rules.[ruleId].create', 'r' || i, '{"$id":"r' || i || '"}' from n
		returning 1`, n, first))
	if events, err := b.Events(t.Context(), first, n+1); len(events) != n || err != nil {
		t.Fatalf("%d events, %v", len(events), err)
	}
	return first + int64(n)
}

const countCalls = `select (select count(*) from executions), (select count(*) from calls), count(*), count(distinct body) from call_requests`

// TestManyEvents become as many executions.
func TestManyEvents(t *testing.T) {
	t.Parallel()
	const n = manyEvents
	b := setup(t)
	b.function(t, "f", "node-22", "rules.*.create")
	b.burst(t, n)
	begun := time.Now()
	r := b.relay(nil)
	r.all(t)
	took := time.Since(begun)
	t.Logf("%d events became executions in %s: %.0f a second", n, took, n/took.Seconds())
	if diff := cmp.Diff([]int{n, n, n, n}, b.query(t, countCalls)); diff != "" {
		t.Errorf("executions, calls, requests, different events: %s", diff)
	}
}

// TestRestarts ends the relay at any point, again and again, and begins with another that has more time.
func TestRestarts(t *testing.T) {
	t.Parallel()
	const n = 1000
	b := setup(t)
	b.function(t, "f", "node-22", "rules.*.create")
	must(t, b.CreateWebhook(t.Context(), &flint.Webhook{Project: project, ID: "w", Events: []string{"rules.*"}, Enabled: true}))
	last, restarts := b.burst(t, n), 0
	for at := int64(0); at < last; restarts++ {
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(time.Duration(20+restarts)*time.Millisecond)) // any point will do
		must(t, b.relay(nil).Run(ctx))
		cancel()
		var err error
		at, err = b.Cursor(t.Context())
		must(t, err)
	}
	t.Logf("%d restarts", restarts)
	if diff := cmp.Diff([]int{n, n, n, n}, b.query(t, countCalls)); diff != "" {
		t.Errorf("executions, calls, requests, different events: %s", diff)
	}
	if got := b.query(t, "select count(*), count(distinct seq) from webhook_deliveries"); got[0] != n || got[1] != n {
		t.Errorf("deliveries %v", got)
	}
}

// TestEventsThatLeadToNothing are most: nobody writes for each of them.
func TestEventsThatLeadToNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.relay(nil)
	r.all(t)
	r.savedAt = time.Now().Add(time.Hour) // just now
	saved := r.saved
	b.rule(t.Context(), t, "a")
	r.all(t)
	if at, err := b.Cursor(t.Context()); at != saved || r.cursor <= saved || err != nil {
		t.Errorf("the database has the cursor %d, the relay %d, both had %d; %v", at, r.cursor, saved, err)
	}
	b.function(t, "f", "node-22", "rules.*")
	b.rule(t.Context(), t, "b")
	r.all(t)
	if at, err := b.Cursor(t.Context()); at != r.cursor || len(b.executions(t, "f")) != 1 || err != nil {
		t.Errorf("the database has the cursor %d after effects, the relay %d; %v", at, r.cursor, err)
	}
	must(t, b.DeleteFunction(t.Context(), project, "f"))
	r.all(t)
	r.savedAt = time.Now().Add(time.Hour)
	b.rule(t.Context(), t, "c")
	r.all(t)
	if at, err := b.Cursor(t.Context()); at == r.cursor || err != nil {
		t.Errorf("the database has the cursor %d of an event that led to nothing; %v", at, err)
	}
	r.savedAt = time.Time{}
	r.leave(t.Context())
	if at, err := b.Cursor(t.Context()); at != r.cursor || err != nil {
		t.Errorf("the relay leaves the cursor at %d, it is %d; %v", at, r.cursor, err)
	}
}

// TestASubscriptionHearsNothingOfBefore subscribes after an event that nobody wanted, and the relay is killed.
func TestASubscriptionHearsNothingOfBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	killed := b.relay(nil)
	killed.all(t)
	killed.savedAt = time.Now().Add(time.Hour) // just now
	b.rule(t.Context(), t, "before")
	killed.all(t)
	b.function(t, "f", "node-22", "rules.*")
	must(t, b.CreateWebhook(t.Context(), &flint.Webhook{Project: project, ID: "w", Events: []string{"rules.*"}, Enabled: true}))
	killed.all(t)
	b.relay(nil).all(t)
	heard, _, err := b.Deliveries(t.Context(), project, "w", 10)
	if runs := len(b.executions(t, "f")); runs != 0 || len(heard) != 0 || err != nil {
		t.Errorf("%d executions and %d deliveries of an event from before there was a subscription; %v", runs, len(heard), err)
	}
}
