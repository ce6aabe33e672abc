package functions

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"flint"
	"flint/api"
	"flint/auth"
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
type createdExecution struct {
	*wire.Execution
	form []api.FormField
}

// Form returns the answer as a client wants it that asked for a form, which can hold any bytes; else nothing.
func (e createdExecution) Form() []api.FormField { return e.form }

// StatusCode is 202 while the execution is not finished.
func (e createdExecution) StatusCode() int {
	if flint.ExecutionStatus(e.Status).Final() {
		return 201
	}
	return 202
}

// createExecution calls the function. Who may and whether it can be called is decided where all calls go through.
func (s *Service) createExecution(ctx context.Context, in *createExecutionIn) (createdExecution, error) {
	p := in.Principal
	call := &invoke.Call{
		Project: in.project(), Function: in.id(), Trigger: flint.TriggerHTTP,
		Caller: invoke.Caller{Privileged: p.Privileged(), Roles: p.Roles, User: p.UserID, UserJWT: p.UserJWT, Depth: p.Depth, Hops: p.Hops},
		Method: in.Method, Path: in.Path, Headers: lowered(in.Headers), Body: []byte(in.Body), ClientIP: in.ClientIP,
	}
	if in.ScheduledAt != nil {
		var err error
		if call.At, err = delay(*in.ScheduledAt, in.Async); err != nil {
			return createdExecution{}, err
		}
		call.Trigger, call.Caller.UserJWT = flint.TriggerSchedule, "" // a token would be old by then
	}
	if err := in.keys(call); err != nil {
		return createdExecution{}, err
	}
	if in.Async {
		e, err := s.config.Invoker.Enqueue(ctx, call)
		if err != nil {
			return createdExecution{}, err
		}
		return s.accepted(ctx, in, e)
	}
	result, err := s.config.Invoker.Run(ctx, call)
	if err != nil {
		return createdExecution{}, err
	}
	m := wire.NewExecution(result.Execution, p.Privileged(), in.Format)
	m.ResponseHeaders = append([]flint.Header{}, result.Headers...)
	return in.answer(m, result.Body)
}

// The headers with which a call that nobody waits for is made once, or in turn. They are ours: the reference has none. The first is
// draft-ietf-httpapi-idempotency-key-header.
const (
	idempotencyHeader = "idempotency-key"
	orderingHeader    = "x-flint-ordering-key"
	maxKey            = 255
)

// keys reads the keys of an asynchronous call of a server, from the headers of the request or, for clients that cannot set
// these, from those of the call. Clients have none: a key is the function's, so that one could read or hold up what is another's.
func (in *createExecutionIn) keys(call *invoke.Call) error {
	if !in.Async || !in.Principal.Privileged() {
		return nil
	}
	for name, to := range map[string]*string{idempotencyHeader: &call.IdempotencyKey, orderingHeader: &call.OrderKey} {
		key := in.Header.Get(name)
		if key == "" {
			for _, h := range call.Headers {
				if h.Name == name {
					key = h.Value
				}
			}
		}
		if len(key) > maxKey {
			return api.Invalid(name, "Value must be a valid string and no longer than "+strconv.Itoa(maxKey)+" chars")
		}
		*to = key
	}
	if call.OrderKey != "" && !call.At.IsZero() {
		return api.Invalid(orderingHeader, "A call that runs at a time of its own has no place in an order")
	}
	return nil
}

// accepted answers an asynchronous call. One whose idempotency key was known may have ended: it comes with the answer.
func (s *Service) accepted(ctx context.Context, in *createExecutionIn, e *flint.Execution) (createdExecution, error) {
	m := wire.NewExecution(e, in.Principal.Privileged(), in.Format)
	if !e.Status.Final() {
		return in.answer(m, nil)
	}
	kept, err := s.config.Store.Answer(ctx, e.ID)
	if err != nil {
		return createdExecution{}, err
	}
	if kept == nil {
		return in.answer(m, nil)
	}
	m.ResponseHeaders = append([]flint.Header{}, kept.Headers...)
	return in.answer(m, kept.Body)
}

// answer makes what the client asked for out of an execution and the body that the function answered.
func (in *createExecutionIn) answer(m *wire.Execution, body []byte) (createdExecution, error) {
	if !wantsForm(in.Header.Get("Accept")) {
		if !utf8.Valid(body) {
			return createdExecution{}, errUnreadableAnswer
		}
		m.ResponseBody = string(body)
		return createdExecution{Execution: m}, nil
	}
	fields, err := wire.Fields(m, in.Format)
	if err != nil {
		return createdExecution{}, err
	}
	e := createdExecution{Execution: m, form: make([]api.FormField, 0, len(fields))}
	for _, f := range fields {
		value := []byte(f.Text())
		if f.Name == "responseBody" || f.Name == "response" {
			value = body
		}
		e.form = append(e.form, api.FormField{Name: f.Name, Value: value})
	}
	return e, nil
}

// wantsForm reports whether the first type of an Accept header that an execution can have is a form.
func wantsForm(accept string) bool {
	for kind := range strings.SplitSeq(accept, ",") {
		kind, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(kind)), ";")
		switch {
		case strings.HasPrefix(kind, "application/json"), kind == "application/*":
			return false
		case kind == "multipart/form-data", kind == "multipart/*":
			return true
		}
	}
	return false
}

// delay reads the wish for a later run.
func delay(at string, async bool) (time.Time, error) {
	if !async {
		return time.Time{}, flint.ErrBadRequest.Saying("Scheduled executions must run asynchronously. Set scheduledAt to a future date, or set async to true.")
	}
	t, ok := flint.ParseTime(at)
	if !ok || !t.After(time.Now().Add(time.Minute)) || !t.Equal(t.Truncate(time.Minute)) {
		return time.Time{}, flint.ErrBadRequest.Saying("Execution schedule must be a valid date, and at least 1 minute from now")
	}
	return t, nil
}

func lowered(headers api.Object) []flint.Header {
	list := make([]flint.Header, 0, len(headers))
	for _, h := range headers {
		list = append(list, flint.Header{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	return list
}

// visible looks for the function of executions that a caller wants to see. A disabled one does not exist for clients.
func (s *Service) visible(ctx context.Context, in *oneFunction) error {
	f, err := s.function(ctx, in)
	if err == nil && !f.Enabled && !in.Principal.Privileged() {
		return flint.ErrFunctionNotFound
	}
	return err
}

type listExecutionsIn struct {
	oneFunction
	page
}

func (s *Service) listExecutions(ctx context.Context, in *listExecutionsIn) (*wire.ExecutionList, error) {
	if err := s.visible(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	l, err := in.list(flint.ExecutionAttributes(), nil)
	if err != nil {
		return nil, err
	}
	if p := in.Principal; !p.Privileged() {
		if p.UserID == "" { // nothing is anybody's
			return wire.NewExecutionList(nil, 0, false, in.Format), nil
		}
		l.Filters = append(l.Filters, flint.Query{Method: "contains", Attribute: "$permissions", Values: []any{readPermission(p)}})
	}
	found, total, err := s.config.Store.Executions(ctx, in.project(), in.id(), l)
	if err != nil {
		return nil, err
	}
	return wire.NewExecutionList(found, total, in.Principal.Privileged(), in.Format), nil
}

// readable reports whether a caller may see an execution.
func readable(in *oneFunction, e *flint.Execution) bool {
	p := in.Principal
	return p.Privileged() || p.UserID != "" && slices.Contains(e.Permissions, readPermission(p))
}

// readPermission is what the executions of a user have among their permissions.
func readPermission(p *auth.Principal) string { return `read("user:` + p.UserID + `")` }

type oneExecution struct {
	oneFunction
	ExecutionID string `param:"executionId" rule:"id" doc:"Execution ID."`
}

func (s *Service) getExecution(ctx context.Context, in *oneExecution) (*wire.Execution, error) {
	e, err := s.readExecution(ctx, in)
	if err != nil {
		return nil, err
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
