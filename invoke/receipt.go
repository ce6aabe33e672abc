package invoke

import (
	"log/slog"
	"time"

	"flint"
)

// receipt notes what a call took. An asynchronous one has waited since it was due.
func (a *attempt) receipt(taken flint.Receipt) {
	taken.Queue += waitedBefore(a.begun, a.call.due)
	taken.Outcome = outcome(a)
	*a.taken = taken
	a.execution.Receipt = a.taken
}

// waitedBefore is how long a call waited in the queue of asynchronous calls; the others are not due at any time. The clocks
// of two nodes may differ.
func waitedBefore(begun, due time.Time) time.Duration {
	if due.IsZero() {
		return 0
	}
	return max(0, begun.Sub(due))
}

// dueAt is when an asynchronous execution could have begun.
func dueAt(e *flint.Execution) time.Time {
	if !e.ScheduledAt.IsZero() {
		return e.ScheduledAt
	}
	return e.CreatedAt
}

// notRun is the receipt of an execution that no worker was asked for.
func notRun(queue time.Duration) *flint.Receipt {
	return &flint.Receipt{Queue: queue, CPU: -1, PeakMemory: -1, Outcome: flint.OutcomeUnrunnable}
}

// receiptAttrs are what the log says of a receipt.
func receiptAttrs(r *flint.Receipt) []slog.Attr {
	attrs := []slog.Attr{
		slog.Bool("cold", r.Cold()), slog.Duration("queue", r.Queue), slog.Duration("cold_start", r.ColdStart), slog.Duration("run", r.Run),
		slog.Int64("request_bytes", r.RequestBytes), slog.Int64("response_bytes", r.ResponseBytes),
	}
	if r.CPU >= 0 {
		attrs = append(attrs, slog.Duration("cpu", r.CPU))
	}
	if r.PeakMemory >= 0 {
		attrs = append(attrs, slog.Int64("peak_memory", r.PeakMemory))
	}
	return append(attrs, slog.Bool("shared", r.Shared), slog.Bool("estimated", r.Estimated))
}
