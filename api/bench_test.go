package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"flint"
	"flint/api/apitest"
	"flint/api/functions"
	"flint/invoke"
)

// BenchmarkCreateExecution is what the frame and the handler add to a call: everything but the call itself.
func BenchmarkCreateExecution(b *testing.B) {
	bed := apitest.New(b)
	e := &flint.Execution{Function: "f", Status: flint.ExecutionCompleted, StatusCode: 200, Logs: strings.Repeat("x", 200)}
	s := functions.New(functions.Config{Store: bed.Store, Invoker: instant{Invoker: bed.Invoker, e: e}, Builder: bed.Builder, Runtimes: bed.Runtimes, Logger: bed.Logger})
	a := bed.Serve(s.Routes())
	b.ReportAllocs()
	for b.Loop() {
		bed.Logs.Reset()
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/functions/f/executions", strings.NewReader(`{"body":"hello","path":"/x","method":"POST","headers":{"x-one":"1"}}`))
		r.Header = http.Header{
			"Content-Type": {"application/json"}, "X-Appwrite-Project": {"demo"}, "X-Appwrite-Key": {"standard_full"}, "X-Appwrite-Response-Format": {"1.9.5"},
		}
		w := httptest.NewRecorder()
		if a.ServeHTTP(w, r); w.Code != http.StatusCreated {
			b.Fatal(w.Code, w.Body)
		}
	}
}

// instant answers calls at once.
type instant struct {
	*apitest.Invoker
	e *flint.Execution
}

func (i instant) Run(_ context.Context, c *invoke.Call) (*invoke.Result, error) {
	return &invoke.Result{Execution: i.e, Body: c.Body, Headers: []flint.Header{{Name: "content-type", Value: "text/plain"}}}, nil
}
