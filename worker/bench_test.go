package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"flint/internal/frame"
	"flint/worker"
)

// BenchmarkDo is a warm call through the pool and a worker's socket, with an adapter in the same process that does as
// little as it can: cpu-µs/call holds both sides.
func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchDo(b, callers) })
	}
}

func benchDo(b *testing.B, callers int) {
	s := setup(b, 1000, nil)
	target := s.target("d", nil)
	request := &worker.Request{Method: "GET", Scheme: "http", Host: "f.test", Port: 80, Path: "/", URL: "http://f.test/", Logging: true}
	call := func(ctx context.Context) error {
		response, _, err := s.pool.Do(ctx, target, request)
		for err == nil {
			_, err = response.Next(ctx)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if err := call(b.Context()); err != nil { // the cold one
		b.Fatal(err)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := call(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/call")
}

// BenchmarkSystemCalls is what the kernel takes for a frame to a worker and one back, without anything around it.
func BenchmarkSystemCalls(b *testing.B) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	message := frame.Append(nil, frame.Log, 0, 1, make([]byte, 400))
	buffer := make([]byte, 64<<10)
	for b.Loop() {
		for from, to := range []int{1, 0} {
			if _, err := syscall.Write(pair[from], message); err != nil {
				b.Fatal(err)
			}
			if _, err := syscall.Read(pair[to], buffer); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(os.NewSyscallError("getrusage", err))
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
