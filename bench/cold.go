package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// coldStart is one row of the cold table.
type coldStart struct {
	Name     string
	Language string
	Variable string // changing it makes a new worker necessary
	Bare     func(context.Context, *bed) (program string, args []string, err error)
}

func coldStarts() []coldStart {
	return []coldStart{
		{"node", "node", "BENCH_ROUND", interpreter("node", "-e", "0")},
		{"python", "python", "BENCH_ROUND", interpreter("python", "-c", "0")},
		{"go", "go", "BENCH_ROUND", hello},
		// These variables must be there before the language starts, so that no waiting process can be used.
		{"node-alone", "node", "NODE_BENCH_ROUND", interpreter("node", "-e", "0")},
		{"python-alone", "python", "PYTHON_BENCH_ROUND", interpreter("python", "-c", "0")},
	}
}

func interpreter(language string, args ...string) func(context.Context, *bed) (string, []string, error) {
	return func(ctx context.Context, b *bed) (string, []string, error) {
		t, err := b.toolchain(ctx, language)
		return t.Path, args, err
	}
}

// hello is the bare start of a compiled language: a program that does nothing.
func hello(ctx context.Context, b *bed) (string, []string, error) {
	program, err := b.compile(ctx, "hello")
	return program, nil, err
}

// compile builds a program of testdata and returns where it is.
func (b *bed) compile(ctx context.Context, name string) (program string, err error) {
	source, err := sources.ReadFile("testdata/" + name + "/main.go")
	if err != nil {
		return "", err
	}
	program = filepath.Join(b.dir, name)
	if err := os.WriteFile(program+".go", source, 0o600); err != nil {
		return "", err
	}
	return program, b.build(ctx, program+".go", program)
}

// coldRow is one language: first calls beside bare starts. Times are microseconds.
type coldRow struct {
	Name      string    `json:"name"`
	Runtime   string    `json:"runtime"`
	Bare      string    `json:"bare"`
	StemHits  int       `json:"stem_hits"` // how many first calls found a process that waited
	Calls     []float64 `json:"calls_us"`
	Starts    []float64 `json:"bare_us"`
	CallP50   float64   `json:"call_p50_us"`
	CallP99   float64   `json:"call_p99_us"`
	BareP50   float64   `json:"bare_p50_us"`
	BareP99   float64   `json:"bare_p99_us"`
	RatioP50  float64   `json:"ratio_p50"`
	RatioP99  float64   `json:"ratio_p99"`
	PauseUsed float64   `json:"pause_us"`
}

// cold measures all chosen languages, first call and bare start in alternation.
func cold(ctx context.Context, b *bed, o options) ([]*coldRow, error) {
	var rows []*coldRow
	for _, s := range coldStarts() {
		if !o.wants("cold/%s", s.Name) {
			continue
		}
		b.say("cold starts of %s", s.Name)
		row, err := s.measure(ctx, b, o)
		if err != nil {
			return nil, fmt.Errorf("cold %s: %w", s.Name, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (s coldStart) measure(ctx context.Context, b *bed, o options) (*coldRow, error) {
	n, err := b.function(ctx, s.Language)
	if err != nil {
		return nil, err
	}
	program, args, err := s.Bare(ctx, b)
	if err != nil {
		return nil, err
	}
	row := &coldRow{Name: s.Name, Runtime: b.toolchains[s.Language].Runtime, Bare: filepath.Base(program), PauseUsed: micros(o.pause)}
	variables := "/v1/functions/" + functionID(s.Language) + "/variables"
	var v struct {
		ID string `json:"$id"`
	}
	if err := n.rest(ctx, http.MethodPost, variables, map[string]any{"variableId": "unique()", "key": s.Variable, "value": "-"}, &v); err != nil {
		return nil, err
	}
	var calls, starts []time.Duration
	const before = 8 // not counted: caches fill, and the pool makes as many stems as it will want
	hits := 0
	for i := range before + o.starts {
		if i == before {
			if hits, err = n.counter(ctx, "flint_worker_stem_hits_total"); err != nil {
				return nil, err
			}
		}
		if err := n.rest(ctx, http.MethodPut, variables+"/"+v.ID, map[string]any{"value": strconv.Itoa(i)}, nil); err != nil {
			return nil, err
		}
		call, err := firstCall(ctx, n.endpoint(s.Language), o.pause)
		if err != nil {
			return nil, err
		}
		bare, err := bareStart(ctx, program, args)
		if err != nil {
			return nil, err
		}
		if i >= before {
			calls, starts = append(calls, call), append(starts, bare)
		}
	}
	after, err := n.counter(ctx, "flint_worker_stem_hits_total")
	if err != nil {
		return nil, err
	}
	row.StemHits = after - hits
	row.sum(calls, starts)
	return row, n.rest(ctx, http.MethodDelete, variables+"/"+v.ID, nil, nil)
}

// firstCall waits for the machine to be quiet again and calls a function that has no worker. The answer must say that its
// worker had served nothing before.
func firstCall(ctx context.Context, e endpoint, pause time.Duration) (time.Duration, error) {
	if !waitUntil(ctx, time.Now().Add(pause)) {
		return 0, ctx.Err()
	}
	begin := time.Now()
	body, err := once(ctx, e, "/served")
	took := time.Since(begin)
	if err == nil && string(body) != `{"served":0}` {
		err = fmt.Errorf("the call was not the first of its worker: %.200s", body)
	}
	return took, err
}

// bareStart is how long a program takes from nothing to its end, in an empty environment.
func bareStart(ctx context.Context, program string, args []string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = []string{}, "/"
	begin := time.Now()
	err := cmd.Run()
	return time.Since(begin), err
}

func (r *coldRow) sum(calls, starts []time.Duration) {
	for i := range calls {
		r.Calls, r.Starts = append(r.Calls, micros(calls[i])), append(r.Starts, micros(starts[i]))
	}
	slices.Sort(calls)
	slices.Sort(starts)
	r.CallP50, r.CallP99 = micros(quantile(calls, 0.5)), micros(quantile(calls, 0.99))
	r.BareP50, r.BareP99 = micros(quantile(starts, 0.5)), micros(quantile(starts, 0.99))
	r.RatioP50, r.RatioP99 = ratio(r.CallP50, r.BareP50), ratio(r.CallP99, r.BareP99)
}
