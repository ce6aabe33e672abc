package store

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

func TestReceiptsAreKept(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*flint.Receipt{
		"none":    nil,
		"nothing": {},
		"unknown": {Run: time.Second, CPU: -1, PeakMemory: -1},
		"all": {
			Queue: time.Millisecond, ColdStart: 12345 * time.Microsecond, Run: time.Hour, RequestBytes: 1 << 40, ResponseBytes: 2,
			CPU: 3 * time.Second, PeakMemory: 64 << 20, Shared: true, Estimated: true, PeakOfStart: true,
		},
	} {
		if diff := cmp.Diff(r, decodeReceipt(encodeReceipt(r))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, s := range []string{"x", "1 2 3", "1 2 3 4 5 6 7 x"} {
		if r := decodeReceipt(s); r != nil {
			t.Errorf("%q: %+v", s, r)
		}
	}
	if r := decodeReceipt("1 2 3 4 5 6 7 0 9 of a later version"); r == nil || r.PeakMemory != 7 {
		t.Errorf("of a later version: %+v", r)
	}
}

// TestRecordsOfTheVersionBefore reads what a node without receipts left in its journal.
func TestRecordsOfTheVersionBefore(t *testing.T) {
	t.Parallel()
	e := sample("e1", &flint.Function{Project: "p", ID: "f"})
	e.Receipt = nil
	want := record(e)
	former := encodeRecord(nil, want)
	former = former[:len(former)-2] // no receipt is a kind and a length
	former[0], former[1] = formerFormat, formerColumns
	if got := value[executionRecord](t)(decodeRecord(former)); got != *want {
		t.Errorf("the record is %+v, want %+v", got, *want)
	}
	former[1]++
	if _, err := decodeRecord(former); err == nil {
		t.Error("a record with too many columns was read")
	}
}

func TestExecutionsHaveReceipts(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	f := s.f
	receipt := &flint.Receipt{Queue: time.Millisecond, Run: 2 * time.Millisecond, CPU: time.Millisecond, PeakMemory: 1 << 20, RequestBytes: 3}
	e := sample(flint.NewID(), f)
	e.Receipt = receipt
	must(t, s.AppendExecution(ctx, e))
	queued := sample(flint.NewID(), f)
	queued.Receipt = nil
	must(t, s.EnqueueExecution(ctx, queued, &QueuedCall{Method: "GET", Path: "/"}))
	if got, err := s.Execution(ctx, f.Project, f.ID, queued.ID); err != nil || got.Receipt != nil {
		t.Errorf("one that waits: %+v, %v", got, err)
	}
	claimed, call, err := s.ClaimExecution(ctx, "node", time.Minute)
	if err != nil || claimed == nil {
		t.Fatal(claimed, err)
	}
	claimed.Status, claimed.Receipt = flint.ExecutionCompleted, receipt
	if _, err := s.finish(ctx, claimed, call.Attempt); err != nil {
		t.Fatal(err)
	}
	for _, id := range []flint.ExecutionID{e.ID, queued.ID} {
		got := value[*flint.Execution](t)(s.Execution(ctx, f.Project, f.ID, id))
		diff(t, "receipt of "+string(id), got.Receipt, receipt)
		if found, err := s.ExecutionByID(ctx, f.Project, id); err != nil || found.Function != f.ID || found.ID != id {
			t.Errorf("without its function: %+v, %v", found, err)
		}
	}
	_, err = s.ExecutionByID(ctx, "other", e.ID)
	wantErr(t, "execution of another project", err, flint.ErrExecutionNotFound)
}

// BenchmarkReceipts is what a receipt adds to a row. It writes to two stores in turn, so that whatever else the machine
// does meets both; the lower quartiles are reported.
func BenchmarkReceipts(b *testing.B) {
	one, f := benchStore(b)
	two, _ := benchStore(b)
	var without, with []float64
	for b.Loop() {
		without = append(without, batchCost(b, one, f, func(e *flint.Execution) { e.Receipt = nil }))
		with = append(with, batchCost(b, two, f, func(*flint.Execution) {}))
	}
	slices.Sort(without)
	slices.Sort(with)
	b.ReportMetric(without[len(without)/4], "without-cpu-µs/row")
	b.ReportMetric(with[len(with)/4], "with-cpu-µs/row")
}
