package invoke

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"flint"
	"flint/auth"
)

// TestPrepare makes the rows of a call that the platform begins.
func TestPrepare(t *testing.T) {
	t.Parallel()
	i := &Invoker{config: Config{Signer: auth.NewSigner(make([]byte, 32)), Domain: "d"}}
	at := time.Now()
	e, q := i.Prepare(&Call{
		Project: "p", Function: "f", Trigger: flint.TriggerEvent, Caller: Caller{User: "u", Hops: 2}, Event: "e", Method: "POST", Path: "/", Body: []byte("b"),
	}, "d", at)
	if len(e.ID) == 0 || e.Status != flint.ExecutionWaiting || e.Deployment != "d" || !e.CreatedAt.Equal(at) || e.Permissions[0] != `read("user:u")` {
		t.Errorf("execution %+v", e)
	}
	if q.Event != "e" || q.Hops != 2 || q.User != "u" || string(q.Body) != "b" || !q.Expires.IsZero() {
		t.Errorf("call %+v", q)
	}
	i.Refuse(e, "why")
	if e.Status != flint.ExecutionFailed || e.StatusCode != 500 || e.Errors != "why" || e.Receipt == nil {
		t.Errorf("refused %+v", e)
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
