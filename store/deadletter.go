package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"flint"
)

// maxDeadLetters is how many dead letters of a function are kept: the newest.
const maxDeadLetters = 10_000

// bury keeps a call that failed for good.
func (t *tx) bury(ctx context.Context, q *callRow, e *flint.Execution, outcome flint.Outcome, at time.Time) error {
	q.died = &flint.DeadLetter{
		ID: q.id, Project: q.project, Function: q.function, DiedAt: at, AcceptedAt: e.CreatedAt, Outcome: outcome, StatusCode: e.StatusCode, Tries: q.tries + 1,
		Error: endOf(e.Errors), Trigger: e.Trigger, Method: e.RequestMethod, Path: e.RequestPath, OrderKey: q.orderKey,
	}
	if err := t.exec(ctx, `insert into dead_letters (id, owner, died_at, accepted_at, outcome, status_code, tries, error, trigger, method, path, headers, body,
		user_id, client_ip, event, hops, order_key) select r.id, $1, $2, $3, $4, $5, $6, $7, $8, r.method, r.path, r.headers, r.body, r.user_id, r.client_ip, r.event, r.hops, $9
		from call_requests r where r.id = $10`, q.owner, millis(at), millis(e.CreatedAt), string(outcome), int64(e.StatusCode), q.tries+1, endOf(e.Errors),
		string(e.Trigger), q.orderKey, string(q.id)); err != nil {
		return err
	}
	return t.exec(ctx, `delete from dead_letters where id in (select id from dead_letters where owner = $1 order by died_at desc, id desc limit 100 offset $2)`,
		q.owner, maxDeadLetters)
}

// died tells of those of some calls that became dead letters.
func (s *Store) died(calls ...*callRow) {
	for _, q := range calls {
		if q != nil && q.died != nil && s.config.Died != nil {
			s.config.Died(q.died)
		}
	}
}

const deadLetterColumns = `t.id, t.died_at, t.accepted_at, t.outcome, t.status_code, t.tries, t.error, t.trigger, t.method, t.path, t.headers, t.body,
	t.user_id, t.client_ip, t.event, t.hops, t.order_key, f.id`

func deadLetterRow(project flint.ProjectID) func(scanner) (*flint.DeadLetter, error) {
	return func(r scanner) (*flint.DeadLetter, error) {
		d := flint.DeadLetter{Project: project}
		var died, accepted int64
		var headers []byte
		if err := r.Scan(&d.ID, &died, &accepted, &d.Outcome, &d.StatusCode, &d.Tries, &d.Error, &d.Trigger, &d.Method, &d.Path, &headers, &d.Body,
			&d.User, &d.ClientIP, &d.Event, &d.Hops, &d.OrderKey, &d.Function); err != nil {
			return nil, err
		}
		d.DiedAt, d.AcceptedAt = instant(died), instant(accepted)
		return &d, json.Unmarshal(headers, &d.Headers)
	}
}

// DeadLetters returns dead letters of a function, newest first: up to limit of those that died before the one called
// after, or from the newest. total is how many there are.
func (s *Store) DeadLetters(ctx context.Context, project flint.ProjectID, function flint.FunctionID, after flint.ExecutionID, limit int) (all []*flint.DeadLetter, total int, err error) {
	var uid int64
	if err := s.one(ctx, "select uid from functions where project = $1 and id = $2", []any{string(project), string(function)},
		func(r scanner) error { return r.Scan(&uid) }); errors.Is(err, sql.ErrNoRows) {
		return nil, 0, flint.ErrFunctionNotFound
	} else if err != nil {
		return nil, 0, err
	}
	if err := s.one(ctx, "select count(*) from dead_letters where owner = $1", []any{uid}, func(r scanner) error { return r.Scan(&total) }); err != nil {
		return nil, 0, err
	}
	died, last := int64(lastTime), ""
	if after != "" {
		last = string(after)
		if err := s.one(ctx, "select died_at from dead_letters where id = $1 and owner = $2", []any{last, uid}, func(r scanner) error { return r.Scan(&died) }); errors.Is(err, sql.ErrNoRows) {
			return nil, 0, flint.ErrCursorNotFound
		} else if err != nil {
			return nil, 0, err
		}
	}
	err = s.each(ctx, "select "+deadLetterColumns+` from dead_letters t join functions f on f.uid = t.owner
		where t.owner = $1 and (t.died_at, t.id) < ($2, $3) order by t.died_at desc, t.id desc limit $4`, []any{uid, died, last, limit}, func(r scanner) error {
		d, err := deadLetterRow(project)(r)
		all = append(all, d)
		return err
	})
	return all, total, err
}

const readDeadLetter = "select " + deadLetterColumns + ` from dead_letters t join functions f on f.uid = t.owner where f.project = $1 and f.id = $2 and t.id = $3`

// DeadLetter returns a dead letter or ErrDeadLetterNotFound.
func (s *Store) DeadLetter(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.ExecutionID) (d *flint.DeadLetter, err error) {
	err = s.one(ctx, readDeadLetter, []any{string(project), string(function), string(id)}, func(r scanner) (err error) {
		d, err = deadLetterRow(project)(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrDeadLetterNotFound
	}
	return d, err
}

const readDeadLetterByID = "select " + deadLetterColumns + ` from dead_letters t join functions f on f.uid = t.owner where f.project = $1 and t.id = $2`

// DeadLetterByID returns a dead letter of a project, whatever its function, or ErrDeadLetterNotFound.
func (s *Store) DeadLetterByID(ctx context.Context, project flint.ProjectID, id flint.ExecutionID) (d *flint.DeadLetter, err error) {
	err = s.one(ctx, readDeadLetterByID, []any{string(project), string(id)}, func(r scanner) (err error) {
		d, err = deadLetterRow(project)(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrDeadLetterNotFound
	}
	return d, err
}

// RedriveDeadLetter makes a dead letter a new call: e waits with c, and the dead letter is gone, or neither.
func (s *Store) RedriveDeadLetter(ctx context.Context, id flint.ExecutionID, e *flint.Execution, c *QueuedCall) error {
	e.Status = flint.ExecutionWaiting
	q, err := s.newEntry(e, c)
	if err != nil {
		return err
	}
	return s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) error {
		n, err := t.deleteDeadLetter(ctx, e.Project, e.Function, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return flint.ErrDeadLetterNotFound
		}
		return s.enqueue(ctx, t, q)
	}})
}

func (t *tx) deleteDeadLetter(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.ExecutionID) (int, error) {
	return t.count(ctx, "delete from dead_letters where id = $1 and owner = (select uid from functions where project = $2 and id = $3)", string(id), string(project), string(function))
}

// DeleteDeadLetter removes a dead letter, or is ErrDeadLetterNotFound.
func (s *Store) DeleteDeadLetter(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.ExecutionID) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.deleteDeadLetter(ctx, project, function, id)
		if err == nil && n == 0 {
			return flint.ErrDeadLetterNotFound
		}
		return err
	})
}

// PurgeDeadLetters removes all dead letters of a function and returns how many there were.
func (s *Store) PurgeDeadLetters(ctx context.Context, project flint.ProjectID, function flint.FunctionID) (purged int, err error) {
	for n := deadRows; n == deadRows && err == nil; purged += n {
		err = s.write(ctx, func(ctx context.Context, t *tx) (err error) {
			n, err = t.count(ctx, `delete from dead_letters where id in (select id from dead_letters
				where owner = (select uid from functions where project = $1 and id = $2) order by died_at, id limit $3)`, string(project), string(function), deadRows)
			return err
		})
	}
	return purged, err
}

// deadRows is how many rows with bodies are removed in one transaction: others write between them.
const deadRows = 20

// Answer is what a function answered to a call with an idempotency key.
type Answer struct {
	Headers []flint.Header
	Body    []byte
}

// Answer returns what is kept of the answer of an execution that was made with an idempotency key; nil: nothing is.
func (s *Store) Answer(ctx context.Context, id flint.ExecutionID) (*Answer, error) {
	var a Answer
	var headers string
	err := s.one(ctx, "select headers, body from idempotency where execution = $1 and answered = $2", []any{string(id), true}, func(r scanner) error { return r.Scan(&headers, &a.Body) })
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	if err != nil {
		return nil, err
	}
	_, a.Headers, err = decodeHeaders(headers)
	return &a, err
}

// PruneDelivery removes what is kept beside executions for long enough: attempts and dead letters from before a time, and
// idempotency keys that are no longer known. It reports whether there is more.
func (s *Store) PruneDelivery(ctx context.Context, before time.Time) (more bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		more = false
		for _, c := range []struct {
			query string
			at    time.Time
			rows  int // in one transaction
		}{
			{"delete from attempts where (execution, number) in (select execution, number from attempts where ended_at < $1 order by ended_at limit $2)", before, sweepRows},
			{"delete from dead_letters where id in (select id from dead_letters where died_at < $1 order by died_at limit $2)", before, deadRows},
			{"delete from idempotency where execution in (select execution from idempotency where created_at < $1 order by created_at limit $2)", now().Add(-idempotencyAge), deadRows},
		} {
			n, err := t.count(ctx, c.query, millis(c.at), c.rows)
			if err != nil {
				return err
			}
			more = more || n == c.rows
		}
		return nil
	})
	return more, err
}
