package invoke

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"flint"
	"flint/store"
)

// lostReason is what the author of a function reads in an execution whose node died.
const lostReason = "The node that ran this execution stopped before it finished. Unless the function's delivery settings ask for it, it is not tried again, because it may have had effects already."

var errLost = errors.New("The execution was settled elsewhere while the function ran.") //nolint:staticcheck,revive // shown as it is

const (
	finishEffort = 10 * time.Second // for one attempt to write how a call ended
	finishPause  = time.Second      // between two
	finishTries  = 5                // while the database can be written
	clockStep    = time.Second      // by less the time of day may be corrected without a word
)

// Settle ends the executions that this node had in an earlier life. It is called once, before Work.
func (i *Invoker) Settle(ctx context.Context) error {
	n, err := i.config.Store.SettleExecutions(ctx, i.config.Node, time.Now(), lostReason)
	if n > 0 {
		i.config.Logger.WarnContext(ctx, "executions of an earlier life were settled", slog.Int("count", n))
	}
	_, hastened := i.config.Store.HastenExecutions(ctx, time.Now()) // the clock may have been set back before the start
	_, late := i.config.Store.ExpireExecutions(ctx, time.Now())     // before any of them is taken
	return errors.Join(err, hastened, late)
}

// sweep settles the executions whose leases ran out, whoever held them, and those that have waited for too long, and looks
// whether the clock has been set.
func (i *Invoker) sweep(ctx context.Context, c *clock) error {
	if by := c.step(time.Now()); by < -clockStep || by > clockStep {
		i.config.Logger.WarnContext(ctx, "the clock was set", slog.Duration("by", by))
		if by < 0 {
			if _, err := i.config.Store.HastenExecutions(ctx, time.Now()); err != nil {
				return err
			}
		}
	}
	_, late := i.config.Store.ExpireExecutions(ctx, time.Now())
	return errors.Join(i.settleLost(ctx), late)
}

// settleLost ends the executions whose leases ran out.
func (i *Invoker) settleLost(ctx context.Context) error {
	n, err := i.config.Store.SettleExecutions(ctx, i.config.Node, time.Now(), lostReason)
	if n > 0 {
		i.config.Logger.WarnContext(ctx, "executions whose leases ran out were settled", slog.Int("count", n))
	}
	return err
}

// clock notices that the time of day has been set: it compares it with the monotonic clock.
type clock struct{ last time.Time }

// step returns by how much the time of day has been set since the last call.
func (c *clock) step(now time.Time) time.Duration {
	if c.last.IsZero() {
		c.last = now
	}
	by := stepped(now.Round(0).Sub(c.last.Round(0)), now.Sub(c.last))
	c.last = now
	return by
}

// stepped is by how much the time of day has been set while a time passed.
func stepped(ofDay, passed time.Duration) time.Duration { return ofDay - passed }

// keepLease says at intervals that a queued call still runs, and gives it up when it has become somebody else's.
func (i *Invoker) keepLease(ctx context.Context, giveUp context.CancelCauseFunc, id flint.ExecutionID, attempt int64) {
	tick := time.NewTicker(i.config.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			lost, err := i.config.Store.ExtendExecution(ctx, id, attempt, i.config.Lease)
			if err != nil && ctx.Err() == nil {
				i.complain(ctx, "lease not extended", id, err)
			}
			if lost {
				giveUp(errLost) // its result will be refused, which settles it
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// finish writes how a queued call ended.
func (i *Invoker) finish(life context.Context, done *flint.Execution, end store.Ending) {
	var settled store.Settled
	ok := i.insist(life, "execution not recorded", done.ID, func(ctx context.Context) (err error) {
		settled, err = i.config.Store.FinishExecution(ctx, done, end)
		if err == nil && settled == store.SettledLate {
			err = i.settleLost(ctx)
		}
		return err
	})
	if ok {
		i.told(life, done, end, settled)
	}
}

// insist writes what became of a queued call, again and again while the database cannot be written, until it is written or life
// ends: the lease is extended meanwhile, as far as that can be written. Other errors will not go away: after some tries the call
// is left to who settles it when its lease has run out. It reports whether it was written.
func (i *Invoker) insist(life context.Context, what string, id flint.ExecutionID, write func(context.Context) error) bool {
	for tries := 1; ; tries++ {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(life), finishEffort)
		err := write(ctx)
		cancel()
		if err == nil {
			return true
		}
		i.complain(life, what, id, err)
		if tries == finishTries && !errors.Is(err, flint.ErrStorageUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			return false
		}
		pause := time.NewTimer(finishPause)
		select {
		case <-pause.C:
		case <-life.Done():
			pause.Stop()
			return false
		}
	}
}

// told counts what became of a result.
func (i *Invoker) told(life context.Context, done *flint.Execution, end store.Ending, settled store.Settled) {
	switch settled {
	case store.SettledLate:
		i.metrics.late.Inc()
		i.config.Logger.WarnContext(life, "late result of a lost attempt dropped", slog.String("execution_id", string(done.ID)))
	case store.SettledAgain:
		i.metrics.retries.WithLabelValues(string(end.Outcome)).Inc()
	case store.SettledEnded:
		i.observe(done)
	}
}

// complain logs what fails for many calls together as long as it does: now and then.
func (i *Invoker) complain(ctx context.Context, message string, id flint.ExecutionID, err error) {
	if held, ok := i.complaints.Pass(); ok {
		i.config.Logger.ErrorContext(ctx, "queued calls suffer", slog.String("from", message), slog.String("execution_id", string(id)),
			slog.Int("others", held), errAttr(err))
	}
}
