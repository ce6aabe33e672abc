package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	burstFunctions = 100
	burstRounds    = 5
	burstRest      = 3 * time.Second // until old workers have left and stems are there again
	burstLast      = 5 * time.Second // may the last answer of a burst take
)

// burstRow is many cold functions that are called in one moment, and as many containers beside. Times are microseconds.
type burstRow struct {
	Flint   burstSide `json:"flint"`
	Runc    burstSide `json:"runc"`
	Skipped string    `json:"skipped,omitempty"` // why runc was not measured
}

type burstSide struct {
	Starts  int     `json:"starts"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Last    float64 `json:"last_us"`           // from the first to the last answer of a burst, the slowest burst
	Rate    float64 `json:"starts_per_second"` // median of the bursts
	CPU     float64 `json:"cpu_us"`            // processor time of a start, with all that it leaves behind
	PerCore float64 `json:"starts_per_core_second"`
}

// burst calls distinct functions that have no worker all at once, and in alternation starts as many containers.
func burst(ctx context.Context, b *bed, _ options) (result, error) {
	n, err := b.replicas(ctx, "burst", burstFunctions)
	if err != nil {
		return nil, err
	}
	r := &burstRow{}
	c, err := openContainers(ctx, b)
	if err != nil {
		r.Skipped = err.Error()
	}
	shots := make([]shot, burstFunctions)
	for i := range shots {
		shots[i].path = replicaPath(i, "/wait")
	}
	pid := n.process.cmd.Process.Pid
	var flint, runc bursts
	for round := range burstRounds {
		if err := n.chill(ctx, round); err != nil {
			return nil, err
		}
		if !waitUntil(ctx, time.Now().Add(burstRest)) {
			return nil, ctx.Err()
		}
		before := readUsage(pid)
		took, err := volley(ctx, n.addr, shots)
		if err != nil {
			return nil, err
		}
		if !waitUntil(ctx, time.Now().Add(burstRest)) {
			return nil, ctx.Err()
		}
		flint.add(took, readUsage(pid).since(before).spent())
		if c == nil {
			continue
		}
		took, spent, err := c.burst(ctx, round)
		if err != nil {
			return nil, err
		}
		runc.add(took, spent)
	}
	r.Flint, r.Runc = flint.sum(), runc.sum()
	return r, nil
}

// volley makes all calls at once. Each must be the first of its worker.
func volley(ctx context.Context, addr string, shots []shot) ([]time.Duration, error) {
	p := newPlayer(addr)
	defer p.close()
	var mu sync.Mutex
	var wrong error
	took := make([]time.Duration, len(shots))
	err := p.play(ctx, shots, func(i int, o outcome) {
		mu.Lock()
		defer mu.Unlock()
		took[i] = o.took
		if err := served(o, 0); err != nil && wrong == nil {
			wrong = fmt.Errorf("%s: %w", shots[i].path, err)
		}
	})
	return took, errors.Join(err, wrong)
}

// bursts collects.
type bursts struct {
	all   []time.Duration
	lasts []time.Duration
	spent time.Duration
}

func (b *bursts) add(took []time.Duration, spent time.Duration) {
	b.all, b.lasts, b.spent = append(b.all, took...), append(b.lasts, slices.Max(took)), b.spent+spent
}

func (b *bursts) sum() burstSide {
	if len(b.all) == 0 {
		return burstSide{}
	}
	slices.Sort(b.all)
	cpu := b.spent / time.Duration(len(b.all))
	return burstSide{
		Starts: len(b.all), P50: micros(quantile(b.all, 0.5)), P99: micros(quantile(b.all, 0.99)), Last: micros(slices.Max(b.lasts)),
		Rate: burstFunctions / median(b.lasts).Seconds(), CPU: micros(cpu), PerCore: ratio(1, cpu.Seconds()),
	}
}

func (r *burstRow) check() error {
	return within("the last answer of a burst", r.Flint.Last/1e6, burstLast.Seconds(), "s")
}

func (r *burstRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nBurst: %d distinct cold functions called at once, %d times; processors: %d\n\n", burstFunctions, burstRounds, runtime.NumCPU())
	fmt.Fprintln(w, "\tstarts\tp50 ms\tp99 ms\tlast ms\tbound\tstarts/s\tcpu ms\tstarts per second of a core\t")
	line := func(name string, s burstSide, bound string) {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f\t%.0f\t%s\t%.0f\t%.1f\t%.0f\t\n", name, s.Starts, s.P50/1000, s.P99/1000, s.Last/1000, bound, s.Rate, s.CPU/1000, s.PerCore)
	}
	line("flint-node", r.Flint, fmt.Sprint(burstLast.Milliseconds()))
	if r.Skipped != "" {
		fmt.Fprintf(w, "runc is skipped: %s\n", r.Skipped)
		return
	}
	line("runc-node", r.Runc, "")
}
