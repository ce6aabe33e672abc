package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"flint"
)

// Waiting is what is known of a call that has not ended.
type Waiting struct {
	DueAt, Expires time.Time
	Node           string // that runs it; empty: none
	LeaseUntil     time.Time
	Tries          int    // attempts that have ended
	Parked         string // order, limit, or empty
	Reason         string // why it was put back the last time
	OrderKey       string
	Behind         flint.ExecutionID // that has to end first, of those with its key
	Ahead          int               // calls that will be taken before, as far as they were counted
	Running        int               // calls of its function that run
}

// aheadCounted is up to where the calls before one are counted.
const aheadCounted = 10_000

// Waiting returns what is known of an asynchronous execution that has not ended, or nil when it has.
func (s *Store) Waiting(ctx context.Context, id flint.ExecutionID) (*Waiting, error) {
	var w Waiting
	var due, expires, until, owner int64
	err := s.one(ctx, "select owner, due_at, expires_at, lease_node, lease_until, tries, parked, reason, order_key from calls where id = $1", []any{string(id)}, func(r scanner) error {
		return r.Scan(&owner, &due, &expires, &w.Node, &until, &w.Tries, &w.Parked, &w.Reason, &w.OrderKey)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // it has ended, and that is no error
	}
	if err != nil {
		return nil, err
	}
	w.DueAt, w.Expires, w.LeaseUntil = instant(due), instant(expires), instant(until)
	if w.Parked == parkedByOrder {
		err = s.one(ctx, "select id from calls where owner = $1 and order_key = $2 and order_key <> '' order by place limit 1", []any{owner, w.OrderKey}, func(r scanner) error { return r.Scan(&w.Behind) })
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
	}
	for _, count := range []struct {
		query string
		args  []any
		into  *int
	}{
		{"select count(*) from (select 1 from calls where lease_node = '' and parked = '' and (due_at, id) < ($1, $2) limit $3) c", []any{due, string(id), aheadCounted}, &w.Ahead},
		{"select count(*) from calls where owner = $1 and lease_node <> ''", []any{owner}, &w.Running},
	} {
		if err := s.one(ctx, count.query, count.args, func(r scanner) error { return r.Scan(count.into) }); err != nil {
			return nil, err
		}
	}
	return &w, nil
}

// DeploymentByID returns a deployment of a project, whatever its function, or ErrDeploymentNotFound.
func (s *Store) DeploymentByID(ctx context.Context, project flint.ProjectID, id flint.DeploymentID) (*flint.Deployment, error) {
	var function flint.FunctionID
	err := s.one(ctx, "select f.id from deployments t join functions f on f.uid = t.owner where t.id = $1 and f.project = $2", []any{string(id), string(project)},
		func(r scanner) error { return r.Scan(&function) })
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrDeploymentNotFound
	}
	if err != nil {
		return nil, err
	}
	return s.Deployment(ctx, project, function, id)
}

// BuildsAhead counts the builds that will be taken before one that waits, up to a number.
func (s *Store) BuildsAhead(ctx context.Context, d *flint.Deployment) (n int, err error) {
	err = s.one(ctx, `select count(*) from (select 1 from deployments where status = 'waiting' and source_digest <> '' and (created_at, id) < ($1, $2) limit $3) d`,
		[]any{millis(d.CreatedAt), string(d.ID), aheadCounted}, func(r scanner) error { return r.Scan(&n) })
	return n, err
}
