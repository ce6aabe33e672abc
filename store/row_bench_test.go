package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"flint"
)

// BenchmarkIndexes is what the indexes of lists add to a row: of a call as most are, and of calls that further indexes
// hold. It writes to two stores in turn, one of which has but the index that lists cannot do without, so that whatever else the
// machine does meets both; the lower quartiles are reported. What the indexes behind the calls take is reported apart.
func BenchmarkIndexes(b *testing.B) {
	for _, row := range []struct {
		name  string
		shape func(*flint.Execution)
	}{
		{"hello", func(e *flint.Execution) { e.RequestMethod, e.RequestPath = "GET", "/" }},
		{"orders", func(e *flint.Execution) { e.RequestMethod, e.RequestPath = "POST", "/orders/123" }},
		{"unique", func(e *flint.Execution) { e.RequestMethod, e.RequestPath = "POST", "/orders/"+string(e.ID) }},
		{"failed", func(e *flint.Execution) { e.Status, e.StatusCode, e.Duration = flint.ExecutionFailed, 500, 1.5 }},
	} {
		b.Run(row.name, func(b *testing.B) {
			bare, f := benchStore(b)
			statements := []string{"drop index executions_owner", "create index executions_owner on executions (owner, created_at, id)"}
			for _, p := range append(executionParts(), *lateExecutions()) {
				statements = append(statements, "drop index "+p.index)
			}
			_, err := bare.writer.tx.conn.ExecContext(b.Context(), strings.Join(statements, ";"))
			must(b, err)
			full, _ := benchStore(b)
			var without, with, behind []float64
			for b.Loop() {
				without = append(without, batchCost(b, bare, f, row.shape))
				with = append(with, batchCost(b, full, f, row.shape))
				// Before there are so many that they would be taken in the background.
				_, err := bare.indexRows(b.Context(), behindRows, behindRows)
				must(b, err)
				before := cpu(b)
				more, err := full.indexRows(b.Context(), behindRows, behindRows)
				if must(b, err); more {
					behind = append(behind, float64((cpu(b)-before).Nanoseconds())/1000/behindRows)
				}
			}
			slices.Sort(without)
			slices.Sort(with)
			if slices.Sort(behind); len(behind) > 0 {
				b.ReportMetric(behind[len(behind)/2], "behind-cpu-µs/row")
			}
			b.ReportMetric(without[len(without)/4], "without-cpu-µs/row")
			b.ReportMetric(with[len(with)/4], "with-cpu-µs/row")
		})
	}
}

// batchCost commits rows together and returns the processor time of each in microseconds.
func batchCost(b *testing.B, s *Store, f *flint.Function, shape func(*flint.Execution)) float64 {
	b.Helper()
	const rows = 32
	var all []*flint.Execution
	for i := range rows {
		e := sample(fmt.Sprintf("%s-%d", flint.NewID(), i), f)
		shape(e)
		all = append(all, e)
	}
	before := cpu(b)
	must(b, s.write(b.Context(), func(ctx context.Context, t *tx) error {
		for _, e := range all {
			if err := addExecution(ctx, t, record(e)); err != nil {
				return err
			}
		}
		return nil
	}))
	return float64((cpu(b) - before).Nanoseconds()) / 1000 / rows
}
