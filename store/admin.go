package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"flint"
)

// DeleteProject removes a project that has no functions any more, with its keys, variables and rules:
// ErrProjectHasFunctions while it has some.
func (s *Store) DeleteProject(ctx context.Context, id flint.ProjectID) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		for _, check := range []struct {
			query string
			found bool
			err   error
		}{
			{"select 1 from projects where id = $1", false, flint.ErrProjectNotFound},
			{"select 1 from functions where project = $1 limit 1", true, flint.ErrProjectHasFunctions},
		} {
			found, err := t.one(ctx, check.query, []any{string(id)}, ignore)
			if err != nil {
				return err
			}
			if found == check.found {
				return check.err
			}
		}
		for _, query := range []string{
			"delete from rules where project = $1", "delete from variables where project = $1", "delete from project_keys where project = $1",
			"delete from events where project = $1",
			"delete from webhook_deliveries where webhook in (select uid from webhooks where project = $1)", "delete from webhooks where project = $1",
			"delete from projects where id = $1",
		} {
			if err := t.exec(ctx, query, string(id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.changed(Change{Kind: "project", Project: id})
	}
	return err
}

// DeploymentDigests returns what the deployments of a function name of the blobs.
func (s *Store) DeploymentDigests(ctx context.Context, project flint.ProjectID, function flint.FunctionID) (digests []string, err error) {
	err = s.each(ctx, "select t.source_digest, t.build_digest from deployments t where "+ownerScope, []any{string(project), string(function)}, func(r scanner) error {
		var source, built string
		err := r.Scan(&source, &built)
		for _, digest := range []string{source, built} {
			if digest != "" {
				digests = append(digests, digest)
			}
		}
		return err
	})
	return digests, err
}

// place is where an execution is found.
type place struct {
	created  int64
	id       flint.ExecutionID
	function flint.FunctionID
}

// RecentExecutions returns the newest executions of a function, or of a whole project when function is empty, newest
// first. It looks into each function's own index.
func (s *Store) RecentExecutions(ctx context.Context, project flint.ProjectID, function flint.FunctionID, limit int) ([]*flint.Execution, error) {
	s.records.settle(ctx)
	owners := map[int64]flint.FunctionID{}
	if err := s.each(ctx, "select uid, id from functions where project = $1 and ($2 = '' or id = $2)", []any{string(project), string(function)}, func(r scanner) error {
		var uid int64
		var id flint.FunctionID
		err := r.Scan(&uid, &id)
		owners[uid] = id
		return err
	}); err != nil {
		return nil, err
	}
	var found []place
	for uid, id := range owners {
		if err := s.each(ctx, "select created_at, id from executions where owner = $1 order by created_at desc, id desc limit $2", []any{uid, limit}, func(r scanner) error {
			p := place{function: id}
			err := r.Scan(&p.created, &p.id)
			found = append(found, p)
			return err
		}); err != nil {
			return nil, err
		}
		if len(found) > 4*limit { // what cannot be among the newest need not be kept
			found = newest(found, limit)
		}
	}
	all := []*flint.Execution{}
	for _, p := range newest(found, limit) {
		e, err := s.Execution(ctx, project, p.function, p.id)
		if errors.Is(err, flint.ErrExecutionNotFound) || errors.Is(err, sql.ErrNoRows) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func newest(found []place, limit int) []place {
	slices.SortFunc(found, func(a, b place) int {
		switch {
		case a.created != b.created:
			return int(b.created - a.created)
		case a.id < b.id:
			return 1
		}
		return -1
	})
	return found[:min(limit, len(found))]
}

// ExecutionByID returns an execution of any function of a project, or ErrExecutionNotFound.
func (s *Store) ExecutionByID(ctx context.Context, project flint.ProjectID, id flint.ExecutionID) (*flint.Execution, error) {
	s.records.settle(ctx)
	var function flint.FunctionID
	err := s.one(ctx, "select f.id from executions t join functions f on f.uid = t.owner where t.id = $1 and f.project = $2", []any{string(id), string(project)},
		func(r scanner) error { return r.Scan(&function) })
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrExecutionNotFound
	}
	if err != nil {
		return nil, err
	}
	return s.Execution(ctx, project, function, id)
}
