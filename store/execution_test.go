package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"flint"
)

func TestExecutions(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	e := sample("e1", s.f)
	e.Permissions = []string{`read("user:a")`, `read("user:b")`}
	e.Errors, e.ScheduledAt = "trace\n\x01\"\\ä", time.UnixMilli(1_700_000_000_001).UTC()
	e.RequestHeaders = append(e.RequestHeaders, flint.Header{Name: "odd", Value: "\"\\\n\x01ä€😀"})
	must(t, s.AppendExecution(ctx, e))
	diff(t, "Execution()", value[*flint.Execution](t)(s.Execution(ctx, "p", "f", "e1")), e)
	if err := s.AppendExecution(ctx, sample("e1", s.f)); err == nil {
		t.Error("a second execution with one id was accepted")
	}
	_, err := s.Execution(ctx, "p", "other", "e1")
	wantErr(t, "execution of another function", err, flint.ErrExecutionNotFound)
	stray := sample("e2", &flint.Function{Project: "p", ID: "none"})
	wantErr(t, "execution of no function", s.AppendExecution(ctx, stray), flint.ErrFunctionNotFound)

	mine := flint.Query{Method: "contains", Attribute: "$permissions", Values: []any{`read("user:b")`}}
	theirs := flint.Query{Method: "contains", Attribute: "$permissions", Values: []any{`read("user:B")`}}
	for _, c := range []struct {
		q    flint.Query
		want int
	}{{mine, 1}, {theirs, 0}, {flint.Query{Method: "contains", Attribute: "$permissions", Values: []any{`read("user:`}}, 0}} {
		if _, total, err := s.Executions(ctx, "p", "f", flint.List{Filters: []flint.Query{c.q}}); total != c.want || err != nil {
			t.Errorf("Executions(%v) = %d, %v, want %d", c.q.Values, total, err, c.want)
		}
	}
	must(t, s.DeleteExecution(ctx, "p", "f", "e1"))
	wantErr(t, "second DeleteExecution", s.DeleteExecution(ctx, "p", "f", "e1"), flint.ErrExecutionNotFound)
}

func TestAppendExecutionTogether(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	const callers, each = 64, 20
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("e%d-%d", c, i)
				e := sample(id, s.f)
				if c%8 == 0 { // some fail: their neighbours must not
					e.Function = "none"
				}
				err := s.AppendExecution(ctx, e)
				if c%8 == 0 {
					if !errors.Is(err, flint.ErrFunctionNotFound) {
						t.Errorf("AppendExecution() = %v", err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
				}
				if _, err := s.Execution(ctx, "p", "f", flint.ExecutionID(id)); err != nil {
					t.Errorf("an acknowledged row is not there: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if _, total, err := s.Executions(ctx, "p", "f", flint.List{}); total != callers*each*7/8 || err != nil {
		t.Errorf("%d rows, %v", total, err)
	}
}

func TestCallLifecycle(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	if e, c, err := s.ClaimExecution(ctx, "n", time.Minute); e != nil || c != nil || err != nil {
		t.Errorf("ClaimExecution() of nothing = %v, %v, %v", e, c, err)
	}
	if _, _, err := s.ClaimExecution(ctx, "", time.Minute); err == nil {
		t.Error("ClaimExecution without a node: no error")
	}
	e := sample("e", s.f)
	e.Status, e.StatusCode, e.Logs, e.ResponseHeaders, e.Duration = "", 0, "", nil, 0
	c := &QueuedCall{
		Method: "PUT", Path: "/x?y", Headers: []flint.Header{{Name: "a", Value: "b"}}, Body: []byte{0, 1, 255}, User: "u", UserJWT: "token", ClientIP: "::1",
		Expires: time.UnixMilli(1_900_000_000_000).UTC(),
	}
	must(t, s.EnqueueExecution(ctx, e, c))
	if got := value[*flint.Execution](t)(s.Execution(ctx, "p", "f", "e")); got.Status != flint.ExecutionWaiting {
		t.Errorf("status %s after EnqueueExecution", got.Status)
	}
	wantErr(t, "DeleteExecution while it waits", s.DeleteExecution(ctx, "p", "f", "e"), flint.ErrExecutionInProgress)
	got, call, err := s.ClaimExecution(ctx, "n1", time.Minute)
	must(t, err)
	c.Attempt = 1
	diff(t, "call", call, c)
	if got.Status != flint.ExecutionProcessing || got.Project != "p" || got.Function != "f" || got.ID != "e" {
		t.Errorf("ClaimExecution() = %+v", got)
	}
	if again, _, err := s.ClaimExecution(ctx, "n2", time.Minute); again != nil || err != nil {
		t.Errorf("a second ClaimExecution() = %v, %v", again, err)
	}
	wantErr(t, "DeleteExecution while it runs", s.DeleteExecution(ctx, "p", "f", "e"), flint.ErrExecutionInProgress)
	must(t, s.ReleaseExecution(ctx, "e", 7, 0, "")) // not the attempt
	if lost, err := s.ExtendExecution(ctx, "e", 1, time.Minute); lost || err != nil {
		t.Errorf("ExtendExecution() = %v, %v", lost, err)
	}
	must(t, s.ReleaseExecution(ctx, "e", 1, 0, "no room"))
	if lost, err := s.ExtendExecution(ctx, "e", 1, time.Minute); !lost || err != nil {
		t.Errorf("ExtendExecution() after ReleaseExecution = %v, %v", lost, err)
	}
	if ok, err := s.finish(ctx, got, 1); ok || err != nil {
		t.Errorf("FinishExecution() after ReleaseExecution = %v, %v", ok, err)
	}
	got, call, err = s.ClaimExecution(ctx, "n2", time.Minute)
	must(t, err)
	if call.Attempt != 2 {
		t.Errorf("attempt %d after a release, want 2", call.Attempt)
	}
	got.Status, got.StatusCode, got.Logs, got.Duration = flint.ExecutionCompleted, 201, "done", 0.5
	got.ResponseHeaders = []flint.Header{{Name: "content-type", Value: "text/plain"}}
	if ok, err := s.finish(ctx, got, 1); ok || err != nil {
		t.Errorf("FinishExecution(stale) = %v, %v", ok, err)
	}
	if ok, err := s.finish(ctx, got, 2); !ok || err != nil {
		t.Errorf("FinishExecution() = %v, %v", ok, err)
	}
	if ok, _ := s.finish(ctx, got, 2); ok {
		t.Error("a second FinishExecution counted")
	}
	diff(t, "Execution() at the end", value[*flint.Execution](t)(s.Execution(ctx, "p", "f", "e")), got)
	must(t, s.DeleteExecution(ctx, "p", "f", "e"))
}

func TestScheduledExecution(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	for id, at := range map[string]time.Time{"later": now().Add(time.Hour), "canceled": now().Add(time.Hour), "due": now().Add(-time.Second)} {
		e := sample(id, s.f)
		e.Status, e.ScheduledAt, e.Trigger = flint.ExecutionScheduled, at, flint.TriggerSchedule
		must(t, s.EnqueueExecution(ctx, e, &QueuedCall{}))
	}
	got, _, err := s.ClaimExecution(ctx, "n", time.Minute)
	must(t, err)
	if got == nil || got.ID != "due" || got.Status != flint.ExecutionProcessing {
		t.Fatalf("ClaimExecution() = %+v", got)
	}
	if got, _, err := s.ClaimExecution(ctx, "n", time.Minute); got != nil || err != nil {
		t.Errorf("ClaimExecution() = %v, %v: it is not due", got, err)
	}
	must(t, s.DeleteExecution(ctx, "p", "f", "canceled"))
	var n int
	must(t, s.one(ctx, "select count(*) from calls c join call_requests r on r.id = c.id", nil, func(r scanner) error { return r.Scan(&n) }))
	if n != 2 {
		t.Errorf("%d calls are left, want 2", n)
	}
}

func TestSettleExecutions(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	for _, id := range []string{"a", "b", "c"} {
		must(t, s.EnqueueExecution(ctx, sample(id, s.f), &QueuedCall{}))
	}
	a, callA, err := s.ClaimExecution(ctx, "n1", time.Minute)
	must(t, err)
	_, callB, err := s.ClaimExecution(ctx, "n2", time.Minute)
	must(t, err)
	settle := func(node string, at time.Time, want int) {
		t.Helper()
		if n, err := s.SettleExecutions(ctx, node, at, "the node was lost"); n != want || err != nil {
			t.Errorf("SettleExecutions() = %d, %v, want %d", n, err, want)
		}
	}
	settle("", time.Now(), 0)
	settle("n1", time.Now(), 0)
	s.leases.drop("a", callA.Attempt) // as if it were of an earlier life
	settle("n1", time.Now(), 1)
	if ok, err := s.finish(ctx, a, callA.Attempt); ok || err != nil {
		t.Errorf("FinishExecution() of a settled execution = %v, %v", ok, err)
	}
	settle("", time.Now().Add(2*time.Minute), 1)
	if lost, err := s.ExtendExecution(ctx, "b", callB.Attempt, time.Minute); !lost || err != nil {
		t.Errorf("ExtendExecution() = %v, %v", lost, err)
	}
	for _, id := range []flint.ExecutionID{"a", "b"} {
		e := value[*flint.Execution](t)(s.Execution(ctx, "p", "f", id))
		if e.Status != flint.ExecutionFailed || e.StatusCode != 500 || e.Errors != "the node was lost" || e.Duration < 0 {
			t.Errorf("settled execution: %+v", e)
		}
	}
	if e := value[*flint.Execution](t)(s.Execution(ctx, "p", "f", "c")); e.Status != flint.ExecutionWaiting {
		t.Errorf("an execution that nobody claimed is %s", e.Status)
	}
}

func TestEachCallRunsOnce(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	const calls = 120
	var mu sync.Mutex
	ran := map[flint.ExecutionID]int{}
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			must(t, s.EnqueueExecution(ctx, sample(fmt.Sprint("e", i), s.f), &QueuedCall{Body: []byte("x")}))
		})
	}
	wg.Wait()
	for n := range 8 {
		wg.Go(func() {
			for {
				e, c, err := s.ClaimExecution(ctx, fmt.Sprint("n", n), time.Minute)
				if err != nil || e == nil {
					if err != nil {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				ran[e.ID]++
				mu.Unlock()
				e.Status = flint.ExecutionCompleted
				if ok, err := s.finish(ctx, e, c.Attempt); !ok || err != nil {
					t.Errorf("FinishExecution() = %v, %v", ok, err)
				}
			}
		})
	}
	wg.Wait()
	for id, n := range ran {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	if len(ran) != calls {
		t.Errorf("%d calls ran, want %d", len(ran), calls)
	}
}

func TestClaimPassesOverDeletedFunctions(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	keep := &flint.Function{Project: "p", ID: "keep"}
	must(t, s.CreateFunction(ctx, keep, nil))
	for i := range 10 {
		must(t, s.EnqueueExecution(ctx, sample(fmt.Sprint("gone", i), s.f), &QueuedCall{}))
	}
	must(t, s.EnqueueExecution(ctx, sample("kept", keep), &QueuedCall{}))
	// Only the function's row: as if nothing had been swept yet.
	must(t, s.write(ctx, func(ctx context.Context, t *tx) error { return t.exec(ctx, "delete from functions where id = 'f'") }))
	e, _, err := s.ClaimExecution(ctx, "n", time.Minute)
	must(t, err)
	if e == nil || e.ID != "kept" {
		t.Errorf("ClaimExecution() = %+v", e)
	}
}

func TestPruneExecutions(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	other := &flint.Function{Project: "p", ID: "other"}
	must(t, s.CreateFunction(ctx, other, nil))
	old := now().Add(-time.Hour)
	for i := range 30 {
		e := sample(fmt.Sprint("e", i), s.f)
		e.CreatedAt = old.Add(time.Duration(i) * time.Minute)
		if i%10 == 0 {
			e.Function = "other"
		}
		if i == 5 {
			e.Status = flint.ExecutionWaiting
		}
		must(t, s.AppendExecution(ctx, e))
	}
	before := old.Add(20 * time.Minute)
	for _, want := range []int{12, 7, 0} {
		if n, err := s.PruneExecutions(ctx, before, 12); n != want || err != nil {
			t.Errorf("PruneExecutions() = %d, %v, want %d", n, err, want)
		}
	}
	if _, total, err := s.Executions(ctx, "p", "f", flint.List{}); total != 10 || err != nil {
		t.Errorf("%d executions are left, %v", total, err)
	}
}

func TestDecodeHeaders(t *testing.T) {
	t.Parallel()
	plain := []flint.Header{{Name: "a", Value: "b"}, {Name: "", Value: ""}, {Name: "é", Value: ",{}]"}}
	odd := []flint.Header{{Name: "q", Value: `"\\"`}}
	none := []flint.Header{}
	for _, c := range [][2][]flint.Header{{none, none}, {plain, none}, {none, plain}, {plain, odd}, {odd, plain}} {
		request, response, err := decodeHeaders(encodeHeaders(c[0], c[1]))
		must(t, err)
		diff(t, "headers", [2][]flint.Header{request, response}, c)
	}
	// Other ways to write the same, and what is no headers at all, are as they are to the general decoder.
	for _, text := range []string{`{"s":[],"q":[{"value":"b","name":"a"}]}`, ` {"q":[ ],"s":null}`, `{"q":[{"name":"a","value":"b"},],"s":[]}`, `{"q":[],"s":[]}x`, `{"q":[`, ``} {
		var want executionHeaders
		wantErr := json.Unmarshal([]byte(text), &want)
		request, response, err := decodeHeaders(text)
		if diff(t, text, executionHeaders{request, response}, want); (err == nil) != (wantErr == nil) {
			t.Errorf("decodeHeaders(%s) = %v, want %v", text, err, wantErr)
		}
	}
}

func TestEncodeHeadersIsJSON(t *testing.T) {
	t.Parallel()
	request := []flint.Header{{Name: "plain", Value: "text"}, {Name: "odd", Value: "\x00\x1f\"\\/\u2028é😀"}}
	var got executionHeaders
	must(t, json.Unmarshal([]byte(encodeHeaders(request, nil)), &got))
	diff(t, "headers", got, executionHeaders{Request: request, Response: []flint.Header{}})
	must(t, json.Unmarshal([]byte(encodeHeaders([]flint.Header{{Name: "x", Value: "\xff" + strings.Repeat("a", 3)}}, nil)), &got))
	if got.Request[0].Value != "\uFFFDaaa" {
		t.Errorf("bytes that are not UTF-8 became %q", got.Request[0].Value)
	}
}

func TestNextDue(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	due := func(want time.Time) {
		t.Helper()
		if got, err := s.NextDue(ctx); err != nil || !got.Equal(want) {
			t.Errorf("NextDue() = %v, %v, want %v", got, err, want)
		}
	}
	due(time.Time{})
	later := now().Add(time.Hour)
	delayed := sample("later", s.f)
	delayed.Status, delayed.ScheduledAt = flint.ExecutionScheduled, later
	must(t, s.EnqueueExecution(ctx, delayed, &QueuedCall{}))
	due(later)
	if e, _, err := s.ClaimExecution(ctx, "n", time.Minute); e != nil || err != nil {
		t.Errorf("a call was given away before its time: %v, %v", e, err)
	}
	next := sample("now", s.f)
	next.Status = flint.ExecutionWaiting
	must(t, s.EnqueueExecution(ctx, next, &QueuedCall{}))
	due(next.CreatedAt)
	if e, _, err := s.ClaimExecution(ctx, "n", time.Minute); err != nil || e == nil || e.ID != "now" {
		t.Errorf("ClaimExecution() = %v, %v", e, err)
	}
	due(later)
	must(t, s.DeleteExecution(ctx, "p", "f", "later"))
	due(time.Time{})
}
