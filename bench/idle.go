package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// What a node with idleFunctions functions and nothing to do may take.
const (
	idleFunctions = 10_000
	idleMemory    = 150 // MB
	idleStart     = time.Second
	idleRest      = 3 * time.Second // between the first answer and the look at its memory
	idleRounds    = 5
)

// idleRow is a node that has much and does nothing. Times are microseconds, memory is MB.
type idleRow struct {
	Functions int       `json:"functions"`
	Starts    []float64 `json:"starts_us"`
	Start     float64   `json:"start_us"`   // the slowest, from the start of the process to its first answer
	Unknown   float64   `json:"unknown_us"` // the same of one that knows nothing of the toolchains of this machine
	Peak      float64   `json:"peak_mb"`    // the highest
	Resident  float64   `json:"resident_mb"`
}

// idle fills a node of its own with functions and starts it again and again.
func idle(ctx context.Context, b *bed, _ options) (result, error) {
	dir := filepath.Join(b.dir, "idle")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	var t toolchain
	var err error
	for _, language := range []string{"node", "python", "go"} { // any will do: nothing is called
		if t, err = b.toolchain(ctx, language); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	b.say("making %d functions", idleFunctions)
	if err := fillIdle(ctx, b.program, dir, t.Runtime); err != nil {
		return nil, err
	}
	row := &idleRow{Functions: idleFunctions}
	for range idleRounds {
		took, err := row.measure(ctx, b.program, dir)
		if err != nil {
			return nil, err
		}
		row.Starts, row.Start = append(row.Starts, took), max(row.Start, took)
	}
	if err := os.Remove(filepath.Join(dir, "data", "probes.json")); err != nil {
		return nil, err
	}
	row.Unknown, err = row.measure(ctx, b.program, dir)
	return row, err
}

func (r *idleRow) check() error {
	return errors.Join(within("the time to the first answer", max(r.Start, r.Unknown)/1000, float64(idleStart.Milliseconds()), "ms"),
		within("the node's peak memory", r.Peak, idleMemory, "MB"))
}

func (r *idleRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nIdle: a node with %d functions, started %d times; the slowest start and the highest memory count\n\n", r.Functions, len(r.Starts))
	fmt.Fprintln(w, "first answer ms\tat first ms\tbound\tpeak MB\tbound\tMB at rest\t")
	fmt.Fprintf(w, "%.0f\t%.0f\t%d\t%.0f\t%d\t%.0f\t\n", r.Start/1000, r.Unknown/1000, idleStart.Milliseconds(), r.Peak, idleMemory, r.Resident)
}

func fillIdle(ctx context.Context, program, dir, runtime string) error {
	n, err := startNode(ctx, program, dir, "FLINT_RATE_LIMITS=false", "FLINT_FUNCTION_CREATIONS=0")
	if err != nil {
		return err
	}
	defer n.process.stop()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range idleFunctions {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return n.rest(ctx, http.MethodPost, "/v1/functions", map[string]any{
				"functionId": fmt.Sprintf("idle-%d", i), "name": fmt.Sprintf("Idle %d", i), "runtime": runtime, "execute": []string{"any"},
			}, nil)
		})
	}
	return g.Wait()
}

// measure starts the node once and returns how long it took until it had listed functions.
func (r *idleRow) measure(ctx context.Context, program, dir string) (float64, error) {
	begin := time.Now()
	n, err := startNode(ctx, program, dir)
	if err != nil {
		return 0, err
	}
	defer n.process.stop()
	var list struct {
		Total int `json:"total"`
	}
	if err := n.rest(ctx, http.MethodGet, "/v1/functions", nil, &list); err != nil {
		return 0, err
	}
	took := micros(time.Since(begin))
	if list.Total == 0 {
		return 0, fmt.Errorf("the node has lost its functions: %s", n.process.tail())
	}
	if !waitUntil(ctx, time.Now().Add(idleRest)) {
		return 0, ctx.Err()
	}
	peak, err := memory(n.process.cmd.Process.Pid, "VmHWM")
	if err != nil {
		return 0, err
	}
	resident, err := memory(n.process.cmd.Process.Pid, "VmRSS")
	r.Peak, r.Resident = max(r.Peak, peak), max(r.Resident, resident)
	return took, err
}
