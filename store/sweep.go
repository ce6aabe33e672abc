package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"flint"
)

const (
	sweepRows  = 500            // rows removed in one transaction, so that other writes get their turn
	sweepRetry = time.Minute    // after a failure
	remembered = 24 * time.Hour // how long a deleted function is known to its namesakes: longer than any call runs
)

// sweepBuried removes what deleted functions left behind: at start, and whenever one is deleted.
func (s *Store) sweepBuried(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.sweep:
		case <-retry.C:
		}
		if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, flint.ErrShuttingDown) {
			s.log.WarnContext(ctx, "the rows of deleted functions could not be removed", slog.Any("err", err))
			retry.Reset(sweepRetry)
		}
	}
}

func (s *Store) sweepOnce(ctx context.Context) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.exec(ctx, "delete from buried where swept = $1 and deleted_at < $2", true, now().Add(-remembered).UnixMilli())
	})
	if err != nil {
		return err
	}
	var dead []int64
	if err := s.each(ctx, "select uid from buried where swept = $1 order by deleted_at", []any{false}, func(r scanner) error {
		var uid int64
		err := r.Scan(&uid)
		dead = append(dead, uid)
		return err
	}); err != nil {
		return err
	}
	for _, uid := range dead {
		if err := s.sweepFunction(ctx, uid); err != nil {
			return err
		}
	}
	return nil
}

// sweepFunction removes the rows of one deleted function, calls first because claims stumble over them.
func (s *Store) sweepFunction(ctx context.Context, uid int64) error {
	for _, table := range []struct {
		rows  int // fewer where rows are large
		steps []string
	}{
		{sweepRows, []string{
			"delete from call_requests where id in (select id from calls where owner = $1 order by id limit $2)",
			"delete from calls where id in (select id from calls where owner = $1 order by id limit $2)",
		}},
		{sweepRows / 50, []string{
			"delete from build_logs where deployment in (select id from deployments where owner = $1 order by id limit $2)",
			"delete from deployments where id in (select id from deployments where owner = $1 order by id limit $2)",
		}},
		{sweepRows, []string{"delete from attempts where owner = $1 and (execution, number) in (select execution, number from attempts where owner = $1 limit $2)"}},
		{sweepRows / 50, []string{"delete from dead_letters where id in (select id from dead_letters where owner = $1 order by died_at, id limit $2)"}},
		{sweepRows, []string{"delete from idempotency where owner = $1 and key in (select key from idempotency where owner = $1 order by key limit $2)"}},
		{sweepRows, []string{
			"delete from execution_spans where owner = $1 and deployment in (select deployment from execution_spans where owner = $1 order by deployment limit $2)",
		}},
		{sweepRows, []string{
			"delete from executions where id in (select id from executions where owner = $1 order by created_at, id limit $2)",
		}},
	} {
		for more := true; more; {
			err := s.write(ctx, func(ctx context.Context, t *tx) error {
				n := 0
				for _, step := range table.steps {
					var err error
					if n, err = t.count(ctx, step, uid, table.rows); err != nil {
						return err
					}
				}
				more = n > 0
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.exec(ctx, "update buried set swept = $2 where uid = $1", uid, true)
	})
}
