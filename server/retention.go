package server

import (
	"context"
	"log/slog"
	"time"

	"flint/store"
)

// maintainTime is how often deployments are purged and executions counted: both may be late.
const maintainTime = 5 * time.Minute

// maintainBatch is how many rows are removed before the rest waits for the next round.
const maintainBatch = 100_000

// deadLetterAge is how long dead letters are kept, and what is known of attempts.
const deadLetterAge = 30 * 24 * time.Hour

// maintain purges the deployments that functions no longer keep, what is kept beside executions and old enough, and
// executions beyond the newest keep of each function; 0 keeps all.
func maintain(db *store.Store, keep int, collect func(context.Context, ...string) error, logger *slog.Logger) func(context.Context) error {
	round := func(ctx context.Context, at time.Time) error {
		for purged := 1; purged > 0; {
			digests, n, err := db.PurgeDeployments(ctx, at, 100)
			if err != nil {
				return err
			}
			if purged = n; n > 0 {
				logger.InfoContext(ctx, "old deployments deleted", slog.Int("count", n))
			}
			if err := collect(ctx, digests...); err != nil {
				return err
			}
		}
		for more := true; more; {
			var err error
			if more, err = db.PruneDelivery(ctx, at.Add(-deadLetterAge)); err != nil {
				return err
			}
		}
		if keep == 0 {
			return nil
		}
		_, err := db.TrimExecutions(ctx, keep, maintainBatch)
		return err
	}
	return func(ctx context.Context) error {
		tick := time.NewTicker(maintainTime)
		defer tick.Stop()
		for {
			select {
			case at := <-tick.C:
				if err := round(ctx, at); err != nil && ctx.Err() == nil {
					logger.ErrorContext(ctx, "what is no longer kept cannot be deleted", slog.Any("err", err))
				}
			case <-ctx.Done():
				return nil
			}
		}
	}
}
