package pull_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"flint/internal/pull"
)

// queue is what a loop takes from. Its times are those of the test's own clock.
type queue struct {
	mu      sync.Mutex
	waiting int
	at, max int // running, and most at once
	took    []time.Duration
	sweeps  int
	begun   time.Time
	due     time.Time
}

func (q *queue) claim(work time.Duration) func(context.Context, int) ([]func(), error) {
	one := q.claimOne(work)
	return func(_ context.Context, free int) (all []func(), _ error) {
		for range free {
			if w := one(); w != nil {
				all = append(all, w)
			}
		}
		return all, nil
	}
}

func (q *queue) claimOne(work time.Duration) func() func() {
	return func() func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.waiting == 0 && (q.due.IsZero() || time.Now().Before(q.due)) {
			return nil
		}
		if q.waiting == 0 {
			q.due = time.Time{}
		} else {
			q.waiting--
		}
		q.at++
		q.max = max(q.max, q.at)
		q.took = append(q.took, time.Since(q.begun))
		return func() {
			timer := time.NewTimer(work)
			<-timer.C
			q.mu.Lock()
			q.at--
			q.mu.Unlock()
		}
	}
}

func (q *queue) sweep(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sweeps++
	return nil
}

// play runs a loop for a while and returns what its queue saw.
func play(t *testing.T, q *queue, l pull.Loop, work, whole time.Duration, meanwhile func(pull.Bell)) {
	t.Helper()
	q.begun = time.Now()
	l.Bell, l.Every, l.Sweep = pull.NewBell(), time.Minute, q.sweep
	if l.Claim == nil {
		l.Claim = q.claim(work)
	}
	ctx, cancel := context.WithTimeout(t.Context(), whole)
	defer cancel()
	var running sync.WaitGroup
	go meanwhile(l.Bell)
	l.Run(ctx, &running)
	running.Wait()
}

func TestWorkIsBoundedAndTheBellIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{waiting: 5}
		play(t, q, pull.Loop{Slots: 2}, time.Second, time.Hour, func(bell pull.Bell) {
			timer := time.NewTimer(30 * time.Second)
			<-timer.C
			q.mu.Lock()
			q.waiting++
			q.mu.Unlock()
			bell.Ring()
			bell.Ring() // nobody waits for the second
		})
		want := []time.Duration{0, 0, time.Second, time.Second, 2 * time.Second, 30 * time.Second}
		if q.max != 2 || !slices.Equal(q.took, want) || q.sweeps < 58 {
			t.Errorf("took at %v, %d at once, %d sweeps; want %v, 2, about 60", q.took, q.max, q.sweeps, want)
		}
	})
}

func TestTheQueueIsLookedAtAlthoughNobodyRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		play(t, q, pull.Loop{Slots: 1}, 0, 3*time.Minute, func(pull.Bell) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.waiting = 1
		})
		if len(q.took) != 1 || q.took[0] > time.Minute {
			t.Errorf("took at %v, want once within a minute", q.took)
		}
	})
}

func TestDelayedWorkIsTakenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{due: time.Now().Add(90 * time.Second)}
		due := func(context.Context) (time.Time, error) {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.due, nil
		}
		play(t, q, pull.Loop{Slots: 1, Due: due}, 0, 3*time.Minute, func(pull.Bell) {})
		if want := []time.Duration{90 * time.Second}; !slices.Equal(q.took, want) {
			t.Errorf("took at %v, want %v", q.took, want)
		}
	})
}

func TestSweepsGoOnUnderLoadAndErrorsAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{waiting: 1 << 30}
		boom, heard := errors.New("boom"), 0
		claim := q.claim(time.Second)
		play(t, q, pull.Loop{
			Slots: 1, Failed: func(error) { heard++ },
			Claim: func(ctx context.Context, free int) ([]func(), error) {
				work, _ := claim(ctx, free)
				return work, boom
			},
		}, time.Second, 10*time.Minute, func(pull.Bell) {})
		if q.sweeps < 9 || heard == 0 {
			t.Errorf("%d sweeps, %d errors heard; want about 10 and many", q.sweeps, heard)
		}
	})
}

// TestSweepsGoOnWhileAllWorkHangs is about the work of others, too: nobody else might look after it.
func TestSweepsGoOnWhileAllWorkHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{waiting: 2}
		play(t, q, pull.Loop{Slots: 2}, time.Hour, 10*time.Minute, func(pull.Bell) {})
		if len(q.took) != 2 || q.sweeps < 9 {
			t.Errorf("%d sweeps beside %d pieces of work that hang, want about 10", q.sweeps, len(q.took))
		}
	})
}

func TestAQueueThatCannotBeReadIsLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		play(t, &queue{}, pull.Loop{
			Slots: 1, Failed: func(error) {}, Due: func(context.Context) (time.Time, error) { return time.Now(), nil },
			Claim: func(context.Context, int) ([]func(), error) { tried++; return nil, errors.New("boom") },
		}, 0, time.Minute, func(pull.Bell) {})
		if tried < 50 || tried > 70 {
			t.Errorf("tried %d times in a minute, want once a second", tried)
		}
	})
}
