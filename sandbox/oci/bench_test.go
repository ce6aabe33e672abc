package oci

import (
	"slices"
	"testing"
	"time"

	"flint/sandbox"
)

// BenchmarkStart measures the time from Start to the first byte of output, and that of Close.
func BenchmarkStart(b *testing.B) {
	d := open(b, "")
	first := make(firstByte, 1)
	var took, closed []time.Duration
	for b.Loop() {
		begin := time.Now()
		s, err := d.Start(b.Context(), sandbox.Spec{
			ID: "bench", Args: []string{"echo", "hello"}, Env: []string{"PATH=/usr/bin:/bin"}, Stdout: first, Network: sandbox.NetworkHost,
		})
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-first).Sub(begin))
		<-s.Done()
		begin = time.Now()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		closed = append(closed, time.Since(begin))
	}
	slices.Sort(took)
	slices.Sort(closed)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50-to-output")
	b.ReportMetric(float64(closed[len(closed)/2].Microseconds())/1000, "ms-p50-to-close")
}

// firstByte is a writer that hands out the time of a write.
type firstByte chan time.Time

func (f firstByte) Write(b []byte) (int, error) {
	f <- time.Now()
	return len(b), nil
}
