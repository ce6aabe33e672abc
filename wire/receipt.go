package wire

import (
	"time"

	"flint"
)

// ExecutionReceipt is the model of what an execution took. It is ours; the reference has none. Times are seconds, sizes are
// bytes.
type ExecutionReceipt struct {
	FunctionID      string   `json:"functionId"`
	ExecutionID     string   `json:"executionId"`
	QueueTime       float64  `json:"queueTime"`
	ColdStart       bool     `json:"coldStart"`
	ColdStartTime   float64  `json:"coldStartTime"`
	RunTime         float64  `json:"runTime"`
	CPUTime         *float64 `json:"cpuTime"`         // null: the host does not account for it, or no worker had the call
	PeakMemory      *int64   `json:"peakMemory"`      // the same
	PeakMemorySince string   `json:"peakMemorySince"` // call or worker
	Shared          bool     `json:"shared"`
	Estimated       bool     `json:"estimated"`
	RequestBytes    int64    `json:"requestBytes"`
	ResponseBytes   int64    `json:"responseBytes"`
}

// NewExecutionReceipt returns the model of the receipt of e, which has one.
func NewExecutionReceipt(e *flint.Execution) *ExecutionReceipt {
	r := e.Receipt
	m := &ExecutionReceipt{
		FunctionID: string(e.Function), ExecutionID: string(e.ID), QueueTime: seconds(r.Queue), ColdStart: r.Cold(), ColdStartTime: seconds(r.ColdStart),
		RunTime: seconds(r.Run), PeakMemorySince: "call", Shared: r.Shared, Estimated: r.Estimated, RequestBytes: r.RequestBytes, ResponseBytes: r.ResponseBytes,
	}
	if r.PeakOfStart {
		m.PeakMemorySince = "worker"
	}
	if r.CPU >= 0 {
		cpu := seconds(r.CPU)
		m.CPUTime = &cpu
	}
	if r.PeakMemory >= 0 {
		m.PeakMemory = &r.PeakMemory
	}
	return m
}

// seconds has six places, like the clock behind it.
func seconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }
