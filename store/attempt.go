package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"flint"
)

// Ending is how an attempt of a claimed call ended.
type Ending struct {
	Attempt int64 // fencing number
	Outcome flint.Outcome
	Headers []flint.Header // of the function's answer, for who asks again with the same idempotency key
	Body    []byte
}

// Settled says what became of an attempt's result.
type Settled uint8

// What becomes of a result.
const (
	SettledLate  Settled = iota // the attempt was lost: its result changed nothing
	SettledAgain                // the call will be made again
	SettledEnded                // the execution has ended
)

// callRow is the row of a call whose attempt ends, or that ends without one.
type callRow struct {
	id       flint.ExecutionID
	attempt  int64 // fencing number
	until    int64 // the time of day at which the lease ends
	owner    int64
	project  flint.ProjectID // empty: the function was deleted
	function flint.FunctionID
	tries    int
	dueAt    time.Time
	expires  time.Time
	node     string
	orderKey string
	delivery flint.Delivery

	died *flint.DeadLetter // what it became, in this transaction
}

const callColumns = `t.id, t.attempt, t.lease_until, t.owner, coalesce(f.project, ''), coalesce(f.id, ''), coalesce(f.settings, ''), t.tries, t.due_at, t.expires_at, t.lease_node, t.order_key`

func scanCall(r scanner) (*callRow, error) {
	var q callRow
	var settings string
	var due, expires int64
	if err := r.Scan(&q.id, &q.attempt, &q.until, &q.owner, &q.project, &q.function, &settings, &q.tries, &due, &expires, &q.node, &q.orderKey); err != nil {
		return nil, err
	}
	q.dueAt, q.expires = instant(due), instant(expires)
	var err error
	if q.delivery, err = deliveryOf(settings); err != nil {
		return nil, fmt.Errorf("settings of function %s: %w", q.function, err)
	}
	return &q, nil
}

// FinishExecution records how an attempt of a claimed call ended, unless its lease has run out. The call is made again if its function's settings say
// so: then e waits, with what the attempt left. Else the execution has ended as e says.
func (s *Store) FinishExecution(ctx context.Context, e *flint.Execution, end Ending) (Settled, error) {
	settled := SettledLate
	var q *callRow
	var told flint.Execution
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		settled, q = SettledLate, nil
		least, good := s.leases.least(e.ID, end.Attempt, time.Now())
		if !good {
			return nil
		}
		found, err := t.one(ctx, "select "+callColumns+" from calls t left join functions f on f.uid = t.owner where t.id = $1 and t.attempt = $2 and t.lease_node <> '' and t.lease_until >= $3",
			[]any{string(e.ID), end.Attempt, least}, func(r scanner) (err error) { q, err = scanCall(r); return err })
		if err != nil || !found {
			return err
		}
		told = *e // what a commit that fails has changed must not be told the next time
		settled, err = s.ended(ctx, t, q, &told, end, now())
		return err
	})
	if err != nil {
		return SettledLate, err
	}
	if q != nil {
		*e = told
	}
	s.leases.drop(e.ID, end.Attempt) // also a late one: a row that is still there has no owner, and the next sweep finds it
	s.died(q)
	return settled, nil
}

// withoutReceipt are the outcomes of calls that nobody measured: their attempts are noted, so that it is known how they ended.
var withoutReceipt = [...]flint.Outcome{flint.OutcomeLost, flint.OutcomeExpired, flint.OutcomeCanceled} //nolint:gochecknoglobals // read only

// ended settles one attempt of a call, or a call without one. e holds what is to be told of it.
func (s *Store) ended(ctx context.Context, t *tx, q *callRow, e *flint.Execution, end Ending, at time.Time) (Settled, error) {
	pause, again, why := time.Duration(0), false, ""
	if q.function != "" {
		left := q.delivery.Age()
		if !q.expires.IsZero() {
			left = q.expires.Sub(at)
		}
		pause, again, why = q.delivery.Next(end.Outcome, q.tries+1, left, rand.Float64()) //nolint:gosec // spreads attempts, guards nothing
	}
	if q.delivery.MaxAttempts > 1 || q.tries > 0 || slices.Contains(withoutReceipt[:], end.Outcome) {
		if err := t.noteAttempt(ctx, q, e, end.Outcome, at); err != nil {
			return SettledLate, err
		}
	}
	if again {
		return SettledAgain, t.again(ctx, q, e, end.Outcome, at, pause)
	}
	if why != "" {
		e.Errors = flint.ClipOutput(joined(e.Errors, why), "Errors", false)
	}
	return SettledEnded, s.final(ctx, t, q, e, end, at)
}

// joined appends a line to a text.
func joined(text, line string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + line
}

// again has a call wait for its next attempt. The execution shows what the last one left.
func (t *tx) again(ctx context.Context, q *callRow, e *flint.Execution, outcome flint.Outcome, at time.Time, pause time.Duration) error {
	next := at.Add(pause)
	reason := fmt.Sprintf("Attempt %d of %d ended with %s; the next one is due %s.", q.tries+1, q.delivery.MaxAttempts, outcome, next.Format(time.RFC3339))
	if err := t.exec(ctx, "update calls set lease_node = '', lease_until = 0, due_at = $2, tries = $3, reason = $4 where id = $1",
		string(q.id), millis(next), q.tries+1, reason); err != nil {
		return err
	}
	e.Status, e.StatusCode, e.UpdatedAt = flint.ExecutionWaiting, 0, at
	e.Errors = flint.ClipOutput(joined(e.Errors, reason), "Errors", false)
	if err := t.exec(ctx, "update executions set updated_at = $2, status = 'waiting', status_code = 0, duration = $3, logs = $4, errors = $5 where id = $1",
		string(q.id), millis(at), e.Duration, e.Logs, e.Errors); err != nil {
		return err
	}
	return t.unlimit(ctx, q.owner)
}

// final ends an execution for good.
func (s *Store) final(ctx context.Context, t *tx, q *callRow, e *flint.Execution, end Ending, at time.Time) error {
	e.UpdatedAt = at
	if q.function != "" && q.delivery.DeadLetters && e.Status == flint.ExecutionFailed && end.Outcome != flint.OutcomeCanceled {
		if err := t.bury(ctx, q, e, end.Outcome, at); err != nil {
			return err
		}
	}
	if err := dropCall(ctx, t, q.id); err != nil {
		return err
	}
	e.Project, e.Function = q.project, q.function
	if err := t.cover(ctx, spanOf(e), millis(e.CreatedAt)); err != nil && !isMissingOwner(err) { // first: its rows are counted there; the function may be gone
		return err
	}
	n, err := t.count(ctx, `update executions set updated_at = $2, deployment = $3, status = $4, status_code = $5, duration = $6, headers = $7,
		logs = $8, errors = $9, receipt = $10 where id = $1`,
		string(q.id), millis(at), string(e.Deployment), string(e.Status), int64(e.StatusCode), e.Duration,
		encodeHeaders(e.RequestHeaders, e.ResponseHeaders), e.Logs, e.Errors, encodeReceipt(e.Receipt))
	if err != nil || n == 0 || q.function == "" {
		return err
	}
	if end.Outcome == flint.OutcomeAnswered || len(end.Body) > 0 {
		if err := t.keepAnswer(ctx, q.id, end); err != nil {
			return err
		}
	}
	return s.executionEvent(ctx, t, e, "update")
}

// MaxKeptAnswer is the largest body, in bytes, that is kept for who asks again with the same idempotency key.
const MaxKeptAnswer = 1 << 20

// keepAnswer stores what a function answered if the call has an idempotency key.
func (t *tx) keepAnswer(ctx context.Context, id flint.ExecutionID, end Ending) error {
	if len(end.Body) > MaxKeptAnswer {
		return nil
	}
	body := end.Body
	if body == nil {
		body = []byte{}
	}
	return t.exec(ctx, "update idempotency set headers = $2, body = $3, answered = $4 where execution = $1", string(id), encodeHeaders(nil, end.Headers), body, true)
}

// errorKept is how much of an attempt's errors its row keeps: the end.
const errorKept = 2000

func endOf(text string) string {
	if len(text) > errorKept {
		text = "…" + text[len(text)-errorKept:]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// noteAttempt keeps what is to be known of an attempt beside the execution.
func (t *tx) noteAttempt(ctx context.Context, q *callRow, e *flint.Execution, outcome flint.Outcome, at time.Time) error {
	begun := at.Add(-time.Duration(e.Duration * float64(time.Second)))
	return t.exec(ctx, `insert into attempts (execution, number, owner, node, begun_at, ended_at, outcome, status_code, error)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, string(q.id), q.tries+1, q.owner, q.node, millis(begun), millis(at), string(outcome),
		int64(e.StatusCode), endOf(e.Errors))
}

// Attempts returns the attempts of an execution that are remembered, oldest first. One that succeeded at once has none.
func (s *Store) Attempts(ctx context.Context, id flint.ExecutionID) ([]flint.Attempt, error) {
	var all []flint.Attempt
	err := s.each(ctx, "select number, node, begun_at, ended_at, outcome, status_code, error from attempts where execution = $1 order by number", []any{string(id)},
		func(r scanner) error {
			var a flint.Attempt
			var begun, end int64
			err := r.Scan(&a.Number, &a.Node, &begun, &end, &a.Outcome, &a.StatusCode, &a.Error)
			a.BegunAt, a.EndedAt = instant(begun), instant(end)
			all = append(all, a)
			return err
		})
	return all, err
}

// settleBatch is how many lost calls are settled in one transaction.
const settleBatch = 500

// SettleExecutions ends the attempts whose lease ran out. Those of the node itself whose lease this process does not hold
// are among them at once: an earlier life of the node held them. They may have run: they run again only if their function
// wants that. reason is for people.
func (s *Store) SettleExecutions(ctx context.Context, node string, at time.Time, reason string) (settled int, err error) {
	if err := s.clampLeases(ctx, at); err != nil {
		return 0, err
	}
	const lost = "select " + callColumns + ` from calls t left join functions f on f.uid = t.owner
		where t.lease_node <> '' and (t.lease_until < $1 or t.lease_node = $2) order by t.due_at, t.id limit $3`
	spared := func(q *callRow) bool {
		known, good := s.leases.good(q.id, q.attempt, at)
		return good || !known && q.node != node && q.until >= millis(at)
	}
	return s.settle(ctx, lost, []any{millis(at), node, settleBatch + s.leases.count()}, flint.OutcomeLost, at, spared, func(*callRow) string { return reason })
}

// ExpireExecutions ends the calls that nobody has begun in time.
func (s *Store) ExpireExecutions(ctx context.Context, at time.Time) (int, error) {
	const expired = "select " + callColumns + ` from calls t left join functions f on f.uid = t.owner
		where t.lease_node = '' and t.expires_at > 0 and t.expires_at < $1 order by t.expires_at limit $2`
	return s.settle(ctx, expired, []any{millis(at), settleBatch}, flint.OutcomeExpired, at, nil, func(q *callRow) string {
		return fmt.Sprintf("The execution was given up: nobody had begun it until %s.", q.expires.Format(time.RFC3339))
	})
}

// settle ends the calls that a query names, but for those that are spared, a batch at a time.
func (s *Store) settle(ctx context.Context, query string, args []any, outcome flint.Outcome, at time.Time, spared func(*callRow) bool, reason func(*callRow) string) (settled int, err error) {
	for n := settleBatch; n == settleBatch; settled += n {
		var found []*callRow
		err = s.write(ctx, func(ctx context.Context, t *tx) error {
			found = nil
			err := t.each(ctx, query, args, func(r scanner) error {
				q, err := scanCall(r)
				if err == nil && len(found) < settleBatch && (spared == nil || !spared(q)) {
					found = append(found, q)
				}
				return err
			})
			n = len(found)
			for _, q := range found {
				if err == nil {
					err = s.settleOne(ctx, t, q, outcome, at, reason(q))
				}
			}
			return err
		})
		if err != nil {
			return settled, err
		}
		for _, q := range found {
			s.leases.drop(q.id, q.attempt)
		}
		s.died(found...)
	}
	return settled, nil
}

// settleOne ends a call whose attempt, if there was one, left nothing.
func (s *Store) settleOne(ctx context.Context, t *tx, q *callRow, outcome flint.Outcome, at time.Time, reason string) error {
	var e *flint.Execution
	found, err := t.one(ctx, "select "+executionColumns+" from executions t where t.id = $1", []any{string(q.id)}, func(r scanner) (err error) {
		e, err = executionRow(q.project, q.function)(r)
		return err
	})
	if err != nil {
		return err
	}
	if !found {
		return dropCall(ctx, t, q.id)
	}
	e.Duration = 0
	if e.Status == flint.ExecutionProcessing {
		e.Duration = max(0, at.Sub(e.UpdatedAt).Seconds())
	}
	e.Status, e.StatusCode, e.Errors = flint.ExecutionFailed, 500, joined(e.Errors, reason)
	_, err = s.ended(ctx, t, q, e, Ending{Outcome: outcome}, at)
	return err
}

// CancelExecution ends an execution that waits or runs. The result of an attempt that runs will not count.
// ErrExecutionEnded when there is nothing left to cancel.
func (s *Store) CancelExecution(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.ExecutionID, reason string) (e *flint.Execution, err error) {
	s.records.settle(ctx)
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		args := []any{string(project), string(function), string(id)}
		found, err := t.one(ctx, readExecution, args, func(r scanner) (err error) {
			e, err = executionRow(project, function)(r)
			return err
		})
		switch {
		case err != nil:
			return err
		case !found:
			return flint.ErrExecutionNotFound
		case e.Status.Final():
			return flint.ErrExecutionEnded
		}
		var q *callRow
		found, err = t.one(ctx, "select "+callColumns+" from calls t left join functions f on f.uid = t.owner where t.id = $1", args[2:],
			func(r scanner) (err error) { q, err = scanCall(r); return err })
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("execution %s has no call", id)
		}
		return s.settleOne(ctx, t, q, flint.OutcomeCanceled, now(), reason)
	})
	if err != nil {
		return nil, err
	}
	return s.Execution(ctx, project, function, id)
}
