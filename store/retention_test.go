package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"flint"
)

func TestTrimExecutions(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	for i := range 10 {
		e := sample(fmt.Sprintf("e%d", i), s.f)
		e.CreatedAt = now().Add(time.Duration(i) * time.Second)
		if i == 2 {
			e.Status = flint.ExecutionScheduled
			must(t, s.EnqueueExecution(ctx, e, &QueuedCall{}))
			continue
		}
		must(t, s.AppendExecution(ctx, e))
	}
	for _, c := range []struct{ keep, limit, want, left int }{{10, 9, 0, 10}, {6, 2, 2, 8}, {6, 9, 1, 7}, {6, 9, 0, 7}} {
		n, err := s.TrimExecutions(ctx, c.keep, c.limit)
		_, left, _ := s.Executions(ctx, "p", "f", flint.List{})
		if err != nil || n != c.want || left != c.left {
			t.Errorf("TrimExecutions(%d, %d) = %d, %v and leaves %d, want %d and %d", c.keep, c.limit, n, err, left, c.want, c.left)
		}
	}
	if _, err := s.Execution(ctx, "p", "f", "e2"); err != nil {
		t.Errorf("what has not run yet was removed: %v", err)
	}
}

func TestPurgeDeployments(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	day := 24 * time.Hour
	for i, status := range []flint.DeploymentStatus{"ready", "failed", "waiting", "ready", "canceled"} {
		must(t, s.CreateDeployment(ctx, &flint.Deployment{
			Project: "p", Function: "f", ID: flint.DeploymentID(fmt.Sprintf("d%d", i)), Status: status, SourceDigest: fmt.Sprintf("s%d", i),
			CreatedAt: now().Add(time.Duration(i-10) * day), // ten to six days ago
		}))
	}
	_, err := s.ActivateDeployment(ctx, "p", "f", "d0")
	must(t, err)
	purge := func(want int) []string {
		t.Helper()
		digests, n, err := s.PurgeDeployments(ctx, now(), 100)
		if err != nil || n != want {
			t.Errorf("PurgeDeployments() = %v, %d, %v, want %d", digests, n, err, want)
		}
		return slices.DeleteFunc(digests, func(d string) bool { return d == "" })
	}
	purge(0) // 0 days keep all
	_, err = s.UpdateFunction(ctx, "p", "f", func(f *flint.Function) error { f.Retention = 8; return nil })
	must(t, err)
	if got := purge(1); !slices.Equal(got, []string{"s1"}) {
		t.Errorf("purged %v", got)
	}
	left, _, err := s.Deployments(ctx, "p", "f", flint.List{})
	must(t, err)
	var ids []string
	for _, d := range left {
		ids = append(ids, string(d.ID))
	}
	if want := []string{"d0", "d2", "d3", "d4"}; !slices.Equal(ids, want) {
		t.Errorf("left are %v, want %v", ids, want)
	}
}

func TestDuplicateDeployment(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.CreateDeployment(ctx, &flint.Deployment{Project: "p", Function: "f", ID: "d", Type: "cli", SourceDigest: "s", SourceSize: 3, Activate: true}))
	must(t, s.CreateDeployment(ctx, &flint.Deployment{Project: "p", Function: "f", ID: "none"}))
	twin := &flint.Deployment{Project: "p", Function: "f", ID: "twin", Status: flint.DeploymentWaiting, Activate: true, Type: "manual"}
	must(t, s.DuplicateDeployment(ctx, twin, "d"))
	got, err := s.Deployment(ctx, "p", "f", "twin")
	if err != nil || got.Type != "cli" || got.SourceDigest != "s" || got.SourceSize != 3 || !got.Activate {
		t.Errorf("twin is %+v, %v", got, err)
	}
	if d, err := s.Deployment(ctx, "p", "f", "d"); err != nil || d.Activate {
		t.Errorf("two deployments want to be active: %+v, %v", d, err)
	}
	for _, of := range []flint.DeploymentID{"none", "nope"} {
		wantErr(t, "DuplicateDeployment("+string(of)+")", s.DuplicateDeployment(ctx, &flint.Deployment{Project: "p", Function: "f", ID: "x"}, of), flint.ErrDeploymentNotFound)
	}
}
