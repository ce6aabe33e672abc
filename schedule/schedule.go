// Package schedule has functions run by themselves, at the times that their schedules name.
//
// A schedule is a row that says when it is due next, kept in step with its function by package store. Here the rows that are due are
// turned into executions that wait, in a transaction that also moves the row on if nobody else has: whatever is killed or started
// again, and however many schedulers there are, every time runs once, or is counted with the reason why it does not. What runs it
// is invoke's queue.
//
// The clock is the wall's and may jump. A schedule is never moved back, so that nothing runs twice when the clock is; what it jumps
// over was missed, and the function's settings say what becomes of that ([flint.ScheduleSettings]).
//
// One goroutine, [Scheduler.Run].
package schedule

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/internal/pull"
	"flint/invoke"
	"flint/store"
)

// Config is what a Scheduler needs.
type Config struct {
	Store    *store.Store
	Invoker  *invoke.Invoker
	Logger   *slog.Logger
	Registry prometheus.Registerer
	Now      func() time.Time // the wall's clock [time.Now]
}

// Scheduler fires schedules.
type Scheduler struct {
	config  Config
	metrics *metrics
	bell    pull.Bell              // schedules may have changed
	known   map[string]*flint.Cron // of Run alone
}

const (
	batch     = 256         // schedules in one transaction: others wait for it
	batchRuns = 2000        // executions in one transaction, above which it takes no further schedule
	glance    = time.Second // between two looks at the clock
	retry     = 5 * time.Second
	maxKnown  = 10_000
)

// New makes a Scheduler.
func New(c Config) *Scheduler {
	if c.Store == nil || c.Invoker == nil || c.Logger == nil || c.Registry == nil {
		panic("schedule: Store, Invoker, Logger and Registry are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Scheduler{config: c, metrics: newMetrics(c.Registry), bell: pull.NewBell(), known: map[string]*flint.Cron{}}
}

// Ring says that schedules may have changed.
func (s *Scheduler) Ring() { s.bell.Ring() }

// now is the wall's clock without the one that only goes forward: the difference of two of them is what people see.
func (s *Scheduler) now() time.Time { return s.config.Now().Round(0).UTC() }

// Run fires schedules until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	var last time.Time // zero: the schedules have to be brought in step
	for ctx.Err() == nil {
		now := s.now()
		pause, err := glance, error(nil)
		if last.IsZero() || last.Sub(now) >= store.ClockSlack {
			err = s.config.Store.RefreshSchedules(ctx, now)
		}
		if err == nil {
			last = now
			err = s.fireDue(ctx)
		}
		if err == nil {
			pause, err = s.untilNext(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.config.Logger.ErrorContext(ctx, "schedules cannot be fired", slog.String("err", err.Error()))
			pause = retry
		}
		s.wait(ctx, pause)
	}
	return nil
}

// untilNext is how long there is nothing to do: not for longer than it takes to notice that the clock was changed.
func (s *Scheduler) untilNext(ctx context.Context) (time.Duration, error) {
	next, err := s.config.Store.NextSchedule(ctx)
	if err != nil || next.IsZero() {
		return glance, err
	}
	return max(0, min(glance, next.Sub(s.now()))), nil
}

func (s *Scheduler) wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.bell:
	case <-ctx.Done():
	}
}

// fireDue fires what is due, until nothing is.
func (s *Scheduler) fireDue(ctx context.Context) error {
	for ctx.Err() == nil {
		now := s.now()
		due, err := s.config.Store.DueSchedules(ctx, now, batch)
		if err != nil || len(due) == 0 {
			return err
		}
		var firings []*store.Firing
		for runs := 0; len(due) > 0 && runs < batchRuns; due = due[1:] {
			f, err := s.plan(due[0], now)
			if err != nil {
				return err
			}
			firings = append(firings, f)
			runs += len(f.Runs)
		}
		if err := s.fire(ctx, firings); err != nil {
			return err
		}
	}
	return nil
}

// fire writes firings together, or each alone when that does not go: one that cannot be written does not keep the others.
func (s *Scheduler) fire(ctx context.Context, all []*store.Firing) (err error) {
	if err = s.config.Store.FireSchedules(ctx, all); err == nil {
		s.fired(ctx, all)
		return nil
	}
	if len(all) == 1 || ctx.Err() != nil {
		return err
	}
	for _, one := range all {
		if failed := s.fire(ctx, []*store.Firing{one}); failed != nil {
			err = failed
		}
	}
	return err
}

// fired tells of firings that were written.
func (s *Scheduler) fired(ctx context.Context, all []*store.Firing) {
	now := s.now()
	runs, missed, overlapped := 0, 0, 0
	for _, f := range all {
		if f.Lost {
			continue
		}
		for _, run := range f.Runs[len(f.Runs)-f.Fired:] {
			s.metrics.lag.Observe(now.Sub(run.Time.Add(f.Of.Delay())).Seconds())
		}
		runs, missed, overlapped = runs+f.Fired, missed+f.Missed, overlapped+f.Overlapped
	}
	s.metrics.runs.Add(float64(runs))
	s.metrics.missed.Add(float64(missed))
	s.metrics.overlapped.Add(float64(overlapped))
	if runs > 0 {
		s.config.Invoker.Ring()
	}
	if missed > 0 {
		s.config.Logger.WarnContext(ctx, "times of schedules were missed", slog.Int("count", missed))
	}
}

// plan says what becomes of a schedule that is due.
func (s *Scheduler) plan(due *store.DueSchedule, now time.Time) (*store.Firing, error) {
	cron, err := s.cron(due.Cron)
	if err != nil {
		return nil, err
	}
	p := decide(cron, &due.Schedule, now)
	f := &store.Firing{Of: due, Next: p.next, Missed: p.missed, Skip: p.newestMissed}
	if !p.next.IsZero() {
		f.Due = p.next.Add(due.Delay())
	}
	at := now
	if at.Before(due.Born) { // the clock was set back
		at = due.Born
	}
	for _, t := range p.runs {
		e, q := s.config.Invoker.Prepare(&invoke.Call{
			Project: due.Project, Function: due.Function, Trigger: flint.TriggerSchedule, Method: "POST", Path: "/",
		}, due.Deployment, at)
		f.Runs = append(f.Runs, store.ScheduledRun{Time: t, Execution: e, Call: q})
	}
	return f, nil
}

// cron reads a schedule; those that were read are kept.
func (s *Scheduler) cron(text string) (*flint.Cron, error) {
	if c := s.known[text]; c != nil {
		return c, nil
	}
	c, err := flint.ParseCron(text)
	if err != nil {
		return nil, err
	}
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[text] = c
	return c, nil
}
