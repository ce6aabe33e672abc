package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"flint"
)

func newDeployment(id string, activate bool) *flint.Deployment {
	return &flint.Deployment{
		Project: "p", Function: "f", ID: flint.DeploymentID(id), Type: "manual", Runtime: "node-22", Entrypoint: "main.js", Commands: "npm i",
		Activate: activate, SourceSize: 10, SourceDigest: "src-" + id, CreatedAt: time.UnixMilli(1_700_000_000_000).UTC(),
	}
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	a, b := newDeployment("a", true), newDeployment("b", true)
	a.BuildLogs = "uploaded\n"
	must(t, s.CreateDeployment(ctx, a))
	diff(t, "Deployment()", value[*flint.Deployment](t)(s.Deployment(ctx, "p", "f", "a")), a)
	must(t, s.CreateDeployment(ctx, b))
	a = value[*flint.Deployment](t)(s.Deployment(ctx, "p", "f", "a"))
	if a.Activate || a.Status != flint.DeploymentWaiting {
		t.Errorf("the older deployment: activate %v, status %s", a.Activate, a.Status)
	}
	if f, err := s.Function(ctx, "p", "f"); err != nil || f.DeploymentID != "" || f.LatestDeploymentID != "" {
		t.Errorf("CreateDeployment changed the function: %+v, %v", f, err)
	}
	orphan := newDeployment("x", false)
	orphan.Function = "none"
	wantErr(t, "no function", s.CreateDeployment(ctx, orphan), flint.ErrFunctionNotFound)
	_, err := s.Deployment(ctx, "p", "none", "a")
	wantErr(t, "deployment of another function", err, flint.ErrDeploymentNotFound)

	all, total, err := s.Deployments(ctx, "p", "f", flint.List{Filters: []flint.Query{{Method: "greaterThan", Attribute: "totalSize", Values: []any{9}}}})
	must(t, err)
	if got := ids(all, func(d *flint.Deployment) string { return string(d.ID) }); got != "a b" || total != 2 || all[0].BuildLogs != "uploaded\n" {
		t.Errorf("Deployments() = %s, %d", got, total)
	}
	all, _, err = s.Deployments(ctx, "p", "f", flint.List{Select: []string{"status"}})
	must(t, err)
	if all[0].BuildLogs != "" {
		t.Error("a log was read that nobody selected")
	}
	_, _, err = s.Deployments(ctx, "p", "f", flint.List{Search: "x"})
	wantErr(t, "search", err, flint.ErrInvalidQuery)

	_, err = s.ActivateDeployment(ctx, "p", "f", "a")
	wantErr(t, "ActivateDeployment before it is ready", err, flint.ErrBuildNotReady)
	_, err = s.ActivateDeployment(ctx, "p", "f", "none")
	wantErr(t, "ActivateDeployment(none)", err, flint.ErrDeploymentNotFound)
	diff(t, "DigestsInUse()", value[map[string]bool](t)(s.DigestsInUse(ctx, []string{"src-a", "src-b", "src-c", ""})), map[string]bool{"src-a": true, "src-b": true})
}

func TestADeploymentWithoutItsSourceIsNotBuilt(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	d := newDeployment("d", false)
	d.SourceDigest, d.SourceSize = "", 0
	must(t, s.CreateDeployment(ctx, d))
	must(t, s.CreateDeployment(ctx, newDeployment("other", true)))
	if got, _, err := s.ClaimBuild(ctx, "n", time.Minute); err != nil || got.ID != "other" {
		t.Fatalf("ClaimBuild() = %v, %v", got, err)
	}
	if got, _, err := s.ClaimBuild(ctx, "n", time.Minute); got != nil || err != nil {
		t.Errorf("ClaimBuild() = %v, %v: a deployment without its source", got, err)
	}
}

func TestBuildLifecycle(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	if d, _, err := s.ClaimBuild(ctx, "n1", time.Minute); d != nil || err != nil {
		t.Errorf("ClaimBuild() of nothing = %v, %v", d, err)
	}
	if _, _, err := s.ClaimBuild(ctx, "", time.Minute); err == nil {
		t.Error("ClaimBuild without a node: no error")
	}
	must(t, s.CreateDeployment(ctx, newDeployment("a", false)))
	must(t, s.CreateDeployment(ctx, newDeployment("b", true)))

	d, attempt, err := s.ClaimBuild(ctx, "n1", time.Minute)
	must(t, err)
	if d.ID != "a" || d.Function != "f" || d.Project != "p" || d.Status != flint.DeploymentBuilding || attempt != 1 || d.BuildStartedAt.IsZero() {
		t.Fatalf("ClaimBuild() = %+v, %d", d, attempt)
	}
	must(t, s.AppendBuildLog(ctx, "a", attempt, "one\n"))
	must(t, s.AppendBuildLog(ctx, "a", attempt+1, "stale\n"))
	if canceled, err := s.ExtendBuild(ctx, "a", attempt, time.Minute); canceled || err != nil {
		t.Errorf("ExtendBuild() = %v, %v", canceled, err)
	}
	must(t, s.ReleaseBuild(ctx, "a", attempt))
	d, second, err := s.ClaimBuild(ctx, "n2", time.Minute)
	must(t, err)
	if d.ID != "a" || second != 2 || d.BuildLogs != "one\n" {
		t.Fatalf("ClaimBuild() after ReleaseBuild = %s, %d, %q", d.ID, second, d.BuildLogs)
	}
	for _, stale := range []int64{attempt, second + 1} {
		if ok, err := s.FinishBuild(ctx, "a", stale, BuildOutcome{Status: flint.DeploymentFailed}); ok || err != nil {
			t.Errorf("FinishBuild(attempt %d) = %v, %v", stale, ok, err)
		}
		if canceled, err := s.ExtendBuild(ctx, "a", stale, time.Minute); !canceled || err != nil {
			t.Errorf("ExtendBuild(attempt %d) = %v, %v", stale, canceled, err)
		}
	}
	if _, err := s.FinishBuild(ctx, "a", second, BuildOutcome{Status: flint.DeploymentBuilding}); err == nil {
		t.Error("FinishBuild as building: no error")
	}
	s.announced()
	ok, err := s.FinishBuild(ctx, "a", second, BuildOutcome{Status: flint.DeploymentReady, Log: "done\n", Digest: "out", Size: 5, Duration: 3})
	if !ok || err != nil {
		t.Fatalf("FinishBuild() = %v, %v", ok, err)
	}
	diff(t, "changes", s.announced(), []Change{{Kind: "function", Project: "p", Function: "f", Visible: true}})
	if ok, _ := s.FinishBuild(ctx, "a", second, BuildOutcome{Status: flint.DeploymentFailed}); ok {
		t.Error("a second FinishBuild counted")
	}
	d = value[*flint.Deployment](t)(s.Deployment(ctx, "p", "f", "a"))
	if d.Status != flint.DeploymentReady || d.BuildLogs != "one\ndone\n" || d.BuildDigest != "out" || d.BuildSize != 5 || d.BuildDuration != 3 {
		t.Errorf("Deployment() = %+v", d)
	}
	f := value[*flint.Function](t)(s.Function(ctx, "p", "f"))
	if f.DeploymentID != "" || f.LatestDeploymentID != "b" || f.LatestDeploymentStatus != flint.DeploymentWaiting {
		t.Errorf("function after a build without activate: %+v", f)
	}
	must(t, s.CreateVariable(ctx, &flint.Variable{Project: "p", Function: "f", ID: "v", Key: "K"})) // no longer live
	_, third, err := s.ClaimBuild(ctx, "n1", time.Minute)
	must(t, err)
	if ok, err := s.FinishBuild(ctx, "b", third, BuildOutcome{Status: flint.DeploymentReady, Digest: "out2"}); !ok || err != nil {
		t.Fatalf("FinishBuild() = %v, %v", ok, err)
	}
	f = value[*flint.Function](t)(s.Function(ctx, "p", "f"))
	if f.DeploymentID != "b" || f.DeploymentCreatedAt.IsZero() || !f.Live || f.LatestDeploymentStatus != flint.DeploymentReady {
		t.Errorf("function after a build with activate: %+v", f)
	}
	f, err = s.ActivateDeployment(ctx, "p", "f", "a")
	if err != nil || f.DeploymentID != "a" {
		t.Errorf("ActivateDeployment() = %+v, %v", f, err)
	}
	must(t, s.DeleteDeployment(ctx, "p", "f", "b"))
	f = value[*flint.Function](t)(s.Function(ctx, "p", "f"))
	if f.DeploymentID != "a" || f.LatestDeploymentID != "a" {
		t.Errorf("function after its latest deployment was deleted: %+v", f)
	}
	must(t, s.DeleteDeployment(ctx, "p", "f", "a"))
	f = value[*flint.Function](t)(s.Function(ctx, "p", "f"))
	if f.DeploymentID != "" || f.LatestDeploymentID != "" || !f.DeploymentCreatedAt.IsZero() || f.LatestDeploymentStatus != "" {
		t.Errorf("function after its last deployment was deleted: %+v", f)
	}
	wantErr(t, "second DeleteDeployment", s.DeleteDeployment(ctx, "p", "f", "a"), flint.ErrDeploymentNotFound)
}

func TestCancelBuild(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.CreateDeployment(ctx, newDeployment("a", true)))
	must(t, s.CreateDeployment(ctx, newDeployment("b", true)))
	_, attempt, err := s.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	for i, want := range []string{"bye\n", "bye\nbye\n"} {
		d, err := s.CancelBuild(ctx, "p", "f", "a", "bye\n")
		must(t, err)
		if d.Status != flint.DeploymentCanceled || d.BuildLogs != want {
			t.Errorf("CancelBuild() %d = %s, %q", i, d.Status, d.BuildLogs)
		}
	}
	if canceled, err := s.ExtendBuild(ctx, "a", attempt, time.Minute); !canceled || err != nil {
		t.Errorf("ExtendBuild() = %v, %v", canceled, err)
	}
	if ok, err := s.FinishBuild(ctx, "a", attempt, BuildOutcome{Status: flint.DeploymentReady}); ok || err != nil {
		t.Errorf("FinishBuild() = %v, %v", ok, err)
	}
	must(t, s.AppendBuildLog(ctx, "a", attempt, "late"))
	if retried, failed, err := s.SettleBuilds(ctx, "n", time.Now(), 3); retried+failed != 0 || err != nil {
		t.Errorf("SettleBuilds() = %d, %d, %v", retried, failed, err)
	}
	_, attempt, err = s.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	if _, err := s.FinishBuild(ctx, "b", attempt, BuildOutcome{Status: flint.DeploymentFailed}); err != nil {
		t.Fatal(err)
	}
	_, err = s.CancelBuild(ctx, "p", "f", "b", "bye\n")
	wantErr(t, "CancelBuild of a failed build", err, flint.ErrBuildCompleted)
	_, err = s.CancelBuild(ctx, "p", "f", "none", "")
	wantErr(t, "CancelBuild(none)", err, flint.ErrDeploymentNotFound)
}

func TestSettleBuilds(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.CreateDeployment(ctx, newDeployment("a", false)))
	settle := func(node string, at time.Time, retried, failed int) {
		t.Helper()
		r, f, err := s.SettleBuilds(ctx, node, at, 2)
		if r != retried || f != failed || err != nil {
			t.Errorf("SettleBuilds() = %d, %d, %v, want %d, %d", r, f, err, retried, failed)
		}
	}
	_, first, err := s.ClaimBuild(ctx, "n1", time.Minute)
	must(t, err)
	settle("", time.Now(), 0, 0)
	settle("n2", time.Now(), 0, 0)
	settle("n1", time.Now(), 1, 0) // it was ours before the restart
	_, second, err := s.ClaimBuild(ctx, "n2", time.Minute)
	must(t, err)
	if second <= first {
		t.Errorf("attempt %d after %d", second, first)
	}
	settle("", time.Now().Add(2*time.Minute), 0, 1)
	d := value[*flint.Deployment](t)(s.Deployment(ctx, "p", "f", "a"))
	if d.Status != flint.DeploymentFailed || !strings.Contains(d.BuildLogs, "builder was lost") {
		t.Errorf("Deployment() = %s, %q", d.Status, d.BuildLogs)
	}
	f := value[*flint.Function](t)(s.Function(ctx, "p", "f"))
	if f.LatestDeploymentStatus != flint.DeploymentFailed {
		t.Errorf("the function's latest deployment is %s", f.LatestDeploymentStatus)
	}
}

func TestBuildLogKeepsTheNewest(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.CreateDeployment(ctx, newDeployment("a", false)))
	_, attempt, err := s.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	var whole strings.Builder
	for i := range 40 {
		part := strings.Repeat(fmt.Sprintf("%03dä", i), 10_000)
		whole.WriteString(part)
		must(t, s.AppendBuildLog(ctx, "a", attempt, part))
	}
	got := value[*flint.Deployment](t)(s.Deployment(ctx, "p", "f", "a")).BuildLogs
	if len(got) > flint.MaxBuildLog || len(got) < flint.MaxBuildLog-4 || !strings.HasSuffix(whole.String(), got) {
		t.Errorf("the log has %d bytes", len(got))
	}
	var kept int
	must(t, s.one(ctx, "select sum(size) from build_logs", nil, func(r scanner) error { return r.Scan(&kept) }))
	if kept > flint.MaxBuildLog+50_000 {
		t.Errorf("%d bytes of log are kept", kept)
	}
	must(t, s.AppendBuildLog(ctx, "a", attempt, strings.Repeat("z", 2*flint.MaxBuildLog)+"end\x00\xff"))
	got = value[*flint.Deployment](t)(s.Deployment(ctx, "p", "f", "a")).BuildLogs
	if len(got) > flint.MaxBuildLog || !strings.HasSuffix(got, "zend\uFFFD\uFFFD") {
		t.Errorf("the log has %d bytes and ends with %q", len(got), got[len(got)-10:])
	}
}

func TestEachBuildHasOneBuilder(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	const builds = 40
	for i := range builds {
		must(t, s.CreateDeployment(ctx, newDeployment(fmt.Sprintf("d%02d", i), false)))
	}
	var mu sync.Mutex
	seen := map[flint.DeploymentID]int{}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for {
				d, attempt, err := s.ClaimBuild(ctx, fmt.Sprint("n", n), time.Minute)
				if err != nil || d == nil {
					if err != nil {
						t.Error(err)
					}
					return
				}
				ok, err := s.FinishBuild(ctx, d.ID, attempt, BuildOutcome{Status: flint.DeploymentReady})
				if !ok || err != nil {
					t.Errorf("FinishBuild() = %v, %v", ok, err)
				}
				mu.Lock()
				seen[d.ID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != builds {
		t.Errorf("%d builds were claimed, want %d", len(seen), builds)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("build %s was claimed %d times", id, n)
		}
	}
}

// Clients poll for the end of a build and call at once: who keeps the function in memory knows before they can.
func TestTheEndOfABuildIsAnnouncedBefore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var said []string
	s, err := Open(ctx, Config{
		Path: filepath.Join(t.TempDir(), "flint.db"), Secret: secret(1),
		Changed: func(c Change) { said = append(said, "changed "+string(c.Function)) },
		Changing: func(_ flint.ProjectID, f flint.FunctionID) func() {
			said = append(said, "changing "+string(f))
			return func() { said = append(said, "over") }
		},
	})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	must(t, s.CreateProject(ctx, &flint.Project{ID: "p", Name: "P"}))
	f := &flint.Function{Project: "p", ID: "f", Name: "F", Runtime: "node-22", Enabled: true, Live: true, Timeout: time.Second}
	must(t, s.CreateFunction(ctx, f, nil))
	must(t, s.CreateDeployment(ctx, newDeployment("d", true)))
	d, attempt, err := s.ClaimBuild(ctx, "n", time.Minute)
	if err != nil || d == nil {
		t.Fatal(d, err)
	}
	said = nil
	if current, err := s.FinishBuild(ctx, d.ID, attempt, BuildOutcome{Status: flint.DeploymentReady, Digest: "x"}); !current || err != nil {
		t.Fatal(current, err)
	}
	if want := []string{"changing f", "changed f", "over"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
	said = nil
	if _, err := s.FinishBuild(ctx, d.ID, attempt, BuildOutcome{Status: flint.DeploymentReady, Digest: "x"}); err != nil || said != nil {
		t.Errorf("%q of a result that came late, %v", said, err)
	}
}
