package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"flint"
)

// ClockSlack is how far the clock may be set back without a schedule running at the same time twice. When it is set back further it
// was wrong before, and what was reckoned with it is reckoned anew.
const ClockSlack = 3 * time.Hour

const (
	schedulePage  = 500    // functions that are gone through in one transaction
	changedCounts = 10_000 // times that are counted one by one when they are dropped
)

// DueSchedule is a schedule as it was read: what is decided about it counts only while it has not changed.
type DueSchedule struct {
	flint.Schedule
	Born time.Time // what was created earlier belongs to a deleted namesake

	uid int64
}

const scheduleColumns = `f.project, f.id, f.deployment_id, f.born_at, f.uid, coalesce(t.cron, ''), coalesce(t.settings, '{}'),
	coalesce(t.next_at, 0), coalesce(t.due_at, 0), coalesce(t.last_at, 0), coalesce(t.last_execution, ''), coalesce(t.runs, 0),
	coalesce(t.skipped, 0), coalesce(t.skip_at, 0), coalesce(t.skip_reason, '')`

func scanSchedule(r scanner) (*DueSchedule, error) {
	var v DueSchedule
	var born, next, due, last, skip int64
	var settings []byte
	if err := r.Scan(&v.Project, &v.Function, &v.Deployment, &born, &v.uid, &v.Cron, &settings, &next, &due, &last, &v.LastExecution,
		&v.Runs, &v.Skipped, &skip, &v.SkipReason); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(settings, &v.Settings); err != nil {
		return nil, fmt.Errorf("settings of the schedule of function %s: %w", v.Function, err)
	}
	v.Born = instant(born)
	v.Next, v.Due, v.LastRun, v.LastSkip = instant(next), instant(due), instant(last), instant(skip)
	return &v, nil
}

const (
	readSchedule       = "select " + scheduleColumns + " from functions f left join schedules t on t.owner = f.uid where f.project = $1 and f.id = $2"
	readDueSchedules   = "select " + scheduleColumns + " from schedules t join functions f on f.uid = t.owner where t.due_at > 0 and t.due_at <= $1 order by t.due_at limit $2"
	readSchedules      = "select " + scheduleColumns + " from functions f left join schedules t on t.owner = f.uid where f.project = $1 and f.id > $2 and f.schedule <> '' order by f.id limit $3"
	readNextSchedule   = "select due_at from schedules where due_at > 0 order by due_at limit 1"
	readScheduledOwner = "select uid from functions where schedule <> '' and uid > $1 order by uid limit $2"
)

// Schedule returns how the schedule of a function stands, or ErrFunctionNotFound. Its Cron is empty when the function has none.
func (s *Store) Schedule(ctx context.Context, project flint.ProjectID, id flint.FunctionID) (*flint.Schedule, error) {
	var v *DueSchedule
	err := s.one(ctx, readSchedule, []any{string(project), string(id)}, func(r scanner) (err error) {
		v, err = scanSchedule(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrFunctionNotFound
	}
	if err != nil {
		return nil, err
	}
	return &v.Schedule, nil
}

// Schedules returns the schedules of a project's functions after one of them, in the order of their ids.
func (s *Store) Schedules(ctx context.Context, project flint.ProjectID, after flint.FunctionID, limit int) ([]*flint.Schedule, error) {
	var all []*flint.Schedule
	err := s.each(ctx, readSchedules, []any{string(project), string(after), limit}, func(r scanner) error {
		v, err := scanSchedule(r)
		if err == nil {
			all = append(all, &v.Schedule)
		}
		return err
	})
	return all, err
}

// NextSchedule returns when the next schedule is due, or no time when there is none.
func (s *Store) NextSchedule(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.one(ctx, readNextSchedule, nil, func(r scanner) error { return r.Scan(&at) })
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return instant(at), err
}

// DueSchedules returns the schedules that are due at a time, those that have been for longest first.
func (s *Store) DueSchedules(ctx context.Context, at time.Time, limit int) (all []*DueSchedule, err error) {
	err = s.each(ctx, readDueSchedules, []any{millis(at), limit}, func(r scanner) error {
		v, err := scanSchedule(r)
		all = append(all, v)
		return err
	})
	return all, err
}

// ScheduledRun is an execution that a time of a schedule becomes.
type ScheduledRun struct {
	Time      time.Time
	Execution *flint.Execution
	Call      *QueuedCall

	entry *queueEntry
}

// Firing is what becomes of a schedule that is due.
type Firing struct {
	Of        *DueSchedule
	Next, Due time.Time      // from then on
	Runs      []ScheduledRun // oldest first
	Missed    int            // times before Next that do not run
	Skip      time.Time      // the newest of them

	// What came of it, once it was written.
	Lost       bool // the schedule had changed, or another node was quicker: nothing was done
	Fired      int  // runs that have an execution: the newest
	Overlapped int  // runs that were left out because another one had not ended
}

// FireSchedules moves schedules on and adds the executions of their times, all in one transaction that survives the loss of power.
// Every time of a schedule is either moved past by one caller together with what becomes of it, or still due.
func (s *Store) FireSchedules(ctx context.Context, all []*Firing) error {
	for _, f := range all {
		for i := range f.Runs {
			f.Runs[i].Execution.Status = flint.ExecutionWaiting
			var err error
			if f.Runs[i].entry, err = s.newEntry(f.Runs[i].Execution, f.Runs[i].Call); err != nil {
				return err
			}
		}
	}
	return s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) error {
		for _, f := range all {
			if err := s.fire(ctx, t, f); err != nil {
				return err
			}
		}
		return nil
	}})
}

func (s *Store) fire(ctx context.Context, t *tx, f *Firing) error {
	runs := f.Runs
	if f.Of.Settings.Overlap == flint.OverlapSkip && len(runs) > 0 {
		running, err := t.one(ctx, "select 1 from calls where id = $1", []any{string(f.Of.LastExecution)}, ignore)
		if err != nil {
			return err
		}
		if runs = runs[len(runs)-1:]; running {
			runs = nil
		}
	}
	overlapped := f.Runs[:len(f.Runs)-len(runs)]
	v := f.Of.Schedule // what the row holds from then on
	if len(runs) > 0 {
		last := runs[len(runs)-1]
		v.LastRun, v.LastExecution = last.Time, last.Execution.ID
	}
	if f.Missed > 0 {
		v.LastSkip, v.SkipReason = f.Skip, flint.SkipMissed
	}
	if n := len(overlapped); n > 0 {
		v.LastSkip, v.SkipReason = overlapped[n-1].Time, flint.SkipOverlap
	}
	n, err := t.count(ctx, `update schedules set next_at = $1, due_at = $2, last_at = $3, last_execution = $4, runs = runs + $5, skipped = skipped + $6,
		skip_at = $7, skip_reason = $8 where owner = $9 and next_at = $10 and due_at = $11`,
		millis(f.Next), millis(f.Due), millis(v.LastRun), string(v.LastExecution), len(runs), f.Missed+len(overlapped), millis(v.LastSkip),
		string(v.SkipReason), f.Of.uid, millis(f.Of.Next), millis(f.Of.Due))
	f.Lost, f.Fired, f.Overlapped = n == 0, len(runs), len(overlapped)
	if err != nil || n == 0 {
		return err
	}
	for _, run := range runs {
		if err := s.enqueue(ctx, t, run.entry); err != nil {
			return err
		}
	}
	return nil
}

// RefreshSchedules brings all schedules in step with their functions, the node's settings and the clock, which shows at.
func (s *Store) RefreshSchedules(ctx context.Context, at time.Time) error {
	var last int64
	for {
		var owners []int64
		if err := s.each(ctx, readScheduledOwner, []any{last, schedulePage}, func(r scanner) error {
			var uid int64
			err := r.Scan(&uid)
			owners = append(owners, uid)
			return err
		}); err != nil {
			return err
		}
		err := s.write(ctx, func(ctx context.Context, t *tx) error {
			for _, uid := range owners {
				f, err := functionByUID(ctx, t, uid)
				if err == nil && f != nil {
					err = s.reschedule(ctx, t, f, at)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(owners) < schedulePage {
			return err
		}
		last = owners[len(owners)-1]
	}
}

// reschedule brings the schedule of a function in step with it, in the transaction that changed the function.
func (s *Store) reschedule(ctx context.Context, t *tx, f *flint.Function, at time.Time) error {
	var old *DueSchedule
	found, err := t.one(ctx, readSchedule, []any{string(f.Project), string(f.ID)}, func(r scanner) (err error) {
		old, err = scanSchedule(r)
		return err
	})
	if err != nil || !found || f.Schedule == "" && old.Cron == "" {
		return err
	}
	v := old.Schedule
	v.Cron, v.Settings, v.Deployment, v.Next, v.Due = f.Schedule, f.Scheduling, f.DeploymentID, time.Time{}, time.Time{}
	if cron, err := flint.ParseCron(v.Cron); err == nil && v.Deployment != "" && !v.Settings.Paused { // an unreadable one says so when it is asked
		kept := old.Cron == v.Cron && !old.Due.IsZero()
		if v.Next = nextTime(cron, old, at, kept); !v.Next.IsZero() {
			v.Due = v.Next.Add(v.Settings.Delay(f.Project, f.ID, s.config.ScheduleSpread))
		}
	}
	if v.Cron == old.Cron && v.Settings == old.Settings && v.Next.Equal(old.Next) && v.Due.Equal(old.Due) {
		return nil
	}
	if !v.Next.Equal(old.Next) {
		countDropped(&v, old, at)
	}
	settings, err := json.Marshal(v.Settings)
	if err != nil {
		return err
	}
	return t.exec(ctx, `insert into schedules (owner, cron, settings, next_at, due_at, last_at, last_execution, runs, skipped, skip_at, skip_reason)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (owner) do update set cron = excluded.cron, settings = excluded.settings,
		next_at = excluded.next_at, due_at = excluded.due_at, skipped = excluded.skipped, skip_at = excluded.skip_at, skip_reason = excluded.skip_reason`,
		old.uid, v.Cron, string(settings), millis(v.Next), millis(v.Due), millis(v.LastRun), string(v.LastExecution), v.Runs, v.Skipped,
		millis(v.LastSkip), string(v.SkipReason))
}

// nextTime returns the next time of a schedule. One that was not changed goes on with what it had, which may be due already, unless
// the clock has been set back by so much that this is too far away.
func nextTime(cron *flint.Cron, old *DueSchedule, at time.Time, kept bool) time.Time {
	from := at
	if old.LastRun.After(at) && old.LastRun.Sub(at) < ClockSlack {
		from = old.LastRun // that time has run
	}
	next := cron.Next(from)
	if kept && old.Next.Sub(next) < ClockSlack {
		return old.Next
	}
	return next
}

// countDropped counts the times that were due and will not run because the schedule is another one now.
func countDropped(v *flint.Schedule, old *DueSchedule, at time.Time) {
	cron, err := flint.ParseCron(old.Cron)
	if err != nil || old.Due.IsZero() {
		return
	}
	delay, n := old.Delay(), 0
	for next := old.Next; !next.IsZero() && !next.Add(delay).After(at) && n < changedCounts; next = cron.Next(next) {
		n++
		v.Skipped++
		v.LastSkip, v.SkipReason = next, flint.SkipChanged
	}
}
