package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"flint/e2e/node"
)

// TestActivationsUnderLoad activates one of two deployments again and again while the functions are called. No call may
// fail, and a call that begins after an activation was answered runs what was activated.
func TestActivationsUnderLoad(t *testing.T) {
	const functions, activations, callers = 20, 200, 4
	n := node.Start(t, node.Options{})
	js := runtime(t, n, "node")
	code := func(version int) map[string]string {
		return map[string]string{"i.js": fmt.Sprintf("module.exports = async ({ res }) => res.text('%d')", version)}
	}
	all := make([]*node.Function, functions)
	versions := make([][2]string, functions)
	for i := range all {
		id := fmt.Sprintf("switched-%d", i)
		all[i] = n.Deploy(t, node.Function{ID: id, Runtime: js, Entrypoint: "i.js", Execute: []string{"any"}, Timeout: 30}, nil, code(0))
		versions[i][0] = all[i].DeploymentID
		versions[i][1] = n.Redeploy(t, all[i], "i.js", code(1)).ID
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	visit := func(f *node.Function) (string, error) {
		r, err := n.Visit(ctx, node.Request{Host: f.Domain()})
		if err != nil {
			return "", err
		}
		if r.Status != http.StatusOK {
			return "", fmt.Errorf("status %d: %.200s", r.Status, r.Body)
		}
		return string(r.Body), nil
	}
	var stop atomic.Bool
	var calls, failed atomic.Int64
	var load sync.WaitGroup
	for c := range callers {
		load.Go(func() {
			for i := c; !stop.Load(); i++ {
				calls.Add(1)
				if got, err := visit(all[i%functions]); err != nil || got != "0" && got != "1" {
					if failed.Add(1) <= 3 {
						t.Errorf("a call of %s: %q, %v", all[i%functions].ID, got, err)
					}
				}
			}
		})
	}
	for k := range activations {
		i, version := k/10%functions, k%2
		if status, err := n.Do(ctx, http.MethodPatch, "/v1/functions/"+all[i].ID+"/deployment", map[string]string{"deploymentId": versions[i][version]}, nil); err != nil || status != http.StatusOK {
			t.Errorf("activation: %d, %v", status, err)
			break
		}
		if got, err := visit(all[i]); err != nil || got != fmt.Sprint(version) {
			t.Errorf("after the activation of version %d: %q, %v", version, got, err)
		}
	}
	stop.Store(true)
	load.Wait()
	t.Logf("%d activations under %d calls, %d of which failed", activations, calls.Load(), failed.Load())
}

// TestTooManyCalls makes many more calls than a function can serve. Each is answered, those that are refused are told so
// with the time of the next try, and the function serves on afterwards.
func TestTooManyCalls(t *testing.T) {
	n := node.Start(t, node.Options{})
	f := n.Deploy(t, node.Function{ID: "crowded", Runtime: runtime(t, n, "node"), Entrypoint: "i.js", Execute: []string{"any"}, Timeout: 10}, nil, map[string]string{
		"i.js": "module.exports = async ({ res }) => { await new Promise(r => setTimeout(r, 100)); return res.text('ok') }",
	})
	if status, err := n.Do(t.Context(), http.MethodPut, "/v1/flint/functions/crowded/scaling", map[string]any{"maxWorkers": 2, "callsPerWorker": 2}, nil); err != nil || status != http.StatusOK {
		t.Fatalf("scaling: %d, %v", status, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var served, refused atomic.Int64
	var all sync.WaitGroup
	const callers, each = 120, 5
	for range callers {
		all.Go(func() {
			for range each {
				r, err := n.Visit(ctx, node.Request{Host: f.Domain()})
				switch {
				case err != nil:
					t.Error(err)
				case r.Status == http.StatusOK:
					served.Add(1)
				case r.Status != http.StatusTooManyRequests && r.Status != http.StatusServiceUnavailable, r.Headers.Get("Retry-After") == "":
					t.Errorf("status %d, Retry-After %q", r.Status, r.Headers.Get("Retry-After"))
				default:
					refused.Add(1)
				}
			}
		})
	}
	all.Wait()
	if served.Load() == 0 || served.Load()+refused.Load() != callers*each {
		t.Errorf("%d served and %d refused of %d", served.Load(), refused.Load(), callers*each)
	}
	t.Logf("%d served, %d refused", served.Load(), refused.Load())
	if r, err := n.Visit(ctx, node.Request{Host: f.Domain()}); err != nil || r.Status != http.StatusOK {
		t.Errorf("afterwards: %v, %v", r, err)
	}
}

// TestWarmFunctions has workers started although nobody calls, also after a restart.
func TestWarmFunctions(t *testing.T) {
	data := t.TempDir()
	n, err := node.Launch(t.Context(), node.Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	n.Deploy(t, node.Function{ID: "warm", Runtime: runtime(t, n, "node"), Entrypoint: "i.js", Execute: []string{"any"}}, nil, map[string]string{
		"i.js": "module.exports = async ({ res }) => res.text('ok')",
	})
	workers := func(n *node.Node, want float64) {
		t.Helper()
		node.Eventually(t, time.Minute, func(ctx context.Context) error {
			if got, err := n.Metric(ctx, "flint_workers"); err != nil || got != want {
				return fmt.Errorf("%v workers (%w), want %v", got, err, want)
			}
			return nil
		})
	}
	if got := must(t, data, "function", "scaling", "warm"); !strings.Contains(got, "default") {
		t.Errorf("scaling at first: %s", got)
	}
	if got := must(t, data, "function", "scaling", "warm", "--min-warm", "2", "--keep-alive", "1s"); !strings.Contains(got, "1s") {
		t.Errorf("scaling then: %s", got)
	}
	if out, err := operator(t, data, "function", "scaling", "warm", "--max-workers", "1"); err == nil || !strings.Contains(out, "minWarm") {
		t.Errorf("fewer than are to be warm: %v %s", err, out)
	}
	workers(n, 2)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if n, err = node.Launch(t.Context(), node.Options{Data: data}); err != nil {
		t.Fatal(err)
	}
	workers(n, 2)
	must(t, data, "function", "scaling", "warm", "--min-warm", "0")
	workers(n, 0)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}
