package store

import (
	"testing"

	"flint"
)

// BenchmarkRecord is what the event of an execution adds to its record.
func BenchmarkRecord(b *testing.B) {
	s, f := benchStore(b)
	for name, add := range map[string]func(*flint.Execution) error{
		"record":     func(e *flint.Execution) error { return s.AppendExecution(b.Context(), e) },
		"with_event": func(e *flint.Execution) error { return s.RecordExecution(b.Context(), e) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := add(sample(flint.NewID(), f)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"_by_many", func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := add(sample(flint.NewID(), f)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkKeep is the processor time of a record that is stored behind its caller.
func BenchmarkKeep(b *testing.B) {
	s, f := benchStore(b)
	rows := make([]*flint.Execution, b.N)
	for i := range rows {
		rows[i] = sample(flint.NewID(), f)
		rows[i].RequestMethod, rows[i].RequestPath = "GET", "/"
	}
	b.ResetTimer()
	before := cpu(b)
	for i, e := range rows {
		must(b, s.KeepExecution(b.Context(), e))
		if i%recordBatch == 0 {
			s.records.settle(b.Context())
		}
	}
	s.records.settle(b.Context())
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/row")
}
