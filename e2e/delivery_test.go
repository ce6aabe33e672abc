package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"flint/e2e/node"
)

// director tells the runs of deliver.js how to end, and notes what they say.
type director struct {
	*httptest.Server
	wish func(path string, run int) string

	mu      sync.Mutex
	runs    map[string]int // by path
	story   []string
	running int
	most    int
}

func newDirector(t *testing.T, wish func(path string, run int) string) *director {
	t.Helper()
	d := &director{wish: wish, runs: map[string]int{}}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		path := r.URL.Query().Get("path")
		d.story = append(d.story, r.URL.Path[1:]+" "+path)
		if r.URL.Path == "/end" {
			d.running--
			return
		}
		d.runs[path]++
		wished := d.wish(path, d.runs[path])
		if wished == "" {
			d.running++
			d.most = max(d.most, d.running)
		}
		fmt.Fprint(w, wished)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *director) told() (story []string, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.story), d.most
}

// TestDelivery makes asynchronous calls in all the ways that a function can ask for.
func TestDelivery(t *testing.T) {
	t.Parallel()
	d := newDirector(t, func(path string, run int) string {
		switch {
		case path == "/stay":
			return "stay"
		case path == "/never", path == "/thrice" && run < 3:
			return "fail"
		}
		return ""
	})
	data := t.TempDir()
	n := launch(t, data, "--network-ports="+d.URL[strings.LastIndexByte(d.URL, ':')+1:])
	f := n.Deploy(t, node.Function{ID: "deliver", Runtime: runtime(t, n, "node"), Entrypoint: "deliver.js", Timeout: 90},
		map[string]string{"COUNTER": d.URL}, map[string]string{"deliver.js": read(t, "functions/deliver.js")})
	must(t, data, "function", "delivery", f.ID, "--max-attempts", "3", "--max-backoff", "1s", "--dead-letters", "--max-concurrent", "3")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := func(t *testing.T, path string, headers map[string]string) *node.Execution {
		t.Helper()
		e, err := n.Execute(ctx, f.ID, node.Call{Path: path, Async: true, Headers: headers})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	end := func(t *testing.T, id string) *node.Execution {
		t.Helper()
		e, err := n.Finished(ctx, f.ID, id)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}

	t.Run("a failing call is made again until it succeeds", func(t *testing.T) {
		e := end(t, call(t, "/thrice", nil).ID)
		if e.Status != "completed" || e.Code != 200 || e.Errors != "" {
			t.Errorf("%s %d %q", e.Status, e.Code, e.Errors)
		}
		var list struct {
			Attempts []struct {
				Outcome string `json:"outcome"`
			} `json:"attempts"`
		}
		if _, err := n.Do(ctx, http.MethodGet, "/v1/flint/functions/deliver/executions/"+e.ID+"/attempts", nil, &list); err != nil || len(list.Attempts) != 3 || list.Attempts[2].Outcome != "answered" {
			t.Errorf("attempts %+v, %v", list, err)
		}
	})
	t.Run("one that always fails becomes a dead letter, and a call again", func(t *testing.T) {
		e := end(t, call(t, "/never", nil).ID)
		if e.Status != "failed" || !strings.Contains(e.Errors, "as it was told") || !strings.Contains(e.Errors, "All 3 attempts have failed.") {
			t.Errorf("%s %q", e.Status, e.Errors)
		}
		if out := must(t, data, "explain", e.ID); !strings.Contains(out, "flint deadletter redrive") || strings.Count(out, "ended with error") != 3 {
			t.Errorf("explain: %s", out)
		}
		if out := must(t, data, "deadletter", "list", f.ID); !strings.Contains(out, e.ID) {
			t.Errorf("deadletter list: %s", out)
		}
		var made []struct{ ID string }
		if err := json.Unmarshal([]byte(must(t, data, "deadletter", "redrive", f.ID, "--all", "-o", "json")), &made); err != nil || len(made) != 1 {
			t.Fatalf("redrive: %v, %v", made, err)
		}
		end(t, made[0].ID)
		if out := must(t, data, "deadletter", "show", f.ID, made[0].ID); !strings.Contains(out, "as it was told") {
			t.Errorf("deadletter show: %s", out)
		}
		if out := must(t, data, "deadletter", "purge", f.ID); out != "1 removed\n" {
			t.Errorf("deadletter purge: %s", out)
		}
	})
	t.Run("an idempotency key stands for one call", func(t *testing.T) {
		key := map[string]string{"idempotency-key": "order-1"}
		first := end(t, call(t, "/once", key).ID)
		again := &node.Execution{}
		status, err := n.Do(ctx, http.MethodPost, "/v1/functions/deliver/executions", node.Call{Path: "/once", Async: true, Headers: key}, again)
		if err != nil || status != http.StatusCreated || again.ID != first.ID || again.Status != "completed" || again.Body != "answered /once" {
			t.Errorf("again: %d %+v, %v", status, again, err)
		}
		if _, err := n.Execute(ctx, f.ID, node.Call{Path: "/other", Async: true, Headers: key}); err == nil || !strings.Contains(err.Error(), "execution_idempotency_conflict") {
			t.Errorf("another call with the key: %v", err)
		}
	})
	t.Run("calls of one key are made in order, others at once", func(t *testing.T) {
		before, _ := d.told()
		var all []string
		var want []string
		for i := range 6 {
			path := fmt.Sprint("/turn", i)
			all = append(all, call(t, path, map[string]string{"x-flint-ordering-key": "k"}).ID)
			want = append(want, "begin "+path, "end "+path)
		}
		for _, id := range all {
			end(t, id)
		}
		story, _ := d.told()
		if got := story[len(before):]; !slices.Equal(got, want) {
			t.Errorf("the runs: %v", got)
		}
		all = nil
		for i := range 9 {
			all = append(all, call(t, fmt.Sprint("/free", i), nil).ID)
		}
		for _, id := range all {
			end(t, id)
		}
		if _, most := d.told(); most > 3 {
			t.Errorf("%d calls ran at once, want at most 3", most)
		}
	})
	t.Run("a running call is canceled and keeps its logs", func(t *testing.T) {
		e := call(t, "/stay", nil)
		node.Eventually(t, 20*time.Second, func(context.Context) error {
			if story, _ := d.told(); !slices.Contains(story, "begin /stay") {
				return fmt.Errorf("it does not run yet: %v", story)
			}
			return nil
		})
		if out := must(t, data, "explain", e.ID); !strings.Contains(out, "is processing") || !strings.Contains(out, `"it begins"`) || !strings.Contains(out, "flint executions cancel "+e.ID) {
			t.Errorf("explain: %s", out)
		}
		if out := must(t, data, "executions", "cancel", e.ID); !strings.Contains(out, "canceled") {
			t.Errorf("executions cancel: %s", out)
		}
		e = end(t, e.ID)
		if e.Status != "failed" || !strings.Contains(e.Errors, "The execution was canceled.") || !strings.Contains(e.Logs, "it begins") {
			t.Errorf("%s %q %q", e.Status, e.Errors, e.Logs)
		}
		if out, err := operator(t, data, "executions", "cancel", e.ID); err == nil || !strings.Contains(out, "ended already") {
			t.Errorf("canceling twice: %v %s", err, out)
		}
	})
}
