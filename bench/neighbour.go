package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	neighbourRate    = 50                    // calls of the quiet function in a second
	neighbourCallers = 2                     // of the other function, each making its next call when the last has ended
	neighbourTimes   = 3                     // may the quiet function's p99 be as long as alone
	neighbourFloor   = 10 * time.Millisecond // whoever waits for a processor that is taken waits for a tick or two, of 4 ms with most kernels
	neighbourRest    = 2 * time.Second
	neighbourLook    = 200 * time.Millisecond // between two looks at what the other has
)

// neighbourRow is what one function feels of another. Times are microseconds.
type neighbourRow struct {
	Alone  []neighbourStep `json:"alone"`
	Beside []neighbourStep `json:"beside"`
	P99    float64         `json:"alone_p99_us"` // median of the times alone
}

type neighbourStep struct {
	Name  string  `json:"name"`
	Calls int     `json:"calls"` // of the quiet function
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	Other int     `json:"other_calls"` // of the other that were answered, how ever
	Ended int     `json:"other_ended"` // of these not with 200: stopped by a limit
	taken
}

// taken is what everything below the node took meanwhile: it shows whether the other did what it is for.
type taken struct {
	CPUs      float64 `json:"cpus"`      // on average
	Processes int     `json:"processes"` // most at once
	Memory    float64 `json:"memory_mb"` // most at once
}

// hostile is a function that takes what it can get, and the least that it must have taken to count.
type hostile struct {
	name, path string
	least      taken
}

var errHarmless = errors.New("it did no harm: what was measured beside it says nothing")

// harmful reports an error unless something was taken.
func (h hostile) harmful(s neighbourStep) error {
	if s.CPUs < h.least.CPUs || s.Processes < h.least.Processes || s.Memory < h.least.Memory && s.Ended == 0 || s.Other == 0 {
		return fmt.Errorf("%s: %w: %d calls, %.2f processors, %d processes, %.0f MB", h.name, errHarmless, s.Other, s.CPUs, s.Processes, s.Memory)
	}
	return nil
}

// watch notes what there is below a process for a while. It is no quiet neighbour itself: a look at the memory of a hundred
// processes takes a processor for 20 ms, so that nothing may be measured meanwhile.
func (t *taken) watch(ctx context.Context, pid int, d time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; {
		below := workers(pid)
		t.Processes = max(t.Processes, len(below))
		t.Memory = max(t.Memory, shareOf(below))
		if !waitUntil(ctx, time.Now().Add(neighbourLook)) {
			return
		}
	}
}

// neighbour calls a quiet function alone and beside functions that take what they can get, in alternation.
func neighbour(ctx context.Context, b *bed, o options) (result, error) {
	all := []hostile{
		{"burning CPU", "/burn?n=1000", taken{CPUs: 0.1}},
		{"forking", "/fork?n=1000", taken{CPUs: 0.1, Processes: 32}},
		{"eating memory", "/eat", taken{Memory: 256}},
		{"filling disk and logs", "/fill?n=1000", taken{CPUs: 0.05}},
	}
	n, err := b.replicas(ctx, "neighbour", 1+len(all))
	if err != nil {
		return nil, err
	}
	p := newPlayer(n.addr)
	defer p.close()
	if _, err := quiet(ctx, p, 2*time.Second); err != nil { // not counted
		return nil, err
	}
	r := &neighbourRow{}
	for i, h := range all {
		alone, err := quiet(ctx, p, o.neighbour)
		if err != nil {
			return nil, fmt.Errorf("alone: %w", err)
		}
		r.Alone = append(r.Alone, alone)
		beside, err := disturbed(ctx, n, replicaPath(1+i, h.path), func() (neighbourStep, error) { return quiet(ctx, p, o.neighbour) })
		if err != nil {
			return nil, fmt.Errorf("beside one %s: %w", h.name, err)
		}
		if err := h.harmful(beside); err != nil {
			return nil, err
		}
		beside.Name = h.name
		r.Beside = append(r.Beside, beside)
		if !waitUntil(ctx, time.Now().Add(neighbourRest)) {
			return nil, ctx.Err()
		}
	}
	r.P99 = medianBy(r.Alone, func(s neighbourStep) float64 { return s.P99 })
	return r, nil
}

// quiet calls the quiet function at a steady rate. Every answer must be right.
func quiet(ctx context.Context, p *player, d time.Duration) (neighbourStep, error) {
	var mu sync.Mutex
	var took []time.Duration
	var wrong error
	err := p.play(ctx, steady(replicaPath(0, "/wait"), neighbourRate, d), func(_ int, o outcome) {
		mu.Lock()
		defer mu.Unlock()
		took = append(took, o.took)
		if err := served(o, -1); err != nil && wrong == nil {
			wrong = err
		}
	})
	if err := errors.Join(err, wrong); err != nil {
		return neighbourStep{}, err
	}
	slices.Sort(took)
	return neighbourStep{Calls: len(took), P50: micros(quantile(took, 0.5)), P99: micros(quantile(took, 0.99))}, nil
}

// disturbed measures while callers keep calling another function. What that answers is its own business, but it must.
func disturbed(ctx context.Context, n *node, path string, measure func() (neighbourStep, error)) (neighbourStep, error) {
	p := newPlayer(n.addr)
	defer p.close()
	var over atomic.Bool
	var mu sync.Mutex
	var calls, ended int
	var unanswered error
	var wg sync.WaitGroup
	for range neighbourCallers {
		wg.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				o := p.shoot(ctx, path)
				mu.Lock()
				calls++
				if o.err == nil && o.status != 200 {
					ended++
				}
				if o.err != nil {
					unanswered = o.err
				}
				mu.Unlock()
				if o.err != nil {
					return
				}
			}
		})
	}
	var step neighbourStep
	var found taken
	pid := n.process.cmd.Process.Pid
	begun, before := time.Now(), readUsage(pid)
	found.watch(ctx, pid, neighbourRest)
	err := ctx.Err()
	if err == nil {
		step, err = measure()
	}
	used := readUsage(pid).since(before)
	found.CPUs = (used.workers + used.ended).Seconds() / time.Since(begun).Seconds()
	over.Store(true)
	wg.Wait()
	step.Other, step.Ended, step.taken = calls, ended, found
	return step, errors.Join(err, unanswered)
}

// bound is what the quiet function's p99 may be, in microseconds.
func (r *neighbourRow) bound() float64 {
	return max(r.P99*neighbourTimes, micros(neighbourFloor))
}

func (r *neighbourRow) check() error {
	var missed []error
	for _, s := range r.Beside {
		missed = append(missed, within("p99 of a quiet function beside one "+s.Name, s.P99/1000, r.bound()/1000, "ms"))
	}
	return errors.Join(missed...)
}

func (r *neighbourRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nNeighbour: a quiet function, %d calls/s, beside another; alone p99 %.1f ms\n\n", neighbourRate, r.P99/1000)
	fmt.Fprintln(w, "beside one\tcalls\tp50 ms\tp99 ms\tbound\tratio p99\tits calls\tstopped\tprocessors\tprocesses\tMB\t")
	for i, s := range r.Beside {
		a := r.Alone[i]
		fmt.Fprintf(w, "(alone)\t%d\t%.1f\t%.1f\t\t\t\t\t\t\t\t\n", a.Calls, a.P50/1000, a.P99/1000)
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%d\t%d\t%.2f\t%d\t%.0f\t\n", s.Name, s.Calls, s.P50/1000, s.P99/1000, r.bound()/1000, ratio(s.P99, r.P99),
			s.Other, s.Ended, s.CPUs, s.Processes, s.Memory)
	}
}
