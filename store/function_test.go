package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"flint"
)

func TestProjectsAndKeys(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	p := &flint.Project{ID: "second", Name: "Second"}
	must(t, s.CreateProject(ctx, p))
	wantErr(t, "second CreateProject", s.CreateProject(ctx, p), flint.ErrProjectExists)
	diff(t, "Project()", value[*flint.Project](t)(s.Project(ctx, "second")), p)
	_, err := s.Project(ctx, "none")
	wantErr(t, "Project(none)", err, flint.ErrProjectNotFound)
	all, err := s.Projects(ctx)
	must(t, err)
	if got := ids(all, func(p *flint.Project) string { return string(p.ID) }); got != "p second" {
		t.Errorf("Projects() = %s", got)
	}
	s.announced()

	k := &flint.Key{ID: "k", Project: "p", Name: "K", Secret: "standard_abc", Scopes: []string{"functions.read"}, ExpireAt: time.UnixMilli(5_000_000_000_000).UTC()}
	must(t, s.CreateKey(ctx, k))
	wantErr(t, "same id", s.CreateKey(ctx, &flint.Key{ID: "k", Project: "p", Secret: "other"}), flint.ErrKeyExists)
	wantErr(t, "same secret", s.CreateKey(ctx, &flint.Key{ID: "l", Project: "second", Secret: "standard_abc"}), flint.ErrKeyExists)
	wantErr(t, "no project", s.CreateKey(ctx, &flint.Key{ID: "l", Project: "none", Secret: "x"}), flint.ErrProjectNotFound)
	diff(t, "KeyBySecret()", value[*flint.Key](t)(s.KeyBySecret(ctx, "standard_abc")), k)
	if got, err := s.KeyBySecret(ctx, "unknown"); got != nil || err != nil {
		t.Errorf("KeyBySecret(unknown) = %v, %v", got, err)
	}
	diff(t, "Keys()", value[[]*flint.Key](t)(s.Keys(ctx, "p")), []*flint.Key{k})
	diff(t, "Keys(second)", value[[]*flint.Key](t)(s.Keys(ctx, "second")), []*flint.Key{})
	wantErr(t, "DeleteKey in another project", s.DeleteKey(ctx, "second", "k"), flint.ErrKeyNotFound)
	must(t, s.DeleteKey(ctx, "p", "k"))
	wantErr(t, "second DeleteKey", s.DeleteKey(ctx, "p", "k"), flint.ErrKeyNotFound)
	change := Change{Kind: "key", Project: "p", KeyHash: HashSecret("standard_abc")}
	diff(t, "changes", s.announced(), []Change{change, change})
}

func fullFunction() *flint.Function {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	return &flint.Function{
		Project: "p", ID: "full", CreatedAt: at, UpdatedAt: at.Add(time.Second), Name: "Full", Runtime: "python-3.12", Execute: []string{"any", `a"b`},
		Events: []string{"users.*.create"}, Scopes: []string{"users.read"}, Schedule: "* * * * *", Timeout: 900 * time.Second, Enabled: true,
		Logging: true, Live: true, Entrypoint: "main.py", Commands: "pip install", Retention: 7, BuildSpec: "s-1vcpu-512mb", RuntimeSpec: "s-2vcpu-2gb",
		InstallationID: "i", ProviderRepositoryID: "r", ProviderBranch: "main", ProviderRootDirectory: "dir", ProviderSilentMode: true,
		ProviderBranches: []string{"a"}, ProviderPaths: []string{"b"}, DeploymentID: "d", DeploymentCreatedAt: at,
		LatestDeploymentID: "e", LatestDeploymentCreatedAt: at, LatestDeploymentStatus: flint.DeploymentFailed,
		Scaling: flint.Scaling{MinWarm: 1, MaxWorkers: 2, CallsPerWorker: 3, KeepAlive: flint.KeepAliveLearned},
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	f := fullFunction()
	rule := &flint.Rule{ID: "r", Project: "p", Domain: "Full.Functions.localhost", Function: "full"}
	must(t, s.CreateFunction(ctx, f, rule))
	diff(t, "changes", sortedChanges(s.announced()), sortedChanges([]Change{
		{Kind: "function", Project: "p", Function: "full"},
		{Kind: "function", Project: "p", Function: "full"},
		{Kind: "rule", Project: "p", Function: "full", Domain: "full.functions.localhost"},
	}))
	diff(t, "Function()", value[*flint.Function](t)(s.Function(ctx, "p", "full")), fullFunction())
	wantErr(t, "same id", s.CreateFunction(ctx, fullFunction(), nil), flint.ErrFunctionExists)
	other := &flint.Function{Project: "p", ID: "other"}
	wantErr(t, "same domain", s.CreateFunction(ctx, other, &flint.Rule{ID: "r2", Project: "p", Domain: "full.functions.LOCALHOST", Function: "other"}), flint.ErrRuleExists)
	_, err := s.Function(ctx, "p", "other")
	wantErr(t, "Function() after a failed CreateFunction", err, flint.ErrFunctionNotFound)
	wantErr(t, "no project", s.CreateFunction(ctx, &flint.Function{Project: "none", ID: "x"}, nil), flint.ErrProjectNotFound)
	s.announced()

	u, err := s.UpdateFunction(ctx, "p", "full", func(f *flint.Function) error {
		f.Name, f.ID, f.Project, f.CreatedAt, f.Execute = "Renamed", "stolen", "stolen", time.Time{}, nil
		return nil
	})
	must(t, err)
	if u.Name != "Renamed" || u.ID != "full" || u.Project != "p" || !u.CreatedAt.Equal(f.CreatedAt) || !u.UpdatedAt.After(f.UpdatedAt) {
		t.Errorf("UpdateFunction() = %+v", u)
	}
	diff(t, "Function() after UpdateFunction", value[*flint.Function](t)(s.Function(ctx, "p", "full")), u)
	refused := errors.New("refused")
	_, err = s.UpdateFunction(ctx, "p", "full", func(f *flint.Function) error { f.Name = "No"; return refused })
	wantErr(t, "refused UpdateFunction", err, refused)
	_, err = s.UpdateFunction(ctx, "p", "none", func(*flint.Function) error { return nil })
	wantErr(t, "UpdateFunction(none)", err, flint.ErrFunctionNotFound)
	diff(t, "changes", s.announced(), []Change{{Kind: "function", Project: "p", Function: "full"}})

	all, total, err := s.Functions(ctx, "p", flint.List{Search: "RENAM"})
	must(t, err)
	if total != 1 || len(all) != 1 || all[0].Name != "Renamed" {
		t.Errorf("Functions(search) = %d, %v", total, all)
	}
	wantErr(t, "DeleteFunction(none)", s.DeleteFunction(ctx, "p", "none"), flint.ErrFunctionNotFound)
	must(t, s.DeleteFunction(ctx, "p", "full"))
	_, err = s.RuleByDomain(ctx, "full.functions.localhost")
	wantErr(t, "rule of a deleted function", err, flint.ErrRuleNotFound)
	diff(t, "changes", sortedChanges(s.announced()), sortedChanges([]Change{
		{Kind: "function", Project: "p", Function: "full"},
		{Kind: "rule", Project: "p", Function: "full", Domain: "full.functions.localhost"},
	}))
}

func TestDeletedFunctionLeavesNothingToItsNamesake(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	began := now().Add(-time.Second)
	for i := range 2*sweepRows + 7 {
		must(t, s.AppendExecution(ctx, sample(fmt.Sprint("old", i), s.f)))
	}
	for i := range 5 {
		must(t, s.EnqueueExecution(ctx, sample(fmt.Sprint("queued", i), s.f), &QueuedCall{}))
	}
	running, call, err := s.ClaimExecution(ctx, "n", time.Minute)
	must(t, err)
	must(t, s.CreateDeployment(ctx, &flint.Deployment{Project: "p", Function: "f", ID: "d0", SourceDigest: "src0"}))
	must(t, s.CreateDeployment(ctx, &flint.Deployment{Project: "p", Function: "f", ID: "d1", SourceDigest: "src1", BuildLogs: "log"}))
	building, attempt, err := s.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	must(t, s.CreateVariable(ctx, &flint.Variable{Project: "p", Function: "f", ID: "v", Key: "K"}))

	must(t, s.DeleteFunction(ctx, "p", "f"))
	wantErr(t, "append of a deleted function", s.AppendExecution(ctx, sample("late", s.f)), flint.ErrFunctionNotFound)
	again := &flint.Function{Project: "p", ID: "f"}
	must(t, s.CreateFunction(ctx, again, nil))

	late := sample("late", again)
	late.CreatedAt = began
	wantErr(t, "append of a call that the namesake never had", s.AppendExecution(ctx, late), flint.ErrFunctionNotFound)
	if _, total, err := s.Executions(ctx, "p", "f", flint.List{}); total != 0 || err != nil {
		t.Errorf("the namesake has %d executions, %v", total, err)
	}
	if _, total, err := s.Deployments(ctx, "p", "f", flint.List{}); total != 0 || err != nil {
		t.Errorf("the namesake has %d deployments, %v", total, err)
	}
	if all, err := s.AllVariables(ctx, "p", "f"); len(all) != 0 || err != nil {
		t.Errorf("the namesake has variables %v, %v", all, err)
	}
	if e, _, err := s.ClaimExecution(ctx, "n", time.Minute); e != nil || err != nil {
		t.Errorf("ClaimExecution() = %v, %v: the call of a deleted function", e, err)
	}
	if d, _, err := s.ClaimBuild(ctx, "n", time.Minute); d != nil || err != nil {
		t.Errorf("ClaimBuild() = %v, %v: the build of a deleted function", d, err)
	}
	if canceled, err := s.ExtendBuild(ctx, building.ID, attempt, time.Minute); !canceled || err != nil {
		t.Errorf("ExtendBuild() = %v, %v after the function was deleted", canceled, err)
	}
	if _, err := s.FinishBuild(ctx, building.ID, attempt, BuildOutcome{Status: flint.DeploymentReady}); err != nil {
		t.Error(err)
	}
	running.Status = flint.ExecutionCompleted
	if _, err := s.finish(ctx, running, call.Attempt); err != nil {
		t.Error(err)
	}
	if used, err := s.DigestsInUse(ctx, []string{"src0", "src1"}); len(used) != 0 || err != nil {
		t.Errorf("DigestsInUse() = %v, %v", used, err)
	}
	must(t, s.AppendExecution(ctx, sample("new", again)))

	must(t, s.sweepOnce(context.WithoutCancel(ctx)))
	for table, want := range map[string]int{"executions": 1, "deployments": 0, "build_logs": 0, "calls": 0, "call_requests": 0, "variables": 0} {
		var n int
		must(t, s.one(ctx, "select count(*) from "+table, nil, func(r scanner) error { return r.Scan(&n) }))
		if n != want {
			t.Errorf("%s has %d rows after sweeping, want %d", table, n, want)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	v := &flint.Variable{Project: "p", Function: "f", ID: "v", Key: "KEY", Value: "välue", Secret: true}
	must(t, s.CreateVariable(ctx, v))
	if f, err := s.Function(ctx, "p", "f"); err != nil || f.Live {
		t.Errorf("the function is still live: %v", err)
	}
	var stored string
	must(t, s.one(ctx, "select value from variables", nil, func(r scanner) error { return r.Scan(&stored) }))
	if stored == "" || stored == v.Value {
		t.Errorf("the value is stored as %q", stored)
	}
	for what, twin := range map[string]*flint.Variable{
		"same id":           {Project: "p", Function: "f", ID: "v", Key: "OTHER"},
		"same id elsewhere": {Project: "p", ID: "v", Key: "OTHER"},
		"same key":          {Project: "p", Function: "f", ID: "w", Key: "KEY"},
	} {
		wantErr(t, what, s.CreateVariable(ctx, twin), flint.ErrVariableExists)
	}
	wantErr(t, "no function", s.CreateVariable(ctx, &flint.Variable{Project: "p", Function: "none", ID: "x", Key: "X"}), flint.ErrFunctionNotFound)
	shared := &flint.Variable{Project: "p", ID: "shared", Key: "KEY", Value: "of all"}
	must(t, s.CreateVariable(ctx, shared))
	diff(t, "changes", s.announced(), []Change{{Kind: "function", Project: "p", Function: "f"}, {Kind: "project", Project: "p"}})

	diff(t, "Variable()", value[*flint.Variable](t)(s.Variable(ctx, "p", "f", "v")), v)
	_, err := s.Variable(ctx, "p", "", "v")
	wantErr(t, "variable of a function in the project", err, flint.ErrVariableNotFound)
	diff(t, "AllVariables()", value[[]*flint.Variable](t)(s.AllVariables(ctx, "p", "f")), []*flint.Variable{shared, v})
	diff(t, "AllVariables(project)", value[[]*flint.Variable](t)(s.AllVariables(ctx, "p", "")), []*flint.Variable{shared})

	for attribute, want := range map[string]string{"function": "v", "project": ""} {
		all, _, err := s.Variables(ctx, "p", "f", flint.List{Filters: []flint.Query{{Method: "equal", Attribute: "resourceType", Values: []any{attribute}}}})
		must(t, err)
		if got := ids(all, func(v *flint.Variable) string { return string(v.ID) }); got != want {
			t.Errorf("Variables(resourceType %s) = %q, want %q", attribute, got, want)
		}
	}

	must(t, s.CreateVariable(ctx, &flint.Variable{Project: "p", Function: "f", ID: "w", Key: "W"}))
	_, err = s.UpdateVariable(ctx, "p", "f", "w", func(v *flint.Variable) error { v.Key = "KEY"; return nil })
	wantErr(t, "update to a taken key", err, flint.ErrVariableExists)
	u, err := s.UpdateVariable(ctx, "p", "f", "w", func(v *flint.Variable) error { v.Value, v.Function, v.ID = "new", "", "z"; return nil })
	must(t, err)
	diff(t, "Variable() after UpdateVariable", value[*flint.Variable](t)(s.Variable(ctx, "p", "f", "w")), u)
	if u.Value != "new" || u.Function != "f" {
		t.Errorf("UpdateVariable() = %+v", u)
	}
	_, err = s.UpdateVariable(ctx, "p", "f", "none", func(*flint.Variable) error { return nil })
	wantErr(t, "UpdateVariable(none)", err, flint.ErrVariableNotFound)
	wantErr(t, "DeleteVariable elsewhere", s.DeleteVariable(ctx, "p", "", "w"), flint.ErrVariableNotFound)
	must(t, s.DeleteVariable(ctx, "p", "f", "w"))
	wantErr(t, "second DeleteVariable", s.DeleteVariable(ctx, "p", "f", "w"), flint.ErrVariableNotFound)
}

func TestRules(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	r := &flint.Rule{ID: "r", Project: "p", Domain: "API.example.com", Function: "f"}
	must(t, s.CreateRule(ctx, r))
	diff(t, "changes", s.announced(), []Change{{Kind: "rule", Project: "p", Function: "f", Domain: "api.example.com"}, {Kind: "function", Project: "p", Function: "f"}})
	must(t, s.CreateProject(ctx, &flint.Project{ID: "q"}))
	wantErr(t, "domain of another project", s.CreateRule(ctx, &flint.Rule{ID: "x", Project: "q", Domain: "api.example.com"}), flint.ErrRuleExists)
	wantErr(t, "no function", s.CreateRule(ctx, &flint.Rule{ID: "x", Project: "q", Domain: "b.example.com", Function: "f"}), flint.ErrFunctionNotFound)
	diff(t, "RuleByDomain()", value[*flint.Rule](t)(s.RuleByDomain(ctx, "api.EXAMPLE.com")), r)
	diff(t, "Rule()", value[*flint.Rule](t)(s.Rule(ctx, "p", "r")), r)
	_, err := s.Rule(ctx, "q", "r")
	wantErr(t, "rule of another project", err, flint.ErrRuleNotFound)

	for _, q := range []flint.Query{
		{Method: "equal", Attribute: "deploymentResourceId", Values: []any{"f"}},
		{Method: "equal", Attribute: "deploymentId", Values: []any{""}},
		{Method: "equal", Attribute: "type", Values: []any{"api", "deployment"}},
		{Method: "endsWith", Attribute: "domain", Values: []any{".example.com"}},
	} {
		if all, total, err := s.Rules(ctx, "p", flint.List{Filters: []flint.Query{q}}); total != 1 || len(all) != 1 || err != nil {
			t.Errorf("Rules(%v) = %v, %d, %v", q, all, total, err)
		}
	}
	wantErr(t, "DeleteRule elsewhere", s.DeleteRule(ctx, "q", "r"), flint.ErrRuleNotFound)
	s.announced()
	must(t, s.DeleteRule(ctx, "p", "r"))
	if c := s.announced(); len(c) != 2 || c[0].Domain != "api.example.com" {
		t.Errorf("changes after DeleteRule: %v", c)
	}
}
