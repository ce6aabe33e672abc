package invoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"flint"
	"flint/store"
)

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }

// Enqueue accepts an asynchronous call: when it returns, the execution is durable and waits.
func (i *Invoker) Enqueue(ctx context.Context, c *Call) (*flint.Execution, error) {
	c.async = true
	t, err := i.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	_, stored, err := i.request(t, c)
	if err != nil {
		return nil, err
	}
	e := &flint.Execution{
		Project: c.Project, ID: c.id, Function: c.Function, Deployment: t.deployment.ID,
		CreatedAt: c.accepted, UpdatedAt: c.accepted, Trigger: c.Trigger, Status: flint.ExecutionWaiting,
		RequestMethod: c.Method, RequestPath: c.Path, RequestHeaders: stored,
	}
	if c.Caller.User != "" {
		e.Permissions = []string{fmt.Sprintf("read(%q)", "user:"+c.Caller.User)}
	}
	err = i.config.Store.EnqueueExecution(ctx, e, &store.QueuedCall{
		Method: c.Method, Path: c.Path, Headers: c.Headers, Body: c.Body,
		User: c.Caller.User, UserJWT: c.Caller.UserJWT, ClientIP: c.ClientIP,
		Deadline: c.accepted.Add(t.function.Timeout + flint.AsynchronousGrace),
	})
	if err != nil {
		return nil, err
	}
	i.ring()
	return e, nil
}

func (i *Invoker) ring() {
	select {
	case i.bell <- struct{}{}:
	default:
	}
}

// lostReason is what the author of a function reads in an execution whose node died.
const lostReason = "The node that ran this execution stopped before it finished. It was not tried again, because it may have had effects already."

// idlePoll is how often the queue is looked at although nobody rang: for rows of other nodes, and for expired leases.
const idlePoll = 5 * time.Second

// Settle ends the executions that this node had in an earlier life. It is called once, before Work.
func (i *Invoker) Settle(ctx context.Context) error {
	n, err := i.config.Store.SettleExecutions(ctx, i.config.Node, time.Now(), lostReason)
	if n > 0 {
		i.config.Logger.Warn("executions of an earlier life ended as failed", slog.Int("count", n))
	}
	return err
}

// Work runs queued calls until ctx ends, then lets those that run finish.
func (i *Invoker) Work(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, i.config.Concurrency)
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		e, q, err := i.config.Store.ClaimExecution(ctx, i.config.Node, i.config.Lease)
		if err != nil && ctx.Err() == nil {
			i.config.Logger.Error("queued calls cannot be read", errAttr(err))
		}
		if e != nil {
			running.Go(func() {
				defer func() { <-slots }()
				i.runQueued(ctx, e, q)
			})
			continue
		}
		<-slots
		select {
		case <-i.bell:
		case <-tick.C:
			if _, err := i.config.Store.SettleExecutions(ctx, "", time.Now(), lostReason); err != nil && ctx.Err() == nil {
				i.config.Logger.Error("lost executions cannot be settled", errAttr(err))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// runQueued makes a queued call and writes how it ended into its row. The node's stopping does not end it; the lease is
// extended as long as it runs.
func (i *Invoker) runQueued(stopping context.Context, e *flint.Execution, q *store.QueuedCall) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(stopping))
	defer cancel()
	var lease sync.WaitGroup
	defer lease.Wait()
	defer cancel()
	lease.Go(func() { i.keepLease(ctx, cancel, e.ID, q.Attempt) })

	call := &Call{
		Project: e.Project, Function: e.Function, Trigger: e.Trigger, Method: q.Method, Path: q.Path, Headers: q.Headers, Body: q.Body,
		Caller:   Caller{Privileged: true, User: q.User, UserJWT: q.UserJWT}, // the right was checked when it was accepted
		ClientIP: q.ClientIP, async: true,
	}
	done := i.runOnce(ctx, e, call)
	if done == nil { // no capacity: somebody else's turn
		if err := i.config.Store.ReleaseExecution(ctx, e.ID, q.Attempt); err != nil {
			i.config.Logger.Error("queued call not handed back", errAttr(err))
		}
		return
	}
	current, err := i.config.Store.FinishExecution(ctx, done, q.Attempt)
	switch {
	case err != nil:
		i.config.Logger.Error("execution not recorded", slog.String("execution_id", string(e.ID)), errAttr(err))
	case !current:
		i.metrics.late.Inc()
		i.config.Logger.Warn("late result of a lost attempt dropped", slog.String("execution_id", string(e.ID)))
	default:
		i.observe(done)
	}
}

// runOnce makes the call and returns the finished execution, or nil when there was no capacity for it.
func (i *Invoker) runOnce(ctx context.Context, e *flint.Execution, call *Call) *flint.Execution {
	t, err := i.targets.get(ctx, e.Project, e.Function)
	if err == nil {
		err = t.problem()
	}
	if err != nil {
		e.Status, e.UpdatedAt = flint.ExecutionFailed, time.Now()
		e.Errors = "The function could not be run: " + explain(err)
		return e
	}
	call.id, call.accepted = e.ID, e.CreatedAt
	a, err := i.attempt(ctx, t, call)
	if err != nil {
		return nil
	}
	defer a.cancel()
	if _, err := a.readAll(); err != nil {
		return nil
	}
	a.execution.Permissions, a.execution.CreatedAt, a.execution.ScheduledAt = e.Permissions, e.CreatedAt, e.ScheduledAt
	a.execution.ResponseHeaders = storedHeaders(a.headers)
	i.finished(a)
	return a.execution
}

// keepLease says at intervals that a queued call still runs, and gives it up when it has become somebody else's.
func (i *Invoker) keepLease(ctx context.Context, giveUp context.CancelFunc, id flint.ExecutionID, attempt int64) {
	tick := time.NewTicker(i.config.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			lost, err := i.config.Store.ExtendExecution(ctx, id, attempt, i.config.Lease)
			if err != nil && !errors.Is(err, context.Canceled) {
				i.config.Logger.Error("lease not extended", slog.String("execution_id", string(id)), errAttr(err))
			}
			if lost {
				giveUp()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
