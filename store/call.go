package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"flint"
)

// QueuedCall is what an execution that nobody waits for needs to be run.
type QueuedCall struct {
	Attempt  int64          // fencing number, set by ClaimExecutions
	Tries    int            // attempts that have ended before this one
	Delivery flint.Delivery // of the function, as it was when the call was claimed
	Expires  time.Time      // when it is given up if nobody has begun it; zero: as its function has it

	Method, Path            string
	Headers                 []flint.Header
	Body                    []byte
	User, UserJWT, ClientIP string
	Event                   string // the name by which it was triggered
	Hops                    int    // how many triggers led to it in turn

	OrderKey       string // calls of one function with the same key are made one at a time, in the order of acceptance
	IdempotencyKey string // a second call of the function with the same key is the first one
}

// Claim is a call that was given to a node.
type Claim struct {
	Execution *flint.Execution
	Call      *QueuedCall
}

// orphansPerClaim bounds how many calls one claim passes over: of deleted functions, and of those that are at their limit.
const orphansPerClaim = 256

// idempotencyAge is how long an idempotency key is known.
const idempotencyAge = 24 * time.Hour

// EnqueueExecution adds an execution that waits, with its call. When it returns nil both outlive the loss of power. An
// execution whose status is scheduled becomes due at ScheduledAt. Where the call's idempotency key is known already nothing
// is added, and e is made the execution that the key stands for; ErrIdempotencyConflict when that is of another call.
func (s *Store) EnqueueExecution(ctx context.Context, e *flint.Execution, c *QueuedCall) error {
	if e.Status != flint.ExecutionScheduled {
		e.Status = flint.ExecutionWaiting
	}
	q, err := s.newEntry(e, c)
	if err != nil {
		return err
	}
	claimed := ""
	if c.IdempotencyKey != "" {
		claimed = fingerprint(c)
	}
	known := e
	err = s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) (err error) {
		known = e
		if c.IdempotencyKey != "" {
			if known, err = s.known(ctx, t, e, c.IdempotencyKey, claimed); err != nil || known != e {
				return err
			}
		}
		return s.enqueue(ctx, t, q)
	}})
	if err == nil {
		*e = *known
	}
	return err
}

// fingerprint tells calls apart that claim to be the same.
func fingerprint(c *QueuedCall) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q ", c.Method, c.Path)
	sum.Write(c.Body)
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// known returns the execution that an idempotency key stands for, or makes it stand for e and returns e.
func (s *Store) known(ctx context.Context, t *tx, e *flint.Execution, key, claimed string) (*flint.Execution, error) {
	uid, _, err := t.delivery(ctx, e)
	if err != nil {
		return nil, err
	}
	var created int64
	var id, before string
	found, err := t.one(ctx, "select execution, fingerprint, created_at from idempotency where owner = $1 and key = $2", []any{uid, key},
		func(r scanner) error { return r.Scan(&id, &before, &created) })
	if err != nil {
		return nil, err
	}
	if found && instant(created).After(now().Add(-idempotencyAge)) {
		if before != claimed {
			return nil, flint.ErrIdempotencyConflict
		}
		var earlier *flint.Execution
		kept, err := t.one(ctx, "select "+executionColumns+" from executions t where t.id = $1", []any{id}, func(r scanner) (err error) {
			earlier, err = executionRow(e.Project, e.Function)(r)
			return err
		})
		if err != nil || kept {
			return earlier, err
		}
	}
	if err := t.exec(ctx, "delete from idempotency where owner = $1 and key = $2", uid, key); err != nil {
		return nil, err
	}
	return e, t.exec(ctx, `insert into idempotency (owner, key, execution, fingerprint, created_at, headers, body, answered)
		values ($1, $2, $3, $4, $5, '', $6, $7)`, uid, key, string(e.ID), claimed, millis(e.CreatedAt), []byte{}, false)
}

// queueEntry is what the rows of an execution that waits are made of. It is made before its transaction: others wait for that.
type queueEntry struct {
	execution *flint.Execution
	call      *QueuedCall

	row     executionRecord
	headers string // of the call
	jwt     string // its user's, sealed
	event   string // the payload of the event of its creation
	told    bool   // that there is one
}

func (s *Store) newEntry(e *flint.Execution, c *QueuedCall) (*queueEntry, error) {
	headers, err := json.Marshal(c.Headers)
	if err != nil {
		return nil, fmt.Errorf("encode headers: %w", err)
	}
	q := &queueEntry{execution: e, call: c, row: newRecord(e), headers: string(headers), jwt: s.sealed(c.UserJWT, "call", string(e.ID))}
	// What the platform itself begins is told of when it ends.
	if q.told = e.Trigger == flint.TriggerHTTP || e.Status == flint.ExecutionScheduled; q.told {
		q.event, err = s.payload(e, nil)
	}
	return q, err
}

// enqueue adds an execution that waits, with its call, in a transaction of whoever causes it.
func (s *Store) enqueue(ctx context.Context, t *tx, q *queueEntry) error {
	e, c := q.execution, q.call
	due := e.CreatedAt
	if e.Status == flint.ExecutionScheduled {
		due = e.ScheduledAt
	}
	body := c.Body
	if body == nil {
		body = []byte{}
	}
	if err := addExecution(ctx, t, &q.row); err != nil {
		return err
	}
	owner, delivery, err := t.delivery(ctx, e)
	if err != nil {
		return err
	}
	expires := c.Expires
	if expires.IsZero() {
		expires = due.Add(delivery.Age())
	}
	place, parked := int64(0), ""
	if c.OrderKey != "" {
		if place, parked, err = t.queueUp(ctx, owner, c.OrderKey); err != nil {
			return err
		}
	}
	if err := t.exec(ctx, `insert into calls (id, owner, due_at, lease_node, lease_until, attempt, expires_at, order_key, place, parked)
		values ($1, $2, $3, '', 0, 0, $4, $5, $6, $7)`, string(e.ID), owner, millis(due), millis(expires), c.OrderKey, place, parked); err != nil {
		return err
	}
	if err := t.exec(ctx, `insert into call_requests (id, method, path, headers, body, user_id, user_jwt, client_ip, event, hops)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, string(e.ID), c.Method, c.Path, q.headers, body, c.User,
		q.jwt, c.ClientIP, c.Event, c.Hops); err != nil {
		return err
	}
	if !q.told {
		return nil
	}
	return t.addEvent(ctx, e.Project, q.event, executionEvents+"create", string(e.Function), string(e.ID))
}

// Why a call is parked.
const (
	parkedByOrder = "order" // another one with its key has to end first
	parkedByLimit = "limit" // its function has as many calls as it may have at once
)

// delivery returns the owner of an execution that has just been added, and how its calls are made.
func (t *tx) delivery(ctx context.Context, e *flint.Execution) (owner int64, d flint.Delivery, err error) {
	settings := ""
	found, err := t.one(ctx, "select uid, settings from functions where project = $1 and id = $2", []any{string(e.Project), string(e.Function)},
		func(r scanner) error { return r.Scan(&owner, &settings) })
	if err == nil && !found {
		err = flint.ErrFunctionNotFound
	}
	if err == nil {
		d, err = deliveryOf(settings)
	}
	return owner, d, err
}

// queueUp returns the place of a new call among those with its key, and why it has to wait there.
func (t *tx) queueUp(ctx context.Context, owner int64, key string) (place int64, parked string, err error) {
	_, err = t.one(ctx, "select coalesce(max(place), 0) from calls where owner = $1 and order_key = $2 and order_key <> ''", []any{owner, key}, func(r scanner) error { return r.Scan(&place) })
	if place > 0 {
		parked = parkedByOrder
	}
	return place + 1, parked, err
}

const readDueCall = "select 1 from calls where lease_node = '' and parked = '' and due_at <= $1 limit 1"

const readNextDue = "select due_at from calls where lease_node = '' and parked = '' order by due_at limit 1"

// NextDue returns when the next call that somebody could take is due, or no time when there is none.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.one(ctx, readNextDue, nil, func(r scanner) error { return r.Scan(&at) })
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return instant(at), err
}

// ClaimExecutions gives up to limit calls, those that have been due for longest, to a node, for the time of a lease. A
// claim outlives the loss of power: what may have run must not run again.
func (s *Store) ClaimExecutions(ctx context.Context, node string, lease time.Duration, limit int) ([]Claim, error) {
	if node == "" {
		return nil, errNoNode
	}
	// Asking in vain is common and need not wait for the writer.
	if err := s.one(ctx, readDueCall, []any{now().UnixMilli()}, ignore); errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var claims []Claim
	err := s.writer.do(ctx, &job{durable: true, run: func(ctx context.Context, t *tx) error {
		claims = nil
		until := time.Now().Add(lease)
		for passed := 0; passed < orphansPerClaim && len(claims) < limit; {
			c, more, err := s.claim(ctx, t, node, lease)
			switch {
			case err != nil:
				return err
			case c.Call != nil:
				s.leases.take(c.Execution.ID, c.Call.Attempt, until) // before others can see the row
				claims = append(claims, c)
			case !more:
				return nil
			default:
				passed++
			}
		}
		return nil
	}})
	if err != nil {
		for _, c := range claims {
			s.leases.drop(c.Execution.ID, c.Call.Attempt)
		}
		return nil, err
	}
	return claims, nil
}

// dueCall is the call that has been due for longest, with its function's settings. Those of a deleted one have none.
const dueCall = `select t.id, t.owner, t.attempt, t.tries, coalesce(f.project, ''), coalesce(f.id, ''), coalesce(f.settings, '') from calls t
	left join functions f on f.uid = t.owner where t.lease_node = '' and t.parked = '' and t.due_at <= $1 and (t.expires_at = 0 or t.expires_at > $2) order by t.due_at, t.id limit 1`

// claim takes the next call that is due. One of a deleted function is dropped, and one of a function that has as many as
// it may have is parked, instead: more says to try again.
func (s *Store) claim(ctx context.Context, t *tx, node string, lease time.Duration) (c Claim, more bool, err error) {
	var id, settings string
	var owner int64
	var project flint.ProjectID
	var fn flint.FunctionID
	q := &QueuedCall{}
	start := now()
	more, err = t.one(ctx, dueCall, []any{millis(start), millis(start)}, func(r scanner) error {
		return r.Scan(&id, &owner, &q.Attempt, &q.Tries, &project, &fn, &settings)
	})
	if err != nil || !more {
		return Claim{}, false, err
	}
	if fn == "" {
		return Claim{}, true, dropCall(ctx, t, flint.ExecutionID(id))
	}
	if q.Delivery, err = deliveryOf(settings); err != nil {
		return Claim{}, false, fmt.Errorf("settings of function %s: %w", fn, err)
	}
	if most := q.Delivery.MaxConcurrent; most > 0 {
		running := 0
		if _, err := t.one(ctx, "select count(*) from calls where owner = $1 and lease_node <> ''", []any{owner}, func(r scanner) error { return r.Scan(&running) }); err != nil {
			return Claim{}, false, err
		}
		if running >= most {
			return Claim{}, true, t.exec(ctx, "update calls set parked = $2 where id = $1", id, parkedByLimit)
		}
	}
	q.Attempt++
	if err := t.exec(ctx, "update calls set lease_node = $2, lease_until = $3, attempt = $4 where id = $1", id, node, millis(start.Add(lease)), q.Attempt); err != nil {
		return Claim{}, false, err
	}
	if err := t.exec(ctx, "update executions set status = 'processing', updated_at = $2 where id = $1", id, millis(start)); err != nil {
		return Claim{}, false, err
	}
	found, err := t.one(ctx, "select "+executionColumns+" from executions t where t.id = $1", []any{id}, func(r scanner) (err error) {
		c.Execution, err = executionRow(project, fn)(r)
		return err
	})
	if err != nil {
		return Claim{}, false, err
	}
	if !found {
		return Claim{}, true, dropCall(ctx, t, flint.ExecutionID(id))
	}
	c.Call = q
	return c, true, s.readCall(ctx, t, c.Execution.ID, q)
}

// deliveryOf reads how calls are made from a function's settings, most of which say nothing of it.
func deliveryOf(settings string) (flint.Delivery, error) {
	if !strings.Contains(settings, `"delivery":`) {
		return flint.Delivery{}, nil
	}
	var v struct {
		Delivery flint.Delivery `json:"delivery"`
	}
	err := json.Unmarshal([]byte(settings), &v)
	return v.Delivery, err
}

func (s *Store) readCall(ctx context.Context, t *tx, id flint.ExecutionID, c *QueuedCall) error {
	var headers []byte
	var jwt string
	var expires int64
	found, err := t.one(ctx, `select t.method, t.path, t.headers, t.body, t.user_id, t.user_jwt, t.client_ip, t.event, t.hops, c.order_key, c.expires_at
		from call_requests t join calls c on c.id = t.id where t.id = $1`, []any{string(id)},
		func(r scanner) error {
			return r.Scan(&c.Method, &c.Path, &headers, &c.Body, &c.User, &jwt, &c.ClientIP, &c.Event, &c.Hops, &c.OrderKey, &expires)
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
	c.Expires = instant(expires)
	c.UserJWT, err = s.unsealed(jwt, "call", string(id))
	return err
}

// ExtendExecution lengthens a lease that has not expired. It reports that the execution was settled, deleted or given to
// another node meanwhile, or that the lease has expired: its result will not count.
func (s *Store) ExtendExecution(ctx context.Context, id flint.ExecutionID, attempt int64, lease time.Duration) (lost bool, err error) {
	var until time.Time
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		at := time.Now() // not before the write: the process may have been stopped in between
		least, good := s.leases.least(id, attempt, at)
		if lost = !good; lost {
			return nil
		}
		until = at.Add(lease)
		n, err := t.count(ctx, "update calls set lease_until = $4 where id = $1 and attempt = $2 and lease_until >= $3 and lease_node <> ''",
			string(id), attempt, least, millis(until))
		lost = n == 0
		return err
	})
	if err == nil && !lost {
		s.leases.extend(id, attempt, until)
	}
	return lost && err == nil, err
}

// ReleaseExecution hands back a call that was not begun, and why: it waits again until it is due anew after the pause. A
// stale attempt changes nothing.
func (s *Store) ReleaseExecution(ctx context.Context, id flint.ExecutionID, attempt int64, pause time.Duration, reason string) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		at := now()
		var owner int64
		found, err := t.one(ctx, `update calls set lease_node = '', lease_until = 0, due_at = $3, reason = $4 where id = $1 and attempt = $2 and lease_node <> ''
			returning owner`, []any{string(id), attempt, millis(at.Add(pause)), reason}, func(r scanner) error { return r.Scan(&owner) })
		if err != nil || !found {
			return err
		}
		if err := t.exec(ctx, "update executions set status = 'waiting', updated_at = $2 where id = $1", string(id), millis(at)); err != nil {
			return err
		}
		return t.unlimit(ctx, owner)
	})
	if err == nil {
		s.leases.drop(id, attempt)
	}
	return err
}

// unlimit lets one more call of a function be taken, of those that wait because it had as many as it may have.
func (t *tx) unlimit(ctx context.Context, owner int64) error {
	return t.exec(ctx, "update calls set parked = '' where id = (select id from calls where owner = $1 and parked = 'limit' order by due_at, id limit 1)", owner)
}

// unpark has calls of a function looked at anew that wait because it had as many as it might have: as many as it may have
// now, or all when there is no limit. More would only be parked again, before anybody else's are taken.
func (t *tx) unpark(ctx context.Context, owner int64, limit int) error {
	if limit == 0 {
		return t.exec(ctx, "update calls set parked = '' where owner = $1 and parked = 'limit'", owner)
	}
	return t.exec(ctx, "update calls set parked = '' where id in (select id from calls where owner = $1 and parked = 'limit' order by due_at, id limit $2)", owner, limit)
}

// dropCall removes a call. The one that was behind it in order is its next.
func dropCall(ctx context.Context, t *tx, id flint.ExecutionID) error {
	var owner int64
	var key string
	found, err := t.one(ctx, "delete from calls where id = $1 returning owner, order_key", []any{string(id)}, func(r scanner) error { return r.Scan(&owner, &key) })
	if err != nil {
		return err
	}
	if err := t.exec(ctx, "delete from call_requests where id = $1", string(id)); err != nil || !found {
		return err
	}
	if key != "" {
		if err := t.exec(ctx, `update calls set parked = '' where parked = 'order' and id = (select id from calls
			where owner = $1 and order_key = $2 and order_key <> '' order by place limit 1)`, owner, key); err != nil {
			return err
		}
	}
	return t.unlimit(ctx, owner)
}
