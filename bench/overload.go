package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	overloadTimes    = 5                     // the capacity
	overloadCallers  = 32                    // that find out the capacity
	overloadMeasure  = 10 * time.Second      // how long they do
	overloadAfter    = 10 * time.Second      // at half the capacity, to see the recovery
	overloadGoodput  = 0.9                   // of the capacity is answered at least
	overloadTogether = 10 * time.Millisecond // calls that are due within that come together
	overloadRejected = time.Second           // may a refusal take
	overloadRecovery = 2 * time.Second
	overloadSlow     = time.Second // a call that takes longer shows that the node has not recovered
	overloadGrowth   = 1.25        // of the server's memory from a third of the overload to its end
)

// overloadRow is a node that is asked for more than it can do. Rates are calls in a second, times microseconds, memory MB.
type overloadRow struct {
	Capacity float64 `json:"capacity"`
	Offered  float64 `json:"offered"`
	Goodput  float64 `json:"goodput"`
	Ratio    float64 `json:"ratio"` // goodput to capacity
	Good     int     `json:"good"`
	Rejected int     `json:"rejected"`
	Failed   int     `json:"failed"` // calls that were taken and not served: ended at their deadline, for example
	GoodP99  float64 `json:"good_p99_us"`
	Longest  float64 `json:"longest_rejection_us"`
	Recovery float64 `json:"recovery_us"`
	Early    float64 `json:"early_mb"`
	Late     float64 `json:"late_mb"`
	Growth   float64 `json:"growth"`

	// Processor time of each call that was offered, in microseconds: what a refusal costs, as four of five are.
	Server    float64 `json:"server_cpu_us"` // of the node's own process
	Generator float64 `json:"generator_cpu_us"`
}

// overload measures what a function of some processor time can do, offers five times that for a while, and then half.
func overload(ctx context.Context, b *bed, o options) (result, error) {
	n, err := b.replicas(ctx, "overload", 1)
	if err != nil {
		return nil, err
	}
	p := newPlayer(n.addr)
	defer p.close()
	r := &overloadRow{}
	path := replicaPath(0, fmt.Sprintf("/burn?n=%d", o.overloadWork.Milliseconds()))
	if _, err := closedLoop(ctx, p, path, overloadMeasure/2); err != nil { // not counted
		return nil, err
	}
	if r.Capacity, err = closedLoop(ctx, p, path, overloadMeasure); err != nil {
		return nil, err
	}
	r.Offered = overloadTimes * r.Capacity
	b.say("overload: %.0f calls/s are possible, %.0f are asked for", r.Capacity, r.Offered)

	pid := n.process.cmd.Process.Pid
	before, during := readUsage(pid), usage{}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() {
		if waitUntil(watched, time.Now().Add(o.overload/3)) { // the collector's first rounds are over
			r.Early, _ = memory(pid, "VmRSS")
		}
		if waitUntil(watched, time.Now().Add(o.overload*2/3)) {
			r.Late, _ = memory(pid, "VmRSS")
			during = readUsage(pid).since(before)
		}
	})
	over := together(steady(path, r.Offered, o.overload), overloadTogether)
	after := steady(path, r.Capacity/2, overloadAfter)
	for i := range after {
		after[i].at += o.overload
	}
	outcomes := make([]outcome, len(over)+len(after))
	err = p.play(ctx, slices.Concat(over, after), func(i int, o outcome) { outcomes[i] = o }) // each has a place of its own
	stop()
	watch.Wait()
	if err != nil {
		return nil, err
	}
	if err := r.sum(over, outcomes[:len(over)], o.overload); err != nil {
		return nil, err
	}
	r.Server, r.Generator = ratio(micros(during.server), float64(len(over))), ratio(micros(during.generator), float64(len(over)))
	r.Recovery, err = recovery(after, outcomes[len(over):], o.overload)
	r.Growth = ratio(r.Late, r.Early)
	return r, err
}

// closedLoop returns how many calls in a second are answered when each caller makes its next call after the last answer.
func closedLoop(ctx context.Context, p *player, path string, d time.Duration) (float64, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	good := 0
	var wrong error
	end := time.Now().Add(d)
	for range overloadCallers {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				err := served(p.shoot(ctx, path), -1)
				mu.Lock()
				if err != nil {
					wrong = err
				} else if time.Now().Before(end) {
					good++
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(good) / d.Seconds(), errors.Join(wrong, ctx.Err())
}

// sum counts what was answered. Goodput is what was answered rightly while the overload lasted.
func (r *overloadRow) sum(shots []shot, outcomes []outcome, d time.Duration) error {
	var good, rejected []time.Duration
	inTime := 0
	for i, o := range outcomes {
		if refused(o) {
			rejected = append(rejected, o.took)
			continue
		}
		if failed(o) {
			r.Failed++
			continue
		}
		if err := served(o, -1); err != nil {
			return fmt.Errorf("under overload: %w", err)
		}
		good = append(good, o.took)
		if shots[i].at+o.took <= d {
			inTime++
		}
	}
	slices.Sort(good)
	slices.Sort(rejected)
	r.Good, r.Rejected = len(good), len(rejected)
	r.GoodP99, r.Longest = micros(quantile(good, 0.99)), micros(quantile(rejected, 1))
	r.Goodput = float64(inTime) / d.Seconds()
	r.Ratio = ratio(r.Goodput, r.Capacity)
	return nil
}

// recovery is when, after the overload, the last call was made that failed, was refused or was slow.
func recovery(shots []shot, outcomes []outcome, end time.Duration) (float64, error) {
	last := 0.0
	for i, o := range outcomes {
		if !failed(o) {
			if err := served(o, -1); err != nil {
				return 0, fmt.Errorf("after overload: %w", err)
			}
			if o.took <= overloadSlow {
				continue
			}
		}
		last = micros(shots[i].at - end)
	}
	return last, nil
}

func (r *overloadRow) check() error {
	return errors.Join(within("capacity divided by goodput under overload", ratio(r.Capacity, r.Goodput), 1/overloadGoodput, "times"),
		within("the number of failed calls under overload", float64(r.Failed), 0, "calls"),
		within("the longest refusal", r.Longest/1e6, overloadRejected.Seconds(), "s"),
		within("the recovery from overload", r.Recovery/1e6, overloadRecovery.Seconds(), "s"),
		within("the growth of the server's memory under overload", r.Growth, overloadGrowth, "times"))
}

func (r *overloadRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nOverload: %.0f calls/s offered, %d times what can be done; %d answered, %d refused, %d failed (bound 0)\n\n", r.Offered, overloadTimes, r.Good, r.Rejected, r.Failed)
	fmt.Fprintln(w, "\tcapacity/s\tgoodput/s\tratio\tlongest refusal ms\trecovery ms\tmemory MB\tlater\tgrowth\tanswered p99 ms\tserver cpu µs\tgenerator\t")
	fmt.Fprintf(w, "found\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t\n", r.Capacity, r.Goodput, r.Ratio, r.Longest/1000, r.Recovery/1000,
		r.Early, r.Late, r.Growth, r.GoodP99/1000, r.Server, r.Generator)
	fmt.Fprintf(w, "bound\t\t\t%.2f\t%d\t%d\t\t\t%.2f\t\t\t\t\n", overloadGoodput, overloadRejected.Milliseconds(), overloadRecovery.Milliseconds(), overloadGrowth)
}
