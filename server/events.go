package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"flint"
	"flint/store"
	"flint/wire"
)

// eventModel writes what events carry: the newest shape of what clients see, as a key sees it.
func eventModel(noun any, vars []*flint.Variable) ([]byte, error) {
	newest := wire.Format{}
	var model any
	switch v := noun.(type) {
	case *flint.Function:
		model = wire.NewFunction(v, vars, newest)
	case *flint.Deployment:
		model = wire.NewDeployment(v)
	case *flint.Execution:
		model = wire.NewExecution(v, true, newest)
	case *flint.Variable:
		model = wire.NewVariable(v)
	case *flint.Rule:
		model = wire.NewRule(v, newest)
	case *flint.Webhook:
		model = wire.NewWebhook(v, false)
	default:
		return nil, fmt.Errorf("no model of a %T", noun)
	}
	return json.Marshal(model)
}

// How long events wait for somebody who wants them, and how many.
const (
	eventAge   = 24 * time.Hour
	eventsKept = 100_000
	eventBatch = 1000 // removed in one transaction
)

// retainEvents removes events that are old or too many.
func retainEvents(db *store.Store, logger *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				if err := pruneEvents(ctx, db, now); err != nil && ctx.Err() == nil {
					logger.ErrorContext(ctx, "old events not deleted", slog.String("err", err.Error()))
				}
			}
		}
	}
}

func pruneEvents(ctx context.Context, db *store.Store, now time.Time) error {
	for _, prune := range []func() (int, error){
		func() (int, error) { return db.PruneEvents(ctx, now.Add(-eventAge), eventBatch) },
		func() (int, error) { return db.KeepEvents(ctx, eventsKept, eventBatch) },
	} {
		for n := eventBatch; n == eventBatch; {
			var err error
			if n, err = prune(); err != nil {
				return err
			}
		}
	}
	return nil
}
