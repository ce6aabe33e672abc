package main

import (
	"testing"
	"time"
)

func TestKeepers(t *testing.T) {
	t.Parallel()
	every := func(period time.Duration, n int) []invocation {
		var all []invocation
		for i := range n {
			all = append(all, invocation{at: time.Duration(i) * period, runs: time.Second})
		}
		return all
	}
	for _, tt := range []struct {
		name       string
		stay       time.Duration
		calls      []invocation
		cold       int
		least, end time.Duration // of the time with a worker
	}{
		{"soon enough", 5 * time.Minute, every(4*time.Minute, 10), 1, 36*time.Minute + time.Second, 41*time.Minute + time.Second},
		{"too late", 5 * time.Minute, every(10*time.Minute, 10), 10, 10 * time.Second, 10*5*time.Minute + 10*time.Second},
		{"together", time.Second, []invocation{{runs: 10 * time.Second}, {at: 5 * time.Second, runs: time.Second}, {at: 9 * time.Second, runs: 3 * time.Second}}, 1, 12 * time.Second, 13 * time.Second},
		{"learned", learnedStay, every(time.Hour, 100), 11, 88*7*time.Minute + 11*5*time.Minute, 88*8*time.Minute + 12*5*time.Minute + 14*time.Minute},
		{"learned, and again at once", learnedStay, append(every(time.Hour, 100), invocation{at: 99*time.Hour + 20*time.Second}), 11, 0, 24 * time.Hour},
		{"learned, and again when nobody does", learnedStay, append(every(time.Hour, 100), invocation{at: 99*time.Hour + 20*time.Minute}), 12, 0, 24 * time.Hour},
	} {
		k := keeper{stay: tt.stay}
		for _, c := range tt.calls {
			k.call(c)
		}
		k.end(tt.calls[len(tt.calls)-1].at + 24*time.Hour)
		if k.cold != tt.cold || k.alive < tt.least || k.alive > tt.end {
			t.Errorf("%s: %d cold calls, %s with a worker; want %d, %s to %s", tt.name, k.cold, k.alive, tt.cold, tt.least, tt.end)
		}
	}
}
