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
	i.bell.Ring()
	return e, nil
}

// idlePoll is how often the queue is looked at although nobody rang: for rows of other nodes, and for expired leases.
const idlePoll = 5 * time.Second

// busyPause is how long a queued call that found no capacity waits before it is handed back.
const busyPause = 500 * time.Millisecond

var errStopping = errors.New("The node was stopped before the function finished.") //nolint:staticcheck,revive // shown as it is

// Work runs queued calls until ctx ends, then lets those that run finish, for a while.
func (i *Invoker) Work(ctx context.Context) error {
	life, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var running sync.WaitGroup
	var ofDay clock // of the loop, which is one goroutine
	loop := pull.Loop{
		Slots: i.config.Concurrency, Bell: i.bell, Every: idlePoll, Due: i.config.Store.NextDue,
		Claim: func(ctx context.Context) (func(), error) {
			e, q, err := i.config.Store.ClaimExecution(ctx, i.config.Node, i.config.Lease)
			if e == nil {
				return nil, err
			}
			return func() { i.runQueued(life, e, q) }, err
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
	done := i.runWatched(ctx, e, call)
	if done == nil { // no capacity: somebody else's turn, in a while
		pause := time.NewTimer(busyPause)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		if err := i.config.Store.ReleaseExecution(write, e.ID, q.Attempt); err != nil {
			i.complain(life, "queued call not handed back", e.ID, err)
		}
		return
	}
	i.finish(life, done, q.Attempt)
}

// runWatched makes the call and returns the finished execution, or nil when it could not be made now. It returns in any
// case, a while after the call's deadline at the latest.
func (i *Invoker) runWatched(ctx context.Context, e *flint.Execution, call *Call) *flint.Execution {
	limited, cancel := context.WithTimeout(ctx, targetEffort)
	defer cancel()
	t, err := i.targets.get(limited, e.Project, e.Function)
	if err == nil {
		err = t.missing
	}
	if errors.Is(err, flint.ErrStorageUnavailable) || limited.Err() != nil {
		return nil
	}
	if err != nil {
		return neverRan(*e, "The function could not be run: "+explain(err))
	}
	var done *flint.Execution
	stack, err := within(ctx, t.function.Timeout+flint.AsynchronousGrace+watchMargin, func(ctx context.Context) error {
		ended, err := i.runOnce(ctx, t, *e, call)
		done = ended
		return err
	})
	switch {
	case stack != "":
		i.config.Logger.ErrorContext(ctx, "an execution hangs and was given up", slog.String("execution_id", string(e.ID)), slog.String("stack", stack))
		given := neverRan(*e, explain(errHangs)) // done is still the other goroutine's
		given.StatusCode = 500
		return given
	case err != nil:
		return nil
	}
	return done
}

// targetEffort is how long it may take to read what a call is of.
const targetEffort = 10 * time.Second

// neverRan ends an execution of which no worker has told.
func neverRan(e flint.Execution, reason string) *flint.Execution {
	e.Status, e.UpdatedAt, e.Errors = flint.ExecutionFailed, time.Now(), reason
	e.Receipt = notRun(waitedBefore(e.UpdatedAt, dueAt(&e)))
	return &e
}

// runOnce makes the call. An error is that there was no capacity for it.
func (i *Invoker) runOnce(ctx context.Context, t *target, e flint.Execution, call *Call) (*flint.Execution, error) {
	call.id, call.accepted, call.due = e.ID, e.CreatedAt, dueAt(&e)
	a, err := i.attempt(ctx, t, call)
	if err != nil {
		return nil, err
	}
	defer a.cancel()
	a.readAll()
	a.execution.Permissions, a.execution.CreatedAt, a.execution.ScheduledAt = e.Permissions, e.CreatedAt, e.ScheduledAt
	a.execution.ResponseHeaders = storedHeaders(a.headers)
	i.finished(a)
	return a.execution, nil
}
