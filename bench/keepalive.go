package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"flint/internal/keepalive"
)

// The replay of a week in the time of the calls and not of the machine: what a policy of keeping workers costs and saves shows
// in hours and days only. The calls have the published rates, and the policies are those of the node.
const (
	week         = 7 * 24 * time.Hour
	defaultStay  = 5 * time.Minute // of a node's --keep-alive
	longStay     = 20 * time.Minute
	longerStay   = time.Hour
	learnedStay  = -1
	replayedSeed = 2019
)

// policyRow is what a policy came to.
type policyRow struct {
	Policy      string  `json:"policy"`
	Calls       int     `json:"calls"`
	ColdShare   float64 `json:"cold_share"`
	Cold50      float64 `json:"cold_share_function_p50"` // half of the functions have more cold calls
	Slowdown50  float64 `json:"slowdown_p50"`
	Slowdown99  float64 `json:"slowdown_p99"`
	WorkerHours float64 `json:"worker_h"`
	MemoryHours float64 `json:"memory_gb_h"`
}

// replay plays the week for each policy. A cold call takes longer by cold, and a worker has memory MB.
func replay(cold time.Duration, memory float64) []policyRow {
	var rows []policyRow
	for _, stay := range []time.Duration{defaultStay, longStay, longerStay, learnedStay} {
		row := policyRow{Policy: stay.String()}
		if stay == learnedStay {
			row.Policy = "learned"
		}
		r := rand.New(rand.NewPCG(replayedSeed, 2))
		colds := 0
		var shares, slowdowns []float64
		for f, rate := range traceRates(r) {
			calls := callsOf(r, f, rate, week)
			p := keeper{stay: stay}
			for _, c := range calls {
				took := c.runs
				if p.call(c) {
					took += cold
				}
				slowdowns = append(slowdowns, ratio(took.Seconds(), c.runs.Seconds()))
			}
			p.end(week)
			colds += p.cold
			shares = append(shares, ratio(float64(p.cold), float64(len(calls))))
			row.Calls += len(calls)
			row.WorkerHours += p.alive.Hours()
		}
		slices.Sort(shares)
		slices.Sort(slowdowns)
		row.ColdShare, row.Cold50 = ratio(float64(colds), float64(row.Calls)), shares[len(shares)/2]
		row.Slowdown50, row.Slowdown99 = slowdowns[(len(slowdowns)-1)/2], slowdowns[len(slowdowns)*99/100]
		row.MemoryHours = row.WorkerHours * memory / 1024
		rows = append(rows, row)
	}
	return rows
}

// keeper is one function and its worker, of which one is enough: calls share it.
type keeper struct {
	stay    time.Duration // of a worker without calls; learnedStay: as the history says
	history keepalive.History
	busy    time.Duration // until when it has calls
	called  bool
	cold    int
	alive   time.Duration // how long it has had a worker
}

// call plays the next call and reports whether it was cold.
func (k *keeper) call(c invocation) (cold bool) {
	idle := c.at - k.busy
	if !k.called || idle > 0 {
		had, ready := k.rest(idle)
		k.alive += had
		cold = !ready
		k.history.Arrive(time.Unix(0, int64(c.at)))
	}
	k.called = true
	from := max(c.at, k.busy)
	k.busy = max(k.busy, c.at+c.runs)
	k.alive += k.busy - from
	k.history.Rest(time.Unix(0, int64(k.busy)))
	if cold {
		k.cold++
	}
	return cold
}

// end counts the time after the last call.
func (k *keeper) end(at time.Duration) {
	had, _ := k.rest(max(0, at-k.busy))
	k.alive += had
}

// rest returns for how much of an idle time there was a worker, and whether there is one at its end.
func (k *keeper) rest(idle time.Duration) (had time.Duration, ready bool) {
	if !k.called {
		return 0, false
	}
	plan := keepalive.Plan{Keep: k.stay}
	if k.stay == learnedStay {
		var ok bool
		if plan, ok = k.history.Plan(); !ok {
			plan = keepalive.Plan{Keep: defaultStay}
		}
	}
	if plan.Wait == 0 {
		return min(idle, plan.Keep), idle <= plan.Keep
	}
	end := plan.Wait + plan.Keep
	had = min(idle, keepalive.Settle) + max(0, min(idle, end)-plan.Wait)
	return had, idle <= keepalive.Settle || idle >= plan.Wait && idle <= end
}

func printPolicies(w io.Writer, rows []policyRow, cold time.Duration, memory float64) {
	fmt.Fprintf(w, "\nKeep-alive: a week of %d calls of the same kind in the calls' own time; a cold call takes %.0f ms more, a worker has %.1f MB, as above\n\n",
		rows[0].Calls, cold.Seconds()*1000, memory)
	fmt.Fprintln(w, "\tcold share\tof half of the functions\tslowdown p50\tp99\tworker-hours\tmemory-hours GB·h\tto the first\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.4f\t%.3f\t%.3f\t%.2f\t%.0f\t%.0f\t%.2f\t\n", r.Policy, r.ColdShare, r.Cold50, r.Slowdown50, r.Slowdown99, r.WorkerHours, r.MemoryHours,
			ratio(r.WorkerHours, rows[0].WorkerHours))
	}
}
