package flint

import "time"

// ErrReceiptNotFound is of executions that have none.
var ErrReceiptNotFound = kind(NotFound, "execution_receipt_not_found", "The execution has no receipt: it has not ended, the node that ran it died, or it ended before receipts were kept.")

// Receipt is what an execution took. Times are measured to the microsecond; docs/receipts.md says how, and what they hold.
type Receipt struct {
	Queue     time.Duration // waiting for a place in a worker, and before that in the queue of asynchronous calls
	ColdStart time.Duration // of the wait after that, what was the start of a worker; 0: the call found one
	Run       time.Duration // from handing the call to the worker to the end of its response

	RequestBytes, ResponseBytes int64 // of the bodies: as the worker got the one and sent the other

	CPU         time.Duration // processor time of the worker during Run; negative: not known
	PeakMemory  int64         // bytes, the most that the worker held; negative: not known
	Shared      bool          // the worker had other calls during Run: CPU and PeakMemory are of all of them
	Estimated   bool          // CPU and PeakMemory rest on readings made shortly before
	PeakOfStart bool          // PeakMemory is the most since the worker began, because the host cannot measure a part

	Outcome Outcome // how the call ended; empty: the receipt is older than that
}

// Cold reports whether the call waited for the start of a worker.
func (r Receipt) Cold() bool { return r.ColdStart > 0 }
