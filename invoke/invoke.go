// Package invoke runs functions. There is exactly one way to run one, whatever triggered it: find the target, check the
// right to execute, inject the headers, call the worker pool under the one deadline, write the record. API, domains,
// schedules and events are thin fronts to it.
//
// Invariants:
//   - A synchronous call touches SQL once, to insert its record, and is answered after that record outlives the process.
//   - An asynchronous call is a row before anyone is told of it; it is attempted at most once, and a row that lost its
//     owner ends with a reason.
//   - The deadline of a call is set here and nowhere below.
//
// Goroutines: [Invoker.Work] owns those that run queued calls; [Invoker.Changed] waits for those that it starts.
package invoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/auth"
	"flint/internal/pull"
	"flint/internal/sparse"
	"flint/runtimes"
	"flint/store"
	"flint/worker"
)

// Caller is who asked for a call.
type Caller struct {
	Privileged bool     // a key or an administrator: no execute check, may run a disabled function
	Roles      []string // of others
	User       string
	UserJWT    string
	Depth      int // how many functions wait for the call in turn; 0: it comes from outside
	Hops       int // how many triggers led to the call in turn; 0: none
}

// Call is a call to make.
type Call struct {
	Project  flint.ProjectID
	Function flint.FunctionID
	Trigger  flint.Trigger
	Caller   Caller
	Event    string // with TriggerEvent
	Method   string
	Path     string         // with the query string
	Headers  []flint.Header // the caller's, names in lower case
	Body     []byte
	More     io.Reader // what follows Body when it is not in memory; reading ends when the call does
	ClientIP string
	At       time.Time // of Enqueue: when to run; zero: at once

	OrderKey       string // of Enqueue: calls of the function with the same key are made one at a time, as they were accepted
	IdempotencyKey string // of Enqueue: a second call of the function with the same key is the first one

	Identified bool // on a domain: Caller is known and needs the right to execute; else anybody calls, where anybody may

	id       flint.ExecutionID
	said     func([]byte) // hears what it logs; nil: nobody does
	attempt  int          // of those that may be several, from 1; 0: there is one
	accepted time.Time
	due      time.Time // of asynchronous calls
	async    bool
	domain   bool
}

// Result is what came of a call.
type Result struct {
	Execution *flint.Execution // as stored
	Headers   []flint.Header   // all of the function's answer, names in lower case, each once
	Body      []byte
}

// Config is what an Invoker needs.
type Config struct {
	Store    *store.Store
	Pool     *worker.Pool
	Runtimes *runtimes.Catalog
	Signer   *auth.Signer
	Logger   *slog.Logger
	Registry prometheus.Registerer

	Observe func(*flint.Execution)           // told of every execution that ended; must not block. nil: nobody asks
	Locate  func(address string) flint.Place // nil: nothing is known of any address

	Bell pull.Bell // rung when a queued call may be waiting, also by others; nil: one of its own
	Ring func()    // rings that bell wherever queued calls are run; nil: only here

	Node        string        // names this node in leases; the same in each of its lives
	Endpoint    string        // of the API, as functions reach it
	Region      string        // [default]
	Domain      string        // functions are at <label>.<Domain>; the host of calls that come without one
	Synchronous time.Duration // wall clock of calls whose caller waits [30 s]
	Concurrency int           // queued calls that run at once on this node [64]
	Lease       time.Duration // how long a queued call may go without a sign of life [30 s]
	StopTimeout time.Duration // how long queued calls that run may take to finish when the node stops [30 s]
}

// Invoker makes calls. It is safe for concurrent use.
type Invoker struct {
	config  Config
	targets *targets
	metrics *metrics
	changes changes
	running running
	urgent  atomic.Int64 // queued calls that go before those of callers who wait
	bell    pull.Bell    // there may be queued calls

	complaints sparse.Gate // about all queued calls together
}

// New makes an Invoker.
func New(c Config) *Invoker {
	if c.Region == "" {
		c.Region = "default"
	}
	if c.Synchronous == 0 {
		c.Synchronous = flint.SynchronousTimeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = 64
	}
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 30 * time.Second
	}
	if c.Bell == nil {
		c.Bell = pull.NewBell()
	}
	if c.Ring == nil {
		c.Ring = c.Bell.Ring
	}
	i := &Invoker{config: c, bell: c.Bell, metrics: newMetrics(c.Registry)}
	i.targets = newTargets(i.loadTarget)
	i.changes = changes{keys: map[functionKey]bool{}, bell: pull.NewBell()}
	return i
}

// Function returns a function as calls see it.
func (i *Invoker) Function(ctx context.Context, project flint.ProjectID, function flint.FunctionID) (*flint.Function, error) {
	t, err := i.targets.get(ctx, project, function)
	if err != nil {
		return nil, err
	}
	return t.function, nil
}

// Overloaded says why a call of a public function would be refused for want of room, or nil. Whoever asks has not made the
// call yet, and saves what that takes.
func (i *Invoker) Overloaded(ctx context.Context, project flint.ProjectID, function flint.FunctionID) error {
	t, err := i.targets.get(ctx, project, function)
	if err != nil || t.missing != nil || !t.function.Enabled || !t.function.Public() {
		return nil //nolint:nilerr // the call itself finds out what is wrong
	}
	return i.config.Pool.Overloaded(t.worker)
}

// Delete ends what runs of a function that is gone.
func (i *Invoker) Delete(project flint.ProjectID, function flint.FunctionID) {
	i.targets.forget(project, function)
	i.config.Pool.Forget(project, function, "the function was deleted")
}

// Run makes a synchronous call of the API. A function that fails is a Result with a failed execution, not an error.
func (i *Invoker) Run(ctx context.Context, c *Call) (*Result, error) {
	t, err := i.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	a, err := i.attempt(ctx, t, c)
	if err != nil {
		return nil, err
	}
	defer a.deadline.stop()
	body := a.readAll()
	if err := i.append(a, i.config.Store.RecordExecution); err != nil {
		return nil, err
	}
	i.finished(a)
	if errors.Is(a.cause, flint.ErrSynchronousTimeout) {
		return nil, flint.ErrSynchronousTimeout
	}
	headers := append(lastOfEach(a.headers), flint.Header{Name: "x-appwrite-execution-id", Value: string(a.execution.ID)})
	return &Result{Execution: a.execution, Headers: headers, Body: body}, nil
}

// admit finds what a call is for and checks that it may be made.
func (i *Invoker) admit(ctx context.Context, c *Call) (*target, error) {
	c.id, c.accepted = flint.ExecutionID(flint.NewID()), time.Now()
	t, err := i.targets.get(ctx, c.Project, c.Function)
	if err != nil {
		return nil, err
	}
	if !t.function.Enabled && !c.Caller.Privileged {
		return nil, flint.ErrFunctionNotFound
	}
	if t.missing != nil {
		return nil, t.missing
	}
	switch {
	case c.domain && !c.Identified:
		if !t.function.Public() {
			return nil, flint.ErrNoExecutePermission
		}
	case !c.Caller.Privileged:
		if err := t.function.MayExecute(c.Caller.Roles); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// attempt is one call on its way: from the request to the head of the response, and what is needed to finish.
type attempt struct {
	target    *target
	call      *Call
	execution *flint.Execution
	response  *worker.Response // nil when there is none
	status    int
	headers   []flint.Header // after the contract's rules
	cause     error          // why the function did not answer
	begun     time.Time
	record    context.Context //nolint:containedctx // under which the execution is written: the call may be over
	ctx       context.Context //nolint:containedctx // the call's own; ends with the attempt
	deadline  deadline        // of ctx
	taken     *flint.Receipt  // room for that of the execution
}

// newAttempt begins one. Its execution is in memory apart from it, together with the receipt: who follows executions has them
// when the attempt, with its bodies, is long over.
func newAttempt(ctx context.Context, t *target, c *Call, stored []flint.Header) *attempt {
	kept := &struct {
		execution flint.Execution
		receipt   flint.Receipt
	}{execution: flint.Execution{
		Project: c.Project, ID: c.id, Function: c.Function, Deployment: t.deployment.ID,
		CreatedAt: c.accepted, UpdatedAt: c.accepted, Trigger: c.Trigger,
		RequestMethod: c.Method, RequestPath: c.Path, RequestHeaders: stored,
	}}
	if c.Caller.User != "" {
		kept.execution.Permissions = []string{fmt.Sprintf("read(%q)", "user:"+c.Caller.User)}
	}
	return &attempt{
		target: t, call: c, begun: time.Now(), record: context.WithoutCancel(ctx), execution: &kept.execution, taken: &kept.receipt,
	}
}

// attempt calls the function and returns when its response has begun or failed. The error is for calls that were not
// made at all; everything else is in the attempt.
func (i *Invoker) attempt(ctx context.Context, t *target, c *Call) (*attempt, error) {
	request, stored := i.request(t, c)
	a := newAttempt(ctx, t, c, stored)
	if !c.async {
		ctx = a.record // the function finishes what it began although its caller has gone
	}
	a.ctx = a.deadline.begin(ctx, t.function, i.config.Synchronous, c.async)
	request.Begun, request.Execution, request.Said = a.deadline.run, a.execution, c.said
	response, output, err := i.config.Pool.Do(a.ctx, t.worker, request)
	if refused(err) {
		a.deadline.stop()
		return nil, err
	}
	if err != nil {
		a.fail(err, output)
		return a, nil
	}
	a.response = response
	a.status = response.Status
	if a.headers, err = responseHeaders(response.Headers); err == nil {
		err = validStatus(a.status)
	}
	if err != nil {
		response.Close()
		a.fail(err, response.Output())
	}
	return a, nil
}

// refused reports whether a call was not made because there was no room for it.
func refused(err error) bool {
	return errors.Is(err, flint.ErrTooBusy) || errors.Is(err, flint.ErrFunctionBusy) || errors.Is(err, flint.ErrShuttingDown)
}

// fail settles an attempt whose function gave no answer.
func (a *attempt) fail(cause error, output worker.Output) {
	a.response, a.headers, a.cause = nil, nil, cause
	a.status = 500
	a.execution.Logs = output.Logs
	a.execution.Errors = joinLines(output.Errors, explain(cause))
	a.receipt(output.Receipt)
	a.settle()
}

// explain words a failure for the author of the function.
func explain(cause error) string {
	if syncTimeout, ok := errors.AsType[*flint.Error](cause); ok {
		return syncTimeout.Message
	}
	return cause.Error()
}

func joinLines(a, b string) string {
	if a != "" && !strings.HasSuffix(a, "\n") {
		a += "\n"
	}
	return flint.ClipOutput(a+b, "Errors", false)
}

// settle fills in how the execution ended. Logs and errors are there already.
func (a *attempt) settle() {
	e := a.execution
	e.StatusCode = a.status
	e.Status = flint.ExecutionCompleted
	if a.status >= 500 {
		e.Status = flint.ExecutionFailed
	}
	if !a.target.function.Logging {
		e.Logs, e.Errors = "", ""
	}
	e.UpdatedAt = time.Now()
	e.Duration = e.UpdatedAt.Sub(a.begun).Seconds()
}

// readAll reads the body to its end, into memory. There is none when the call fails on the way: it has settled then.
func (a *attempt) readAll() []byte {
	if a.response == nil {
		return nil
	}
	var body []byte
	for {
		piece, err := a.next()
		if errors.Is(err, io.EOF) {
			return body
		}
		if err != nil {
			return nil
		}
		if body == nil {
			body = piece
		} else {
			body = append(body, piece...)
		}
		if len(body) > flint.MaxResponseBody {
			response := a.response
			response.Close()
			a.fail(fmt.Errorf("The response is larger than %d bytes.", flint.MaxResponseBody), response.Output()) //nolint:staticcheck,revive // shown as it is
			return nil
		}
	}
}

// next returns the next piece of the body and settles the execution with the last one.
func (a *attempt) next() ([]byte, error) {
	piece, err := a.response.Next(a.ctx)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		output := a.response.Output()
		a.execution.Logs, a.execution.Errors = output.Logs, output.Errors
		a.receipt(output.Receipt)
		a.settle()
	default:
		a.fail(err, a.response.Output())
	}
	return piece, err
}

// append writes the record of a synchronous call.
func (i *Invoker) append(a *attempt, record func(context.Context, *flint.Execution) error) error {
	a.execution.ResponseHeaders = storedHeaders(a.headers)
	return record(a.record, a.execution)
}

// finished counts and logs a finished call.
func (i *Invoker) finished(a *attempt) {
	e := a.execution
	if !a.call.async {
		i.observe(e)
	}
	a.target.meters.finished(e)
	level := slog.LevelDebug
	if a.cause != nil {
		level = slog.LevelInfo
	}
	if !i.config.Logger.Enabled(context.Background(), level) { //nolint:forbidigo // asks, does nothing
		return
	}
	attrs := append([]slog.Attr{
		slog.String("project_id", string(e.Project)), slog.String("function_id", string(e.Function)), slog.String("execution_id", string(e.ID)),
		slog.String("trigger", string(e.Trigger)), slog.Int("status", e.StatusCode), slog.Float64("dur", e.Duration),
	}, receiptAttrs(e.Receipt)...)
	if a.cause != nil {
		attrs = append(attrs, slog.String("err", a.cause.Error()))
	}
	i.config.Logger.LogAttrs(a.record, level, "execution", attrs...)
}

func (i *Invoker) observe(e *flint.Execution) {
	if i.config.Observe != nil {
		i.config.Observe(e)
	}
}

// splitHost takes a Host header apart as the contract has it.
func splitHost(host, scheme string) (name string, port int) {
	port = 80
	if scheme == "https" {
		port = 443
	}
	if !strings.Contains(host, ":") { // as most are: an error would be made for nothing
		return strings.Trim(host, "[]"), port
	}
	h, p, err := net.SplitHostPort(host)
	if err != nil {
		return strings.Trim(host, "[]"), port
	}
	if n, ok := parsePort(p); ok {
		port = n
	}
	return h, port
}

func parsePort(s string) (int, bool) {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' || n > 65535 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, s != "" && n <= 65535
}
