package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"flint/e2e/node"
)

// TestSchedule has a function run at the next full minute, although it is disabled, on a node that was killed meanwhile.
func TestSchedule(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	n, err := node.Launch(t.Context(), node.Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	f := n.Deploy(t, node.Function{ID: "tick", Runtime: runtime(t, n, "node"), Entrypoint: "i.js", Schedule: "* * * * *"}, nil, map[string]string{
		"i.js": `module.exports = async ({ req, res, log }) => { log(JSON.stringify([req.method, req.path, req.bodyText, req.headers])); return res.text('ok') }`,
	})
	if _, err := n.Do(t.Context(), http.MethodPut, "/v1/functions/tick", map[string]any{"name": "Tick", "enabled": false, "logging": true, "entrypoint": "i.js", "schedule": "* * * * *"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := must(t, data, "schedule"); !strings.Contains(got, "* * * * *") || !strings.Contains(got, "active") {
		t.Errorf("schedule: %s", got)
	}
	n.Kill()
	if n, err = node.Launch(t.Context(), node.Options{Data: data}); err != nil {
		t.Fatal(err)
	}
	e := scheduledExecution(t, n, f.ID)
	var call []json.RawMessage
	var headers map[string]string
	if err := errors.Join(json.Unmarshal([]byte(e.Logs), &call), json.Unmarshal(call[3], &headers)); err != nil {
		t.Fatalf("%s: %v", e.Logs, err)
	}
	if got := fmt.Sprintf("%s", call[:3]); got != `["POST" "/" ""]` {
		t.Errorf("called as %s", got)
	}
	for name, want := range map[string]string{"x-appwrite-trigger": "schedule", "x-appwrite-execution-id": e.ID, "x-appwrite-user-id": "", "x-appwrite-event": "", "x-appwrite-continent-eu": "false"} {
		if got, there := headers[name]; got != want || !there {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := must(t, data, "schedule", "show", "tick"); !strings.Contains(got, e.ID+" completed") || !strings.Contains(got, "skipped       0") {
		t.Errorf("schedule show: %s", got)
	}
	if got := must(t, data, "schedule", "pause", "tick", "-o", "json"); !strings.Contains(got, `"state": "paused"`) {
		t.Errorf("schedule pause: %s", got)
	}
	if got := must(t, data, "schedule", "set", "tick", "--missed", "once", "--missed-age", "1h", "--overlap", "skip", "--jitter", "30s"); !strings.Contains(got, "once, at most 1h0m0s ago") {
		t.Errorf("schedule set: %s", got)
	}
	if got := must(t, data, "schedule", "resume", "tick"); !strings.Contains(got, "state         active") || !strings.Contains(got, "jitter        30") {
		t.Errorf("schedule resume: %s", got)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}

// scheduledExecution waits for a run to end: that is for the next full minute, and a cold start.
func scheduledExecution(t *testing.T, n *node.Node, function string) *node.Execution {
	t.Helper()
	var all struct{ Executions []*node.Execution }
	node.Eventually(t, 2*time.Minute, func(ctx context.Context) error {
		if _, err := n.Do(ctx, http.MethodGet, "/v1/functions/"+function+"/executions", nil, &all); err != nil {
			return err
		}
		if len(all.Executions) == 0 || all.Executions[len(all.Executions)-1].Status != "completed" {
			return fmt.Errorf("executions %v", all.Executions)
		}
		return nil
	})
	e := all.Executions[len(all.Executions)-1]
	if e.Trigger != "schedule" || e.Code != http.StatusOK || len(e.Permissions) != 0 {
		t.Errorf("execution %+v", e)
	}
	return e
}
