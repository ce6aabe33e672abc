package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	growthFew   = 10
	growthMany  = 10_000
	growthBytes = 4096 // of the node's memory for a deployed function that nobody calls
	growthRest  = 3 * time.Second
)

// growthRow is what more functions cost a node. Memory is MB, times are microseconds.
type growthRow struct {
	Few   growthStep `json:"few"`
	Many  growthStep `json:"many"`
	Bytes float64    `json:"bytes_per_function"`
}

type growthStep struct {
	Functions int     `json:"functions"`
	Resident  float64 `json:"resident_mb"` // at rest
	Start     float64 `json:"start_us"`
	First     float64 `json:"first_us"` // first call of one function
	Warm      float64 `json:"warm_us"`  // median of its next calls
}

// growth measures a node with few and with many deployed functions.
func growth(ctx context.Context, b *bed, _ options) (result, error) {
	r := &growthRow{Few: growthStep{Functions: growthFew}, Many: growthStep{Functions: growthMany}}
	for _, step := range []*growthStep{&r.Few, &r.Many} {
		if err := step.measure(ctx, b); err != nil {
			return nil, fmt.Errorf("%d functions: %w", step.Functions, err)
		}
	}
	r.Bytes = (r.Many.Resident - r.Few.Resident) * (1 << 20) / (growthMany - growthFew)
	return r, nil
}

func (s *growthStep) measure(ctx context.Context, b *bed) error {
	name := fmt.Sprintf("growth-%d", s.Functions)
	n, err := b.replicas(ctx, name, s.Functions)
	if err != nil {
		return err
	}
	n.process.stop() // the copies were new to it
	begin := time.Now()
	if n, err = b.again(ctx, name); err != nil {
		return err
	}
	if err := n.rest(ctx, http.MethodGet, "/v1/functions", nil, nil); err != nil {
		return err
	}
	s.Start = micros(time.Since(begin))
	if !waitUntil(ctx, time.Now().Add(growthRest)) {
		return ctx.Err()
	}
	if s.Resident, err = memory(n.process.cmd.Process.Pid, "VmRSS"); err != nil {
		return err
	}
	p := newPlayer(n.addr)
	defer p.close()
	var warm []time.Duration
	for i := range 101 {
		from := time.Now()
		o := p.shoot(ctx, replicaPath(s.Functions-1, "/wait"))
		took := time.Since(from)
		if err := served(o, i); err != nil {
			return err
		}
		if i == 0 {
			s.First = micros(took)
		} else {
			warm = append(warm, took)
		}
	}
	s.Warm = micros(median(warm))
	n.process.stop()
	return nil
}

func (r *growthRow) check() error {
	return errors.Join(within("the memory of an idle deployed function", r.Bytes, growthBytes, "bytes"),
		within("the start with many functions", r.Many.Start/1000, float64(idleStart.Milliseconds()), "ms"))
}

func (r *growthRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nGrowth: a node with few and with many deployed functions; %.0f bytes for each, bound %d\n\n", r.Bytes, growthBytes)
	fmt.Fprintln(w, "functions\tRSS idle MB\tstart ms\tbound\tfirst call ms\twarm call µs\t")
	for _, s := range []growthStep{r.Few, r.Many} {
		fmt.Fprintf(w, "%d\t%.1f\t%.0f\t%d\t%.1f\t%.0f\t\n", s.Functions, s.Resident, s.Start/1000, idleStart.Milliseconds(), s.First/1000, s.Warm)
	}
}
