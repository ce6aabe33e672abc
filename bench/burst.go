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

// burstRow is many cold functions that are called in one moment, and as many containers beside, for each language.
type burstRow struct {
	Languages []burstLanguage `json:"languages"`
	Skipped   string          `json:"skipped,omitempty"` // why runc was not measured
}

type burstLanguage struct {
	Name  string    `json:"name"`
	Flint burstSide `json:"flint"`
	Runc  burstSide `json:"runc"`
	Times float64   `json:"times"` // the starts per second of a core, to those of runc
}

// burstSide has times in microseconds.
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
	r := &burstRow{}
	for _, l := range []struct{ language, source, path string }{{"node", "work", "/wait"}, {"go", "go", "/served"}} {
		n, err := b.replicasOf(ctx, "burst-"+l.language, l.language, l.source, burstFunctions)
		if err != nil {
			return nil, err
		}
		c, err := openContainers(ctx, b, l.language)
		if err != nil {
			r.Skipped = err.Error()
		}
		one, err := n.bursts(ctx, l.path, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.language, err)
		}
		n.process.stop()
		one.Name = l.language
		r.Languages = append(r.Languages, one)
	}
	return r, nil
}

// bursts measures one language. c may be nil.
func (n *node) bursts(ctx context.Context, path string, c *containers) (l burstLanguage, err error) {
	shots := make([]shot, burstFunctions)
	for i := range shots {
		shots[i].path = replicaPath(i, path)
	}
	var flint, runc bursts
	for round := range burstRounds {
		if err := n.chill(ctx, round); err != nil {
			return l, err
		}
		if !waitUntil(ctx, time.Now().Add(burstRest)) {
			return l, ctx.Err()
		}
		if err := flint.measure(ctx, func() ([]time.Duration, int, error) { return volley(ctx, n.addr, shots) }); err != nil {
			return l, err
		}
		if c == nil {
			continue
		}
		if err := runc.measure(ctx, func() ([]time.Duration, int, error) {
			took, err := c.burst(ctx, round)
			return took, 0, err
		}); err != nil {
			return l, err
		}
	}
	l.Flint, l.Runc = flint.sum(), runc.sum()
	l.Times = ratio(l.Flint.PerCore, l.Runc.PerCore)
	return l, nil
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

// measure makes a burst and adds it, with all the processor time that the machine spent on something else than the generator
// until what the burst left behind was over: what is killed with a sandbox is counted by nobody else.
func (b *bursts) measure(ctx context.Context, burst func() (took []time.Duration, refused int, err error)) error {
	machine, own := machineTime(), ownTime()
	took, refused, err := burst()
	if err != nil {
		return err
	}
	if !waitUntil(ctx, time.Now().Add(burstRest)) {
		return ctx.Err()
	}
	last := slices.Max(took)
	b.all, b.lasts, b.rates = append(b.all, took...), append(b.lasts, last), append(b.rates, ratio(float64(len(took)), last.Seconds()))
	b.refused += refused
	b.spent += machineTime() - machine - (ownTime() - own)
	return nil
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
	var missed []error
	for _, l := range r.Languages {
		missed = append(missed, within("the last answer of a burst of "+l.Name, l.Flint.Last/1e6, burstLast.Seconds(), "s"),
			within("the number of refused or failed calls of a burst of "+l.Name, float64(l.Flint.Refused), 0, "calls"))
	}
	return errors.Join(missed...)
}

func (r *burstRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nBurst: %d distinct cold functions called at once, %d times; processors: %d\n\n", burstFunctions, burstRounds, runtime.NumCPU())
	fmt.Fprintln(w, "\tstarts\trefused\tbound\tp50 ms\tp99 ms\tlast ms\tbound\tstarts/s\tcpu ms\tstarts per second of a core\tto runc\t")
	line := func(name string, s burstSide, none, bound, times string) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%.0f\t%.0f\t%.0f\t%s\t%.0f\t%.1f\t%.0f\t%s\t\n", name, s.Starts, s.Refused, none, s.P50/1000, s.P99/1000, s.Last/1000, bound, s.Rate, s.CPU/1000, s.PerCore, times)
	}
	for _, l := range r.Languages {
		line("flint-"+l.Name, l.Flint, "0", fmt.Sprint(burstLast.Milliseconds()), fmt.Sprintf("%.1f", l.Times))
		if r.Skipped == "" {
			line("runc-"+l.Name, l.Runc, "", "", "")
		}
	}
	if r.Skipped != "" {
		fmt.Fprintf(w, "runc is skipped: %s\n", r.Skipped)
	}
}
