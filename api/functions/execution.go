package functions

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"flint"
	"flint/api"
	"flint/invoke"
	"flint/wire"
)

// errUnreadableAnswer is of a type that elsewhere means a fault of ours; the reference uses it here too.
var errUnreadableAnswer = &flint.Error{Kind: flint.Invalid, Type: "general_unknown", Message: "Failed to parse response: the function answered bytes that are not UTF-8 text, which JSON cannot carry."}

type createExecutionIn struct {
	oneFunction
	Body        string     `param:"body" rule:"text 0 10485760" doc:"Body of the call."`
	Async       bool       `param:"async" default:"false" rule:"loose" doc:"Answer at once and run the function later."`
	Path        string     `param:"path" default:"/" rule:"text 1 2048" doc:"Path of the call, with its query."`
	Method      string     `param:"method" default:"POST" rule:"enum GET POST PUT PATCH DELETE OPTIONS HEAD" doc:"Method of the call."`
	Headers     api.Object `param:"headers" rule:"headers" doc:"Headers of the call."`
	ScheduledAt *string    `param:"scheduledAt" rule:"text 0 100" doc:"When to run the function."`
}

// createdExecution is the answer to a call: accepted until there is a result.
type createdExecution struct{ *wire.Execution }

// StatusCode is 202 while the execution is not finished.
func (e createdExecution) StatusCode() int {
	if flint.ExecutionStatus(e.Status).Final() {
		return 201
	}
	return 202
}

// createExecution calls the function. Who may and whether it can be called is decided where all calls go through.
func (s *Service) createExecution(ctx context.Context, in *createExecutionIn) (createdExecution, error) {
	if in.ScheduledAt != nil {
		return createdExecution{}, delayed(*in.ScheduledAt, in.Async)
	}
	p := in.Principal
	call := &invoke.Call{
		Project: in.project(), Function: in.id(), Trigger: flint.TriggerHTTP,
		Caller: invoke.Caller{Privileged: p.Privileged(), Roles: p.Roles, User: p.UserID, UserJWT: p.UserJWT},
		Method: in.Method, Path: in.Path, Headers: lowered(in.Headers), Body: []byte(in.Body), ClientIP: in.ClientIP,
	}
	if in.Async {
		e, err := s.config.Invoker.Enqueue(ctx, call)
		if err != nil {
			return createdExecution{}, err
		}
		return createdExecution{wire.NewExecution(e, p.Privileged(), in.Format)}, nil
	}
	result, err := s.config.Invoker.Run(ctx, call)
	if err != nil {
		return createdExecution{}, err
	}
	if !utf8.Valid(result.Body) {
		return createdExecution{}, errUnreadableAnswer
	}
	m := wire.NewExecution(result.Execution, p.Privileged(), in.Format)
	m.ResponseBody = string(result.Body)
	m.ResponseHeaders = append([]flint.Header{}, result.Headers...)
	return createdExecution{m}, nil
}

// delayed checks the wish for a later run, and then says that there are none yet.
func delayed(at string, async bool) error {
	if !async {
		return flint.ErrBadRequest.Saying("Scheduled executions must run asynchronously. Set scheduledAt to a future date, or set async to true.")
	}
	t, ok := flint.ParseTime(at)
	if !ok || !t.After(time.Now().Add(time.Minute)) || !t.Equal(t.Truncate(time.Minute)) {
		return flint.ErrBadRequest.Saying("Execution schedule must be a valid date, and at least 1 minute from now")
	}
	return api.ErrNotImplemented.Saying("Delayed executions are not available in this version. Call the function without scheduledAt, or give it a schedule.")
}

func lowered(headers api.Object) []flint.Header {
	list := make([]flint.Header, 0, len(headers))
	for _, h := range headers {
		list = append(list, flint.Header{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	return list
}

// visible reads the function of executions that a caller wants to see. A disabled one does not exist for clients.
func (s *Service) visible(ctx context.Context, in *oneFunction) (*flint.Function, error) {
	f, err := s.function(ctx, in)
	if err == nil && !f.Enabled && !in.Principal.Privileged() {
		return nil, flint.ErrFunctionNotFound
	}
	return f, err
}

type listExecutionsIn struct {
	oneFunction
	page
}

func (s *Service) listExecutions(ctx context.Context, in *listExecutionsIn) (*wire.ExecutionList, error) {
	if _, err := s.visible(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	l, err := in.list(flint.ExecutionAttributes())
	if err != nil {
		return nil, err
	}
	found, total, err := s.config.Store.Executions(ctx, in.project(), in.id(), l)
	if err != nil {
		return nil, err
	}
	if !in.Principal.Privileged() {
		found = slices.DeleteFunc(found, func(e *flint.Execution) bool { return !readable(&in.oneFunction, e) })
		total = min(total, len(found)) // how many there are is not theirs to know
	}
	return wire.NewExecutionList(found, total, in.Principal.Privileged(), in.Format), nil
}

// readable reports whether a caller may see an execution.
func readable(in *oneFunction, e *flint.Execution) bool {
	p := in.Principal
	return p.Privileged() || p.UserID != "" && slices.Contains(e.Permissions, `read("user:`+p.UserID+`")`)
}

type oneExecution struct {
	oneFunction
	ExecutionID string `param:"executionId" rule:"id" doc:"Execution ID."`
}

func (s *Service) getExecution(ctx context.Context, in *oneExecution) (*wire.Execution, error) {
	if _, err := s.visible(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	e, err := s.config.Store.Execution(ctx, in.project(), in.id(), flint.ExecutionID(in.ExecutionID))
	if err != nil {
		return nil, err
	}
	if !readable(&in.oneFunction, e) {
		return nil, flint.ErrExecutionNotFound
	}
	return wire.NewExecution(e, in.Principal.Privileged(), in.Format), nil
}

// deleteExecution is for servers: to others the function's row is not readable.
func (s *Service) deleteExecution(ctx context.Context, in *oneExecution) (api.NoContent, error) {
	if !in.Principal.Privileged() {
		return api.NoContent{}, flint.ErrFunctionNotFound
	}
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return api.NoContent{}, err
	}
	return api.NoContent{}, s.config.Store.DeleteExecution(ctx, in.project(), in.id(), flint.ExecutionID(in.ExecutionID))
}
