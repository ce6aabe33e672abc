package keepalive

import (
	"math/rand/v2"
	"testing"
	"time"
)

// learn feeds a function's idle times to a histogram, by a clock of its own.
func learn(idle ...time.Duration) *History {
	a := &History{}
	now := time.Unix(1_700_000_000, 0)
	a.Arrive(now)
	a.Rest(now)
	for _, d := range idle {
		now = now.Add(d)
		a.Arrive(now)
		a.Rest(now)
	}
	return a
}

func times(n int, d func(i int) time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d(i)
	}
	return all
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for name, tt := range map[string]struct {
		idle       []time.Duration
		ok         bool
		wait, keep time.Duration
	}{
		"nothing":                       {nil, false, 0, 0},
		"too few":                       {times(9, func(int) time.Duration { return time.Minute }), false, 0, 0},
		"every few seconds":             {times(50, func(int) time.Duration { return 5 * time.Second }), true, 0, 66 * time.Second},
		"every half hour":               {times(50, func(int) time.Duration { return 30 * time.Minute }), true, 27 * time.Minute, 426 * time.Second},
		"every half hour, more or less": {times(200, func(int) time.Duration { return 28*time.Minute + time.Duration(random.Int64N(int64(4*time.Minute))) }), true, 1512 * time.Second, 600 * time.Second},
		"bursts of ten every hour": {times(200, func(i int) time.Duration {
			return map[bool]time.Duration{true: time.Hour, false: time.Second}[i%10 == 0]
		}), true, 0, 4026 * time.Second},
		"once a day":        {times(50, func(int) time.Duration { return 24 * time.Hour }), false, 0, 0},
		"no pattern at all": {times(900, func(int) time.Duration { return time.Duration(random.Int64N(int64(4 * time.Hour))) }), false, 0, 0},
		"half an hour and sometimes days": {times(50, func(i int) time.Duration {
			return map[bool]time.Duration{true: 48 * time.Hour, false: 30 * time.Minute}[i%4 == 0]
		}), true, 27 * time.Minute, 426 * time.Second},
	} {
		p, ok := learn(tt.idle...).Plan()
		if ok != tt.ok || p.Wait != tt.wait || p.Keep != tt.keep {
			t.Errorf("%s: wait %s, keep %s, %v; want %s, %s, %v", name, p.Wait, p.Keep, ok, tt.wait, tt.keep, tt.ok)
		}
	}
}

func TestANewHabitReplacesTheOld(t *testing.T) {
	t.Parallel()
	idle := times(2000, func(int) time.Duration { return 10 * time.Minute })
	idle = append(idle, times(8000, func(int) time.Duration { return time.Hour })...)
	p, ok := learn(idle...).Plan()
	if !ok || p.Wait != 54*time.Minute {
		t.Errorf("wait %s, %v; want 54m", p.Wait, ok)
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	periodic, steady := Plan{Wait: 27 * time.Minute, Keep: 7 * time.Minute}, Plan{Keep: time.Hour}
	for _, tt := range []struct {
		p        Plan
		idle     time.Duration
		stay     time.Duration
		expected bool
	}{
		{periodic, 0, Settle, false},
		{periodic, 10 * time.Minute, Settle, false},
		{periodic, 27 * time.Minute, 34 * time.Minute, true},
		{periodic, 33 * time.Minute, 34 * time.Minute, true},
		{periodic, 34 * time.Minute, Settle, false},
		{steady, 0, time.Hour, false},
		{steady, 2 * time.Hour, time.Hour, false},
	} {
		if stay, expected := tt.p.At(tt.idle); stay != tt.stay || expected != tt.expected {
			t.Errorf("idle for %s: stays %s, expected %v; want %s, %v", tt.idle, stay, expected, tt.stay, tt.expected)
		}
	}
}
