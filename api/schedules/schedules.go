// Package schedules is the REST service of how a function's schedule stands, and of what it does about times that it missed. It lives
// in the namespace /v1/flint, which the reference's clients do not know.
package schedules

import (
	"context"
	"errors"
	"time"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/store"
	"flint/wire"
)

// Config is what the service needs.
type Config struct {
	Store *store.Store
}

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil {
		panic("schedules: Store is required")
	}
	return &Service{config: c}
}

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const path = "/v1/flint/functions/{functionId}/schedule"
	jitter := api.TextRule(func(s string) bool { _, ok := flint.ParseJitter(s); return ok },
		"Value must be default, none, or a number of seconds from 1 to 3600", nil)
	jitter.Scalar = true
	rules := map[string]api.Rule{
		"missed": api.EnumRule("default", "skip", "once", "all"), "overlap": api.EnumRule("allow", "skip"), "jitter": jitter,
		"missedLimit": api.RangeRule(0, flint.MaxMissedLimit), "missedAge": api.RangeRule(0, int(flint.MaxMissedAge/time.Second)),
	}
	return []api.Route{
		{Method: "GET", Path: path, Name: "flint.getFunctionSchedule", Summary: "Get schedule", Scopes: []string{"functions.read"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.get)},
		{Method: "PUT", Path: path, Name: "flint.updateFunctionSchedule", Summary: "Update schedule", Scopes: []string{"functions.write"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.update)},
	}
}

type getIn struct {
	api.Request
	FunctionID string `param:"functionId" rule:"id" doc:"Function ID."`
}

func (s *Service) get(ctx context.Context, in *getIn) (*wire.FunctionSchedule, error) {
	project, id := in.Principal.ProjectID(), flint.FunctionID(in.FunctionID)
	v, err := s.config.Store.Schedule(ctx, project, id)
	if err != nil || v.LastExecution == "" {
		return model(v, nil, err)
	}
	last, err := s.config.Store.Execution(ctx, project, id, v.LastExecution)
	if errors.Is(err, flint.ErrExecutionNotFound) {
		err = nil // executions are not kept for ever
	}
	return model(v, last, err)
}

func model(v *flint.Schedule, last *flint.Execution, err error) (*wire.FunctionSchedule, error) {
	if err != nil {
		return nil, err
	}
	return wire.NewFunctionSchedule(v, last), nil
}

type updateIn struct {
	getIn
	Paused      bool   `param:"paused" default:"false" doc:"Whether the schedule is paused. What comes meanwhile does not run later."`
	Missed      string `param:"missed" default:"default" rule:"missed" doc:"What becomes of times at which the node did not run: default runs those of the last five minutes, skip none, once one for all, all the newest ones."`
	MissedLimit int    `param:"missedLimit" default:"0" rule:"missedLimit" doc:"With missed=all, how many of them run at most; 0: 100."`
	MissedAge   int    `param:"missedAge" default:"0" rule:"missedAge" doc:"With missed=once and missed=all, how many seconds ago they may be; 0: a day."`
	Overlap     string `param:"overlap" default:"allow" rule:"overlap" doc:"What becomes of a time at which the run before has not ended: allow runs it, skip does not."`
	Jitter      string `param:"jitter" default:"default" rule:"jitter" doc:"Longest delay of the runs in seconds, of which the function gets a part that stays the same; default for the node's setting, or none."`
}

// update replaces all of the settings: what is absent is as in the reference.
func (s *Service) update(ctx context.Context, in *updateIn) (*wire.FunctionSchedule, error) {
	settings := flint.ScheduleSettings{Paused: in.Paused, MissedLimit: in.MissedLimit, MissedAge: in.MissedAge}
	settings.Missed, _ = flint.ParseMissedPolicy(in.Missed) // the rules have seen to it
	settings.Overlap, _ = flint.ParseOverlap(in.Overlap)
	settings.Jitter, _ = flint.ParseJitter(in.Jitter)
	if _, err := s.config.Store.UpdateFunction(ctx, in.Principal.ProjectID(), flint.FunctionID(in.FunctionID), func(f *flint.Function) error {
		f.Scheduling = settings
		return nil
	}); err != nil {
		return nil, err
	}
	return s.get(ctx, &in.getIn)
}
