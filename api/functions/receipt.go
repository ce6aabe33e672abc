package functions

import (
	"context"

	"flint"
	"flint/wire"
)

// getReceipt is for whoever may read the execution. It lives in the namespace /v1/flint, which the reference's clients do
// not know.
func (s *Service) getReceipt(ctx context.Context, in *oneExecution) (*wire.ExecutionReceipt, error) {
	e, err := s.readExecution(ctx, in)
	if err != nil {
		return nil, err
	}
	if e.Receipt == nil {
		return nil, flint.ErrReceiptNotFound
	}
	return wire.NewExecutionReceipt(e), nil
}

// readExecution reads an execution for a caller who may see it.
func (s *Service) readExecution(ctx context.Context, in *oneExecution) (*flint.Execution, error) {
	if err := s.visible(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	e, err := s.config.Store.Execution(ctx, in.project(), in.id(), flint.ExecutionID(in.ExecutionID))
	if err != nil {
		return nil, err
	}
	if !readable(&in.oneFunction, e) {
		return nil, flint.ErrExecutionNotFound
	}
	return e, nil
}
