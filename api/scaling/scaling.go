// Package scaling is the REST service of how many workers a function has and how long they stay. It lives in the
// namespace /v1/flint, which the reference's clients do not know.
package scaling

import (
	"context"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/store"
	"flint/wire"
)

// Config is what the service needs.
type Config struct {
	Store      *store.Store
	MaxWorkers int // of this node; 0: not known
}

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil {
		panic("scaling: Store is required")
	}
	return &Service{config: c}
}

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const path = "/v1/flint/functions/{functionId}/scaling"
	keepAlive := api.TextRule(func(s string) bool { _, ok := flint.ParseKeepAlive(s); return ok },
		"Value must be default, learned, or a number of seconds from 1 to 86400", nil)
	keepAlive.Scalar = true
	rules := map[string]api.Rule{
		"minWarm": api.RangeRule(0, flint.MaxMinWarm), "maxWorkers": api.RangeRule(0, flint.MaxMaxWorkers),
		"callsPerWorker": api.RangeRule(0, flint.MaxCallsPerWorker), "keepAlive": keepAlive,
	}
	return []api.Route{
		{Method: "GET", Path: path, Name: "flint.getFunctionScaling", Summary: "Get scaling", Scopes: []string{"functions.read"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.get)},
		{Method: "PUT", Path: path, Name: "flint.updateFunctionScaling", Summary: "Update scaling", Scopes: []string{"functions.write"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.update)},
	}
}

type getIn struct {
	api.Request
	FunctionID string `param:"functionId" rule:"id" doc:"Function ID."`
}

func (s *Service) get(ctx context.Context, in *getIn) (*wire.FunctionScaling, error) {
	f, err := s.config.Store.Function(ctx, in.Principal.ProjectID(), flint.FunctionID(in.FunctionID))
	if err != nil {
		return nil, err
	}
	return wire.NewFunctionScaling(f), nil
}

type updateIn struct {
	getIn
	MinWarm        int    `param:"minWarm" default:"0" rule:"minWarm" doc:"Workers that are kept ready although nobody calls."`
	MaxWorkers     int    `param:"maxWorkers" default:"0" rule:"maxWorkers" doc:"Most workers at once; 0: what this node gives to one function."`
	CallsPerWorker int    `param:"callsPerWorker" default:"0" rule:"callsPerWorker" doc:"Most calls at once in one worker; 0: what the language can. It cannot be more than that."`
	KeepAlive      string `param:"keepAlive" default:"default" rule:"keepAlive" doc:"How long a worker without calls stays: seconds, default for the node's setting, or learned from the times of the calls."`
}

// update replaces all of the settings: what is absent is left to the node.
func (s *Service) update(ctx context.Context, in *updateIn) (*wire.FunctionScaling, error) {
	keep, _ := flint.ParseKeepAlive(in.KeepAlive) // the rule has seen to it
	settings := flint.Scaling{MinWarm: in.MinWarm, MaxWorkers: in.MaxWorkers, CallsPerWorker: in.CallsPerWorker, KeepAlive: keep}
	if field, why := settings.Check(s.config.MaxWorkers); field != "" {
		return nil, api.Invalid(field, why)
	}
	f, err := s.config.Store.UpdateFunction(ctx, in.Principal.ProjectID(), flint.FunctionID(in.FunctionID), func(f *flint.Function) error {
		f.Scaling = settings
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wire.NewFunctionScaling(f), nil
}
