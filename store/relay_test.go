package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

// TestRelay writes effects, and what must not be written, into a store that is opened again in between.
func TestRelay(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	config := Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: secret(1)}
	s, err := Open(ctx, config)
	must(t, err)
	must(t, s.CreateProject(ctx, &flint.Project{ID: "p"}))
	must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f"}, nil))
	run := func(id flint.ExecutionID, f flint.FunctionID, call *QueuedCall) EventRun {
		return EventRun{Execution: &flint.Execution{Project: "p", ID: id, Function: f, Trigger: flint.TriggerEvent, Status: flint.ExecutionFailed}, Call: call, Actor: flint.Actor{User: "u", Hops: 3}}
	}
	events, err := s.Events(ctx, 0, 10)
	must(t, err)
	first := events[0].Seq
	effects := &Effects{Upto: first, Runs: []EventRun{
		run("queued", "f", &QueuedCall{Event: "rules.r.create", Hops: 3, User: "u", Body: []byte("{}")}),
		run("refused", "f", nil),
		run("deleted", "gone", &QueuedCall{}),
	}}
	must(t, s.Relay(ctx, effects))
	must(t, s.Close())

	s, err = Open(ctx, config)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	if at, err := s.Cursor(ctx); at != first || err != nil {
		t.Errorf("the cursor is at %d, %v; want %d", at, err, first)
	}
	again := &Effects{Upto: first + 1, Runs: []EventRun{run("twice", "f", &QueuedCall{})}}
	if err := s.Relay(ctx, again); !errors.Is(err, errRelayed) {
		t.Errorf("the second who relays is told %v", err)
	}
	bad := &Effects{After: first, Upto: first + 1, Runs: []EventRun{run("half", "f", &QueuedCall{}), run("queued", "f", &QueuedCall{})}}
	if err := s.Relay(ctx, bad); err == nil {
		t.Error("an execution is added twice")
	}
	if at, _ := s.Cursor(ctx); at != first {
		t.Error("the cursor moved without its effects")
	}
	all, n, err := s.Executions(ctx, "p", "f", flint.List{})
	must(t, err)
	if n != 2 || all[0].ID != "queued" || all[1].Status != flint.ExecutionFailed {
		t.Errorf("%d executions", n)
	}
	e, c, err := s.ClaimExecution(ctx, "n", time.Minute)
	must(t, err)
	if e.ID != "queued" || c.Event != "rules.r.create" || c.Hops != 3 {
		t.Errorf("claimed %s of event %q after %d hops", e.ID, c.Event, c.Hops)
	}
	ended, err := s.Events(ctx, first, 10)
	must(t, err)
	if len(ended) != 1 || ended[0].User != "u" || ended[0].Hops != 3 || ended[0].IDs[1] != "refused" {
		t.Errorf("the end of an execution that failed before it began has the events %+v", ended)
	}
}

// TestEventsKnowTheirActor has many write at once: one of them leads and writes for the others.
func TestEventsKnowTheirActor(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var writers sync.WaitGroup
	for i := range 50 {
		writers.Go(func() {
			user := fmt.Sprintf("u%d", i)
			ctx := flint.WithActor(t.Context(), flint.Actor{User: user, Hops: i})
			if err := s.CreateRule(ctx, &flint.Rule{Project: "p", ID: flint.RuleID(user), Domain: user + ".test", Type: flint.RuleAPI}); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	events, err := s.Events(t.Context(), 0, 100)
	must(t, err)
	seen := 0
	for _, e := range events {
		if e.Pattern == "rules.[ruleId].create" {
			seen++
			if e.User != e.IDs[0] || e.User != fmt.Sprintf("u%d", e.Hops) {
				t.Errorf("the event of %s is %s's after %d hops", e.IDs[0], e.User, e.Hops)
			}
		}
	}
	if seen != 50 {
		t.Errorf("%d events", seen)
	}
	select {
	case <-s.EventsWritten():
	default:
		t.Error("no bell was rung")
	}
}

// TestNumbersGoOnBehindTheCursor removes all events and opens the store on a clock that may be anywhere.
func TestNumbersGoOnBehindTheCursor(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	config := Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: secret(1)}
	s, err := Open(ctx, config)
	must(t, err)
	ahead := time.Now().Add(time.Hour).UnixMicro()
	must(t, s.Relay(ctx, &Effects{Upto: ahead}))
	must(t, s.Close())
	s, err = Open(ctx, config)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.CreateProject(ctx, &flint.Project{ID: "p"}))
	must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f"}, nil))
	if events, err := s.Events(ctx, ahead, 10); len(events) != 1 || err != nil {
		t.Errorf("%d events are behind the cursor, %v", len(events), err)
	}
}

func TestSubscribers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	for _, f := range []*flint.Function{
		{Project: "p", ID: "deployed", Events: []string{"rules.*"}, DeploymentID: "d"},
		{Project: "p", ID: "disabled", Events: []string{"rules.*"}, DeploymentID: "d", Enabled: false},
		{Project: "p", ID: "empty", Events: []string{"rules.*"}},
		{Project: "p", ID: "deaf", DeploymentID: "d"},
	} {
		must(t, s.CreateFunction(ctx, f, nil))
	}
	must(t, s.CreateWebhook(ctx, &flint.Webhook{Project: "p", ID: "w", Events: []string{"users.*", "rules.*"}, Enabled: true}))
	must(t, s.CreateWebhook(ctx, &flint.Webhook{Project: "p", ID: "off", Events: []string{"users.*"}}))
	all, err := s.Subscribers(ctx, "p")
	must(t, err)
	got := map[string][]string{}
	for _, v := range all {
		got[string(v.Function)+"/"+string(v.ID)] = v.Events
	}
	want := map[string][]string{"deployed/": {"rules.*"}, "disabled/": {"rules.*"}, "/w": {"users.*", "rules.*"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for id, n := range map[string]int{"deployed": 1, "deaf": 0, "nope": 0} {
		if one, err := s.SubscribedFunction(ctx, "p", flint.FunctionID(id)); len(one) != n || err != nil {
			t.Errorf("%s: %v, %v", id, one, err)
		}
	}
	if one, err := s.SubscribedWebhook(ctx, "p", "off"); len(one) != 0 || err != nil {
		t.Errorf("a webhook that is off wants %v, %v", one, err)
	}
}
