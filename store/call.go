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
		until := time.Now().Add(lease)
		for range orphansPerClaim {
			var more bool
			if e, c, more, err = s.claim(ctx, t, node, lease); err != nil || e != nil || !more {
				break
			}
		}
		if err == nil && e != nil {
			s.leases.take(e.ID, c.Attempt, until) // before others can see the row
		}
		return err
	}})
	if err != nil && e != nil {
		s.leases.drop(e.ID, c.Attempt)
	}
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
// meanwhile, or that the lease had run out before: its result will not count.
func (s *Store) ExtendExecution(ctx context.Context, id flint.ExecutionID, attempt int64, lease time.Duration) (lost bool, err error) {
	var until time.Time
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		at := time.Now() // not before the write: the process may have been stopped in between
		least, good := s.leases.least(id, attempt, at)
		if lost = !good; lost {
			return nil
		}
		until = at.Add(lease)
		n, err := t.count(ctx, "update calls set lease_until = $3 where id = $1 and attempt = $2 and lease_node <> '' and lease_until >= $4",
			string(id), attempt, millis(until), least)
		lost = n == 0
		return err
	})
	if err == nil && !lost {
		s.leases.extend(id, attempt, until)
	}
	return lost && err == nil, err
}

// FinishExecution records how a claimed execution ended and removes its call. It reports false for the late result of
// an attempt that was lost or whose lease has run out, which changes nothing.
func (s *Store) FinishExecution(ctx context.Context, e *flint.Execution, attempt int64) (bool, error) {
	ended := now()
	args := []any{
		string(e.ID), millis(ended), string(e.Deployment), string(e.Status), int64(e.StatusCode), e.Duration,
		encodeHeaders(e.RequestHeaders, e.ResponseHeaders), e.Logs, e.Errors, encodeReceipt(e.Receipt),
	}
	counted := false
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		counted = false
		least, good := s.leases.least(e.ID, attempt, time.Now())
		if !good {
			return nil
		}
		n, err := t.count(ctx, "delete from calls where id = $1 and attempt = $2 and lease_node <> '' and lease_until >= $3", string(e.ID), attempt, least)
		if counted = err == nil && n > 0; !counted {
			return err
		}
		if err := t.exec(ctx, "delete from call_requests where id = $1", string(e.ID)); err != nil {
			return err
		}
		if err := t.exec(ctx, `update executions set updated_at = $2, deployment = $3, status = $4, status_code = $5, duration = $6, headers = $7,
			logs = $8, errors = $9, receipt = $10 where id = $1`, args...); err != nil {
			return err
		}
		if err := t.cover(ctx, spanOf(e), millis(e.CreatedAt)); err != nil && !isMissingOwner(err) { // the function may be gone
			return err
		}
		return s.executionEvent(ctx, t, e, "update")
	})
	if err != nil {
		return false, err
	}
	s.leases.drop(e.ID, attempt) // also a lost one: a row that is still there has no owner, and the next sweep finds it
	if !counted {
		return false, nil
	}
	e.UpdatedAt = ended
	return true, nil
}

// ReleaseExecution hands back a call that was not begun: it waits again, behind those that are due, so that a function
// without room does not keep others from being tried. A stale attempt changes nothing.
func (s *Store) ReleaseExecution(ctx context.Context, id flint.ExecutionID, attempt int64) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		at := millis(now())
		n, err := t.count(ctx, "update calls set lease_node = '', lease_until = 0, due_at = $3 where id = $1 and attempt = $2 and lease_node <> ''", string(id), attempt, at)
		if err != nil || n == 0 {
			return err
		}
		return t.exec(ctx, "update executions set status = 'waiting', updated_at = $2 where id = $1", string(id), at)
	})
	if err == nil {
		s.leases.drop(id, attempt)
	}
	return err
}

// SettleExecutions fails the executions whose lease ran out. Those of the node itself whose lease this process does not
// hold are among them at once: an earlier life of the node held them. They may have run: they do not run again.
func (s *Store) SettleExecutions(ctx context.Context, node string, at time.Time, reason string) (settled int, err error) {
	var lost []lostCall
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		settled = 0
		if err := clampLeases(ctx, t, at); err != nil {
			return err
		}
		lost, err = s.lostCalls(ctx, t, node, at)
		if err != nil {
			return err
		}
		for _, c := range lost {
			n, err := s.settleCall(ctx, t, c.Execution, at, reason)
			if err != nil {
				return err
			}
			settled += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, c := range lost {
		s.leases.drop(c.ID, c.attempt)
	}
	return settled, nil
}

type lostCall struct {
	*flint.Execution
	attempt int64
}

// lostCalls returns the claimed calls that have no owner any more.
func (s *Store) lostCalls(ctx context.Context, t *tx, node string, at time.Time) (lost []lostCall, err error) {
	err = t.each(ctx, `select t.id, t.attempt, t.lease_node, t.lease_until, coalesce(f.project, ''), coalesce(f.id, '') from calls t left join functions f on f.uid = t.owner
		where t.lease_node <> '' and (t.lease_until < $1 or t.lease_node = $2) order by t.due_at, t.id`, []any{millis(at), node},
		func(r scanner) error {
			c := lostCall{Execution: &flint.Execution{Status: flint.ExecutionFailed}}
			var owner string
			var until int64
			if err := r.Scan(&c.ID, &c.attempt, &owner, &until, &c.Project, &c.Function); err != nil {
				return err
			}
			known, good := s.leases.good(c.ID, c.attempt, at)
			if !good && (known || owner == node || until < millis(at)) {
				lost = append(lost, c)
			}
			return nil
		})
	return lost, err
}

// settleCall fails one execution that was lost.
func (s *Store) settleCall(ctx context.Context, t *tx, e *flint.Execution, at time.Time, reason string) (settled int, err error) {
	if err := dropCall(ctx, t, e.ID); err != nil {
		return 0, err
	}
	settled, err = t.count(ctx, `update executions set status = 'failed', status_code = 500, errors = $2, updated_at = $3,
		duration = case when $3 > updated_at then ($3 - updated_at) / 1000.0 else 0 end where id = $1`, string(e.ID), reason, millis(at))
	if err != nil || settled == 0 || e.Function == "" {
		return settled, err
	}
	return settled, s.executionEvent(ctx, t, e, "update")
}

func dropCall(ctx context.Context, t *tx, id flint.ExecutionID) error {
	if err := t.exec(ctx, "delete from calls where id = $1", string(id)); err != nil {
		return err
	}
	return t.exec(ctx, "delete from call_requests where id = $1", string(id))
}
