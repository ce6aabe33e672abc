package trigger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/api/apitest"
	"flint/auth"
	"flint/invoke"
	"flint/store"
)

const project flint.ProjectID = "p"

// bed is a store with one project, and what relays its events.
type bed struct {
	*store.Store
	path    string
	invoker *invoke.Invoker
	logs    *bytes.Buffer
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func setup(t testing.TB) *bed {
	t.Helper()
	b := &bed{path: filepath.Join(t.TempDir(), "flint.db"), logs: &bytes.Buffer{}}
	model := func(noun any, _ []*flint.Variable) ([]byte, error) {
		switch v := noun.(type) {
		case *flint.Rule:
			return json.Marshal(map[string]any{"$id": v.ID})
		case *flint.Execution:
			return json.Marshal(map[string]any{"$id": v.ID, "status": v.Status})
		}
		return []byte("{}"), nil
	}
	var err error
	b.Store, err = store.Open(t.Context(), store.Config{Path: b.path, Secret: make([]byte, 32), Model: model})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	must(t, b.CreateProject(t.Context(), &flint.Project{ID: project}))
	b.invoker = invoke.New(invoke.Config{
		Store: b.Store, Runtimes: apitest.New(t).Runtimes, Signer: auth.NewSigner(make([]byte, 32)), Logger: slog.New(slog.DiscardHandler),
		Registry: prometheus.NewRegistry(), Node: "n", Domain: "functions.test",
	})
	return b
}

// relay makes a relay of its own: as after a restart.
func (b *bed) relay(change func(*Config)) *Relay {
	c := Config{Store: b.Store, Invoker: b.invoker, Logger: slog.New(slog.NewTextHandler(b.logs, nil)), Registry: prometheus.NewRegistry()}
	if change != nil {
		change(&c)
	}
	return New(c)
}

// all relays everything there is.
func (r *Relay) all(t testing.TB) {
	t.Helper()
	for more := true; more; {
		var err error
		more, err = r.step(t.Context())
		must(t, err)
	}
}

// function adds a function with a deployment that is ready.
func (b *bed) function(t testing.TB, id, runtime string, events ...string) {
	t.Helper()
	ctx, f := t.Context(), flint.FunctionID(id)
	must(t, b.CreateFunction(ctx, &flint.Function{Project: project, ID: f, Runtime: runtime, Events: events, Timeout: time.Second}, nil))
	must(t, b.CreateDeployment(ctx, &flint.Deployment{Project: project, ID: flint.DeploymentID("of-" + id), Function: f, Runtime: runtime, SourceDigest: "x", Activate: true}))
	d, attempt, err := b.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	_, err = b.FinishBuild(ctx, d.ID, attempt, store.BuildOutcome{Status: flint.DeploymentReady, Digest: "y"})
	must(t, err)
}

func (b *bed) rule(ctx context.Context, t testing.TB, id string) {
	t.Helper()
	must(t, b.CreateRule(ctx, &flint.Rule{Project: project, ID: flint.RuleID(id), Domain: id + ".test", Type: flint.RuleAPI}))
}

func (b *bed) executions(t testing.TB, function string) []*flint.Execution {
	t.Helper()
	all, _, err := b.Executions(t.Context(), project, flint.FunctionID(function), flint.List{})
	must(t, err)
	return all
}

// query reads numbers from the database behind the store's back.
func (b *bed) query(t testing.TB, text string) []int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+b.path+"?_pragma=busy_timeout(60000)")
	must(t, err)
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), text)
	must(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	must(t, err)
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	numbers := make([]int, len(columns))
	targets := make([]any, len(columns))
	for i := range numbers {
		targets[i] = &numbers[i]
	}
	must(t, rows.Scan(targets...))
	return numbers
}

func describe(all []*flint.Execution) string {
	var texts []string
	for _, e := range all {
		texts = append(texts, fmt.Sprintf("%s %s", e.Trigger, e.Status))
	}
	slices.Sort(texts)
	return fmt.Sprint(texts)
}

// counted returns the value of a counter, of those with an outcome.
func counted(t testing.TB, r prometheus.Registerer, name, outcome string) float64 {
	t.Helper()
	registry, ok := r.(*prometheus.Registry)
	if !ok {
		t.Fatal("no registry")
	}
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (outcome == "" || m.GetLabel()[0].GetValue() == outcome) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// claim takes the call that has been due for longest.
func (b *bed) claim(t *testing.T) (*flint.Execution, *store.QueuedCall) {
	t.Helper()
	claims, err := b.ClaimExecutions(t.Context(), "n", time.Minute, 1)
	must(t, err)
	if len(claims) == 0 {
		t.Fatal("no call is due")
	}
	return claims[0].Execution, claims[0].Call
}
