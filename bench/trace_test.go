package main

import (
	"slices"
	"testing"
	"time"
)

func TestTheTraceHasTheShapeOfADay(t *testing.T) {
	const day = 3 * time.Minute
	trace := makeTrace(1, day)
	if !slices.Equal(trace, makeTrace(1, day)) {
		t.Error("the same seed makes another day")
	}
	calls := make([]int, traceFunctions)
	runs := make([]time.Duration, 0, len(trace))
	last := time.Duration(0)
	var medians [traceFunctions]time.Duration
	for _, c := range trace {
		if c.at < last || c.at > day {
			t.Fatalf("a call at %s after one at %s", c.at, last)
		}
		last = c.at
		calls[c.function]++
		medians[c.function] = c.runs
		runs = append(runs, c.runs)
	}
	slices.Sort(calls)
	slices.Sort(runs)
	if calls[0] == 0 {
		t.Error("a function is never called")
	}
	if rate := float64(len(trace)) / day.Seconds(); rate < traceRate/3 || rate > traceRate*2 {
		t.Errorf("%.1f calls/s, want about %d", rate, traceRate)
	}
	popular := 0
	for _, n := range calls[traceFunctions*4/5:] {
		popular += n
	}
	if share := float64(popular) / float64(len(trace)); share < 0.9 {
		t.Errorf("the most popular fifth of the functions has %.2f of the calls, want nearly all", share)
	}
	slices.Sort(medians[:])
	if m := medians[traceFunctions/2]; m < 400*time.Millisecond || m > time.Second {
		t.Errorf("the median function runs %s, want about 0.7 s", m)
	}
	if runs[0] < shortest || runs[len(runs)-1] > longest {
		t.Errorf("calls run from %s to %s", runs[0], runs[len(runs)-1])
	}
}
