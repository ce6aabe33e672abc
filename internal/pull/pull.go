// Package pull takes work from a queue in the database, a bounded number of pieces at once. A bell only saves waiting:
// the queue is looked at at intervals although nobody rings it.
package pull

import (
	"context"
	"sync"
	"time"
)

// Bell says that there may be work. Ringing never waits.
type Bell chan struct{}

// NewBell makes a bell.
func NewBell() Bell { return make(Bell, 1) }

// Ring rings the bell; one that nobody has heard yet stays rung.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// Loop takes work until it is told to stop.
type Loop struct {
	Slots int           // pieces of work at once
	Bell  Bell          // may be rung by others
	Every time.Duration // how often the queue is looked at and swept although nobody rang

	// Claim takes the next pieces of work, at most free of them; none when there is nothing to do.
	Claim func(ctx context.Context, free int) (work []func(), err error)
	// Sweep settles what has lost its owner.
	Sweep func(context.Context) error
	// Due says when work will come that waits for its time; zero: not soon. Nil: there is no such work.
	Due func(context.Context) (time.Time, error)
	// Failed hears of errors of the three above while the loop is not told to stop.
	Failed func(error)
}

// batch is how many pieces of work are taken at once: to take one costs as much as to take some.
const batch = 16

const (
	overdue = 100 * time.Millisecond // until work is looked for again that is due and was not to be had
	failing = time.Second            // until it is after an error, unless the bell rings
)

// Run claims work and does it, each piece on its own goroutine, until ctx ends. It returns without waiting for the work
// that runs: that is in running.
func (l *Loop) Run(ctx context.Context, running *sync.WaitGroup) {
	slots := make(chan struct{}, l.Slots)
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	for {
		select { // also while there is no end of work
		case <-tick.C:
			l.check(ctx, l.Sweep(ctx))
		default:
		}
		free := l.reserve(ctx, slots, tick.C)
		if free == 0 {
			return
		}
		work, err := l.Claim(ctx, free)
		l.check(ctx, err)
		for range free - len(work) {
			<-slots
		}
		for _, do := range work {
			running.Go(func() {
				defer func() { <-slots }()
				do()
			})
		}
		if len(work) == 0 && !l.wait(ctx, tick.C, err != nil) {
			return
		}
	}
}

// reserve waits for a free slot, takes it with those that are free beside it, and returns how many; 0 when ctx has ended.
// Meanwhile it sweeps: what has lost its owner is found also while all of the work hangs.
func (l *Loop) reserve(ctx context.Context, slots chan struct{}, tick <-chan time.Time) int {
	for taken := false; !taken; {
		select {
		case slots <- struct{}{}:
			taken = true
		case <-tick:
			l.check(ctx, l.Sweep(ctx))
		case <-ctx.Done():
			return 0
		}
	}
	for n := 1; n < batch; n++ {
		select {
		case slots <- struct{}{}:
		default:
			return n
		}
	}
	return batch
}

// wait waits until there may be work again; false when there will be none.
func (l *Loop) wait(ctx context.Context, tick <-chan time.Time, failed bool) bool {
	var due <-chan time.Time
	if failed {
		timer := time.NewTimer(failing)
		defer timer.Stop()
		due = timer.C
	} else if l.Due != nil {
		at, err := l.Due(ctx)
		l.check(ctx, err)
		if left := time.Until(at); err == nil && !at.IsZero() && left < l.Every {
			if left <= 0 {
				left = overdue
			}
			timer := time.NewTimer(left)
			defer timer.Stop()
			due = timer.C
		}
	}
	select {
	case <-l.Bell:
	case <-due:
	case <-tick:
		l.check(ctx, l.Sweep(ctx))
	case <-ctx.Done():
		return false
	}
	return true
}

func (l *Loop) check(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		l.Failed(err)
	}
}
