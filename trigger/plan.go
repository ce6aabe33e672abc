package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"flint"
	"flint/invoke"
	"flint/store"
)

// batch is events with what they lead to.
type batch struct {
	events   []*flint.Event
	effects  store.Effects
	outcomes []string // of the runs, for the metrics
	bytes    int
}

// mark is a length of a batch to go back to.
type mark struct{ runs, deliveries, bytes int }

func (b *batch) mark() mark { return mark{len(b.effects.Runs), len(b.effects.Deliveries), b.bytes} }

func (b *batch) undo(m mark) {
	b.effects.Runs, b.effects.Deliveries, b.outcomes, b.bytes = b.effects.Runs[:m.runs], b.effects.Deliveries[:m.deliveries], b.outcomes[:m.runs], m.bytes
}

func (b *batch) full() bool {
	return b.size() >= batchRuns || b.bytes >= batchBytes
}

func (b *batch) size() int { return len(b.effects.Runs) + len(b.effects.Deliveries) }

// plan finds out what events lead to, up to one that fails or to where the batch is full. The error is about the first
// event that is not in the batch.
func (r *Relay) plan(ctx context.Context, events []*flint.Event) (*batch, error) {
	b := &batch{effects: store.Effects{After: r.saved, Upto: r.cursor}}
	for _, e := range events {
		before := b.mark()
		if err := r.planEvent(ctx, b, e); err != nil {
			b.undo(before)
			return b, err
		}
		b.events, b.effects.Upto = append(b.events, e), e.Seq
		if b.full() {
			break
		}
	}
	return b, nil
}

func (r *Relay) planEvent(ctx context.Context, b *batch, e *flint.Event) error {
	if some, err := r.index.some(ctx, e.Project); err != nil || !some {
		return err // an event has many names, and most projects have nobody who wants one
	}
	names, err := eventNames(e)
	if err != nil {
		return err
	}
	wanted, err := r.index.match(ctx, e.Project, names)
	if err != nil {
		return err
	}
	if len(wanted) == 0 {
		return nil // those who watch read what an execution has become themselves, if they want it
	}
	if e.Payload, err = r.config.Store.EventPayload(ctx, e); err != nil {
		return err
	}
	if len(e.Payload) == 0 {
		r.metrics.gone.Inc() // the execution was deleted meanwhile: an event of its own says so
		return nil
	}
	if !json.Valid(e.Payload) {
		return fmt.Errorf("event %d: its payload is not JSON", e.Seq)
	}
	for _, s := range wanted {
		if s.Function == "" {
			b.bytes += len(e.Payload)
			b.effects.Deliveries = append(b.effects.Deliveries, store.EventDelivery{
				Webhook: s.Webhook, Delivery: &flint.WebhookDelivery{Seq: e.Seq, Names: strings.Join(names, ","), User: e.User, Payload: e.Payload},
			})
			continue
		}
		if strings.HasPrefix(e.Pattern, "functions.") {
			continue // no function subscribes to them; a row that says so is from elsewhere
		}
		if err := r.planRun(ctx, b, e, names[0], s.Function); err != nil {
			if ctx.Err() != nil || r.failed < tries-1 || errors.Is(err, flint.ErrStorageUnavailable) {
				return err
			}
			r.metrics.aside.Inc() // the last try: the others get theirs
			r.config.Logger.ErrorContext(ctx, "event set aside for a function: it is not run", eventAttr(e), slog.String("function_id", string(s.Function)), errAttr(err))
		}
	}
	return nil
}

// planRun makes the execution of a function, or one that tells why the function is not run.
func (r *Relay) planRun(ctx context.Context, b *batch, e *flint.Event, name string, function flint.FunctionID) error {
	f, err := r.config.Invoker.Function(ctx, e.Project, function)
	if errors.Is(err, flint.ErrFunctionNotFound) {
		return nil // deleted just now
	}
	if err != nil {
		return err
	}
	execution, call := r.config.Invoker.Prepare(&invoke.Call{
		Project: e.Project, Function: function, Trigger: flint.TriggerEvent, Event: name, Method: "POST", Path: "/", Body: e.Payload,
		Caller: invoke.Caller{Privileged: true, User: e.User, Hops: e.Hops + 1},
		Headers: []flint.Header{
			{Name: "user-agent", Value: "Appwrite/" + flint.ReferenceVersion}, {Name: "content-type", Value: "application/json"},
		},
	}, f.DeploymentID, time.Now())
	outcome := "queued"
	switch {
	case e.Hops >= r.config.MaxHops:
		outcome, call = "cut", nil
		r.config.Invoker.Refuse(execution, fmt.Sprintf("The function was not run: it was triggered by %d events in turn, the last %s — see docs/events.md. A chain of triggers ends there so that no loop goes on for ever.", e.Hops+1, name))
		r.config.Logger.WarnContext(ctx, "chain of triggers cut", eventAttr(e), slog.String("function_id", string(function)), slog.String("execution_id", string(execution.ID)))
	default:
		b.bytes += len(call.Body)
	}
	b.effects.Runs = append(b.effects.Runs, store.EventRun{Execution: execution, Call: call, Actor: flint.Actor{User: e.User, Hops: e.Hops + 1}})
	b.outcomes = append(b.outcomes, outcome)
	return nil
}

// eventNames expands an event. What a row says may be damaged.
func eventNames(e *flint.Event) (names []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("event %d: %v", e.Seq, p)
		}
	}()
	return e.Names(), nil
}

// watch hands a batch to those who watch, if they keep up.
func (r *Relay) watch(ctx context.Context, events []*flint.Event) {
	if r.config.Publish == nil {
		return
	}
	select {
	case r.copies <- events:
	default:
		r.unseen(ctx, len(events), errBehind)
	}
}

var errBehind = errors.New("those who watch do not keep up")

// unseen notes events that were not handed on. It says so now and then: the next ones are likely to share their fate.
func (r *Relay) unseen(ctx context.Context, count int, err error) {
	r.metrics.unseen.Add(float64(count))
	if others, ok := r.complaints.Pass(); ok {
		r.config.Logger.WarnContext(ctx, "events not published", slog.Int("count", count), slog.Int("other_batches", others), errAttr(err))
	}
}

// publish hands batches on until ctx ends. Its failures change nothing: the effects are written.
func (r *Relay) publish(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case events := <-r.copies:
			limited, cancel := context.WithTimeout(ctx, publishTime)
			err := r.config.Publish(limited, events)
			cancel()
			if err != nil && ctx.Err() == nil {
				r.unseen(ctx, len(events), err)
			}
		}
	}
}
