package wire

import "flint"

// FunctionScaling is the model of how a function's workers come and go. It is ours; the reference has none.
type FunctionScaling struct {
	FunctionID     string `json:"functionId"`
	MinWarm        int    `json:"minWarm"`
	MaxWorkers     int    `json:"maxWorkers"`     // 0: the node's limit
	CallsPerWorker int    `json:"callsPerWorker"` // 0: the language's limit
	KeepAlive      string `json:"keepAlive"`      // default, learned or a number of seconds
}

// NewFunctionScaling returns the model of a function's settings.
func NewFunctionScaling(f *flint.Function) *FunctionScaling {
	s := f.Scaling
	return &FunctionScaling{
		FunctionID: string(f.ID), MinWarm: s.MinWarm, MaxWorkers: s.MaxWorkers, CallsPerWorker: s.CallsPerWorker, KeepAlive: s.KeepAlive.String(),
	}
}
