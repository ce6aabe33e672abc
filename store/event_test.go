package store

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

// TestEvents makes one change of every kind and looks at the events that came with them.
func TestEvents(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	model := func(noun any, vars []*flint.Variable) ([]byte, error) {
		return json.Marshal(fmt.Sprintf("%T/%d", noun, len(vars)))
	}
	config := Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: make([]byte, 32), Model: model}
	s, err := Open(ctx, config)
	must(t, err)
	must(t, s.CreateProject(ctx, &flint.Project{ID: "p"}))
	must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f"}, &flint.Rule{Project: "p", ID: "r", Domain: "f.test", Function: "f"}))
	must(t, s.CreateVariable(ctx, &flint.Variable{Project: "p", ID: "v", Function: "f", Key: "k"}))
	_, err = s.UpdateFunction(ctx, "p", "f", func(*flint.Function) error { return nil })
	must(t, err)
	if _, err = s.UpdateFunction(ctx, "p", "f", func(*flint.Function) error { return flint.ErrInvalidArgument }); err == nil {
		t.Error("a refused change is made")
	}
	_, err = s.UpdateVariable(ctx, "p", "f", "v", func(v *flint.Variable) error { v.Key = "l"; return nil })
	must(t, err)
	must(t, s.DeleteVariable(ctx, "p", "f", "v"))
	must(t, s.CreateDeployment(ctx, &flint.Deployment{Project: "p", ID: "part", Function: "f"})) // not whole: no event
	must(t, s.CreateDeployment(ctx, &flint.Deployment{Project: "p", ID: "d", Function: "f", SourceDigest: "x"}))
	d, attempt, err := s.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	_, err = s.FinishBuild(ctx, d.ID, attempt, BuildOutcome{Status: flint.DeploymentReady, Digest: "y"})
	must(t, err)
	_, err = s.FinishBuild(ctx, d.ID, attempt, BuildOutcome{Status: flint.DeploymentReady, Digest: "y"}) // late: no event
	must(t, err)
	_, err = s.ActivateDeployment(ctx, "p", "f", "d")
	must(t, err)
	ended := &flint.Execution{Project: "p", ID: "e1", Function: "f", Status: flint.ExecutionCompleted, Trigger: flint.TriggerHTTP}
	must(t, s.RecordExecution(ctx, ended))
	domain := *ended
	domain.ID = "e2"
	must(t, s.AppendExecution(ctx, &domain)) // of a domain: no event
	must(t, s.EnqueueExecution(ctx, &flint.Execution{Project: "p", ID: "e3", Function: "f", Trigger: flint.TriggerHTTP}, &QueuedCall{}))
	must(t, s.EnqueueExecution(ctx, &flint.Execution{Project: "p", ID: "e4", Function: "f", Trigger: flint.TriggerEvent}, &QueuedCall{}))
	for range 2 {
		e, c, err := s.ClaimExecution(ctx, "n", time.Minute)
		must(t, err)
		if e.ID == "e4" {
			_, err = s.SettleExecutions(ctx, "n", time.Now().Add(time.Hour), "lost")
		} else {
			e.Status = flint.ExecutionCompleted
			_, err = s.finish(ctx, e, c.Attempt)
		}
		must(t, err)
	}
	must(t, s.DeleteExecution(ctx, "p", "f", "e1"))
	must(t, s.DeleteDeployment(ctx, "p", "f", "d"))
	_, err = s.SetRuleStatus(ctx, "p", "r", flint.RuleUnverified, "why")
	must(t, err)
	must(t, s.CreateRule(ctx, &flint.Rule{Project: "p", ID: "a", Domain: "a.test", Type: flint.RuleAPI}))
	must(t, s.DeleteRule(ctx, "p", "a"))
	must(t, s.DeleteFunction(ctx, "p", "f"))
	must(t, s.Close())

	s, err = Open(ctx, config) // numbers go on where they were
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.CreateRule(ctx, &flint.Rule{Project: "p", ID: "b", Domain: "b.test", Type: flint.RuleAPI}))
	events, err := s.Events(ctx, 0, 100)
	must(t, err)
	var got []string
	last := int64(0)
	for _, e := range events {
		if e.Seq <= last || e.Project != "p" {
			t.Errorf("event %+v comes after %d", e, last)
		}
		last = e.Seq
		got = append(got, e.Names()[0]+" "+string(e.Payload))
	}
	want := []string{
		`functions.f.create "*flint.Function/0"`,
		`rules.r.create "*flint.Rule/0"`,
		`variables.v.create "*flint.Variable/0"`,
		`functions.f.update "*flint.Function/1"`,
		`variables.v.update "*flint.Variable/0"`,
		`variables.v.delete "*flint.Variable/0"`,
		`functions.f.deployments.d.create "*flint.Deployment/0"`,
		`functions.f.deployments.d.update "*flint.Deployment/0"`,
		`functions.f.deployments.d.update "*flint.Deployment/0"`,
		`functions.f.executions.e1.create `,
		`functions.f.executions.e3.create "*flint.Execution/0"`,
		`functions.f.executions.e3.update `,
		`functions.f.executions.e4.update `,
		`functions.f.executions.e1.delete "*flint.Execution/0"`,
		`functions.f.deployments.d.delete "*flint.Deployment/0"`,
		`rules.r.update "*flint.Rule/0"`,
		`rules.a.create "*flint.Rule/0"`,
		`rules.a.delete "*flint.Rule/0"`,
		`functions.f.delete "*flint.Function/0"`,
		`rules.r.delete "*flint.Rule/0"`,
		`rules.b.create "*flint.Rule/0"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	for _, prune := range []func() (int, error){
		func() (int, error) { return s.KeepEvents(ctx, 5, 10) },
		func() (int, error) { return s.PruneEvents(ctx, time.Now().Add(time.Hour), 10) },
	} {
		if n, err := prune(); n != 0 || err != nil {
			t.Errorf("%d events that were not relayed are removed, %v", n, err)
		}
	}
	must(t, s.Relay(ctx, &Effects{Upto: last}))
	if n, err := s.KeepEvents(ctx, 5, 10); n != 10 || err != nil {
		t.Errorf("KeepEvents() = %d, %v, want as many as it may", n, err)
	}
	if n, err := s.KeepEvents(ctx, 5, 10); n != len(want)-15 || err != nil {
		t.Errorf("KeepEvents() = %d, %v", n, err)
	}
	if n, err := s.PruneEvents(ctx, time.Now().Add(time.Hour), 3); n != 3 || err != nil {
		t.Errorf("PruneEvents() = %d, %v", n, err)
	}
	rest, err := s.Events(ctx, 0, 100)
	must(t, err)
	if len(rest) != 2 || rest[1].Seq != last {
		t.Errorf("%d events are left", len(rest))
	}
}

func TestRecentExecutions(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "other"}, nil))
	start := time.Now().Add(-time.Hour)
	for i := range 60 {
		f := []flint.FunctionID{s.f.ID, "other"}[i%2]
		must(t, s.AppendExecution(ctx, &flint.Execution{
			Project: "p", ID: flint.ExecutionID(fmt.Sprintf("e%02d", i)), Function: f, Status: flint.ExecutionCompleted, CreatedAt: start.Add(time.Duration(i) * time.Second),
		}))
	}
	for function, want := range map[flint.FunctionID]string{"": "[e59 e58 e57]", "other": "[e59 e57 e55]", "nope": "[]"} {
		found, err := s.RecentExecutions(ctx, "p", function, 3)
		must(t, err)
		ids := []flint.ExecutionID{}
		for _, e := range found {
			ids = append(ids, e.ID)
		}
		if got := fmt.Sprint(ids); got != want {
			t.Errorf("of %q: %s, want %s", function, got, want)
		}
	}
}
