package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"flint"
)

// scheduled is a bundle whose schedules go by a clock that the test moves.
func scheduled(t *testing.T) (*bundle, *time.Time) {
	t.Helper()
	s := setup(t)
	at := time.Date(2026, 1, 5, 12, 0, 30, 0, time.UTC)
	s.config.ScheduleClock = func() time.Time { return at }
	return s, &at
}

func (b *bundle) change(t *testing.T, change func(*flint.Function)) *flint.Schedule {
	t.Helper()
	_, err := b.UpdateFunction(t.Context(), "p", "f", func(f *flint.Function) error { change(f); return nil })
	must(t, err)
	return b.scheduleOf(t)
}

func (b *bundle) scheduleOf(t *testing.T) *flint.Schedule {
	t.Helper()
	return value[*flint.Schedule](t)(b.Schedule(t.Context(), "p", "f"))
}

func (b *bundle) dueNow(t *testing.T, at time.Time) []*DueSchedule {
	t.Helper()
	return value[[]*DueSchedule](t)(b.DueSchedules(t.Context(), at, 10))
}

func TestSchedulesGoWithTheirFunctions(t *testing.T) {
	t.Parallel()
	s, at := scheduled(t)
	ctx := t.Context()
	state := func(what string, v *flint.Schedule, state flint.ScheduleState, next time.Time) {
		t.Helper()
		got, why := v.State()
		if got != state || !v.Next.Equal(next) || v.Due.IsZero() != next.IsZero() {
			t.Errorf("%s: %s (%s), next at %s; want %s, %s", what, got, why, v.Next, state, next)
		}
		coming := value[time.Time](t)(s.NextSchedule(ctx))
		if !coming.Equal(v.Due) {
			t.Errorf("%s: the store's next is %s, want %s", what, coming, v.Due)
		}
	}
	none := time.Time{}
	full := time.Date(2026, 1, 5, 12, 1, 0, 0, time.UTC)
	state("at first", s.scheduleOf(t), flint.ScheduleInactive, none)
	state("without a deployment", s.change(t, func(f *flint.Function) { f.Schedule = "* * * * *" }), flint.ScheduleInactive, none)

	d := &flint.Deployment{Project: "p", ID: "d", Function: "f", Activate: true, SourceDigest: "x"}
	must(t, s.CreateDeployment(ctx, d))
	state("while it is built", s.scheduleOf(t), flint.ScheduleInactive, none)
	_, attempt, err := s.ClaimBuild(ctx, "n", time.Minute)
	must(t, err)
	_, err = s.FinishBuild(ctx, "d", attempt, BuildOutcome{Status: flint.DeploymentReady})
	must(t, err)
	state("when it is built", s.scheduleOf(t), flint.ScheduleActive, full)

	*at = at.Add(time.Minute)
	state("after a change of something else", s.change(t, func(f *flint.Function) { f.Name = "G" }), flint.ScheduleActive, full)
	v := s.change(t, func(f *flint.Function) { f.Scheduling.Paused = true })
	state("paused", v, flint.SchedulePaused, none)
	if v.Skipped != 1 || v.SkipReason != flint.SkipChanged || !v.LastSkip.Equal(full) {
		t.Errorf("the time that was due when it was paused: %+v", v)
	}
	*at = at.Add(10 * time.Minute)
	v = s.change(t, func(f *flint.Function) { f.Scheduling.Paused = false })
	state("resumed", v, flint.ScheduleActive, full.Add(11*time.Minute))
	if v.Skipped != 1 {
		t.Errorf("%d skipped, want 1: what comes while it is paused is not missed", v.Skipped)
	}
	state("another time", s.change(t, func(f *flint.Function) { f.Schedule = "CRON_TZ=Asia/Kolkata 0 8 * * *" }), flint.ScheduleActive, time.Date(2026, 1, 6, 2, 30, 0, 0, time.UTC))
	v = s.change(t, func(f *flint.Function) { f.Scheduling.Jitter = 600 })
	if v.Delay() != v.Settings.Delay("p", "f", 0) || v.Delay() <= 0 {
		t.Errorf("delay %s", v.Delay())
	}
	state("a time that never comes", s.change(t, func(f *flint.Function) { f.Schedule = "0 0 31 2 *" }), flint.ScheduleInactive, none)
	state("every minute again", s.change(t, func(f *flint.Function) { f.Schedule, f.Scheduling = "* * * * *", flint.ScheduleSettings{} }), flint.ScheduleActive, full.Add(11*time.Minute))

	must(t, s.DeleteDeployment(ctx, "p", "f", "d"))
	state("when the deployment is gone", s.scheduleOf(t), flint.ScheduleInactive, none)
	must(t, s.CreateDeployment(ctx, &flint.Deployment{Project: "p", ID: "e", Function: "f", Status: flint.DeploymentReady}))
	_, err = s.ActivateDeployment(ctx, "p", "f", "e")
	must(t, err)
	state("when another one is active", s.scheduleOf(t), flint.ScheduleActive, full.Add(11*time.Minute))
	state("without a schedule", s.change(t, func(f *flint.Function) { f.Schedule = "" }), flint.ScheduleInactive, none)
	s.change(t, func(f *flint.Function) { f.Schedule = "* * * * *" })
	must(t, s.DeleteFunction(ctx, "p", "f"))
	if next := value[time.Time](t)(s.NextSchedule(ctx)); !next.IsZero() {
		t.Errorf("a deleted function is due at %s", next)
	}
	_, err = s.Schedule(ctx, "p", "f")
	wantErr(t, "schedule of a deleted function", err, flint.ErrFunctionNotFound)
}

func TestAScheduleIsMovedOnOnce(t *testing.T) {
	t.Parallel()
	s, at := scheduled(t)
	ctx := t.Context()
	s.change(t, func(f *flint.Function) { f.Schedule, f.DeploymentID = "* * * * *", "d" })
	*at = at.Add(time.Minute)
	firing := func(due *DueSchedule, id flint.ExecutionID) *Firing {
		e := sample(string(id), s.f)
		e.Trigger, e.CreatedAt = flint.TriggerSchedule, *at
		next := due.Next.Add(time.Minute)
		return &Firing{Of: due, Next: next, Due: next, Runs: []ScheduledRun{{Time: due.Next, Execution: e, Call: &QueuedCall{Method: "POST", Path: "/"}}}}
	}
	due := s.dueNow(t, *at)
	if len(due) != 1 {
		t.Fatalf("%d are due, want 1", len(due))
	}
	mine, late := firing(due[0], "e1"), firing(due[0], "e2")
	must(t, s.FireSchedules(ctx, []*Firing{mine, late}))
	if mine.Lost || mine.Fired != 1 || !late.Lost {
		t.Errorf("lost %v (%d fired) and %v, want the second alone", mine.Lost, mine.Fired, late.Lost)
	}
	if _, err := s.Execution(ctx, "p", "f", "e2"); !flint.ErrExecutionNotFound.Is(err) {
		t.Errorf("the execution of a lost firing: %v", err)
	}
	v := s.scheduleOf(t)
	diff(t, "last run", []any{v.LastExecution, v.LastRun, v.Runs}, []any{flint.ExecutionID("e1"), due[0].Next, int64(1)})

	// One that cannot be written is not moved on either.
	*at = at.Add(time.Minute)
	twice := firing(s.dueNow(t, *at)[0], "e1")
	if err := s.FireSchedules(ctx, []*Firing{twice}); err == nil {
		t.Error("an execution was added twice")
	}
	if next := s.scheduleOf(t).Next; !next.Equal(twice.Of.Next) {
		t.Errorf("next at %s, want %s", next, twice.Of.Next)
	}
}

func TestSchedulesAreBroughtInStep(t *testing.T) {
	t.Parallel()
	s, at := scheduled(t)
	ctx := t.Context()
	s.change(t, func(f *flint.Function) { f.Schedule, f.DeploymentID = "0 0 * * *", "d" })
	for i := range schedulePage + 5 { // from before there were schedules
		must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: flint.FunctionID(fmt.Sprint("g", i)), Schedule: "* * * * *", DeploymentID: "d"}, nil))
	}
	must(t, s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.exec(ctx, "delete from schedules where cron = '* * * * *'")
	}))
	s.config.ScheduleSpread = time.Hour
	must(t, s.RefreshSchedules(ctx, *at))
	all := value[[]*flint.Schedule](t)(s.Schedules(ctx, "p", "", 2000))
	if len(all) != schedulePage+6 {
		t.Fatalf("%d schedules", len(all))
	}
	for _, v := range all {
		if state, why := v.State(); state != flint.ScheduleActive || v.Delay() != v.Settings.Delay("p", v.Function, time.Hour) {
			t.Fatalf("%s: %s (%s), delayed by %s", v.Function, state, why, v.Delay())
		}
	}
	diff(t, "a page", len(value[[]*flint.Schedule](t)(s.Schedules(ctx, "p", all[3].Function, 4))), 4)
}

func TestScheduleReadsUseIndexes(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for query, args := range map[string][]any{
		readDueSchedules: {1, 1}, readNextSchedule: nil, readSchedule: {"p", "f"}, readScheduledOwner: {0, 1}, readSchedules: {"p", "", 1},
	} {
		must(t, s.each(t.Context(), "explain query plan "+query, args, func(r scanner) error {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			if strings.HasPrefix(detail, "SCAN") && !strings.Contains(detail, "INDEX schedules_due") || strings.Contains(detail, "TEMP B-TREE") {
				t.Errorf("%s: %s", query, detail)
			}
			return err
		}))
	}
}
