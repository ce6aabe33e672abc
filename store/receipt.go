package store

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"flint"
)

// A receipt is kept as numbers with spaces between them: times in microseconds, sizes in bytes, -1 what is not known, the
// flags below, and how the call ended, which older ones do not have. A later version may append numbers; this one passes
// over them.
const (
	receiptNumbers = 9
	receiptLeast   = 8
)

// receiptOutcomes are the outcomes by their numbers in receipts. Numbers do not change.
var receiptOutcomes = [...]flint.Outcome{ //nolint:gochecknoglobals // read only
	"", flint.OutcomeAnswered, flint.OutcomeThrottled, flint.OutcomeError, flint.OutcomeTimeout, flint.OutcomeCrash, flint.OutcomeLost,
	flint.OutcomeUnrunnable, flint.OutcomeExpired, flint.OutcomeCanceled,
}

const (
	receiptShared = 1 << iota
	receiptEstimated
	receiptPeakOfStart
)

// encodeReceipt writes a receipt; none is empty.
func encodeReceipt(r *flint.Receipt) string {
	if r == nil {
		return ""
	}
	flags := int64(0)
	if r.Shared {
		flags |= receiptShared
	}
	if r.Estimated {
		flags |= receiptEstimated
	}
	if r.PeakOfStart {
		flags |= receiptPeakOfStart
	}
	cpu := int64(-1)
	if r.CPU >= 0 {
		cpu = r.CPU.Microseconds()
	}
	var room [96]byte
	b := room[:0]
	for i, n := range [receiptNumbers]int64{
		r.Queue.Microseconds(), r.ColdStart.Microseconds(), r.Run.Microseconds(), r.RequestBytes, r.ResponseBytes, cpu, max(r.PeakMemory, -1), flags,
		int64(max(0, slices.Index(receiptOutcomes[:], r.Outcome))),
	} {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(b)
}

// decodeReceipt reads a receipt, or nothing from what is none.
func decodeReceipt(s string) *flint.Receipt {
	var n [receiptNumbers]int64
	i := 0
	for field := range strings.FieldsSeq(s) {
		if i == len(n) {
			break
		}
		var err error
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return nil
		}
		i++
	}
	if i < receiptLeast {
		return nil
	}
	outcome := flint.Outcome("")
	if n[8] >= 0 && n[8] < int64(len(receiptOutcomes)) {
		outcome = receiptOutcomes[n[8]]
	}
	micros := func(n int64) time.Duration { return max(time.Duration(n)*time.Microsecond, -1) }
	flags := n[7]
	return &flint.Receipt{
		Queue: micros(n[0]), ColdStart: micros(n[1]), Run: micros(n[2]), RequestBytes: n[3], ResponseBytes: n[4], CPU: micros(n[5]), PeakMemory: n[6],
		Shared: flags&receiptShared != 0, Estimated: flags&receiptEstimated != 0, PeakOfStart: flags&receiptPeakOfStart != 0, Outcome: outcome,
	}
}
