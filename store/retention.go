package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"flint"
)

// PurgeDeployments removes up to limit finished deployments that are not active and older than their functions keep
// such. It returns the digests that they named and how many it removed.
func (s *Store) PurgeDeployments(ctx context.Context, at time.Time, limit int) (digests []string, purged int, err error) {
	var keepers []*flint.Function
	// A pre-selection on text that is the same in every database; the decoded row decides.
	err = s.each(ctx, "select "+functionColumns+` from functions t where t.settings like '%"retention":%'`, nil, func(r scanner) error {
		f, err := scanFunction(r)
		if err == nil && f.Retention > 0 {
			keepers = append(keepers, f)
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, f := range keepers {
		if purged >= limit {
			break
		}
		named, n, err := s.purgeFunction(ctx, f, at, limit-purged)
		digests, purged = append(digests, named...), purged+n
		if err != nil {
			return digests, purged, err
		}
	}
	return digests, purged, nil
}

func (s *Store) purgeFunction(ctx context.Context, f *flint.Function, at time.Time, limit int) (digests []string, purged int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		digests, purged = nil, 0
		now, uid, err := function(ctx, t, f.Project, f.ID)
		if errors.Is(err, flint.ErrFunctionNotFound) || err == nil && now.Retention == 0 {
			return nil // changed meanwhile
		}
		if err != nil {
			return err
		}
		var old []flint.DeploymentID
		before := at.AddDate(0, 0, -now.Retention)
		err = t.each(ctx, `select id, source_digest, build_digest from deployments where owner = $1 and created_at < $2 and id <> $3
			and status in ('ready', 'failed', 'canceled') order by created_at, id limit $4`,
			[]any{uid, millis(before), string(now.DeploymentID), min(limit, sweepRows/50)}, func(r scanner) error {
				var id flint.DeploymentID
				var source, built string
				err := r.Scan(&id, &source, &built)
				old, digests = append(old, id), append(digests, source, built)
				return err
			})
		if err != nil {
			return err
		}
		for _, id := range old {
			if err := s.deleteDeployment(ctx, t, now, uid, id); err != nil {
				return err
			}
		}
		purged = len(old)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if purged > 0 {
		s.functionChanged(f.Project, f.ID)
	}
	return digests, purged, nil
}

// TrimExecutions removes up to limit finished executions of functions that have more than keep, the oldest first, and
// returns how many it removed. It works in small transactions.
func (s *Store) TrimExecutions(ctx context.Context, keep, limit int) (int, error) {
	var owners []int64
	if err := s.each(ctx, "select uid from functions", nil, func(r scanner) error {
		var uid int64
		err := r.Scan(&uid)
		owners = append(owners, uid)
		return err
	}); err != nil {
		return 0, err
	}
	trimmed := 0
	for _, uid := range owners {
		var created int64
		var id string
		// The newest of those that are too many: one step in the index per execution that is kept.
		err := s.one(ctx, "select created_at, id from executions where owner = $1 order by created_at desc, id desc limit 1 offset $2",
			[]any{uid, keep}, func(r scanner) error { return r.Scan(&created, &id) })
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		for more := err == nil; more && trimmed < limit; {
			err = s.write(ctx, func(ctx context.Context, t *tx) error {
				n, err := t.count(ctx, `delete from executions where id in (select id from executions where owner = $1 and (created_at, id) <= ($2, $3)
					and status in ('completed', 'failed') order by created_at, id limit $4)`, uid, created, id, min(limit-trimmed, sweepRows))
				trimmed, more = trimmed+n, n > 0
				return err
			})
			if err != nil {
				break
			}
		}
		if err != nil {
			return trimmed, err
		}
	}
	return trimmed, nil
}
