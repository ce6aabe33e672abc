package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	workerRatio = 1.15 // of a worker's memory to that of bare node with the same code
	workerCalls = 200
	workerRest  = 3 * time.Second
)

// workerRow is the memory of one warm, idle worker, in MB. A page that several processes have counts as a part (PSS).
type workerRow struct {
	Worker  float64 `json:"worker_mb"`  // the language's process
	Sandbox float64 `json:"sandbox_mb"` // what keeps it in its sandbox
	Bare    float64 `json:"bare_mb"`    // bare node with the same code
	Ratio   float64 `json:"ratio"`
}

// workerMemory measures a worker in Node.js beside node with the same module and a server around it.
func workerMemory(ctx context.Context, b *bed, _ options) (result, error) {
	n, err := b.replicas(ctx, "worker", 1)
	if err != nil {
		return nil, err
	}
	addr, err := b.moduleServer(ctx)
	if err != nil {
		return nil, err
	}
	r := &workerRow{}
	if r.Worker, r.Sandbox, err = warmShare(ctx, n.addr, replicaPath(0, ""), "flintworker", n.process.cmd.Process.Pid); err != nil {
		return nil, err
	}
	if r.Bare, _, err = warmShare(ctx, addr, "", "flintbare", os.Getpid()); err != nil {
		return nil, err
	}
	r.Ratio = ratio(r.Worker+r.Sandbox, r.Bare)
	return r, nil
}

// moduleServer starts node with the module of testdata/work and a server around it.
func (b *bed) moduleServer(ctx context.Context) (addr string, err error) {
	t, err := b.toolchain(ctx, "node")
	if err != nil {
		return "", err
	}
	dir, err := b.lay("module", "module.mjs")
	if err != nil {
		return "", err
	}
	module := filepath.Join(dir, "main.mjs")
	source, err := sources.ReadFile("testdata/work/main.js")
	if err == nil {
		err = os.WriteFile(module, source, 0o644)
	}
	if err != nil {
		return "", err
	}
	e, err := b.launch(ctx, "module", t.Path, func(addr string) []string {
		return []string{filepath.Join(dir, "module.mjs"), portOf(addr), module}
	}, func(ctx context.Context, e endpoint) error {
		_, err := once(ctx, e, "/wait")
		return err
	})
	return e.Addr, err
}

// warmShare calls a function for a while, leaves it alone, and returns the memory of its process and of those between it
// and the server that has started them.
func warmShare(ctx context.Context, addr, prefix, title string, server int) (own, between float64, err error) {
	p := newPlayer(addr)
	defer p.close()
	for range workerCalls {
		if err := served(p.shoot(ctx, prefix+"/wait"), -1); err != nil {
			return 0, 0, err
		}
	}
	if err := served(p.shoot(ctx, prefix+"/title?name="+title), -1); err != nil {
		return 0, 0, err
	}
	if !waitUntil(ctx, time.Now().Add(workerRest)) {
		return 0, 0, ctx.Err()
	}
	pid, ok := titled(title)
	if !ok {
		return 0, 0, fmt.Errorf("no process is called %s", title)
	}
	if own, err = share(pid); err != nil {
		return 0, 0, err
	}
	_, parents := readProcesses()
	for above := parents[pid]; above > 1 && above != server; above = parents[above] {
		mb, err := share(above)
		if err != nil {
			return 0, 0, err
		}
		between += mb
	}
	return own, between, nil
}

func (r *workerRow) check() error {
	return within("the memory of a worker beside bare node's", r.Ratio, workerRatio, "times")
}

func (r *workerRow) print(w io.Writer) {
	fmt.Fprintf(w, "\nWorker: memory (PSS) of a warm, idle worker in Node.js beside node with the same code\n\n")
	fmt.Fprintln(w, "worker MB\tits sandbox MB\tbare MB\tratio\tbound\t")
	fmt.Fprintf(w, "%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t\n", r.Worker, r.Sandbox, r.Bare, r.Ratio, workerRatio)
}
