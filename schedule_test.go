package flint_test

import (
	"testing"
	"time"

	"flint"
)

func TestScheduleSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		s    flint.ScheduleSettings
		age  time.Duration
		most int
	}{
		{"as the reference", flint.ScheduleSettings{MissedAge: 10, MissedLimit: 1}, 5 * time.Minute, 1000},
		{"skip", flint.ScheduleSettings{Missed: flint.MissedSkip, MissedAge: 3600}, time.Minute, 1},
		{"once", flint.ScheduleSettings{Missed: flint.MissedOnce, MissedLimit: 7}, 24 * time.Hour, 1},
		{"once within an hour", flint.ScheduleSettings{Missed: flint.MissedOnce, MissedAge: 3600}, time.Hour, 1},
		{"all", flint.ScheduleSettings{Missed: flint.MissedAll}, 24 * time.Hour, 100},
		{"some", flint.ScheduleSettings{Missed: flint.MissedAll, MissedLimit: 7, MissedAge: 10}, time.Minute, 7},
	} {
		if age, most := c.s.CatchUp(); age != c.age || most != c.most {
			t.Errorf("%s: CatchUp() = %s, %d; want %s, %d", c.name, age, most, c.age, c.most)
		}
	}
	for s, want := range map[string]flint.Jitter{"": 0, "default": 0, "none": -1, "0": -1, "30": 30, "3600": 3600} {
		if got, ok := flint.ParseJitter(s); got != want || !ok {
			t.Errorf("ParseJitter(%q) = %d, %v", s, got, ok)
		}
		if back, ok := flint.ParseJitter(want.String()); back != want || !ok {
			t.Errorf("%d is written as %s", want, want)
		}
	}
	for _, bad := range []string{"-1", "3601", "5m", "x"} {
		if _, ok := flint.ParseJitter(bad); ok {
			t.Errorf("ParseJitter(%q) is right", bad)
		}
	}
	for _, bad := range []flint.ScheduleSettings{{MissedLimit: -1}, {MissedLimit: 1001}, {MissedAge: -1}, {MissedAge: 604801}} {
		if field, _ := bad.Check(); field == "" {
			t.Errorf("%+v is right", bad)
		}
	}
}

func TestScheduleDelay(t *testing.T) {
	t.Parallel()
	none, node, own := flint.ScheduleSettings{Jitter: flint.JitterNone}, flint.ScheduleSettings{}, flint.ScheduleSettings{Jitter: 60}
	if d := none.Delay("p", "f", time.Minute); d != 0 {
		t.Errorf("none: %s", d)
	}
	if d := node.Delay("p", "f", 0); d != 0 {
		t.Errorf("the node's none: %s", d)
	}
	spread := map[int64]bool{}
	for i := range 200 {
		id := flint.FunctionID(rune('a'+i%26)) + flint.FunctionID(rune('a'+i/26))
		d := own.Delay("p", id, 0)
		if d != node.Delay("p", id, time.Minute) || d != own.Delay("p", id, time.Hour) || d < 0 || d >= time.Minute {
			t.Fatalf("%s: %s", id, d)
		}
		spread[int64(d/(10*time.Second))] = true
	}
	if len(spread) != 6 {
		t.Errorf("delays are in %d of the 6 parts of a minute", len(spread))
	}
}

func TestScheduleState(t *testing.T) {
	t.Parallel()
	next := moment(t, "2026-01-01T00:00:00Z")
	active := flint.Schedule{Cron: "0 0 * * *", Deployment: "d", Next: next, Due: next.Add(3 * time.Second)}
	paused, empty, never, unread, bare := active, active, active, active, active
	paused.Settings.Paused, empty.Cron, never.Next, unread.Cron, bare.Deployment = true, "", time.Time{}, "x", ""
	for _, c := range []struct {
		s    flint.Schedule
		want flint.ScheduleState
		runs int
	}{{active, flint.ScheduleActive, 3}, {paused, flint.SchedulePaused, 0}, {empty, flint.ScheduleInactive, 0}, {never, flint.ScheduleInactive, 0}, {unread, flint.ScheduleInactive, 0}, {bare, flint.ScheduleInactive, 0}} {
		state, why := c.s.State()
		if state != c.want || (why == "") != (state == flint.ScheduleActive) || len(c.s.Upcoming(3)) != c.runs {
			t.Errorf("%+v: %s (%s), %d upcoming; want %s, %d", c.s, state, why, len(c.s.Upcoming(3)), c.want, c.runs)
		}
	}
	if last := active.Upcoming(3)[2]; !last.Equal(moment(t, "2026-01-03T00:00:03Z")) {
		t.Errorf("the third run is at %s", last)
	}
}
