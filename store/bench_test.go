package store

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"flint"
)

// sample is a row as a warm call leaves it.
func sample(id string, f *flint.Function) *flint.Execution {
	return &flint.Execution{
		Project: f.Project, ID: flint.ExecutionID(id), Function: f.ID, Deployment: "68c1f2aa0003f1b2c3d4",
		Trigger: flint.TriggerHTTP, Status: flint.ExecutionCompleted, RequestMethod: "POST", RequestPath: "/orders/17?expand=items",
		RequestHeaders: []flint.Header{
			{Name: "content-type", Value: "application/json"},
			{Name: "content-length", Value: "128"},
			{Name: "host", Value: "shop.functions.localhost"},
			{Name: "x-appwrite-client-ip", Value: "203.0.113.7"},
		},
		StatusCode:      200,
		ResponseHeaders: []flint.Header{{Name: "content-type", Value: "application/json; charset=utf-8"}, {Name: "content-length", Value: "512"}},
		Logs:            strings.Repeat("order 17 accepted, 3 items\n", 8)[:200],
		Duration:        0.00123,
		Receipt:         &flint.Receipt{Run: 1234 * time.Microsecond, RequestBytes: 128, ResponseBytes: 512, CPU: 1011 * time.Microsecond, PeakMemory: 58_720_256, Shared: true},
	}
}

func record(e *flint.Execution) *executionRecord {
	r := newRecord(e)
	return &r
}

func BenchmarkAppendExecution(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchAppend(b, callers) })
	}
}

func benchAppend(b *testing.B, callers int) {
	s, f := benchStore(b)
	ids := make([]string, b.N)
	for i := range ids {
		ids[i] = flint.NewID()
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	before := cpu(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				if err := s.AppendExecution(b.Context(), sample(ids[i], f)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/row")
}

func BenchmarkEnqueueAndRun(b *testing.B) {
	s, f := benchStore(b)
	var wg sync.WaitGroup
	var next atomic.Int64
	b.ResetTimer()
	for range 16 {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				e := sample(flint.NewID(), f)
				err := s.EnqueueExecution(b.Context(), e, &QueuedCall{Method: "POST", Path: "/", Body: []byte("{}")})
				if err == nil {
					e, c, claimErr := s.ClaimExecution(b.Context(), "node", time.Minute)
					if err = claimErr; err == nil {
						e.Status = flint.ExecutionCompleted
						_, err = s.finish(b.Context(), e, c.Attempt)
					}
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkReads(b *testing.B) {
	s, f := benchStore(b)
	for range 20_000 {
		if err := s.AppendExecution(b.Context(), sample(flint.NewID(), f)); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("function", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Function(b.Context(), f.Project, f.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, newest := range []bool{false, true} {
		b.Run(fmt.Sprintf("page/newest=%v", newest), func(b *testing.B) {
			l := flint.List{Orders: []flint.Order{{Attribute: "$createdAt", Descending: newest}}}
			for b.Loop() {
				if _, _, err := s.Executions(b.Context(), f.Project, f.ID, l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchStore(b *testing.B) (*Store, *flint.Function) {
	b.Helper()
	s, err := Open(b.Context(), Config{Path: b.TempDir() + "/flint.db", Secret: make([]byte, 32)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	f := &flint.Function{Project: "demo", ID: "orders", Name: "Orders"}
	if err := s.CreateProject(b.Context(), &flint.Project{ID: "demo"}); err != nil {
		b.Fatal(err)
	}
	if err := s.CreateFunction(b.Context(), f, nil); err != nil {
		b.Fatal(err)
	}
	return s, f
}

// cpu is the processor time of the process so far.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(os.NewSyscallError("getrusage", err))
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
