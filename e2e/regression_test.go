package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"flint/e2e/node"
)

// The tests of this file are named after what users of such platforms suffered.

// plain deploys a function of one Node.js file on the node that the tests share.
func plain(t *testing.T, id, code string, more func(*node.Function)) (*node.Node, *node.Function) {
	t.Helper()
	n := shared.get(t)
	f := node.Function{ID: id, Runtime: runtime(t, n, "node"), Entrypoint: "index.js", Execute: []string{"any"}, Timeout: 25}
	if more != nil {
		more(&f)
	}
	return n, n.Deploy(t, f, nil, map[string]string{"index.js": code})
}

// sad ends badly in the way that its path names.
const sad = `module.exports = async ({ req, res, log }) => {
  log('begun')
  switch (req.path) {
    case '/throw': throw new Error('thrown')
    case '/exit': process.exit(7)
    case '/kill': process.kill(process.pid, 'SIGKILL'); for (;;);
    case '/later': setImmediate(() => { throw new Error('nobody catches it') }); return new Promise(() => {})
    case '/nothing': return
    case '/never': return new Promise(() => {})
    case '/spin': for (;;);
    case '/slow': await new Promise(resolve => setTimeout(resolve, 500))
  }
  return res.text('done')
}
`

// TestNeverLeftWaitingOrProcessing ends executions in every bad way, each in all ways of calling.
func TestNeverLeftWaitingOrProcessing(t *testing.T) {
	t.Parallel()
	n, f := plain(t, "sad", sad, func(f *node.Function) { f.Timeout = 2 })
	ways := []string{"throw", "exit", "kill", "later", "nothing", "never", "spin"}
	for _, way := range ways {
		path := "/" + way
		accepted, err := n.Execute(t.Context(), f.ID, node.Call{Path: path, Async: true})
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		answered, err := n.Execute(t.Context(), f.ID, node.Call{Path: path})
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		r, err := n.Visit(t.Context(), node.Request{Host: f.Domain(), Path: path})
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		for trigger, id := range map[string]string{"async": accepted.ID, "sync": answered.ID, "domain": r.ExecutionID()} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			e, err := n.Finished(ctx, f.ID, id)
			cancel()
			if err != nil {
				t.Errorf("%s, %s: %v", way, trigger, err)
			} else if e.Status != "failed" || e.Code < 500 || e.Errors == "" {
				t.Errorf("%s, %s: %s %d with errors %q, want failed with the reason", way, trigger, e.Status, e.Code, e.Errors)
			}
		}
	}
	t.Run("the caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := n.Execute(ctx, f.ID, node.Call{Path: "/slow"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller got %v", err)
		}
	})
	t.Run("the code cannot be loaded", func(t *testing.T) {
		_, broken := plain(t, "sad-broken", "throw new Error('at the start')", nil)
		e, err := n.Execute(t.Context(), broken.ID, node.Call{Async: true})
		if err != nil {
			t.Fatal(err)
		}
		if e, err = n.Finished(t.Context(), broken.ID, e.ID); err != nil || e.Status != "failed" || !strings.Contains(e.Errors, "at the start") {
			t.Errorf("%+v, %v", e, err)
		}
		unfinished(t, n, broken)
	})
	t.Run("the deployment goes while calls wait for it", func(t *testing.T) {
		_, gone := plain(t, "sad-gone", sad, nil)
		for range 20 {
			if _, err := n.Execute(t.Context(), gone.ID, node.Call{Path: "/slow", Async: true}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.Do(t.Context(), http.MethodDelete, "/v1/functions/"+gone.ID+"/deployments/"+gone.DeploymentID, nil, nil); err != nil {
			t.Fatal(err)
		}
		unfinished(t, n, gone)
	})
	unfinished(t, n, f)
}

// logger logs as many characters as its path says, in lines of 1000, and the first line is the longest.
const logger = `module.exports = async ({ req, res, log }) => {
  const wanted = Number(req.path.slice(1))
  log('F'.repeat(999 + wanted % 1000))
  for (let i = 1; i < Math.floor(wanted / 1000); i++) log((i + 'x'.repeat(999)).slice(0, 999))
  return res.text('done')
}
`

// TestALogOf1000001Characters logs one character more than is kept.
func TestALogOf1000001Characters(t *testing.T) {
	t.Parallel()
	n, f := plain(t, "logger", logger, nil)
	const most, notice = 1_000_000, "[WARNING] Logs truncated. The output exceeded 1000000 characters.\n"
	last := "999" + strings.Repeat("x", 996)
	for _, async := range []bool{false, true} {
		for _, c := range []int{most - 1000, most, most + 1, 3*most + 500} {
			e, err := n.Execute(t.Context(), f.ID, node.Call{Path: fmt.Sprintf("/%d", c), Async: async})
			if err == nil && async {
				e, err = n.Finished(t.Context(), f.ID, e.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Status != "completed" || e.Code != 200 || e.Errors != "" {
				t.Errorf("%d characters: %s %d, errors %.200q", c, e.Status, e.Code, e.Errors)
			}
			logs := strings.TrimSuffix(e.Logs, "\n")
			switch {
			case c <= most && (strings.Contains(logs, "[WARNING]") || len(e.Logs) != c || !strings.HasPrefix(logs, "F")):
				t.Errorf("%d characters: %d are kept, beginning with %.80q", c, len(e.Logs), logs)
			case c > most && (!strings.HasPrefix(logs, notice) || len(e.Logs) != most):
				t.Errorf("%d characters: %d are kept, beginning with %.80q", c, len(e.Logs), logs)
			case c == most+1 && !strings.HasSuffix(logs, last):
				t.Errorf("the newest line is not the last of the log: %q", logs[len(logs)-20:])
			}
		}
	}
	unfinished(t, n, f)
}

// TestLogsForEveryTrigger calls a function in all ways that there are.
func TestLogsForEveryTrigger(t *testing.T) {
	t.Parallel()
	const code = `module.exports = async ({ req, res, log, error }) => {
  log('logged for ' + req.path)
  error('wrong for ' + req.path)
  return res.text('done')
}
`
	n, f := plain(t, "triggers", code, nil)
	ids := map[string]string{}
	at := time.Now().UTC().Truncate(time.Minute).Add(2 * time.Minute).Format("2006-01-02T15:04:05.000-07:00")
	for path, call := range map[string]map[string]any{
		"/sync": {"path": "/sync"}, "/async": {"path": "/async", "async": true}, "/delayed": {"path": "/delayed", "async": true, "scheduledAt": at},
	} {
		var e node.Execution
		if _, err := n.Do(t.Context(), http.MethodPost, "/v1/functions/"+f.ID+"/executions", call, &e); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		ids[path] = e.ID
	}
	for path, q := range map[string]node.Request{
		"/domain": {Host: f.Domain(), Path: "/domain"}, "/by-path": {Path: "/fn/" + node.Project + "/" + f.ID + "/by-path"},
	} {
		r, err := n.Visit(t.Context(), q)
		if err != nil || r.Status != http.StatusOK {
			t.Fatalf("%s: %+v, %v", path, r, err)
		}
		ids[path] = r.ExecutionID()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second) // a delayed call waits for the minute
	defer cancel()
	for path, id := range ids {
		trigger := "http"
		if path == "/delayed" {
			trigger = "schedule"
		}
		e, err := n.Finished(ctx, f.ID, id)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if e.Status != "completed" || e.Trigger != trigger || !strings.Contains(e.Logs, "logged for "+path) || !strings.Contains(e.Errors, "wrong for "+path) {
			t.Errorf("%s: %s by %s with logs %q and errors %q", path, e.Status, e.Trigger, e.Logs, e.Errors)
		}
	}
}

// TestTwoCallsBackToBackWhileCold makes the first two calls of a deployment at once, the second while the first starts the worker.
func TestTwoCallsBackToBackWhileCold(t *testing.T) {
	t.Parallel()
	n := shared.get(t)
	for language, entrypoint := range map[string]string{"node": "index.js", "python": "main.py"} {
		t.Run(language, func(t *testing.T) {
			f := n.Deploy(t, node.Function{
				ID: "cold-" + language, Runtime: runtime(t, n, language), Entrypoint: entrypoint, Timeout: 25, Execute: []string{"any"},
			}, nil, fixture(t, language))
			for round := range 3 {
				if round > 0 {
					n.Redeploy(t, f, "", fixture(t, language)) // cold again
				}
				var calls sync.WaitGroup
				for call := range 2 {
					calls.Go(func() {
						if call == round%2 {
							if e, err := n.Execute(t.Context(), f.ID, node.Call{}); err != nil || e.Status != "completed" || e.Code != 200 {
								t.Errorf("round %d: %+v, %v", round, e, err)
							}
						} else if r, err := n.Visit(t.Context(), node.Request{Host: f.Domain()}); err != nil || r.Status != 200 {
							t.Errorf("round %d: %+v, %v", round, r, err)
						}
					})
				}
				calls.Wait()
			}
			unfinished(t, n, f)
		})
	}
}

// TestABinaryPOSTStaysABinaryPOST sends every byte there is, through every door.
func TestABinaryPOSTStaysABinaryPOST(t *testing.T) {
	t.Parallel()
	const code = `module.exports = async ({ req, res }) => res.binary(req.bodyBinary, 200, {
  'content-type': 'application/octet-stream', 'x-method': req.method, 'x-type': req.headers['content-type'] ?? 'none'
})
`
	n, f := plain(t, "binary", code, nil)
	body := make([]byte, 0, 256*40)
	for i := range 256 * 40 {
		body = append(body, byte(i*7), byte(255-i))
	}
	for _, contentType := range []string{"application/octet-stream", "image/png", "text/plain; charset=utf-8", "application/json"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch} {
			for _, q := range []node.Request{{Host: f.Domain()}, {Path: "/fn/" + node.Project + "/" + f.ID + "/"}} {
				q.Method, q.Headers, q.Body = method, map[string]string{"Content-Type": contentType}, bytes.NewReader(body)
				r, err := n.Visit(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(r.Body, body) || r.Headers.Get("X-Method") != method || r.Headers.Get("X-Type") != contentType {
					t.Errorf("%s %s: %d bytes came back of %d, by %s of type %s", method, contentType, len(r.Body), len(body), r.Headers.Get("X-Method"), r.Headers.Get("X-Type"))
				}
			}
		}
	}
	t.Run("createExecution", func(t *testing.T) { binaryExecution(t, n, f, body) })
}

// binaryExecution sends a binary body with a form, as SDKs do, and reads the form that answers it.
func binaryExecution(t *testing.T, n *node.Node, f *node.Function, body []byte) {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("body", "body.bin")
	if err == nil {
		_, err = part.Write(body)
	}
	err = errors.Join(err, w.WriteField("method", "POST"), w.WriteField("path", "/"), w.WriteField("headers", `{"content-type":"image/png"}`), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	r, err := n.Visit(t.Context(), node.Request{
		Method: http.MethodPost, Path: "/v1/functions/" + f.ID + "/executions", Body: &form,
		Headers: map[string]string{"X-Appwrite-Project": node.Project, "X-Appwrite-Key": node.Key, "Content-Type": w.FormDataContentType(), "Accept": "multipart/form-data"},
	})
	if err != nil || r.Status != http.StatusCreated {
		t.Fatalf("%v, %+v", err, r)
	}
	_, params, err := mime.ParseMediaType(r.Headers.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(answer.Value["responseBody"], ""); got != string(body) {
		t.Errorf("%d bytes came back of %d", len(got), len(body))
	}
	if got := strings.Join(answer.Value["requestMethod"], ""); got != http.MethodPost {
		t.Errorf("it was a %s", got)
	}
	for _, h := range answer.Value["responseHeaders"] {
		if strings.Contains(h, "text/plain") {
			t.Errorf("response headers %s", h)
		}
	}
}

// TestADomainFollowsActivation activates a deployment, another, and the first again.
func TestADomainFollowsActivation(t *testing.T) {
	t.Parallel()
	code := func(version string) string {
		return "module.exports = async ({ res }) => res.text('" + version + "')\n"
	}
	n, f := plain(t, "follows", code("first"), nil)
	rule(t, n, "function", map[string]any{"domain": "follows.example", "functionId": f.ID})
	versions := map[string]string{f.DeploymentID: "first"}
	order := []string{f.DeploymentID}
	n.Redeploy(t, f, "", map[string]string{"index.js": code("second")})
	versions[f.DeploymentID] = "second"
	order = append(order, f.DeploymentID)
	check := func(want string) {
		t.Helper()
		for _, q := range []node.Request{{Host: "follows.example"}, {Host: f.Domain()}, {Path: "/fn/" + node.Project + "/" + f.ID + "/"}} {
			if r, err := n.Visit(t.Context(), q); err != nil || string(r.Body) != want {
				t.Errorf("%s%s answers %+v, %v, want %s", q.Host, q.Path, r, err, want)
			}
		}
	}
	check("second")
	for range 3 {
		for _, id := range order { // the very next request has it
			if _, err := n.Do(t.Context(), http.MethodPatch, "/v1/functions/"+f.ID+"/deployment", map[string]string{"deploymentId": id}, nil); err != nil {
				t.Fatal(err)
			}
			check(versions[id])
		}
	}
}
