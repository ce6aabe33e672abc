package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	daySeed      = 2019
	dayKeepAlive = 10 * time.Second // of workers: 5 minutes in a day that lasts minutes would keep all of them
	dayCold      = 0.15             // of the calls may be cold
	dayMedian    = 1.1              // slowdown of half of the calls
	dayTail      = 5.0              // slowdown of all but one in a hundred
	dayLook      = time.Second      // between two looks at the memory of the workers
)

// dayRow is a synthetic day. Slowdown is how long a call took, divided by how long its function ran.
type dayRow struct {
	Functions     int         `json:"functions"`
	Calls         int         `json:"calls"`
	Failed        int         `json:"failed"` // also those that were refused
	Why           map[int]int `json:"why"`    // how many of them had which status
	Cold          int         `json:"cold"`   // calls that were the first of their worker
	ColdShare     float64     `json:"cold_share"`
	Slowdown50    float64     `json:"slowdown_p50"`
	Slowdown99    float64     `json:"slowdown_p99"`
	ColdAdded50   float64     `json:"cold_added_p50_us"` // what a cold call took beside its function's time
	ColdAdded99   float64     `json:"cold_added_p99_us"`
	MemorySeconds float64     `json:"memory_mb_s"` // the workers' memory (PSS) summed over time
	UsedSeconds   float64     `json:"function_s"`  // the time that functions ran
	MostWorkers   float64     `json:"most_mb"`

	WorkerMemory float64     `json:"worker_mb"` // of one, or of a stem, at the end
	Policies     []policyRow `json:"policies"`
}

// day plays the trace.
func day(ctx context.Context, b *bed, o options) (result, error) {
	trace := makeTrace(daySeed, o.day)
	n, err := b.replicas(ctx, "day", traceFunctions, "FLINT_KEEP_ALIVE="+dayKeepAlive.String())
	if err != nil {
		return nil, err
	}
	p := newPlayer(n.addr)
	defer p.close()
	shots := make([]shot, len(trace))
	for i, c := range trace {
		shots[i] = shot{c.at, replicaPath(c.function, fmt.Sprintf("/wait?n=%d", c.runs.Milliseconds()))}
	}
	b.say("day: %d calls", len(trace))
	r := &dayRow{Functions: traceFunctions, Calls: len(trace), Why: map[int]int{}}
	outcomes := make([]outcome, len(trace))
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() { r.watch(watched, n.process.cmd.Process.Pid) })
	err = p.play(ctx, shots, func(i int, o outcome) { outcomes[i] = o }) // each has a place of its own
	stop()
	watch.Wait()
	if err != nil {
		return nil, err
	}
	return r, r.sum(trace, outcomes)
}

// watch sums the memory of the workers over time.
func (r *dayRow) watch(ctx context.Context, server int) {
	for last := time.Now(); waitUntil(ctx, last.Add(dayLook)); {
		found := workers(server)
		mb := shareOf(found)
		if n := leaves(found); n > 0 {
			r.WorkerMemory = mb / float64(n)
		}
		now := time.Now()
		r.MemorySeconds += mb * now.Sub(last).Seconds()
		r.MostWorkers = max(r.MostWorkers, mb)
		last = now
	}
}

func (r *dayRow) sum(trace []invocation, outcomes []outcome) error {
	var slowdowns []float64
	var added []time.Duration
	for i, o := range outcomes {
		if failed(o) {
			r.Failed++
			r.Why[o.status]++
			continue
		}
		before, err := servedBefore(o)
		if err != nil {
			return fmt.Errorf("function %d, %s after the beginning: %w", trace[i].function, trace[i].at.Round(time.Millisecond), err)
		}
		if before == 0 {
			r.Cold++
			added = append(added, o.took-trace[i].runs)
		}
		r.UsedSeconds += trace[i].runs.Seconds()
		slowdowns = append(slowdowns, ratio(o.took.Seconds(), trace[i].runs.Seconds()))
	}
	if len(slowdowns) == 0 {
		return errors.New("all calls have failed")
	}
	slices.Sort(slowdowns)
	slices.Sort(added)
	r.ColdShare = ratio(float64(r.Cold), float64(r.Calls))
	r.Slowdown50, r.Slowdown99 = slowdowns[(len(slowdowns)-1)/2], slowdowns[len(slowdowns)*99/100]
	r.ColdAdded50, r.ColdAdded99 = micros(quantile(added, 0.5)), micros(quantile(added, 0.99))
	r.Policies = replay(quantile(added, 0.5), r.WorkerMemory)
	return nil
}

func (r *dayRow) check() error {
	return errors.Join(within("the number of failed calls in a day", float64(r.Failed), 0, "calls"), within("the share of cold calls in a day", r.ColdShare, dayCold, ""),
		within("the median slowdown in a day", r.Slowdown50, dayMedian, "times"), within("p99 of the slowdown in a day", r.Slowdown99, dayTail, "times"))
}

func (r *dayRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nDay: %d calls of %d functions, %d failed (bound 0); workers without calls stay %s\n", r.Calls, r.Functions, r.Failed, dayKeepAlive)
	for _, status := range slices.Sorted(maps.Keys(r.Why)) {
		fmt.Fprintf(w, "  %d with status %d\n", r.Why[status], status)
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "\tcold share\tslowdown p50\tp99\tcold adds p50 ms\tp99 ms\tmemory-seconds MB·s\tper function-second\tmost MB\t")
	fmt.Fprintf(w, "found\t%.3f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t\n", r.ColdShare, r.Slowdown50, r.Slowdown99, r.ColdAdded50/1000, r.ColdAdded99/1000,
		r.MemorySeconds, ratio(r.MemorySeconds, r.UsedSeconds), r.MostWorkers)
	fmt.Fprintf(w, "bound\t%.3f\t%.2f\t%.2f\t\t\t\t\t\t\n", dayCold, dayMedian, dayTail)
	printPolicies(w, r.Policies, time.Duration(r.ColdAdded50)*time.Microsecond, r.WorkerMemory)
}
