package explain_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flint"
	"flint/explain"
	"flint/store"
)

// bed is a project with a function that has everything that can be explained.
type bed struct {
	*store.Store
	*explain.Explainer
}

func setup(t *testing.T) *bed {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: make([]byte, 32)})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.CreateProject(t.Context(), &flint.Project{ID: "p"}))
	must(t, db.CreateFunction(t.Context(), &flint.Function{Project: "p", ID: "f", Name: "f", Runtime: "node-22", Enabled: true, Logging: true, Timeout: 15 * time.Second}, nil))
	return &bed{db, explain.New(explain.Config{Store: db, Concurrency: 64})}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says fails unless an explanation has a state and holds all texts somewhere.
func (b *bed) says(t *testing.T, id, state string, texts ...string) {
	t.Helper()
	e, err := b.Explain(t.Context(), "p", id)
	if err != nil {
		t.Errorf("Explain(%s): %v", id, err)
		return
	}
	whole := strings.Join(append([]string{e.Summary, e.WaitingFor, e.Next}, e.Advice...), "\n")
	for _, m := range e.History {
		whole += "\n" + m.What
	}
	if e.State != state {
		t.Errorf("%s is %s, want %s", id, e.State, state)
	}
	for _, text := range texts {
		if !strings.Contains(whole, text) {
			t.Errorf("of %s is not said %q, but\n%s", id, text, whole)
		}
	}
}

func (b *bed) enqueue(t *testing.T, id string, c store.QueuedCall) {
	t.Helper()
	c.Method, c.Path = "POST", "/"
	e := &flint.Execution{Project: "p", Function: "f", ID: flint.ExecutionID(id), Trigger: flint.TriggerHTTP, RequestMethod: "POST", RequestPath: "/"}
	must(t, b.EnqueueExecution(t.Context(), e, &c))
}

// finish claims the next call and ends its attempt.
func (b *bed) finish(t *testing.T, o flint.Outcome, text string) {
	t.Helper()
	claims, err := b.ClaimExecutions(t.Context(), "n", time.Minute, 1)
	must(t, err)
	e := claims[0].Execution
	e.Status, e.StatusCode, e.Errors = flint.ExecutionFailed, 500, text
	e.Receipt = &flint.Receipt{Queue: 3 * time.Second, Run: time.Second, Outcome: o}
	_, err = b.FinishExecution(t.Context(), e, store.Ending{Attempt: claims[0].Call.Attempt, Outcome: o})
	must(t, err)
}

func (b *bed) deliver(t *testing.T, d flint.Delivery) {
	t.Helper()
	_, err := b.UpdateFunction(t.Context(), "p", "f", func(f *flint.Function) error { f.Delivery = d; return nil })
	must(t, err)
}

func (b *bed) ready(t *testing.T) {
	t.Helper()
	_, err := b.UpdateFunction(t.Context(), "p", "f", func(f *flint.Function) error { f.DeploymentID = "d"; return nil })
	must(t, err)
	must(t, b.CreateDeployment(t.Context(), &flint.Deployment{Project: "p", ID: "d", Function: "f", Runtime: "node-22", Status: flint.DeploymentReady}))
}

func TestNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.Explain(t.Context(), "p", "none"); !errors.Is(err, flint.ErrNothingToExplain) {
		t.Errorf("Explain() of nothing: %v", err)
	}
	if _, err := b.Explain(t.Context(), "other", "f"); !errors.Is(err, flint.ErrNothingToExplain) {
		t.Errorf("Explain() of another project: %v", err)
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.says(t, "f", "no deployment", "there is no code to run", "Upload its code")
	b.ready(t)
	b.says(t, "f", "ready", "can be called", "0 workers")
	_, err := b.UpdateFunction(t.Context(), "p", "f", func(f *flint.Function) error { f.Enabled = false; return nil })
	must(t, err)
	b.says(t, "f", "disabled", "told that it does not exist")
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	b := setup(t)
	set := func(change func(*flint.Function)) {
		t.Helper()
		_, err := b.UpdateFunction(t.Context(), "p", "f", func(f *flint.Function) error { change(f); return nil })
		must(t, err)
	}
	set(func(f *flint.Function) { f.Schedule = "0 0 1 1 *" })
	b.says(t, "f", "no deployment", `Its schedule "0 0 1 1 *" does not run it: The function has no active deployment.`)
	b.ready(t)
	b.says(t, "f", "ready", `Its schedule "0 0 1 1 *" runs it next at `, "-01-01T00:00:00Z, in ")
	set(func(f *flint.Function) { f.Scheduling.Paused = true })
	b.says(t, "f", "ready", "is paused", "flint schedule resume f")
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	must(t, b.CreateDeployment(ctx, &flint.Deployment{Project: "p", ID: "first", Function: "f", Runtime: "node-22", Status: flint.DeploymentWaiting, SourceDigest: "x", CreatedAt: time.Now().Add(-time.Minute)}))
	must(t, b.CreateDeployment(ctx, &flint.Deployment{Project: "p", ID: "second", Function: "f", Runtime: "node-22", Status: flint.DeploymentWaiting, SourceDigest: "x"}))
	b.says(t, "second", "waiting", "with 1 build before it", "a free builder")
	d, attempt, err := b.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	must(t, b.AppendBuildLog(ctx, d.ID, attempt, "one\ninstalling left-pad\n"))
	b.says(t, "first", "building", "installing left-pad", "--build-timeout")
	_, err = b.CancelBuild(ctx, "p", "f", "first", "Build has been canceled.\n")
	must(t, err)
	b.says(t, "first", "canceled", "Somebody canceled")
}

func TestExecutionsThatWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enqueue(t, "plain", store.QueuedCall{Expires: time.Now().Add(time.Hour)})
	b.says(t, "plain", "waiting", "with 0 calls before it", "this node makes 64 at once", "When it is taken it will fail", "it is given up")
	b.ready(t)
	b.deliver(t, flint.Delivery{MaxConcurrent: 1, MaxAttempts: 3, MinBackoff: 300, MaxBackoff: 300})
	b.enqueue(t, "head", store.QueuedCall{OrderKey: "k"})
	b.enqueue(t, "tail", store.QueuedCall{OrderKey: "k"})
	b.says(t, "tail", "waiting", "for its turn", `"k"`, "the end of execution head")
	claims, err := b.ClaimExecutions(t.Context(), "n", time.Minute, 16)
	must(t, err)
	if len(claims) != 1 || claims[0].Execution.ID != "plain" {
		t.Fatalf("claims %+v", claims)
	}
	b.says(t, "plain", "processing", "Node n has had it for", "as attempt 1", "flint executions cancel plain")
	b.says(t, "head", "waiting", "as many as its delivery settings allow (maxConcurrent 1)", "--max-concurrent")
	must(t, b.ReleaseExecution(t.Context(), "plain", claims[0].Call.Attempt, time.Hour, "The node was full."))
	b.says(t, "plain", "waiting", "The node was full.", "without counting as an attempt")
	b.finish(t, flint.OutcomeError, "boom")
	b.says(t, "head", "waiting", "Attempt 1 of 3 ended with error", "Attempt 2 of 3 begins in", "boom")
}

func TestExecutionsThatEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t)
	b.deliver(t, flint.Delivery{DeadLetters: true})
	for id, c := range map[string]struct {
		outcome flint.Outcome
		errors  string
		texts   []string
	}{
		"timeout":    {flint.OutcomeTimeout, "Execution timed out.", []string{"did not answer in time", "Its timeout is 15s", "waited 3s for a worker", "flint deadletter redrive f timeout"}},
		"memory":     {flint.OutcomeCrash, "x\nthe worker ended: out of memory\nIts last output:\nbye", []string{"the worker ended: out of memory", "It had 512 MB"}},
		"exit":       {flint.OutcomeCrash, "the worker ended: exit status 3", []string{"exit status 3", "an exit call"}},
		"thrown":     {flint.OutcomeError, "Error: no", []string{"Error: no", "The cause is in the function's own code"}},
		"throttled":  {flint.OutcomeThrottled, "", []string{"asks to try again later"}},
		"unrunnable": {flint.OutcomeUnrunnable, "The function could not be run: nothing", []string{"There was nothing to run", "flint explain f"}},
	} {
		b.enqueue(t, id, store.QueuedCall{})
		b.finish(t, c.outcome, c.errors)
		b.says(t, id, "failed", c.texts...)
	}
	must(t, b.DeleteExecution(t.Context(), "p", "f", "exit"))
	b.says(t, "exit", "dead", "failed for good after 1 attempt", "ended with crash 500: the worker ended: exit status 3", "flint deadletter redrive f exit")
	b.enqueue(t, "lost", store.QueuedCall{})
	_, err := b.ClaimExecutions(t.Context(), "n", time.Minute, 1)
	must(t, err)
	_, err = b.SettleExecutions(t.Context(), "n", time.Now().Add(time.Hour), "The node died.")
	must(t, err)
	b.says(t, "lost", "failed", "The node died.", "--retry-on lost")
	b.enqueue(t, "canceled", store.QueuedCall{})
	_, err = b.CancelExecution(t.Context(), "p", "f", "canceled", "canceled")
	must(t, err)
	b.says(t, "canceled", "failed", "Somebody canceled it.")
	b.enqueue(t, "expired", store.QueuedCall{Expires: time.Now().Add(-time.Second)})
	_, err = b.ExpireExecutions(context.WithoutCancel(t.Context()), time.Now())
	must(t, err)
	b.says(t, "expired", "failed", "nobody had begun it")
}
