// Package explain is the REST service that says why things are in their state. It lives in the namespace /v1/flint, which the
// reference's clients do not know.
package explain

import (
	"context"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/explain"
	"flint/wire"
)

// Service is the REST service.
type Service struct{ explainer *explain.Explainer }

// New returns the service.
func New(x *explain.Explainer) *Service { return &Service{explainer: x} }

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/v1/flint/explain/{id}", Name: "flint.explain", Summary: "Explain", Scopes: []string{"executions.read", "functions.read"}, Callers: auth.Servers, Handler: api.Handle(200, s.explain)},
	}
}

type explainIn struct {
	api.Request
	ID string `param:"id" rule:"id" doc:"ID of an execution, deployment or function."`
}

func (s *Service) explain(ctx context.Context, in *explainIn) (*wire.Explanation, error) {
	if !in.Principal.Privileged() {
		return nil, flint.ErrNothingToExplain
	}
	e, err := s.explainer.Explain(ctx, in.Principal.ProjectID(), in.ID)
	if err != nil {
		return nil, err
	}
	need := "functions.read"
	if e.Kind == "execution" || e.Kind == "deadletter" {
		need = "executions.read"
	}
	if !in.Principal.Holds(need) { // the route asks for either
		return nil, flint.ErrNothingToExplain
	}
	return wire.NewExplanation(e), nil
}
