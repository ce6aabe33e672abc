package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"flint/e2e/node"
)

// receipt is what tests read of a receipt.
type receipt struct {
	ExecutionID     string   `json:"executionId"`
	QueueTime       float64  `json:"queueTime"`
	ColdStart       bool     `json:"coldStart"`
	ColdStartTime   float64  `json:"coldStartTime"`
	RunTime         float64  `json:"runTime"`
	CPUTime         *float64 `json:"cpuTime"`
	PeakMemory      *int64   `json:"peakMemory"`
	PeakMemorySince string   `json:"peakMemorySince"`
	Shared          bool     `json:"shared"`
	Estimated       bool     `json:"estimated"`
	RequestBytes    int64    `json:"requestBytes"`
	ResponseBytes   int64    `json:"responseBytes"`
}

func receiptOf(t *testing.T, n *node.Node, function, execution string) receipt {
	t.Helper()
	var r receipt
	if status, err := n.Do(t.Context(), http.MethodGet, "/v1/flint/functions/"+function+"/executions/"+execution+"/receipt", nil, &r); err != nil || status != http.StatusOK || r.ExecutionID != execution {
		t.Fatalf("receipt: %d, %v, %+v", status, err, r)
	}
	return r
}

// measuredJS burns a fifth of a second of processor time, holds 64 MB, waits for a second call, or echoes.
const measuredJS = `
const waiting = []
module.exports = async ({ req, res }) => {
  switch (req.path) {
    case '/burn': {
      const before = process.cpuUsage()
      const held = Buffer.alloc(64 * 1024 * 1024, 1)
      let turns = 0
      for (;;) {
        turns++
        const used = process.cpuUsage(before)
        if (used.user + used.system >= 200000) break
      }
      return res.text('burnt ' + held[turns % held.length])
    }
    case '/together':
      await new Promise(resolve => { waiting.push(resolve); if (waiting.length === 2) waiting.splice(0).forEach(go => go()) })
      return res.text('together')
    case '/die': process.exit(3)
  }
  return res.binary(req.bodyBinary)
}`

const measuredPython = `
import time
def main(context):
    held = bytearray(b"x" * (64 * 1024 * 1024))
    before = time.process_time()
    while time.process_time() - before < 0.2:
        pass
    return context.res.text("burnt " + str(held[7]))
`

func TestReceipts(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	n := node.Start(t, node.Options{Data: data, Args: []string{"--log-level=debug"}})
	f := n.Deploy(t, node.Function{ID: "measured", Runtime: runtime(t, n, "node"), Entrypoint: "i.js", Execute: []string{"any"}, Timeout: 30}, nil, map[string]string{"i.js": measuredJS})
	call := func(t *testing.T, path, body string) receipt {
		t.Helper()
		r, err := n.Visit(t.Context(), node.Request{Host: f.Domain(), Method: http.MethodPost, Path: path, Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		got := receiptOf(t, n, f.ID, r.ExecutionID())
		if got.RequestBytes != int64(len(body)) || r.Status == http.StatusOK && got.ResponseBytes != int64(len(r.Body)) {
			t.Errorf("%s: %+v of %d and %d bytes", path, got, len(body), len(r.Body))
		}
		return got
	}
	if r := call(t, "/", "first"); !r.ColdStart || r.ColdStartTime <= 0 || r.RunTime <= 0 || r.Shared {
		t.Errorf("a cold call: %+v", r)
	}
	if r := call(t, "/", ""); r.ColdStart || r.ColdStartTime != 0 {
		t.Errorf("a warm call: %+v", r)
	}
	for _, size := range []int{1, 1000, 300_000, 3<<20 + 1} {
		call(t, "/", strings.Repeat("x", size))
	}
	t.Run("processor time and memory", func(t *testing.T) { burns(t, call(t, "/burn", "x")) })
	t.Run("calls together", func(t *testing.T) {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				e, err := n.Execute(t.Context(), f.ID, node.Call{Path: "/together"})
				if err != nil {
					t.Error(err)
					return
				}
				if r := receiptOf(t, n, f.ID, e.ID); !r.Shared {
					t.Errorf("%+v", r)
				}
			})
		}
		both.Wait()
	})
	t.Run("an asynchronous call", func(t *testing.T) {
		e, err := n.Execute(t.Context(), f.ID, node.Call{Path: "/burn", Body: "four", Async: true})
		if err == nil {
			e, err = n.Finished(t.Context(), f.ID, e.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := receiptOf(t, n, f.ID, e.ID)
		burns(t, r)
		if r.QueueTime <= 0 || r.RequestBytes != 4 || r.ResponseBytes != int64(len("burnt 1")) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a worker that dies", func(t *testing.T) {
		e, err := n.Execute(t.Context(), f.ID, node.Call{Path: "/die", Body: "12"})
		if err != nil {
			t.Fatal(err)
		}
		if r := receiptOf(t, n, f.ID, e.ID); r.RunTime <= 0 || r.RequestBytes != 2 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("the operator sees it", func(t *testing.T) { operatorSees(t, n, f, data) })
	t.Run("another language", func(t *testing.T) {
		f := n.Deploy(t, node.Function{ID: "measured-python", Runtime: runtime(t, n, "python"), Entrypoint: "m.py", Timeout: 30}, nil, map[string]string{"m.py": measuredPython})
		e, err := n.Execute(t.Context(), f.ID, node.Call{})
		if err != nil {
			t.Fatal(err)
		}
		burns(t, receiptOf(t, n, f.ID, e.ID))
	})
	for name, least := range map[string]float64{
		"flint_execution_request_bytes_total": 3 << 20, "flint_execution_response_bytes_total": 3 << 20, "flint_execution_run_seconds_sum": 0.2,
		"flint_execution_cold_start_seconds_count": 1, "flint_execution_queue_seconds_count": 10, "flint_worker_cpu_seconds_total": 0.4,
	} {
		if got, err := n.Metric(t.Context(), name); err != nil || got < least {
			t.Errorf("%s = %v, %v, want at least %v", name, got, err, least)
		}
	}
}

// burns holds the receipt of a call that used 200 ms of processor time and 64 MB of memory. What a function measures and
// what the machine does may differ a little.
func burns(t *testing.T, r receipt) {
	t.Helper()
	if r.CPUTime == nil || r.PeakMemory == nil {
		t.Fatalf("not known: %+v", r)
	}
	if *r.CPUTime < 0.19 || *r.PeakMemory < 64<<20 || r.RunTime < 0.15 || r.Shared || r.Estimated {
		t.Errorf("%v s of processor time, %d bytes: %+v", *r.CPUTime, *r.PeakMemory, r)
	}
}

// operatorSees reads a receipt from the command line and from the log.
func operatorSees(t *testing.T, n *node.Node, f *node.Function, data string) {
	t.Helper()
	e, err := n.Execute(t.Context(), f.ID, node.Call{Path: "/burn", Body: "12345"})
	if err != nil {
		t.Fatal(err)
	}
	shown := must(t, data, "executions", "show", e.ID)
	for _, want := range []string{e.ID, "measured", "completed 200", "COLD START", "REQUEST BODY", "5 bytes", "MB", "had this call alone"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in\n%s", want, shown)
		}
	}
	var read struct{ Receipt *receipt }
	if err := json.Unmarshal([]byte(must(t, data, "execution", "show", e.ID, "-o", "json")), &read); err != nil || read.Receipt == nil || read.Receipt.RequestBytes != 5 {
		t.Errorf("%v, %+v", err, read)
	}
	if out, err := operator(t, data, "executions", "show", "none"); err == nil || !strings.Contains(out, "no execution none") {
		t.Errorf("one that is none: %v %s", err, out)
	}
	var line map[string]any
	node.Eventually(t, time.Minute, func(context.Context) (err error) {
		line, err = logged(n, e.ID)
		return err
	})
	for _, key := range []string{"cold", "queue", "cold_start", "run", "cpu", "peak_memory", "shared", "estimated", "request_bytes", "response_bytes"} {
		if _, ok := line[key]; !ok {
			t.Errorf("the log line has no %s: %v", key, line)
		}
	}
}

// logged returns the line about an execution that ended.
func logged(n *node.Node, execution string) (map[string]any, error) {
	for text := range strings.Lines(n.Log()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil && line["msg"] == "execution" && line["execution_id"] == execution {
			return line, nil
		}
	}
	return nil, errors.New("there is no line of the execution")
}
