package invoke

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/auth"
	"flint/store"
)

// TestPrepare makes rows of calls that the platform begins, of functions in every state.
func TestPrepare(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := store.Open(ctx, store.Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	i := New(Config{Store: s, Signer: auth.NewSigner(make([]byte, 32)), Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Domain: "d"})
	for _, err := range []error{
		s.CreateProject(ctx, &flint.Project{ID: "p"}),
		s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "empty"}, nil),
		s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f", DeploymentID: "d", Timeout: time.Second}, nil),
		s.CreateDeployment(ctx, &flint.Deployment{Project: "p", ID: "d", Function: "f", Status: flint.DeploymentFailed}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	call := func(f flint.FunctionID) *Call {
		return &Call{Project: "p", Function: f, Trigger: flint.TriggerSchedule, Caller: Caller{User: "u", Hops: 2}, Event: "e", Method: "POST", Path: "/"}
	}
	if _, _, err := i.Prepare(ctx, call("nope")); !errors.Is(err, flint.ErrFunctionNotFound) {
		t.Errorf("a function that is not there: %v", err)
	}
	for f, says := range map[flint.FunctionID]string{"empty": "Create a deployment", "f": "not ready for execution"} {
		e, q, err := i.Prepare(ctx, call(f))
		if err != nil || q != nil || e.Status != flint.ExecutionFailed || e.StatusCode != 500 || e.Receipt == nil {
			t.Errorf("%s: %+v, %+v, %v", f, e, q, err)
		}
		if !strings.HasPrefix(e.Errors, cannotRun) || !strings.Contains(e.Errors, says) {
			t.Errorf("%s: %s", f, e.Errors)
		}
	}
	// What is in memory says that nothing is deployed; the row knows better.
	i.targets.load = func(context.Context, functionKey) (*target, error) {
		return &target{function: &flint.Function{}, missing: errors.New("old")}, nil
	}
	i.targets.forget("p", "f")
	if e, _, err := i.Prepare(ctx, call("f")); err != nil || strings.Contains(e.Errors, "old") {
		t.Errorf("%+v, %v", e, err)
	}
	e, q := i.queued(&target{function: &flint.Function{Project: "p", ID: "f", Timeout: time.Second}}, call("f"))
	if e.Permissions[0] != `read("user:u")` || q.Event != "e" || q.Hops != 2 || q.User != "u" {
		t.Errorf("%+v, %+v", e, q)
	}
}

// TestKeysCarryHops has the key of a call say what led to it, each depth and number of hops another.
func TestKeysCarryHops(t *testing.T) {
	t.Parallel()
	signer := auth.NewSigner(make([]byte, 32))
	i := &Invoker{config: Config{Signer: signer, Domain: "d"}}
	known := auth.New(auth.Config{
		Project: func(context.Context, flint.ProjectID) (*flint.Project, error) { return &flint.Project{ID: "p"}, nil },
		Key:     func(context.Context, string) (*flint.Key, error) { return nil, nil },
		Signer:  signer,
	})
	tg := &target{function: &flint.Function{Project: "p", ID: "f"}}
	for hops := range maxKeys + 2 {
		r, _ := i.request(tg, &Call{Project: "p", Function: "f", Caller: Caller{Hops: hops, Depth: 1}})
		asked := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		asked.Header.Set(auth.ProjectHeader, "p")
		for _, h := range r.Headers {
			if h.Name == "x-appwrite-key" {
				asked.Header.Set(auth.KeyHeader, h.Value)
			}
		}
		p, err := known.Authenticate(asked)
		if err != nil || p.Hops != hops || p.Depth != 2 {
			t.Errorf("after %d hops: %+v, %v", hops, p, err)
		}
	}
	if len(tg.keys.known) > maxKeys {
		t.Errorf("%d keys are kept", len(tg.keys.known))
	}
}
