package server

import (
	"context"
	"encoding/json"
	"log/slog"

	"flint"
	"flint/bus"
	"flint/wire"
)

// notices tell the bus of dead letters, behind those who make them. The rows are the truth: a notice may be dropped.
type notices struct {
	bus    *bus.Bus
	logger *slog.Logger
	queue  chan *flint.DeadLetter
}

// noticesWaiting is how many notices may wait for the bus.
const noticesWaiting = 1024

func newNotices(logger *slog.Logger) *notices {
	return &notices{logger: logger, queue: make(chan *flint.DeadLetter, noticesWaiting)}
}

// add has a notice sent. It never waits.
func (n *notices) add(d *flint.DeadLetter) {
	select {
	case n.queue <- d:
	default:
		n.logger.Warn("dead letter not told of on the bus: too many at once", slog.String("execution_id", string(d.ID)))
	}
}

// run sends notices until ctx ends.
func (n *notices) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-n.queue:
			text, err := json.Marshal(wire.NewDeadLetterNotice(d))
			if err == nil {
				err = n.bus.PublishDead(ctx, d.Project, string(d.ID), text)
			}
			if err != nil && ctx.Err() == nil {
				n.logger.WarnContext(ctx, "dead letter not told of on the bus", slog.String("execution_id", string(d.ID)), slog.String("err", err.Error()))
			}
		}
	}
}
