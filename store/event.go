package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"flint"
)

// Model writes what an event carries of a noun: what clients see of it. vars are the variables of a function.
type Model func(noun any, vars []*flint.Variable) ([]byte, error)

// emit records an event in the transaction that caused it. noun is what it happened to; nil: a row that is final and is
// read when the event is.
func (s *Store) emit(ctx context.Context, t *tx, project flint.ProjectID, noun any, pattern string, ids ...string) error {
	var vars []*flint.Variable
	if f, ok := noun.(*flint.Function); ok && s.config.Model != nil {
		if err := t.each(ctx, readVariables, []any{string(project), string(f.ID), flint.MaxVariablesInjected}, func(r scanner) error {
			v, err := s.scanVariable(r)
			vars = append(vars, v)
			return err
		}); err != nil {
			return err
		}
	}
	payload, err := s.payload(noun, vars)
	if err != nil {
		return fmt.Errorf("event %s: %w", pattern, err)
	}
	return t.addEvent(ctx, project, payload, pattern, ids...)
}

// payload is what an event carries of a noun; nil: nothing.
func (s *Store) payload(noun any, vars []*flint.Variable) (string, error) {
	if noun == nil || s.config.Model == nil {
		return "", nil
	}
	b, err := s.config.Model(noun, vars)
	if err != nil {
		return "", fmt.Errorf("payload: %w", err)
	}
	return string(b), nil
}

func (t *tx) addEvent(ctx context.Context, project flint.ProjectID, payload, pattern string, ids ...string) error {
	t.event = max(t.event+1, time.Now().UnixMicro())
	t.emitted = true
	return t.exec(ctx, "insert into events (seq, project, pattern, ids, payload, user_id, hops) values ($1, $2, $3, $4, $5, $6, $7)",
		t.event, string(project), pattern, strings.Join(ids, "\n"), payload, t.actor.User, t.actor.Hops)
}

func (s *Store) functionEvent(ctx context.Context, t *tx, f *flint.Function, action string) error {
	return s.emit(ctx, t, f.Project, f, "functions.[functionId]."+action, string(f.ID))
}

// deploymentEvent leaves the build log out: it is long and still in the row, unless that is gone as well.
func (s *Store) deploymentEvent(ctx context.Context, t *tx, d *flint.Deployment, action string) error {
	return s.emit(ctx, t, d.Project, d, "functions.[functionId].deployments.[deploymentId]."+action, string(d.Function), string(d.ID))
}

const executionEvents = "functions.[functionId].executions.[executionId]."

// executionEvent records an event of an execution. The row of one that has ended is not copied.
func (s *Store) executionEvent(ctx context.Context, t *tx, e *flint.Execution, action string) error {
	var noun any
	switch {
	case action == "delete":
		short := *e
		short.Logs, short.Errors = "", "" // an event is small
		noun = &short
	case !e.Status.Final():
		noun = e
	}
	return s.emit(ctx, t, e.Project, noun, executionEvents+action, string(e.Function), string(e.ID))
}

func (s *Store) variableEvent(ctx context.Context, t *tx, v *flint.Variable, action string) error {
	return s.emit(ctx, t, v.Project, v, "variables.[variableId]."+action, string(v.ID))
}

func (s *Store) ruleEvent(ctx context.Context, t *tx, r *flint.Rule, action string) error {
	return s.emit(ctx, t, r.Project, r, "rules.[ruleId]."+action, string(r.ID))
}

// lastEvent reads the number that the writer goes on from. All events up to the cursor may be gone: what the relay has
// passed is not given again.
const lastEvent = "select coalesce(max(seq), 0) from (select max(seq) as seq from events union all select max(seq) from event_cursors) t"

// Events returns the oldest events after the one with that number, or the oldest of all for 0.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]*flint.Event, error) {
	var all []*flint.Event
	err := s.each(ctx, "select seq, project, pattern, ids, payload, user_id, hops from events where seq > $1 order by seq limit $2", []any{after, limit}, func(r scanner) error {
		var e flint.Event
		var ids string
		if err := r.Scan(&e.Seq, &e.Project, &e.Pattern, &ids, &e.Payload, &e.User, &e.Hops); err != nil {
			return err
		}
		e.CreatedAt, e.IDs = time.UnixMicro(e.Seq).UTC(), strings.Split(ids, "\n")
		all = append(all, &e)
		return nil
	})
	return all, err
}

// EventsWritten is rung after commits with events. One hears it: who relays them.
func (s *Store) EventsWritten() <-chan struct{} { return s.writer.events }

// EventPayload returns what an event carries. That of an execution that has ended is read and written now; nothing when
// the execution has been deleted meanwhile.
func (s *Store) EventPayload(ctx context.Context, e *flint.Event) ([]byte, error) {
	if len(e.Payload) > 0 || s.config.Model == nil {
		return e.Payload, nil
	}
	if len(e.IDs) != 2 || !strings.HasPrefix(e.Pattern, "functions.[functionId].executions.[executionId]") {
		return nil, fmt.Errorf("event %d, %s, says nothing of what it happened to", e.Seq, e.Pattern)
	}
	var x *flint.Execution // its row was committed with the event: records that are on their way are not waited for
	err := s.one(ctx, readExecution, []any{string(e.Project), e.IDs[0], e.IDs[1]}, func(r scanner) (err error) {
		x, err = executionRow(e.Project, flint.FunctionID(e.IDs[0]))(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.config.Model(x, nil)
}

// relayed bounds what may be removed of the events: those that have had their effects.
const relayed = "seq <= (select seq from event_cursors where name = 'relay')"

// PruneEvents removes up to limit events that happened before a time, oldest first, and returns how many it removed.
// Events that were not relayed stay.
func (s *Store) PruneEvents(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		n, err = t.count(ctx, "delete from events where seq in (select seq from events where seq < $1 and "+relayed+" order by seq limit $2)",
			before.UnixMicro(), limit)
		return err
	})
	return n, err
}

// KeepEvents removes the oldest events until at most keep are left, up to limit at once, and returns how many it removed.
// Events that were not relayed stay.
func (s *Store) KeepEvents(ctx context.Context, keep, limit int) (n int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		n, err = t.count(ctx, `delete from events where seq in (select seq from events where seq <= (select seq from events order by seq desc limit 1 offset $1)
			and `+relayed+` order by seq limit $2)`, keep, limit)
		return err
	})
	return n, err
}
