package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"flint/e2e/node"
)

// TestAKilledWorker kills a worker in the middle of a call.
func TestAKilledWorker(t *testing.T) {
	n := node.Start(t, node.Options{})
	for language, entrypoint := range map[string]string{"node": "index.js", "python": "main.py"} {
		t.Run(language, func(t *testing.T) {
			f := n.Deploy(t, node.Function{ID: "killed-" + language, Runtime: runtime(t, n, language), Entrypoint: entrypoint, Timeout: 20}, nil, fixture(t, language))
			ended := make(chan *node.Execution, 1)
			go func() { // ends with the call
				e, err := n.Execute(t.Context(), f.ID, node.Call{Path: "/?ms=15000", Headers: map[string]string{"x-action": "sleep"}})
				if err != nil {
					t.Error(err)
				}
				ended <- e
			}()
			var worker process
			node.Eventually(t, 10*time.Second, func(context.Context) error {
				for _, p := range descendants(t, n.PID()) {
					// A stem has the same command, but no function.
					code := fmt.Sprintf("/proc/%d/root/usr/local/server/src/function/%s", p.pid, entrypoint)
					if _, err := os.Stat(code); err == nil && strings.Contains(p.command, "/adapter/") && !strings.Contains(p.command, "bwrap") {
						worker = p
						return nil
					}
				}
				return fmt.Errorf("no worker among %v", descendants(t, n.PID()))
			})
			if err := syscall.Kill(worker.pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			e := <-ended
			if e.Status != "failed" || e.Code != 500 || !strings.Contains(e.Errors, "SIGKILL") || e.Duration > 14 {
				t.Errorf("the execution is %s %d after %.1f s with errors %q, want failed 500 at once with SIGKILL named", e.Status, e.Code, e.Duration, e.Errors)
			}
			if e, err := n.Execute(t.Context(), f.ID, node.Call{}); err != nil || e.Code != 200 {
				t.Errorf("the next call: %+v, %v", e, err)
			}
		})
	}
}

// TestAKilledNode kills the node under load, again and again, and balances the books each time.
func TestAKilledNode(t *testing.T) {
	data := t.TempDir()
	runs := newRunCounter(t)
	n := launch(t, data, runs.Flag())
	f := n.Deploy(t, node.Function{ID: "ledger", Runtime: runtime(t, n, "node"), Entrypoint: "index.js", Timeout: 30, Execute: []string{"any"}},
		map[string]string{"COUNTER": runs.URL}, map[string]string{"index.js": read(t, "functions/count.js")})
	for round := range 3 {
		l := startLoad(n, f)
		if err := l.wait(t.Context(), 50); err != nil { // enough has been acknowledged
			t.Fatal(err)
		}
		n.Kill()
		l.stop()
		begun := time.Now()
		n = launch(t, data, runs.Flag())
		t.Logf("round %d: the node was back after %s", round, time.Since(begun).Round(time.Millisecond))
		l.balance(t, n, f, runs)
		if e, err := n.Execute(t.Context(), f.ID, node.Call{}); err != nil || e.Code != 200 {
			t.Fatalf("the first call after the restart: %+v, %v", e, err)
		}
	}
	unfinished(t, n, f)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// launch starts a node on a data directory. What is not stopped by the test is killed at its end.
func launch(t *testing.T, data string, flags ...string) *node.Node {
	t.Helper()
	n, err := node.Launch(t.Context(), node.Options{Data: data, Args: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			t.Logf("the log of a node:\n%s", n.Log())
		}
	})
	return n
}

// unfinished fails when an execution is in no final state.
func unfinished(t *testing.T, n *node.Node, f *node.Function) {
	t.Helper()
	node.Eventually(t, 40*time.Second, func(ctx context.Context) error {
		var list struct {
			Total int `json:"total"`
		}
		path := "/v1/functions/" + f.ID + "/executions?queries[]=%7B%22method%22:%22equal%22,%22attribute%22:%22status%22,%22values%22:[%22waiting%22,%22processing%22]%7D"
		if _, err := n.Do(ctx, http.MethodGet, path, nil, &list); err != nil {
			return err
		}
		if list.Total > 0 {
			return fmt.Errorf("%d executions are in no final state", list.Total)
		}
		return nil
	})
}

// TestAKilledNodeLeavesNothing kills a node while functions and builds run that do not end by themselves.
func TestAKilledNodeLeavesNothing(t *testing.T) {
	data := t.TempDir()
	n := launch(t, data)
	language := runtime(t, n, "node")
	f := n.Deploy(t, node.Function{ID: "spinning", Runtime: language, Entrypoint: "index.js", Timeout: 100}, nil, fixture(t, "node"))
	spinning, err := n.Execute(t.Context(), f.ID, node.Call{Async: true, Headers: map[string]string{"x-action": "spin"}})
	if err != nil {
		t.Fatal(err)
	}
	node.Eventually(t, 30*time.Second, func(ctx context.Context) error { // what had not begun would run after the restart
		e, err := n.Execution(ctx, f.ID, spinning.ID)
		if err == nil && e.Status != "processing" {
			err = fmt.Errorf("it is %s", e.Status)
		}
		return err
	})
	b := node.Function{ID: "building", Name: "b", Runtime: language, Entrypoint: "index.js", Commands: "while true; do sleep 1 || true; done", Enabled: true, Logging: true}
	if err := n.Create(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	d, err := n.Upload(t.Context(), b.ID, "", node.Archive(t, map[string]string{"index.js": "module.exports = 1"}))
	if err != nil {
		t.Fatal(err)
	}
	var before []process
	node.Eventually(t, 20*time.Second, func(context.Context) error {
		before = descendants(t, n.PID())
		for _, p := range before {
			if strings.Contains(p.command, "sleep 1") {
				return nil
			}
		}
		return fmt.Errorf("the build does not run yet: %v", before)
	})
	n.Kill()
	n = launch(t, data)
	node.Eventually(t, 15*time.Second, func(context.Context) error {
		for _, p := range before {
			if p.alive() {
				return fmt.Errorf("a process of the killed node still runs: %s", p)
			}
		}
		return nil
	})
	if _, err := n.Do(t.Context(), http.MethodPatch, "/v1/functions/building/deployments/"+d.ID+"/status", nil, nil); err != nil {
		t.Errorf("the build cannot be canceled after the restart: %v", err)
	}
	unfinished(t, n, f)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// TestStoppingUnderLoad stops the node with SIGTERM: what it has accepted, it finishes.
func TestStoppingUnderLoad(t *testing.T) {
	data := t.TempDir()
	runs := newRunCounter(t)
	n := launch(t, data, runs.Flag())
	f := n.Deploy(t, node.Function{ID: "stopped", Runtime: runtime(t, n, "node"), Entrypoint: "index.js", Timeout: 30, Execute: []string{"any"}},
		map[string]string{"COUNTER": runs.URL}, map[string]string{"index.js": read(t, "functions/count.js")})
	l := startLoad(n, f)
	if err := l.wait(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	l.stop()
	for _, refusal := range l.refusals {
		t.Errorf("a call was answered with %s", refusal)
	}
	n = launch(t, data, runs.Flag())
	l.balance(t, n, f, runs)
	var list struct {
		Total int `json:"total"`
	}
	path := "/v1/functions/" + f.ID + "/executions?queries[]=%7B%22method%22:%22equal%22,%22attribute%22:%22status%22,%22values%22:[%22failed%22]%7D"
	if _, err := n.Do(t.Context(), http.MethodGet, path, nil, &list); err != nil || list.Total != 0 {
		t.Errorf("%d executions failed, %v", list.Total, err)
	}
	unfinished(t, n, f)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}
