package e2e

import (
	"context"
	"fmt"
	"net/http"
	goruntime "runtime"
	"sync"
	"testing"
	"time"

	"flint/e2e/node"
)

const sleepingPython = `import time

def main(context):
    time.sleep(0.1)
    return context.res.text("slept")
`

// TestManyCallsAtOnce makes 200 calls at once of functions that sleep for 100 ms.
func TestManyCallsAtOnce(t *testing.T) {
	n := node.Start(t, node.Options{})
	cpus := goruntime.NumCPU()
	for _, c := range []struct {
		language string
		files    map[string]string
		most     int // workers
	}{
		{"node", fixture(t, "node"), 2 * cpus},                             // many calls in each
		{"python", map[string]string{"main.py": sleepingPython}, 4 * cpus}, // one call in each
	} {
		t.Run(c.language, func(t *testing.T) {
			entrypoint := map[string]string{"node": "index.js", "python": "main.py"}[c.language]
			f := n.Deploy(t, node.Function{
				ID: "many-" + c.language, Runtime: runtime(t, n, c.language), Entrypoint: entrypoint, Timeout: 30, Execute: []string{"any"},
			}, nil, c.files)
			before, err := n.Metric(t.Context(), "flint_workers")
			if err != nil {
				t.Fatal(err)
			}
			took := together(t, n, f, 200)
			peak := took.peak - before
			t.Logf("%s: 200 calls took %s with %.0f workers", c.language, took.time, peak)
			if peak < 1 || int(peak) > c.most {
				t.Errorf("%.0f workers, want 1 to %d", peak, c.most)
			}
		})
	}
}

type outcome struct {
	time time.Duration
	peak float64 // most workers seen
}

// together makes calls at the same time and watches how many workers there are.
func together(t *testing.T, n *node.Node, f *node.Function, calls int) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watch, stop := context.WithCancel(ctx)
	var o outcome
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for watch.Err() == nil {
			if now, err := n.Metric(watch, "flint_workers"); err == nil {
				o.peak = max(o.peak, now)
			}
		}
	})
	begun := time.Now()
	errs := make(chan error, calls)
	for range calls {
		go func() { // ends with its call, which is waited for below
			r, err := n.Visit(ctx, node.Request{Host: f.Domain(), Path: "/?ms=100", Headers: map[string]string{"x-action": "sleep"}})
			if err == nil && (r.Status != http.StatusOK || string(r.Body) != "slept") {
				err = fmt.Errorf("status %d, body %.200q", r.Status, r.Body)
			}
			errs <- err
		}()
	}
	failed := 0
	for range calls {
		if err := <-errs; err != nil {
			if failed++; failed <= 3 {
				t.Error(err)
			}
		}
	}
	o.time = time.Since(begun)
	stop()
	watcher.Wait()
	if failed > 0 {
		t.Errorf("%d of %d calls failed", failed, calls)
	}
	return o
}
