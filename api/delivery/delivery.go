// Package delivery is the REST service of how calls are made that nobody waits for: attempts, limits, what failed for
// good, and the way to end what waits or runs. It lives in the namespace /v1/flint, which the reference's clients do not
// know.
package delivery

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
	Store *store.Store

	Cancel  func(context.Context, flint.ProjectID, flint.FunctionID, flint.ExecutionID) (*flint.Execution, error) // ends an execution
	Redrive func(context.Context, *flint.DeadLetter) (*flint.Execution, error)                                    // makes a dead letter a call
}

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil || c.Cancel == nil || c.Redrive == nil {
		panic("delivery: Store, Cancel and Redrive are required")
	}
	return &Service{config: c}
}

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const function = "/v1/flint/functions/{functionId}"
	const settings, letters = function + "/delivery", function + "/deadletters"
	const letter, execution = letters + "/{executionId}", function + "/executions/{executionId}"
	retryable := make([]string, 0, len(flint.RetryableOutcomes()))
	for _, o := range flint.RetryableOutcomes() {
		retryable = append(retryable, string(o))
	}
	seconds := func(most int) api.Rule { return api.RangeRule(0, most) }
	rules := map[string]api.Rule{
		"attempts": api.RangeRule(0, flint.MaxAttempts), "backoff": seconds(int(flint.MaxBackoff.Seconds())), "age": seconds(int(flint.MaxAge.Seconds())),
		"concurrent": api.RangeRule(0, flint.MaxConcurrent), "outcome": api.EnumRule(retryable...), "limit": api.RangeRule(1, 100),
	}
	read, write := []string{"executions.read"}, []string{"executions.write"}
	return []api.Route{
		{Method: "GET", Path: settings, Name: "flint.getFunctionDelivery", Summary: "Get delivery", Scopes: []string{"functions.read"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.get)},
		{Method: "PUT", Path: settings, Name: "flint.updateFunctionDelivery", Summary: "Update delivery", Scopes: []string{"functions.write"}, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.update)},
		{Method: "GET", Path: letters, Name: "flint.listDeadLetters", Summary: "List dead letters", Scopes: read, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.list)},
		{Method: "DELETE", Path: letters, Name: "flint.purgeDeadLetters", Summary: "Purge dead letters", Scopes: write, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.purge)},
		{Method: "GET", Path: letter, Name: "flint.getDeadLetter", Summary: "Get dead letter", Scopes: read, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.letter)},
		{Method: "DELETE", Path: letter, Name: "flint.deleteDeadLetter", Summary: "Delete dead letter", Scopes: write, Callers: auth.Servers, Rules: rules, Handler: api.Handle(204, s.deleteLetter)},
		{Method: "POST", Path: letter + "/redrive", Name: "flint.redriveDeadLetter", Summary: "Redrive dead letter", Scopes: write, Callers: auth.Servers, Rules: rules, Handler: api.Handle(202, s.redrive)},
		{Method: "POST", Path: execution + "/cancel", Name: "flint.cancelExecution", Summary: "Cancel execution", Scopes: write, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.cancel)},
		{Method: "GET", Path: execution + "/attempts", Name: "flint.listExecutionAttempts", Summary: "List attempts", Scopes: read, Callers: auth.Servers, Rules: rules, Handler: api.Handle(200, s.attempts)},
	}
}

type oneFunction struct {
	api.Request
	FunctionID string `param:"functionId" rule:"id" doc:"Function ID."`
}

func (in *oneFunction) project() flint.ProjectID { return in.Principal.ProjectID() }
func (in *oneFunction) id() flint.FunctionID     { return flint.FunctionID(in.FunctionID) }

func (s *Service) get(ctx context.Context, in *oneFunction) (*wire.FunctionDelivery, error) {
	f, err := s.config.Store.Function(ctx, in.project(), in.id())
	if err != nil {
		return nil, err
	}
	return wire.NewFunctionDelivery(f), nil
}

// function looks for the function of executions that a server asks about. Clients may hold the scope to execute; for them
// there is nothing here.
func (s *Service) function(ctx context.Context, in *oneFunction) error {
	if !in.Principal.Privileged() {
		return flint.ErrFunctionNotFound
	}
	_, err := s.config.Store.Function(ctx, in.project(), in.id())
	return err
}

type updateIn struct {
	oneFunction
	MaxAttempts   int      `param:"maxAttempts" default:"0" rule:"attempts" doc:"How often a call is attempted at most; 0 and 1: once."`
	RetryOn       []string `param:"retryOn" rule:"outcome" max:"5" doc:"After which outcomes a call is attempted again: throttled, error, timeout, crash, lost. Empty: all of them."`
	MinBackoff    int      `param:"minBackoff" default:"0" rule:"backoff" doc:"Upper bound of the first pause between attempts, in seconds, which doubles with each; 0: 1 second."`
	MaxBackoff    int      `param:"maxBackoff" default:"0" rule:"backoff" doc:"Longest pause between attempts, in seconds; 0: 5 minutes."`
	MaxAge        int      `param:"maxAge" default:"0" rule:"age" doc:"Seconds from when a call is due, after which it is not begun or attempted again; 0: one day."`
	DeadLetters   bool     `param:"deadLetters" default:"false" doc:"Keep calls that failed for good, so that they can be made again."`
	MaxConcurrent int      `param:"maxConcurrent" default:"0" rule:"concurrent" doc:"Most asynchronous calls of the function at once; 0: no limit."`
}

// update replaces all of the settings: what is absent gets its default.
func (s *Service) update(ctx context.Context, in *updateIn) (*wire.FunctionDelivery, error) {
	d := flint.Delivery{
		MaxAttempts: in.MaxAttempts, MinBackoff: in.MinBackoff, MaxBackoff: in.MaxBackoff, MaxAge: in.MaxAge, DeadLetters: in.DeadLetters, MaxConcurrent: in.MaxConcurrent,
	}
	for _, o := range in.RetryOn {
		d.RetryOn = append(d.RetryOn, flint.Outcome(o))
	}
	if field, why := d.Check(); field != "" {
		return nil, api.Invalid(field, why)
	}
	f, err := s.config.Store.UpdateFunction(ctx, in.project(), in.id(), func(f *flint.Function) error {
		f.Delivery = d
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wire.NewFunctionDelivery(f), nil
}

type listIn struct {
	oneFunction
	Limit int    `param:"limit" default:"25" rule:"limit" doc:"How many to return at most."`
	After string `param:"after" rule:"text 0 36" doc:"Execution ID of the dead letter after which to go on; they come newest first."`
}

func (s *Service) list(ctx context.Context, in *listIn) (*wire.DeadLetterList, error) {
	if err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	all, total, err := s.config.Store.DeadLetters(ctx, in.project(), in.id(), flint.ExecutionID(in.After), in.Limit)
	if err != nil {
		return nil, err
	}
	return wire.NewDeadLetterList(all, total), nil
}

func (s *Service) purge(ctx context.Context, in *oneFunction) (*wire.DeadLettersPurged, error) {
	if err := s.function(ctx, in); err != nil {
		return nil, err
	}
	n, err := s.config.Store.PurgeDeadLetters(ctx, in.project(), in.id())
	if err != nil {
		return nil, err
	}
	return &wire.DeadLettersPurged{Purged: n}, nil
}

type oneExecution struct {
	oneFunction
	ExecutionID string `param:"executionId" rule:"id" doc:"Execution ID."`
}

func (in *oneExecution) execution() flint.ExecutionID { return flint.ExecutionID(in.ExecutionID) }

// deadLetter reads the one that a request names.
func (s *Service) deadLetter(ctx context.Context, in *oneExecution) (*flint.DeadLetter, error) {
	if err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	return s.config.Store.DeadLetter(ctx, in.project(), in.id(), in.execution())
}

func (s *Service) letter(ctx context.Context, in *oneExecution) (*wire.DeadLetter, error) {
	d, err := s.deadLetter(ctx, in)
	if err != nil {
		return nil, err
	}
	return wire.NewDeadLetter(d), nil
}

func (s *Service) deleteLetter(ctx context.Context, in *oneExecution) (api.NoContent, error) {
	if err := s.function(ctx, &in.oneFunction); err != nil {
		return api.NoContent{}, err
	}
	return api.NoContent{}, s.config.Store.DeleteDeadLetter(ctx, in.project(), in.id(), in.execution())
}

// redrive makes a new execution of a dead letter, which is gone then.
func (s *Service) redrive(ctx context.Context, in *oneExecution) (*wire.Execution, error) {
	d, err := s.deadLetter(ctx, in)
	if err != nil {
		return nil, err
	}
	e, err := s.config.Redrive(ctx, d)
	if err != nil {
		return nil, err
	}
	return wire.NewExecution(e, true, in.Format), nil
}

func (s *Service) cancel(ctx context.Context, in *oneExecution) (*wire.Execution, error) {
	if err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	e, err := s.config.Cancel(ctx, in.project(), in.id(), in.execution())
	if err != nil {
		return nil, err
	}
	return wire.NewExecution(e, true, in.Format), nil
}

func (s *Service) attempts(ctx context.Context, in *oneExecution) (*wire.AttemptList, error) {
	if err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	if _, err := s.config.Store.Execution(ctx, in.project(), in.id(), in.execution()); err != nil {
		return nil, err
	}
	all, err := s.config.Store.Attempts(ctx, in.execution())
	if err != nil {
		return nil, err
	}
	return wire.NewAttemptList(all), nil
}
