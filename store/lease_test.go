package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"flint"
)

// shift moves what the rows say of time, as if the clock had been set the other way.
func shift(t *testing.T, s *Store, by time.Duration) {
	t.Helper()
	must(t, s.write(t.Context(), func(ctx context.Context, t *tx) error {
		if err := t.exec(ctx, "update calls set due_at = due_at + $1, lease_until = lease_until + case when lease_node = '' then 0 else $1 end", by.Milliseconds()); err != nil {
			return err
		}
		return t.exec(ctx, "update executions set created_at = created_at + $1, updated_at = updated_at + $1", by.Milliseconds())
	}))
}

// reborn has what the process holds be of an earlier life.
func reborn(s *Store) {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	clear(s.leases.held)
}

func taken(t *testing.T, s *bundle, id, node string, lease time.Duration) (*flint.Execution, int64) {
	t.Helper()
	must(t, s.EnqueueExecution(t.Context(), sample(id, s.f), &QueuedCall{}))
	e, c, err := s.ClaimExecution(t.Context(), node, lease)
	must(t, err)
	if e == nil || string(e.ID) != id {
		t.Fatalf("ClaimExecution() = %+v, want %s", e, id)
	}
	return e, c.Attempt
}

// TestALeaseThatRanOut is about a process that was stopped for longer than its lease: what it held is lost, whoever
// notices first.
func TestALeaseThatRanOut(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func(*testing.T, *bundle, *flint.Execution, int64){
		"it cannot be extended": func(t *testing.T, s *bundle, e *flint.Execution, attempt int64) {
			t.Helper()
			if lost, err := s.ExtendExecution(t.Context(), e.ID, attempt, time.Hour); !lost || err != nil {
				t.Errorf("ExtendExecution() = %v, %v", lost, err)
			}
		},
		"its result does not count": func(t *testing.T, s *bundle, e *flint.Execution, attempt int64) {
			t.Helper()
			e.Status = flint.ExecutionCompleted
			if counted, err := s.finish(t.Context(), e, attempt); counted || err != nil {
				t.Errorf("finish() = %v, %v", counted, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			e, attempt := taken(t, s, "e", "n", time.Nanosecond)
			late(t, s, e, attempt)
			if n, err := s.SettleExecutions(t.Context(), "n", time.Now(), "lost"); n != 1 || err != nil {
				t.Errorf("SettleExecutions() = %d, %v, want 1 at once", n, err)
			}
			if e := value[*flint.Execution](t)(s.Execution(t.Context(), "p", "f", "e")); e.Status != flint.ExecutionFailed || !strings.HasSuffix(e.Errors, "lost") {
				t.Errorf("the execution is %s: %s", e.Status, e.Errors)
			}
			if n := len(s.leases.held); n != 0 {
				t.Errorf("%d leases are kept in memory", n)
			}
		})
	}
}

// TestLeasesOutliveAClockThatIsSet has the time of day jump in both directions while calls run.
func TestLeasesOutliveAClockThatIsSet(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"forward": -2 * time.Hour, "back": 2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ctx := setup(t), t.Context()
			e, attempt := taken(t, s, "mine", "n", time.Minute)
			shift(t, s.Store, by)
			if n, err := s.SettleExecutions(ctx, "n", time.Now(), "lost"); n != 0 || err != nil {
				t.Errorf("SettleExecutions() = %d, %v: it runs", n, err)
			}
			if lost, err := s.ExtendExecution(ctx, e.ID, attempt, time.Minute); lost || err != nil {
				t.Errorf("ExtendExecution() = %v, %v", lost, err)
			}
			shift(t, s.Store, by)
			e.Status = flint.ExecutionCompleted
			if counted, err := s.finish(ctx, e, attempt); !counted || err != nil {
				t.Errorf("finish() = %v, %v", counted, err)
			}
			if n := len(s.leases.held); n != 0 {
				t.Errorf("%d leases are kept in memory", n)
			}
		})
	}
}

// TestNoLeaseIsImmortal is about the lease of another node that a clock has written which was ahead.
func TestNoLeaseIsImmortal(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	_, attempt := taken(t, s, "theirs", "other", time.Minute)
	s.leases.drop("theirs", attempt)
	shift(t, s.Store, 24*time.Hour)
	settle := func(at time.Time, want int) {
		t.Helper()
		if n, err := s.SettleExecutions(ctx, "n", at, "lost"); n != want || err != nil {
			t.Errorf("SettleExecutions() = %d, %v, want %d", n, err, want)
		}
	}
	settle(time.Now(), 0)
	settle(time.Now().Add(longestLease+time.Second), 1)
}

// TestCallsOfAClockThatWasAhead do not wait until it is as late as it was when they came.
func TestCallsOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.EnqueueExecution(ctx, sample("waits", s.f), &QueuedCall{}))
	scheduled := sample("scheduled", s.f)
	scheduled.Status, scheduled.ScheduledAt = flint.ExecutionScheduled, time.Now().Add(time.Hour)
	must(t, s.EnqueueExecution(ctx, scheduled, &QueuedCall{}))
	shift(t, s.Store, time.Hour)
	if e, _, err := s.ClaimExecution(ctx, "n", time.Minute); e != nil || err != nil {
		t.Fatalf("ClaimExecution() = %v, %v", e, err)
	}
	if n, err := s.HastenExecutions(ctx, time.Now()); n != 1 || err != nil {
		t.Errorf("HastenExecutions() = %d, %v, want 1", n, err)
	}
	if e, _, err := s.ClaimExecution(ctx, "n", time.Minute); err != nil || e == nil || e.ID != "waits" {
		t.Errorf("ClaimExecution() = %v, %v", e, err)
	}
}
