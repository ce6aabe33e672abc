package admin

import (
	"errors"
	"net/http"

	"flint"
	"flint/client"
	"flint/wire"
)

// receiptModel returns the model of a receipt, or nothing of none.
func receiptModel(r *flint.Receipt) *client.Receipt {
	if r == nil {
		return nil
	}
	m := wire.NewExecutionReceipt(&flint.Execution{Receipt: r})
	return &client.Receipt{
		QueueTime: m.QueueTime, ColdStart: m.ColdStart, ColdStartTime: m.ColdStartTime, RunTime: m.RunTime, CPUTime: m.CPUTime, PeakMemory: m.PeakMemory,
		PeakMemorySince: m.PeakMemorySince, Shared: m.Shared, Estimated: m.Estimated, RequestBytes: m.RequestBytes, ResponseBytes: m.ResponseBytes,
	}
}

// execution reads one execution, whose function need not be said.
func (a *admin) execution(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	e, err := a.config.Store.ExecutionByID(r.Context(), project, flint.ExecutionID(r.PathValue("execution")))
	if errors.Is(err, flint.ErrExecutionNotFound) {
		return nil, flint.ErrExecutionNotFound.Saying("There is no execution %s in project %s.", r.PathValue("execution"), project)
	}
	if err != nil {
		return nil, err
	}
	return executionModel(e), nil
}
