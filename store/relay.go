package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"flint"
)

// errRelayed is of effects that somebody else has written.
var errRelayed = errors.New("the events were relayed by somebody else")

// Effects are what events lead to.
type Effects struct {
	After, Upto int64 // the cursor before and after
	Runs        []EventRun
	Deliveries  []EventDelivery
}

// EventRun is a function that an event runs.
type EventRun struct {
	Execution *flint.Execution
	Call      *QueuedCall // nil: the execution has failed already
	Actor     flint.Actor
}

// EventDelivery is an event that a webhook is told of.
type EventDelivery struct {
	Webhook  int64 // Subscriber.Webhook
	Delivery *flint.WebhookDelivery
}

// Cursor returns the number of the last event that has had its effects.
func (s *Store) Cursor(ctx context.Context) (seq int64, err error) {
	err = s.one(ctx, "select seq from event_cursors where name = 'relay'", nil, func(r scanner) error { return r.Scan(&seq) })
	return seq, err
}

// Relay writes what events lead to and that they have had their effects, at once: either all of it outlives the loss of
// power when it returns nil, or nothing is written. What is for functions and webhooks that are gone is left out. The
// cursor alone only outlives the process: that events led to nothing can be found out again.
func (s *Store) Relay(ctx context.Context, f *Effects) error {
	rows := make([]*queueEntry, len(f.Runs))
	for i, r := range f.Runs {
		if r.Call == nil {
			rows[i] = &queueEntry{row: newRecord(r.Execution)}
			continue
		}
		r.Execution.Status = flint.ExecutionWaiting
		var err error
		if rows[i], err = s.newEntry(r.Execution, r.Call); err != nil {
			return err
		}
	}
	return s.writer.do(ctx, &job{durable: len(f.Runs)+len(f.Deliveries) > 0, run: func(ctx context.Context, t *tx) error {
		n, err := t.count(ctx, "update event_cursors set seq = $2 where name = 'relay' and seq = $1", f.After, f.Upto)
		if err == nil && n == 0 {
			err = errRelayed
		}
		if err != nil {
			return err
		}
		for i := range f.Runs {
			if err := s.runOfEvent(ctx, t, &f.Runs[i], rows[i]); err != nil {
				return err
			}
		}
		for i := range f.Deliveries {
			if err := addDelivery(ctx, t, &f.Deliveries[i]); err != nil {
				return err
			}
		}
		return nil
	}})
}

func (s *Store) runOfEvent(ctx context.Context, t *tx, r *EventRun, q *queueEntry) error {
	found, err := t.one(ctx, "select 1 from functions where project = $1 and id = $2 and born_at <= $3", []any{q.row.project, q.row.function, q.row.created}, ignore)
	if err != nil || !found {
		return err
	}
	if r.Call != nil {
		return s.enqueue(ctx, t, q)
	}
	if err := addExecution(ctx, t, &q.row); err != nil {
		return err
	}
	t.actor = r.Actor
	return s.executionEvent(ctx, t, r.Execution, "update")
}

// Subscriber is a function or a webhook with the names of the events that it wants.
type Subscriber struct {
	Function flint.FunctionID // has an active deployment
	Webhook  int64            // one life of a webhook that is enabled
	ID       flint.WebhookID
	Events   []string
}

const (
	readSubscribedFunctions = "select t.id, t.settings from functions t where t.project = $1 and t.deployment_id <> ''"
	readSubscribedWebhooks  = "select t.uid, t.id, t.events from webhooks t where t.project = $1 and t.enabled"
)

// Subscribers returns all of a project that want something.
func (s *Store) Subscribers(ctx context.Context, project flint.ProjectID) ([]Subscriber, error) {
	return s.subscribers(ctx, "", []any{string(project)}, readSubscribedFunctions, readSubscribedWebhooks)
}

// SubscribedFunction returns a function if it wants something.
func (s *Store) SubscribedFunction(ctx context.Context, project flint.ProjectID, id flint.FunctionID) ([]Subscriber, error) {
	return s.subscribers(ctx, " and t.id = $2", []any{string(project), string(id)}, readSubscribedFunctions, "")
}

// SubscribedWebhook returns a webhook if it wants something.
func (s *Store) SubscribedWebhook(ctx context.Context, project flint.ProjectID, id flint.WebhookID) ([]Subscriber, error) {
	return s.subscribers(ctx, " and t.id = $2", []any{string(project), string(id)}, "", readSubscribedWebhooks)
}

func (s *Store) subscribers(ctx context.Context, only string, args []any, functions, webhooks string) (all []Subscriber, err error) {
	if functions != "" {
		if err := s.each(ctx, functions+only, args, func(r scanner) error {
			var v Subscriber
			var settings []byte
			if err := r.Scan(&v.Function, &settings); err != nil {
				return err
			}
			var wants struct {
				Events []string `json:"events"`
			}
			if err := json.Unmarshal(settings, &wants); err != nil {
				return fmt.Errorf("settings of function %s: %w", v.Function, err)
			}
			if v.Events = wants.Events; len(v.Events) > 0 {
				all = append(all, v)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if webhooks == "" {
		return all, nil
	}
	err = s.each(ctx, webhooks+only, args, func(r scanner) error {
		var v Subscriber
		var events string
		if err := r.Scan(&v.Webhook, &v.ID, &events); err != nil {
			return err
		}
		v.Events = unlines(events)
		all = append(all, v)
		return nil
	})
	return all, err
}
