package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"flint"
)

// QueuedCall is what an execution that nobody waits for needs to be run.
type QueuedCall struct {
	Attempt                 int64 // fencing number, set by ClaimExecution
	Method, Path            string
	Headers                 []flint.Header
	Body                    []byte
	User, UserJWT, ClientIP string
	Deadline                time.Time
}

// orphansPerClaim bounds how many calls of deleted functions one claim clears away before it gives up.
const orphansPerClaim = 64

// EnqueueExecution adds an execution that waits, with its call. When it returns nil both outlive the loss of power. An
// execution whose status is scheduled becomes due at ScheduledAt.
func (s *Store) EnqueueExecution(ctx context.Context, e *flint.Execution, c *QueuedCall) error {
	if e.Status != flint.ExecutionScheduled {
		e.Status = flint.ExecutionWaiting
	}
	row := newRecord(e)
	return s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) error { return s.enqueue(ctx, t, e, row, c) }})
}

// enqueue adds an execution that waits, with its call, in a transaction of whoever causes it. row is newRecord(e).
func (s *Store) enqueue(ctx context.Context, t *tx, e *flint.Execution, row executionRecord, c *QueuedCall) error {
	headers, err := json.Marshal(c.Headers)
	if err != nil {
		return fmt.Errorf("encode headers: %w", err)
	}
	due := e.CreatedAt
	if e.Status == flint.ExecutionScheduled {
		due = e.ScheduledAt
	}
	body := c.Body
	if body == nil {
		body = []byte{}
	}
	if err := addExecution(ctx, t, row); err != nil {
		return err
	}
	if err := t.exec(ctx, `insert into calls (id, owner, due_at, lease_node, lease_until, attempt)
		values ($1, (select owner from executions where id = $1), $2, '', 0, 0)`, string(e.ID), millis(due)); err != nil {
		return err
	}
	if err := t.exec(ctx, `insert into call_requests (id, method, path, headers, body, user_id, user_jwt, client_ip, deadline)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, string(e.ID), c.Method, c.Path, string(headers), body, c.User,
		s.sealed(c.UserJWT, "call", string(e.ID)), c.ClientIP, millis(c.Deadline)); err != nil {
		return err
	}
	if e.Trigger != flint.TriggerHTTP && e.Status != flint.ExecutionScheduled {
		return nil // what the platform itself begins is told of when it ends
	}
	return s.executionEvent(ctx, t, e, "create")
}

const readDueCall = "select 1 from calls where lease_node = '' and due_at <= $1 limit 1"

const readNextDue = "select due_at from calls where lease_node = '' order by due_at limit 1"

// NextDue returns when the next call that nobody has taken is due, or no time when there is none.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.one(ctx, readNextDue, nil, func(r scanner) error { return r.Scan(&at) })
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return instant(at), err
}

// ClaimExecution gives the call that has been due for longest to a node, for the time of a lease, or returns nothing
// when none is due. A claim outlives the loss of power: what may have run must not run again.
func (s *Store) ClaimExecution(ctx context.Context, node string, lease time.Duration) (*flint.Execution, *QueuedCall, error) {
	if node == "" {
		return nil, nil, errNoNode
	}
	// Asking in vain is common and need not wait for the writer.
	if err := s.one(ctx, readDueCall, []any{now().UnixMilli()}, ignore); errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	var e *flint.Execution
	var c *QueuedCall
	err := s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) (err error) {
		for range orphansPerClaim {
			var more bool
			if e, c, more, err = s.claim(ctx, t, node, lease); err != nil || e != nil || !more {
				return err
			}
		}
		return nil
	}})
	if err != nil || e == nil {
		return nil, nil, err
	}
	return e, c, nil
}

// claim takes the next call that is due. When that one belongs to a deleted function it is dropped instead, and more
// says to try again.
func (s *Store) claim(ctx context.Context, t *tx, node string, lease time.Duration) (e *flint.Execution, c *QueuedCall, more bool, err error) {
	var id flint.ExecutionID
	c = &QueuedCall{}
	start := now()
	more, err = t.one(ctx, `update calls set lease_node = $2, lease_until = $3, attempt = attempt + 1 where id = (select id from calls
		where lease_node = '' and due_at <= $1 order by due_at, id limit 1) returning id, attempt`,
		[]any{millis(start), node, millis(start.Add(lease))}, func(r scanner) error { return r.Scan(&id, &c.Attempt) })
	if err != nil || !more {
		return nil, nil, false, err
	}
	var project flint.ProjectID
	var fn flint.FunctionID
	found, err := t.one(ctx, "select "+executionColumns+", f.project, f.id from executions t join functions f on f.uid = t.owner where t.id = $1", []any{string(id)},
		func(r scanner) (err error) {
			e, err = executionRow("", "")(withLast(withLast(r, &fn), &project))
			return err
		})
	if err != nil {
		return nil, nil, false, err
	}
	if !found {
		return nil, nil, true, dropCall(ctx, t, id)
	}
	e.Project, e.Function, e.Status, e.UpdatedAt = project, fn, flint.ExecutionProcessing, start
	if err := t.exec(ctx, "update executions set status = 'processing', updated_at = $2 where id = $1", string(id), millis(start)); err != nil {
		return nil, nil, false, err
	}
	return e, c, true, s.readCall(ctx, t, id, c)
}

func (s *Store) readCall(ctx context.Context, t *tx, id flint.ExecutionID, c *QueuedCall) error {
	var headers []byte
	var jwt string
	var deadline int64
	found, err := t.one(ctx, "select method, path, headers, body, user_id, user_jwt, client_ip, deadline from call_requests where id = $1", []any{string(id)},
		func(r scanner) error {
			return r.Scan(&c.Method, &c.Path, &headers, &c.Body, &c.User, &jwt, &c.ClientIP, &deadline)
		})
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("execution %s has no call", id)
	}
	if err := json.Unmarshal(headers, &c.Headers); err != nil {
		return fmt.Errorf("headers of call %s: %w", id, err)
	}
	c.Deadline = instant(deadline)
	c.UserJWT, err = s.unsealed(jwt, "call", string(id))
	return err
}

// ExtendExecution lengthens a lease. It reports that the execution was settled, deleted or given to another node
// meanwhile: its result will not count.
func (s *Store) ExtendExecution(ctx context.Context, id flint.ExecutionID, attempt int64, lease time.Duration) (lost bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.count(ctx, "update calls set lease_until = $3 where id = $1 and attempt = $2 and lease_node <> ''", string(id), attempt, millis(now().Add(lease)))
		lost = n == 0
		return err
	})
	return lost && err == nil, err
}

// FinishExecution records how a claimed execution ended and removes its call. It reports false for the late result of
// a lost attempt, which changes nothing.
func (s *Store) FinishExecution(ctx context.Context, e *flint.Execution, attempt int64) (bool, error) {
	ended := now()
	args := []any{
		string(e.ID), millis(ended), string(e.Deployment), string(e.Status), int64(e.StatusCode), e.Duration,
		encodeHeaders(e.RequestHeaders, e.ResponseHeaders), e.Logs, e.Errors, encodeReceipt(e.Receipt),
	}
	counted := false
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.count(ctx, "delete from calls where id = $1 and attempt = $2 and lease_node <> ''", string(e.ID), attempt)
		if counted = err == nil && n > 0; !counted {
			return err
		}
		if err := t.exec(ctx, "delete from call_requests where id = $1", string(e.ID)); err != nil {
			return err
		}
		if err := t.cover(ctx, spanOf(e), millis(e.CreatedAt)); err != nil && !isMissingOwner(err) { // the function may be gone
			return err
		}
		if err := t.exec(ctx, `update executions set updated_at = $2, deployment = $3, status = $4, status_code = $5, duration = $6, headers = $7,
			logs = $8, errors = $9, receipt = $10 where id = $1`, args...); err != nil {
			return err
		}
		return s.executionEvent(ctx, t, e, "update")
	})
	if err != nil || !counted {
		return false, err
	}
	e.UpdatedAt = ended
	return true, nil
}

// ReleaseExecution hands back a call that was not begun: it waits again. A stale attempt changes nothing.
func (s *Store) ReleaseExecution(ctx context.Context, id flint.ExecutionID, attempt int64) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.count(ctx, "update calls set lease_node = '', lease_until = 0 where id = $1 and attempt = $2 and lease_node <> ''", string(id), attempt)
		if err != nil || n == 0 {
			return err
		}
		return t.exec(ctx, "update executions set status = 'waiting', updated_at = $2 where id = $1", string(id), millis(now()))
	})
}

// SettleExecutions fails the executions whose lease ran out, and those that the node itself held in an earlier life when
// it passes its name at start. They may have run: they do not run again.
func (s *Store) SettleExecutions(ctx context.Context, node string, at time.Time, reason string) (settled int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		settled = 0
		var lost []*flint.Execution
		err := t.each(ctx, `select t.id, coalesce(f.project, ''), coalesce(f.id, '') from calls t left join functions f on f.uid = t.owner
			where t.lease_node <> '' and (t.lease_until < $1 or t.lease_node = $2) order by t.due_at, t.id`, []any{millis(at), node},
			func(r scanner) error {
				e := &flint.Execution{Status: flint.ExecutionFailed}
				err := r.Scan(&e.ID, &e.Project, &e.Function)
				lost = append(lost, e)
				return err
			})
		if err != nil {
			return err
		}
		for _, e := range lost {
			if err := dropCall(ctx, t, e.ID); err != nil {
				return err
			}
			n, err := t.count(ctx, `update executions set status = 'failed', status_code = 500, errors = $2, updated_at = $3,
				duration = ($3 - updated_at) / 1000.0 where id = $1`, string(e.ID), reason, millis(at))
			if err != nil {
				return err
			}
			settled += n
			if n == 0 || e.Function == "" {
				continue
			}
			if err := s.executionEvent(ctx, t, e, "update"); err != nil {
				return err
			}
		}
		return nil
	})
	return settled, err
}

func dropCall(ctx context.Context, t *tx, id flint.ExecutionID) error {
	if err := t.exec(ctx, "delete from calls where id = $1", string(id)); err != nil {
		return err
	}
	return t.exec(ctx, "delete from call_requests where id = $1", string(id))
}
