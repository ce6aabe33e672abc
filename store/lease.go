package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"flint"
)

// A lease is a row with the time of day at which it ends, for other nodes and later lives of this one. The process that
// holds it goes by its own monotonic clock instead: that one neither jumps nor is set, and it goes on while the process is
// stopped. So a clock that is set takes nothing away from who lives, and who was stopped for too long knows.

// longestLease is further in the future than any lease ends. A row that says more was written by a clock that was ahead.
const longestLease = 10 * time.Minute

// leases are what this process holds. It is safe for concurrent use.
type leases struct {
	mu   sync.Mutex
	held map[flint.ExecutionID]lease // as many as run at once
}

type lease struct {
	attempt int64
	until   time.Time // with its monotonic reading
}

// take notes a lease.
func (l *leases) take(id flint.ExecutionID, attempt int64, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[flint.ExecutionID]lease{}
	}
	l.held[id] = lease{attempt, until}
}

// extend notes that a lease has been extended, unless it has been dropped meanwhile.
func (l *leases) extend(id flint.ExecutionID, attempt int64, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one, known := l.held[id]; known && one.attempt == attempt {
		l.held[id] = lease{attempt, until}
	}
}

func (l *leases) drop(id flint.ExecutionID, attempt int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[id].attempt == attempt {
		delete(l.held, id)
	}
}

// good reports whether this process holds a lease at a time. known: it has, or had until it ran out.
func (l *leases) good(id flint.ExecutionID, attempt int64, at time.Time) (known, good bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, known := l.held[id]
	known = known && one.attempt == attempt
	return known, known && at.Before(one.until)
}

// least is the least time of day at which the row of a lease may end so that the lease counts. What this process holds it
// judges by its own clock, and then the row's is of no interest.
func (l *leases) least(id flint.ExecutionID, attempt int64, at time.Time) (millis int64, good bool) {
	known, good := l.good(id, attempt, at)
	if known {
		return 0, good
	}
	return at.UnixMilli(), true
}

func (l *leases) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

const readLongLease = "select 1 from calls where lease_node <> '' and lease_until > $1 limit 1"

// clampLeases has leases end that a clock which was ahead has written: not at once, because somebody may live.
func (s *Store) clampLeases(ctx context.Context, at time.Time) error {
	end := millis(at.Add(longestLease))
	if err := s.one(ctx, readLongLease, []any{end}, ignore); errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.exec(ctx, "update calls set lease_until = $1 where lease_node <> '' and lease_until > $1", end)
	})
}

// HastenExecutions makes those calls due that wait although they were queued, or handed back, at a time that is yet to
// come: the clock was set back since. Scheduled ones keep their time.
func (s *Store) HastenExecutions(ctx context.Context, at time.Time) (hastened int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		hastened, err = t.count(ctx, `update calls set due_at = $1 where lease_node = '' and due_at > $1
			and exists (select 1 from executions e where e.id = calls.id and e.status = 'waiting' and e.updated_at > $1)`, millis(at))
		return err
	})
	return hastened, err
}
