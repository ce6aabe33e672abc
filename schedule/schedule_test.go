package schedule

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"flint"
	"flint/invoke"
	"flint/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is the wall's, moved by the test.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(by time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(by)
	return c.at
}

// bed is a store with the functions of project p, whose schedules the test's clock fires.
type bed struct {
	t    testing.TB
	path string
	db   *store.Store
	*clock
}

func newBed(t testing.TB) *bed {
	t.Helper()
	begin := time.Date(2026, 1, 5, 11, 59, 30, 0, time.UTC)
	b := &bed{t: t, path: filepath.Join(t.TempDir(), "flint.db"), clock: &clock{at: begin}}
	b.open()
	t.Cleanup(b.close)
	b.must(b.db.CreateProject(t.Context(), &flint.Project{ID: "p", Name: "P"}))
	return b
}

func (b *bed) open() {
	b.t.Helper()
	var err error
	b.db, err = store.Open(b.t.Context(), store.Config{Path: b.path, Secret: bytes.Repeat([]byte{1}, 32), ScheduleClock: b.now})
	b.must(err)
}

func (b *bed) close() { b.must(b.db.Close()) }

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// scheduler is a new one, as a node that starts has it.
func (b *bed) scheduler() *Scheduler {
	registry := prometheus.NewRegistry()
	logger := slog.New(slog.DiscardHandler)
	return New(Config{
		Store: b.db, Logger: logger, Registry: registry, Now: b.now,
		Invoker: invoke.New(invoke.Config{Store: b.db, Logger: logger, Registry: registry, Domain: "functions.test", Node: "n"}),
	})
}

func (b *bed) function(id flint.FunctionID, cron string, s flint.ScheduleSettings) {
	b.t.Helper()
	b.must(b.create(id, cron, s))
}

// patience is how long the calls of runs wait: the store looks at the machine's clock, which is far ahead of the test's.
const patience = 50 * 365 * 24 * time.Hour

func (b *bed) create(id flint.FunctionID, cron string, s flint.ScheduleSettings) error {
	return b.db.CreateFunction(b.t.Context(), &flint.Function{
		Project: "p", ID: id, Name: string(id), Runtime: "node-22", Schedule: cron, Scheduling: s, Timeout: 15 * time.Second, DeploymentID: "d",
		Delivery: flint.Delivery{MaxAge: int(patience / time.Second)},
	}, nil)
}

// begin moves the clock to the full minute after the functions were made.
func (b *bed) begin() time.Time { return b.move(30 * time.Second) }

func (b *bed) schedule(id flint.FunctionID) *flint.Schedule {
	b.t.Helper()
	s, err := b.db.Schedule(b.t.Context(), "p", id)
	b.must(err)
	return s
}

// runs returns when the executions of a function were created, relative to a time.
func (b *bed) runs(id flint.FunctionID, since time.Time) (all []time.Duration) {
	b.t.Helper()
	found, _, err := b.db.Executions(b.t.Context(), "p", id, flint.List{Limit: 5000})
	b.must(err)
	for _, e := range found {
		all = append(all, e.CreatedAt.Sub(since))
	}
	return all
}

func minutes(all ...int) (out []time.Duration) {
	for _, n := range all {
		out = append(out, time.Duration(n)*time.Minute)
	}
	return out
}

func (b *bed) fire(s *Scheduler) {
	b.t.Helper()
	b.must(s.fireDue(b.t.Context()))
}

// claim takes the only call that is due.
func (b *bed) claim() (*flint.Execution, *store.QueuedCall) {
	b.t.Helper()
	claims, err := b.db.ClaimExecutions(b.t.Context(), "n", time.Minute, 2)
	b.must(err)
	if len(claims) != 1 {
		b.t.Fatalf("%d calls are due, want one", len(claims))
	}
	return claims[0].Execution, claims[0].Call
}

func (b *bed) equal(what string, got, want any) {
	b.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestARunIsAnExecutionOfThePlatform(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("f", "* * * * *", flint.ScheduleSettings{})
	b.begin()
	b.fire(b.scheduler())
	e, call := b.claim()
	b.equal("call", call, &store.QueuedCall{Attempt: 1, Method: "POST", Path: "/", Expires: b.now().Add(patience), Delivery: flint.Delivery{MaxAge: int(patience / time.Second)}})
	s := b.schedule("f")
	b.equal("execution", []any{e.Trigger, e.RequestMethod, e.RequestPath, e.RequestHeaders, e.Deployment, e.ScheduledAt.IsZero(), len(e.Permissions)},
		[]any{flint.TriggerSchedule, "POST", "/", []flint.Header{{Name: "host", Value: "f.functions.test"}}, flint.DeploymentID("d"), true, 0})
	b.equal("schedule", []any{s.LastExecution, s.LastRun, s.Next, s.Runs, s.Skipped}, []any{e.ID, b.now(), b.now().Add(time.Minute), int64(1), int64(0)})
}

func TestTheClockMovesBackAndForward(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("reference", "* * * * *", flint.ScheduleSettings{})
	b.function("skip", "* * * * *", flint.ScheduleSettings{Missed: flint.MissedSkip})
	b.function("once", "* * * * *", flint.ScheduleSettings{Missed: flint.MissedOnce})
	b.function("all", "* * * * *", flint.ScheduleSettings{Missed: flint.MissedAll})
	b.function("some", "* * * * *", flint.ScheduleSettings{Missed: flint.MissedAll, MissedLimit: 3})
	b.function("young", "* * * * *", flint.ScheduleSettings{Missed: flint.MissedAll, MissedAge: 600})
	begin := b.begin()
	s := b.scheduler()
	b.fire(s)
	b.move(time.Minute)
	b.fire(s)
	b.fire(s)
	b.move(-time.Hour)
	for range 60 { // what ran before runs no second time
		b.fire(s)
		b.move(time.Minute)
	}
	for _, id := range []flint.FunctionID{"reference", "skip", "once", "all", "some", "young"} {
		b.equal(string(id)+" before", b.runs(id, begin), minutes(0, 1))
	}
	b.move(time.Hour) // the minutes 2 to 61 are due
	b.fire(s)
	for id, want := range map[flint.FunctionID]int{"reference": 6, "skip": 1, "once": 1, "all": 60, "some": 3, "young": 11} {
		v := b.schedule(id)
		b.equal(string(id)+" after", []any{len(b.runs(id, begin)), v.Runs, v.Skipped, v.Next.Sub(begin)},
			[]any{2 + want, int64(2 + want), int64(60 - want), 62 * time.Minute})
		if v.Skipped > 0 && (v.SkipReason != flint.SkipMissed || !v.LastSkip.Equal(begin.Add(time.Duration(61-want)*time.Minute))) {
			t.Errorf("%s: last skipped %s, because %s", id, v.LastSkip.Sub(begin), v.SkipReason)
		}
	}
}

func TestWhatRanDoesNotRunAgainAfterAChange(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("f", "* * * * *", flint.ScheduleSettings{})
	begin := b.begin()
	s := b.scheduler()
	b.fire(s)
	b.move(-time.Hour)
	for _, paused := range []bool{true, false} {
		_, err := b.db.UpdateFunction(t.Context(), "p", "f", func(f *flint.Function) error { f.Scheduling.Paused = paused; return nil })
		b.must(err)
	}
	for range 61 {
		b.fire(s)
		b.move(time.Minute)
	}
	b.fire(s)
	b.equal("runs", b.runs("f", begin), minutes(0, 1))
}

func TestANamesakeOfADeletedFunctionRunsAlthoughTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	b := newBed(t) // its clock is behind the one by which functions are deleted
	b.function("f", "* * * * *", flint.ScheduleSettings{})
	b.must(b.db.DeleteFunction(t.Context(), "p", "f"))
	b.function("f", "* * * * *", flint.ScheduleSettings{})
	begin := b.begin()
	b.fire(b.scheduler())
	if runs := b.runs("f", begin); len(runs) != 1 || b.schedule("f").Runs != 1 {
		t.Errorf("runs %v, %+v", runs, b.schedule("f"))
	}
}

func TestAClockThatWasWrongByFarDoesNotStopSchedules(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("f", "* * * * *", flint.ScheduleSettings{})
	b.begin()
	s := b.scheduler()
	b.fire(s)
	b.move(40 * 24 * time.Hour)
	b.must(b.db.RefreshSchedules(t.Context(), b.now()))
	b.fire(s)
	back := b.move(-30 * 24 * time.Hour)
	b.must(b.db.RefreshSchedules(t.Context(), back))
	if next := b.schedule("f").Next; !next.Equal(back.Add(time.Minute)) {
		t.Errorf("next at %s, want a minute after %s", next, back)
	}
	v := b.schedule("f")
	if total := v.Runs + v.Skipped; total != 40*24*60+1 {
		t.Errorf("%d times accounted for, want %d", total, 40*24*60+1)
	}
}

func TestARestartLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("f", "* * * * *", flint.ScheduleSettings{})
	begin := b.begin()
	for range 10 {
		ctx, stop := context.WithCancel(t.Context())
		stop() // at once, with what is due in whatever state it is
		_ = b.scheduler().fireDue(ctx)
		b.close()
		b.open()
		s := b.scheduler()
		b.must(b.db.RefreshSchedules(t.Context(), b.now()))
		b.fire(s)
		b.move(time.Minute)
	}
	b.equal("runs", b.runs("f", begin), minutes(0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
}

func TestTwoSchedulersFireOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const functions, rounds = 12, 8
	for i := range functions {
		b.function(flint.FunctionID(fmt.Sprint("f", i)), "* * * * *", flint.ScheduleSettings{})
	}
	begin := b.begin()
	schedulers := []*Scheduler{b.scheduler(), b.scheduler(), b.scheduler()}
	for range rounds {
		var all sync.WaitGroup
		for _, s := range schedulers {
			all.Go(func() {
				if err := s.fireDue(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		b.move(time.Minute)
	}
	for i := range functions {
		b.equal(fmt.Sprint("runs of ", i), b.runs(flint.FunctionID(fmt.Sprint("f", i)), begin), minutes(0, 1, 2, 3, 4, 5, 6, 7))
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("f", "* * * * *", flint.ScheduleSettings{Overlap: flint.OverlapSkip})
	b.begin()
	s := b.scheduler()
	b.fire(s)
	b.move(time.Minute)
	b.fire(s) // the first one still waits
	v := b.schedule("f")
	b.equal("while one waits", []any{v.Runs, v.Skipped, v.SkipReason, v.LastSkip}, []any{int64(1), int64(1), flint.SkipOverlap, b.now()})

	e, call := b.claim()
	b.move(time.Minute)
	b.fire(s) // it runs
	b.equal("while one runs", b.schedule("f").Skipped, int64(2))
	e.Status = flint.ExecutionCompleted
	if _, err := b.db.FinishExecution(t.Context(), e, store.Ending{Attempt: call.Attempt, Outcome: flint.OutcomeAnswered}); err != nil {
		t.Fatal(err)
	}
	last := b.move(5 * time.Minute)
	b.fire(s) // several are due: the newest runs
	v = b.schedule("f")
	b.equal("after it", []any{v.Runs, v.Skipped, v.LastRun, v.LastSkip}, []any{int64(2), int64(6), last, last.Add(-time.Minute)})
}

func TestJitterIsKept(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("f", "*/2 * * * *", flint.ScheduleSettings{Jitter: 60})
	v := b.schedule("f")
	delay := v.Settings.Delay("p", "f", 0)
	if v.Delay() != delay || delay <= 0 || delay >= time.Minute {
		t.Fatalf("delays %s and %s, want one within the minute", v.Delay(), delay)
	}
	begin := b.begin()
	s := b.scheduler()
	for range 600 {
		b.fire(s)
		b.move(time.Second)
	}
	for _, at := range b.runs("f", begin) {
		if late := at % (2 * time.Minute) % time.Minute; late < delay || late > delay+time.Second {
			t.Errorf("a run at %s, want %s after the full minute", at, delay)
		}
	}
	if n := len(b.runs("f", begin)); n != 5 {
		t.Errorf("%d runs, want 5", n)
	}
}

func TestTheBellEndsTheWait(t *testing.T) {
	t.Parallel()
	s := newBed(t).scheduler()
	s.Ring()
	s.wait(t.Context(), 24*time.Hour)
}

// TestRunWakesUp plays the loop itself: it fires what is due at its start, what the clock brings, and what a change brings.
func TestRunWakesUp(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.function("f", "* * * * *", flint.ScheduleSettings{})
	b.begin()
	s := b.scheduler()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	until := func(what string, id flint.FunctionID, n int64) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for b.schedule(id).Runs != n {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				t.Fatal(what)
			}
		}
	}
	until("at the start", "f", 1)
	b.move(time.Minute)
	until("when the clock moved", "f", 2)
	b.function("g", "* * * * *", flint.ScheduleSettings{})
	b.move(time.Minute)
	s.Ring()
	until("a new one", "f", 3)
	if v := b.schedule("g"); v.Next.IsZero() {
		t.Errorf("the new one has no time: %+v", v)
	}
	b.move(-100 * 24 * time.Hour) // it was wrong
	until("after a wrong clock was set right", "f", 3)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !b.schedule("f").Next.Equal(b.now().Add(time.Minute)) {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("schedules were not reckoned anew")
		}
	}
	stop()
	b.must(<-done)
}
