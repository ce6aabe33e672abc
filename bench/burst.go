package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
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
	Refused int     `json:"refused"` // calls that were refused or failed
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
		took, refusals, err := volley(ctx, n.addr, shots)
		if err != nil {
			return nil, err
		}
		if !waitUntil(ctx, time.Now().Add(burstRest)) {
			return nil, ctx.Err()
		}
		flint.add(took, readUsage(pid).since(before).spent())
		flint.refused += refusals
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

// volley makes all calls at once. Each that is served must be the first of its worker; it returns how long those took.
func volley(ctx context.Context, addr string, shots []shot) (took []time.Duration, refusals int, err error) {
	p := newPlayer(addr)
	defer p.close()
	outcomes := make([]outcome, len(shots))
	if err := p.play(ctx, shots, func(i int, o outcome) { outcomes[i] = o }); err != nil { // each has a place of its own
		return nil, 0, err
	}
	for i, o := range outcomes {
		if failed(o) {
			refusals++
			continue
		}
		if err := served(o, 0); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", shots[i].path, err)
		}
		took = append(took, o.took)
	}
	if len(took) == 0 {
		o := outcomes[0]
		return nil, 0, fmt.Errorf("all calls were refused or failed, the first with status %d after %s", o.status, o.took.Round(time.Millisecond))
	}
	return took, refusals, nil
}

// bursts collects.
type bursts struct {
	all     []time.Duration
	lasts   []time.Duration
	rates   []float64
	refused int
	spent   time.Duration
}

func (b *bursts) add(took []time.Duration, spent time.Duration) {
	last := slices.Max(took)
	b.all, b.lasts, b.rates = append(b.all, took...), append(b.lasts, last), append(b.rates, ratio(float64(len(took)), last.Seconds()))
	b.spent += spent
}

func (b *bursts) sum() burstSide {
	if len(b.all) == 0 {
		return burstSide{}
	}
	slices.Sort(b.all)
	cpu := b.spent / time.Duration(len(b.all))
	return burstSide{
		Starts: len(b.all), Refused: b.refused, P50: micros(quantile(b.all, 0.5)), P99: micros(quantile(b.all, 0.99)), Last: micros(slices.Max(b.lasts)),
		Rate: median(b.rates), CPU: micros(cpu), PerCore: ratio(1, cpu.Seconds()),
	}
}

func (r *burstRow) check() error {
	return errors.Join(within("the last answer of a burst", r.Flint.Last/1e6, burstLast.Seconds(), "s"),
		within("the number of refused or failed calls of a burst", float64(r.Flint.Refused), 0, "calls"))
}

func (r *burstRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nBurst: %d distinct cold functions called at once, %d times; processors: %d\n\n", burstFunctions, burstRounds, runtime.NumCPU())
	fmt.Fprintln(w, "\tstarts\trefused\tbound\tp50 ms\tp99 ms\tlast ms\tbound\tstarts/s\tcpu ms\tstarts per second of a core\t")
	line := func(name string, s burstSide, none, bound string) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%.0f\t%.0f\t%.0f\t%s\t%.0f\t%.1f\t%.0f\t\n", name, s.Starts, s.Refused, none, s.P50/1000, s.P99/1000, s.Last/1000, bound, s.Rate, s.CPU/1000, s.PerCore)
	}
	line("flint-node", r.Flint, "0", fmt.Sprint(burstLast.Milliseconds()))
	if r.Skipped != "" {
		fmt.Fprintf(w, "runc is skipped: %s\n", r.Skipped)
		return
	}
	line("runc-node", r.Runc, "", "")
}
