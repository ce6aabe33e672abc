package invoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"flint"
	"flint/internal/pull"
	"flint/store"
)

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }

// Enqueue accepts an asynchronous call: when it returns, the execution is durable and waits, for its time if it has one.
func (i *Invoker) Enqueue(ctx context.Context, c *Call) (*flint.Execution, error) {
	c.async = true
	t, err := i.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	_, stored := i.request(t, c)
	e := &flint.Execution{
		Project: c.Project, ID: c.id, Function: c.Function, Deployment: t.deployment.ID,
		CreatedAt: c.accepted, UpdatedAt: c.accepted, Trigger: c.Trigger, Status: flint.ExecutionWaiting,
		RequestMethod: c.Method, RequestPath: c.Path, RequestHeaders: stored,
	}
	if c.Caller.User != "" {
		e.Permissions = []string{fmt.Sprintf("read(%q)", "user:"+c.Caller.User)}
	}
	begin := c.accepted
	if !c.At.IsZero() {
		e.Status, e.ScheduledAt, begin = flint.ExecutionScheduled, c.At, c.At
	}
	err = i.config.Store.EnqueueExecution(ctx, e, &store.QueuedCall{
		Method: c.Method, Path: c.Path, Headers: c.Headers, Body: c.Body,
		User: c.Caller.User, UserJWT: c.Caller.UserJWT, ClientIP: c.ClientIP,
		Deadline: begin.Add(t.function.Timeout + flint.AsynchronousGrace),
	})
	if err != nil {
		return nil, err
	}
	i.config.Ring()
	return e, nil
}

// lostReason is what the author of a function reads in an execution whose node died.
const lostReason = "The node that ran this execution stopped before it finished. It was not tried again, because it may have had effects already."

// idlePoll is how often the queue is looked at although nobody rang: for rows of other nodes, and for expired leases.
const idlePoll = 5 * time.Second

// busyPause is how long a queued call that found no capacity waits before it is handed back.
const busyPause = 500 * time.Millisecond

// Settle ends the executions that this node had in an earlier life. It is called once, before Work.
func (i *Invoker) Settle(ctx context.Context) error {
	n, err := i.config.Store.SettleExecutions(ctx, i.config.Node, time.Now(), lostReason)
	if n > 0 {
		i.config.Logger.WarnContext(ctx, "executions of an earlier life ended as failed", slog.Int("count", n))
	}
	return err
}

var (
	errStopping = errors.New("The node was stopped before the function finished.")          //nolint:staticcheck,revive // shown as it is
	errLost     = errors.New("The execution was settled elsewhere while the function ran.") //nolint:staticcheck,revive // shown as it is
)

// Work runs queued calls until ctx ends, then lets those that run finish, for a while.
func (i *Invoker) Work(ctx context.Context) error {
	life, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var running sync.WaitGroup
	loop := pull.Loop{
		Slots: i.config.Concurrency, Bell: i.bell, Every: idlePoll, Due: i.config.Store.NextDue,
		Claim: func(ctx context.Context) (func(), error) {
			e, q, err := i.config.Store.ClaimExecution(ctx, i.config.Node, i.config.Lease)
			if e == nil {
				return nil, err
			}
			return func() { i.runQueued(life, e, q) }, err
		},
		Sweep: func(ctx context.Context) error {
			_, err := i.config.Store.SettleExecutions(ctx, "", time.Now(), lostReason)
			return err
		},
		Failed: func(err error) { i.config.Logger.ErrorContext(ctx, "queued calls cannot be read", errAttr(err)) },
	}
	loop.Run(ctx, &running)
	patience := time.AfterFunc(i.config.StopTimeout, func() { stop(errStopping) })
	defer patience.Stop()
	running.Wait()
	return nil
}

// runQueued makes a queued call and writes how it ended into its row. The lease is extended as long as it runs.
func (i *Invoker) runQueued(life context.Context, e *flint.Execution, q *store.QueuedCall) {
	write := context.WithoutCancel(life)
	ctx, cancel := context.WithCancelCause(life)
	var lease sync.WaitGroup
	defer lease.Wait()
	defer cancel(nil)
	lease.Go(func() { i.keepLease(ctx, cancel, e.ID, q.Attempt) })

	call := &Call{
		Project: e.Project, Function: e.Function, Trigger: e.Trigger, Method: q.Method, Path: q.Path, Headers: q.Headers, Body: q.Body,
		Caller:   Caller{Privileged: true, User: q.User, UserJWT: q.UserJWT}, // the right was checked when it was accepted
		ClientIP: q.ClientIP, async: true,
	}
	done := i.runOnce(ctx, e, call)
	if done == nil { // no capacity: somebody else's turn, in a while
		pause := time.NewTimer(busyPause)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		if err := i.config.Store.ReleaseExecution(write, e.ID, q.Attempt); err != nil {
			i.config.Logger.ErrorContext(life, "queued call not handed back", errAttr(err))
		}
		return
	}
	current, err := i.config.Store.FinishExecution(write, done, q.Attempt)
	switch {
	case err != nil:
		i.config.Logger.ErrorContext(life, "execution not recorded", slog.String("execution_id", string(e.ID)), errAttr(err))
	case !current:
		i.metrics.late.Inc()
		i.config.Logger.WarnContext(life, "late result of a lost attempt dropped", slog.String("execution_id", string(e.ID)))
	default:
		i.observe(done)
	}
}

// runOnce makes the call and returns the finished execution, or nil when there was no capacity for it.
func (i *Invoker) runOnce(ctx context.Context, e *flint.Execution, call *Call) *flint.Execution {
	t, err := i.targets.get(ctx, e.Project, e.Function)
	if err == nil {
		err = t.missing
	}
	if err != nil {
		e.Status, e.UpdatedAt = flint.ExecutionFailed, time.Now()
		e.Errors = "The function could not be run: " + explain(err)
		e.Receipt = notRun(waitedBefore(e.UpdatedAt, dueAt(e)))
		return e
	}
	call.id, call.accepted, call.due = e.ID, e.CreatedAt, dueAt(e)
	a, err := i.attempt(ctx, t, call)
	if err != nil {
		return nil
	}
	defer a.cancel()
	a.readAll()
	a.execution.Permissions, a.execution.CreatedAt, a.execution.ScheduledAt = e.Permissions, e.CreatedAt, e.ScheduledAt
	a.execution.ResponseHeaders = storedHeaders(a.headers)
	i.finished(a)
	return a.execution
}

// keepLease says at intervals that a queued call still runs, and gives it up when it has become somebody else's.
func (i *Invoker) keepLease(ctx context.Context, giveUp context.CancelCauseFunc, id flint.ExecutionID, attempt int64) {
	tick := time.NewTicker(i.config.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			lost, err := i.config.Store.ExtendExecution(ctx, id, attempt, i.config.Lease)
			if err != nil && !errors.Is(err, context.Canceled) {
				i.config.Logger.ErrorContext(ctx, "lease not extended", slog.String("execution_id", string(id)), errAttr(err))
			}
			if lost {
				giveUp(errLost)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
