package invoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"flint"
	"flint/internal/pull"
	"flint/store"
	"flint/worker"
)

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }

// Enqueue accepts an asynchronous call: when it returns, the execution is durable and waits, for its time if it has one.
// A call whose idempotency key is known is the execution that it was before.
func (i *Invoker) Enqueue(ctx context.Context, c *Call) (*flint.Execution, error) {
	c.async = true
	t, err := i.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	e, q := i.queued(c, t.deployment.ID)
	if err := i.config.Store.EnqueueExecution(ctx, e, q); err != nil {
		return nil, err
	}
	if time.Until(e.ScheduledAt) <= idlePoll { // what is due later is seen in time by whoever looks
		i.config.Ring()
	}
	return e, nil
}

// Prepare makes the execution that waits for a call that the platform itself makes, and what is needed to run it, as Enqueue does for
// others. Nothing is written: whoever knows the cause writes both in one transaction with it, and rings. Whether the function can
// run is found when it does: its record says so.
func (i *Invoker) Prepare(c *Call, deployment flint.DeploymentID, at time.Time) (*flint.Execution, *store.QueuedCall) {
	c.async, c.id, c.accepted = true, flint.ExecutionID(flint.NewID()), at
	return i.queued(c, deployment)
}

// cannotRun begins the errors of an execution whose function is not ready.
const cannotRun = "The function could not be run: "

// Refuse ends an execution that was prepared and will not run.
func (i *Invoker) Refuse(e *flint.Execution, reason string) {
	e.Status, e.StatusCode, e.Errors, e.Receipt = flint.ExecutionFailed, 500, reason, notRun(0)
}

// Ring says that there are queued calls which came by another way than Enqueue.
func (i *Invoker) Ring() { i.config.Ring() }

// queued makes the rows of an asynchronous call.
func (i *Invoker) queued(c *Call, deployment flint.DeploymentID) (*flint.Execution, *store.QueuedCall) {
	headers, _, _ := i.given(c)
	e := &flint.Execution{
		Project: c.Project, ID: c.id, Function: c.Function, Deployment: deployment,
		CreatedAt: c.accepted, UpdatedAt: c.accepted, Trigger: c.Trigger, Status: flint.ExecutionWaiting,
		RequestMethod: c.Method, RequestPath: c.Path, RequestHeaders: stored(headers, c),
	}
	if c.Caller.User != "" {
		e.Permissions = []string{fmt.Sprintf("read(%q)", "user:"+c.Caller.User)}
	}
	if !c.At.IsZero() {
		e.Status, e.ScheduledAt = flint.ExecutionScheduled, c.At
	}
	return e, &store.QueuedCall{
		Method: c.Method, Path: c.Path, Headers: c.Headers, Body: c.Body,
		User: c.Caller.User, UserJWT: c.Caller.UserJWT, ClientIP: c.ClientIP, Event: c.Event, Hops: c.Caller.Hops,
		OrderKey: c.OrderKey, IdempotencyKey: c.IdempotencyKey,
	}
}

// Redrive makes a new call of a dead letter, which is gone then, and returns its execution.
func (i *Invoker) Redrive(ctx context.Context, d *flint.DeadLetter) (*flint.Execution, error) {
	c := &Call{
		Project: d.Project, Function: d.Function, Trigger: d.Trigger, Caller: Caller{Privileged: true, User: d.User, Hops: d.Hops}, Event: d.Event,
		Method: d.Method, Path: d.Path, Headers: d.Headers, Body: d.Body, ClientIP: d.ClientIP, OrderKey: d.OrderKey, async: true,
	}
	t, err := i.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	e, q := i.queued(c, t.deployment.ID)
	if err := i.config.Store.RedriveDeadLetter(ctx, d.ID, e, q); err != nil {
		return nil, err
	}
	i.config.Ring()
	return e, nil
}

// idlePoll is how often the queue is looked at although nobody rang: for rows of other nodes, and for expired leases.
const idlePoll = 5 * time.Second

// busyPause is how long a queued call that found no capacity waits before it may be taken again.
const busyPause = 500 * time.Millisecond

var (
	errStopping = errors.New("The node was stopped before the function finished.") //nolint:staticcheck,revive // shown as it is
	errCanceled = errors.New(canceledReason)                                       //nolint:staticcheck,revive // shown as it is
)

const canceledReason = "The execution was canceled."

// Work runs queued calls until ctx ends, then lets those that run finish, for a while.
func (i *Invoker) Work(ctx context.Context) error {
	life, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var running sync.WaitGroup
	var ofDay clock // of the loop, which is one goroutine
	loop := pull.Loop{
		Slots: i.config.Concurrency, Bell: i.bell, Every: idlePoll, Due: i.config.Store.NextDue,
		Claim: func(ctx context.Context, free int) ([]func(), error) {
			claims, err := i.config.Store.ClaimExecutions(ctx, i.config.Node, i.config.Lease, free)
			work := make([]func(), len(claims))
			for n, c := range claims {
				work[n] = func() { i.runQueued(life, c.Execution, c.Call) }
			}
			return work, err
		},
		Sweep:  func(ctx context.Context) error { return i.sweep(ctx, &ofDay) },
		Failed: func(err error) { i.complain(ctx, "queued calls cannot be read", "", err) },
	}
	loop.Run(ctx, &running)
	patience := time.AfterFunc(i.config.StopTimeout, func() { stop(errStopping) })
	defer patience.Stop()
	running.Wait()
	return nil
}

// running are the queued calls that this node makes at the moment. It is safe for concurrent use.
type running struct {
	mu    sync.Mutex
	calls map[flint.ExecutionID]*runningCall
}

// runningCall is one of them, with the way to end it and what is closed when its result is written.
type runningCall struct {
	project  flint.ProjectID
	function flint.FunctionID
	cancel   context.CancelCauseFunc
	done     chan struct{}
	last     atomic.Pointer[string] // the last that it has logged
}

// lastKept is how much of the last log of a running call is kept, in bytes: the end.
const lastKept = 200

// said keeps the end of what the call logs.
func (c *runningCall) said(text []byte) {
	if len(text) > lastKept {
		text = text[len(text)-lastKept:]
	}
	last := strings.ToValidUTF8(string(text), "\uFFFD")
	c.last.Store(&last)
}

// Said returns the end of what a queued call that runs here has logged last, or nothing.
func (i *Invoker) Said(id flint.ExecutionID) string {
	if c := i.running.of(id); c != nil {
		if last := c.last.Load(); last != nil {
			return *last
		}
	}
	return ""
}

func (r *running) add(id flint.ExecutionID, c *runningCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls = map[flint.ExecutionID]*runningCall{}
	}
	r.calls[id] = c
}

// remove takes a call out that has returned. Another attempt of it may be there by now, and stays.
func (r *running) remove(id flint.ExecutionID, c *runningCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(c.done)
	if r.calls[id] == c {
		delete(r.calls, id)
	}
}

func (r *running) of(id flint.ExecutionID) *runningCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[id]
}

// cancelPatience is how long the canceler of a running call waits for what the function has logged. A call that does not
// stop by then is settled without.
const cancelPatience = 5 * time.Second

// Cancel ends an asynchronous execution that waits or runs, and returns it as it ended. One that runs here is stopped, and
// keeps what it has logged. flint.ErrExecutionEnded when it has ended already.
func (i *Invoker) Cancel(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.ExecutionID) (*flint.Execution, error) {
	if c := i.running.of(id); c != nil && c.project == project && c.function == function {
		c.cancel(errCanceled)
		patience := time.NewTimer(cancelPatience)
		defer patience.Stop()
		select {
		case <-c.done:
			e, err := i.config.Store.Execution(ctx, project, function, id)
			if err != nil || e.Status.Final() {
				return e, err
			}
		case <-patience.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	e, err := i.config.Store.CancelExecution(ctx, project, function, id, canceledReason)
	if err == nil {
		i.observe(e)
		i.config.Ring() // others may have waited for it
	}
	return e, err
}

// runQueued makes a queued call and writes how it ended into its row. The lease is extended as long as it runs.
func (i *Invoker) runQueued(life context.Context, e *flint.Execution, q *store.QueuedCall) {
	defer i.bell.Ring() // in the end: what had to wait for it may be due, or it itself again
	life = flint.WithActor(life, flint.Actor{User: q.User, Hops: q.Hops})
	ctx, cancel := context.WithCancelCause(life)
	here := &runningCall{project: e.Project, function: e.Function, cancel: cancel, done: make(chan struct{})}
	i.running.add(e.ID, here)
	defer i.running.remove(e.ID, here)
	var lease sync.WaitGroup
	defer lease.Wait()
	defer cancel(nil)
	lease.Go(func() { i.keepLease(ctx, cancel, e.ID, q.Attempt) })

	lane, calm := i.urgency(e)
	defer calm()
	call := &Call{
		Project: e.Project, Function: e.Function, Trigger: e.Trigger, Method: q.Method, Path: q.Path, Headers: q.Headers, Body: q.Body,
		Caller: Caller{Privileged: true, User: q.User, UserJWT: q.UserJWT, Depth: lane, Hops: q.Hops}, // the right was checked when it was accepted
		Event:  q.Event, ClientIP: q.ClientIP, async: true, said: here.said,
	}
	if q.Delivery.MaxAttempts > 1 {
		call.attempt = q.Tries + 1
	}
	done, end, busy := i.runWatched(ctx, e, call)
	if busy != nil { // somebody else's turn, for a while
		i.insist(life, "queued call not handed back", e.ID, func(ctx context.Context) error {
			return i.config.Store.ReleaseExecution(ctx, e.ID, q.Attempt, busyPause, "The last time there was no room for it: "+explain(busy))
		})
		return
	}
	end.Attempt = q.Attempt
	i.finish(life, done, end)
}

// targetEffort is how long it may take to read what a call is of.
const targetEffort = 10 * time.Second

// runWatched makes the call and returns the execution as its function's answer leaves it, and how that ended; or why it
// could not be made now. It returns in any case, a while after the call's deadline at the latest.
func (i *Invoker) runWatched(ctx context.Context, e *flint.Execution, call *Call) (*flint.Execution, store.Ending, error) {
	limited, cancel := context.WithTimeout(ctx, targetEffort)
	defer cancel()
	t, err := i.targets.get(limited, e.Project, e.Function)
	if err == nil {
		err = t.missing
	}
	if err != nil && (errors.Is(err, flint.ErrStorageUnavailable) || limited.Err() != nil) {
		return nil, store.Ending{}, err
	}
	if err != nil {
		return neverRan(*e, cannotRun+explain(err)), store.Ending{Outcome: flint.OutcomeUnrunnable}, nil
	}
	var done *flint.Execution
	var end store.Ending
	stack, err := within(ctx, t.function.Timeout+flint.AsynchronousGrace+watchMargin, func(ctx context.Context) (err error) {
		done, end, err = i.runOnce(ctx, t, *e, call)
		return err
	})
	if stack != "" { // done and end are still the other goroutine's
		i.config.Logger.ErrorContext(ctx, "an execution hangs and was given up", slog.String("execution_id", string(e.ID)), slog.String("stack", stack))
		given := neverRan(*e, explain(errHangs))
		given.StatusCode = 500
		return given, store.Ending{Outcome: flint.OutcomeTimeout}, nil
	}
	return done, end, err
}

// neverRan ends an execution of which no worker has told.
func neverRan(e flint.Execution, reason string) *flint.Execution {
	e.Status, e.UpdatedAt, e.Errors = flint.ExecutionFailed, time.Now(), reason
	e.Receipt = notRun(waitedBefore(e.UpdatedAt, dueAt(&e)))
	return &e
}

const (
	starving    = 10 * time.Second // for how long a queued call gives way to those of callers who wait
	urgentShare = 8                // of the queued calls that run at once an eighth may go before these then
)

// urgency is the lane in which a queued call waits for a worker: behind those of callers who wait, but not for ever. However
// many starve, only some are urgent at a time: callers who wait must not starve instead. done is called when the call is over.
func (i *Invoker) urgency(e *flint.Execution) (lane int, done func()) {
	if time.Since(dueAt(e)) <= starving {
		return 0, func() {}
	}
	done = func() { i.urgent.Add(-1) }
	if int(i.urgent.Add(1)) > max(1, i.config.Concurrency/urgentShare) {
		done()
		return 0, func() {}
	}
	return 1, done
}

// runOnce makes the call and returns the execution as its function's answer leaves it, and how that ended; or why there
// was no room for it.
func (i *Invoker) runOnce(ctx context.Context, t *target, e flint.Execution, call *Call) (*flint.Execution, store.Ending, error) {
	call.id, call.accepted, call.due = e.ID, e.CreatedAt, dueAt(&e)
	a, err := i.attempt(ctx, t, call)
	if err != nil {
		return nil, store.Ending{}, err
	}
	defer a.deadline.stop()
	body := a.readAll()
	a.execution.Permissions, a.execution.CreatedAt, a.execution.ScheduledAt = e.Permissions, e.CreatedAt, e.ScheduledAt
	a.execution.ResponseHeaders = storedHeaders(a.headers)
	i.finished(a)
	return a.execution, store.Ending{Outcome: outcome(a), Headers: lastOfEach(a.headers), Body: body}, nil
}

// outcome classifies how an attempt ended, for who decides whether to make the call again.
func outcome(a *attempt) flint.Outcome {
	switch {
	case a.cause == nil:
		return flint.OutcomeOf(a.status)
	case errors.Is(a.cause, errSoftTimeout), errors.Is(a.cause, flint.ErrAsynchronousTimeout), errors.Is(a.cause, flint.ErrSynchronousTimeout), errors.Is(a.cause, errHangs):
		return flint.OutcomeTimeout
	case errors.Is(a.cause, errCanceled):
		return flint.OutcomeCanceled
	case errors.Is(a.cause, errStopping), errors.Is(a.cause, errLost):
		return flint.OutcomeLost
	}
	var ended *worker.EndedError
	var start *worker.StartError
	if errors.As(a.cause, &ended) || errors.As(a.cause, &start) {
		return flint.OutcomeCrash
	}
	return flint.OutcomeError // an answer that cannot be one
}
