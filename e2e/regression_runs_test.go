package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"flint/e2e/node"
)

// TestDeletingAFunctionEndsItsExecutions deletes a function while it runs, for callers of every kind.
func TestDeletingAFunctionEndsItsExecutions(t *testing.T) {
	t.Parallel()
	runs := newRunCounter(t)
	n := node.Start(t, node.Options{Args: []string{runs.Flag()}})
	f := n.Deploy(t, node.Function{ID: "deleted", Runtime: runtime(t, n, "node"), Entrypoint: "deleted.js", Execute: []string{"any"}, Timeout: 60},
		map[string]string{"COUNTER": runs.URL}, map[string]string{"deleted.js": read(t, "functions/count.js")})
	const path, accepted = "/?ms=50000", 3
	gone := []string{"/v1/functions/" + f.ID, "/v1/functions/" + f.ID + "/executions"}
	for range accepted {
		e, err := n.Execute(t.Context(), f.ID, node.Call{Path: path, Async: true})
		if err != nil {
			t.Fatal(err)
		}
		gone = append(gone, gone[1]+"/"+e.ID)
	}
	answered := make(chan error, 2)
	go func() { // ends with its call, which is waited for below
		e, err := n.Execute(t.Context(), f.ID, node.Call{Path: path})
		if err == nil && e.Status != "failed" {
			err = fmt.Errorf("the execution is %s", e.Status)
		}
		answered <- err
	}()
	go func() { // likewise
		r, err := n.Visit(t.Context(), node.Request{Host: f.Domain(), Path: path})
		if err == nil && r.Status < 400 {
			err = fmt.Errorf("the domain answers %d", r.Status)
		}
		answered <- err
	}()
	node.Eventually(t, 20*time.Second, func(context.Context) error {
		if all := runs.all(); all != accepted+2 {
			return fmt.Errorf("%d executions run", all)
		}
		return nil
	})
	workers := serving(t, n, "deleted.js")
	if len(workers) == 0 {
		t.Fatal("no process has the function's code")
	}
	begun := time.Now()
	if _, err := n.Do(t.Context(), http.MethodDelete, gone[0], nil, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var answer *node.Error
		err := <-answered
		if err != nil && !errors.As(err, &answer) {
			t.Error(err)
		}
		t.Logf("a caller is told %v after %s", err, time.Since(begun).Round(time.Millisecond))
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("callers were answered after %s", took)
	}
	node.Eventually(t, 10*time.Second, func(context.Context) error {
		for _, p := range workers {
			if p.alive() {
				return fmt.Errorf("process %s still runs", p)
			}
		}
		return nil
	})
	for _, path := range gone {
		var answer *node.Error
		if _, err := n.Do(t.Context(), http.MethodGet, path, nil, nil); !errors.As(err, &answer) || answer.Status != http.StatusNotFound {
			t.Errorf("%s: %v, want 404", path, err)
		}
	}
}

// serving returns the processes that have the function with a file of that name.
func serving(t *testing.T, n *node.Node, file string) []process {
	t.Helper()
	var found []process
	for _, p := range descendants(t, n.PID()) {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/usr/local/server/src/function/%s", p.pid, file)); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// caller calls itself through the API, deep or wide, and answers how many calls have succeeded below and with it.
const caller = `module.exports = async ({ req, res }) => {
  const call = async path => {
    const answer = await fetch(` + "`${process.env.APPWRITE_FUNCTION_API_ENDPOINT}/functions/${process.env.APPWRITE_FUNCTION_ID}/executions`" + `, {
      method: 'POST', body: JSON.stringify({ path }),
      headers: {
        'content-type': 'application/json', 'x-appwrite-key': req.headers['x-appwrite-key'],
        'x-appwrite-project': process.env.APPWRITE_FUNCTION_PROJECT_ID
      }
    })
    const execution = await answer.json()
    if (answer.status !== 201 || execution.status !== 'completed') throw new Error(JSON.stringify(execution))
    return JSON.parse(execution.responseBody).calls
  }
  const { deep = 0, wide = 0 } = Object.fromEntries(Object.entries(req.query).map(([k, v]) => [k, Number(v)]))
  const below = await Promise.all(Array.from({ length: wide }, () => call('/?deep=' + deep)).concat(wide === 0 && deep > 0 ? [call('/?deep=' + (deep - 1))] : []))
  return res.json({ calls: below.reduce((a, b) => a + b, 1) })
}
`

// callerPython is the same for a language that serves one call at a time, deep only.
const callerPython = `import json
import os
import urllib.request

def main(context):
    deep = int(context.req.query.get("deep", "0"))
    if deep == 0:
        return context.res.json({"calls": 1})
    request = urllib.request.Request(
        os.environ["APPWRITE_FUNCTION_API_ENDPOINT"] + "/functions/" + os.environ["APPWRITE_FUNCTION_ID"] + "/executions",
        json.dumps({"path": "/?deep=%d" % (deep - 1)}).encode(),
        {"content-type": "application/json", "x-appwrite-key": context.req.headers["x-appwrite-key"],
         "x-appwrite-project": os.environ["APPWRITE_FUNCTION_PROJECT_ID"]})
    execution = json.load(urllib.request.urlopen(request))
    return context.res.json({"calls": 1 + json.loads(execution["responseBody"])["calls"]})
`

// TestAFunctionThatCallsTheAPIThatRunsItDoesNotDeadlock has calls wait for calls of the same function. It is not run beside
// others: fifty calls in a row take fifty times as long as one, and all of them have the time of one.
func TestAFunctionThatCallsTheAPIThatRunsItDoesNotDeadlock(t *testing.T) {
	n, f := plain(t, "caller", caller, func(f *node.Function) { f.Scopes = []string{"execution.write"} })
	for _, c := range []struct {
		name, path string
		calls      int
	}{
		{"50 deep", "/?deep=50", 51},
		{"50 wide", "/?wide=50", 51},
		{"50 wide of 3 deep", "/?wide=50&deep=3", 201},
	} {
		for _, async := range []bool{false, true} {
			begun := time.Now()
			e, err := n.Execute(t.Context(), f.ID, node.Call{Path: c.path, Async: async})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if async { // its answer is not kept, its end is
				if e, err = n.Finished(t.Context(), f.ID, e.ID); err != nil || e.Status != "completed" || e.Code != 200 {
					t.Errorf("%s, async: %+v, %v", c.name, e, err)
				}
				continue
			}
			var answer struct{ Calls int }
			if err := json.Unmarshal([]byte(e.Body), &answer); err != nil || e.Status != "completed" || answer.Calls != c.calls {
				t.Errorf("%s: %d calls, want %d: %v, %s %.300q", c.name, answer.Calls, c.calls, err, e.Status, e.Errors)
			}
			t.Logf("%s took %s", c.name, time.Since(begun).Round(time.Millisecond))
		}
	}
	unfinished(t, n, f)
}

// TestAFunctionOfOneCallAtATimeThatCallsItselfDoesNotDeadlock needs a worker for each call that waits. How many there may
// be depends on the machine: the call that finds none is refused after a while, which ends all that wait for it. It is not
// run beside others: all those workers start one after the other, within the time of one call.
func TestAFunctionOfOneCallAtATimeThatCallsItselfDoesNotDeadlock(t *testing.T) {
	n := shared.get(t)
	f := n.Deploy(t, node.Function{
		ID: "caller-python", Runtime: runtime(t, n, "python"), Entrypoint: "main.py", Timeout: 60, Scopes: []string{"execution.write"},
	}, nil, map[string]string{"main.py": callerPython})
	for _, deep := range []int{3, 50} {
		begun := time.Now()
		e, err := n.Execute(t.Context(), f.ID, node.Call{Path: fmt.Sprintf("/?deep=%d", deep)})
		took := time.Since(begun)
		if err != nil || !e.Final() || deep == 3 && e.Status != "completed" || e.Code == http.StatusRequestTimeout || took > 29*time.Second {
			t.Errorf("%d deep: %s after %s, %v, errors %.300q", deep, e.Status, took, err, e.Errors)
		}
		t.Logf("%d deep is %s after %s", deep, e.Status, took.Round(time.Millisecond))
	}
	unfinished(t, n, f)
}
