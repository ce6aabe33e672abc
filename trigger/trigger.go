// Package trigger makes events have their effects: functions that subscribed to one are run, and webhooks are told of it.
//
// Invariants:
//   - Events are relayed in the order of their numbers. What a batch leads to and the place up to which it is relayed are
//     one transaction that outlives the loss of power: each event has its effects exactly once, whatever crashes.
//   - Most events lead to nothing: the database is told of those only now and then, and they may be looked at again. It is
//     told at once when subscriptions change, so that a subscription hears nothing of what was before it.
//   - Whether something wants an event is decided as of the moment in which it is relayed or later, never earlier.
//   - An event that cannot be relayed is set aside after some tries, with its reason in the log; it does not hold up those
//     that follow for longer.
//   - A chain of triggers has an end: see Config.MaxHops.
//   - A delivery to a webhook is a row with an owner; it is made at least once, or given up with a reason.
//
// Goroutines: [Relay.Run] is one, [Deliverer.Run] owns those that deliver.
package trigger

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/internal/sparse"
	"flint/invoke"
	"flint/store"
)

// Config is what a Relay needs.
type Config struct {
	Store    *store.Store
	Invoker  *invoke.Invoker
	Logger   *slog.Logger
	Registry prometheus.Registerer

	Publish   func(context.Context, []*flint.Event) error // hands copies to those who watch, after the effects; nil: nobody does
	Observe   func(*flint.Execution)                      // told of executions that failed before they began; must not block. nil: nobody asks
	Delivered func()                                      // there are new deliveries; nil: nobody asks

	MaxHops int // triggers in turn after which a chain is cut [8]
}

// Bounds of the relay.
const (
	batchEvents = 256                  // read at once
	batchRuns   = 1000                 // written at once, unless one event alone has more
	batchBytes  = 8 << 20              // of their bodies
	gather      = 5 * time.Millisecond // after the bell, for more events to come
	saveEvery   = time.Second          // for the cursor behind events that led to nothing
	idlePoll    = time.Second          // how often events are looked for although nobody rang
	tries       = 5                    // of an event, before it is set aside
	firstPause  = 50 * time.Millisecond
	longPause   = 5 * time.Second
	publishTime = 5 * time.Second  // of one batch for those who watch
	batchesKept = 64               // for those who watch; what comes then they do not see
	lagWarning  = time.Minute      // of the relay, before the log says so
	lagRepeat   = 10 * time.Minute // between two times that it does
)

// Relay reads events and writes what they lead to. One runs for a database; a second one only fails.
type Relay struct {
	config  Config
	index   *index
	metrics *metrics
	copies  chan []*flint.Event // for those who watch
	oldest  atomic.Int64        // when the oldest event that was not relayed happened, in microseconds; 0: there is none

	complaints sparse.Gate // about events that were not published

	// Only Run touches these.
	cursor   int64 // negative: not known
	saved    int64 // the cursor as the database has it: behind by events that led to nothing
	savedAt  time.Time
	limit    int         // events in the next batch
	failed   int         // tries of the first of them
	troubled int         // batches that failed in turn, whosever fault it was
	stalls   sparse.Gate // about them
	warned   time.Time
}

// New makes a Relay.
func New(c Config) *Relay {
	if c.Store == nil || c.Invoker == nil || c.Logger == nil || c.Registry == nil {
		panic("trigger: Store, Invoker, Logger and Registry are required")
	}
	if c.MaxHops == 0 {
		c.MaxHops = 8
	}
	r := &Relay{config: c, index: newIndex(c.Store), copies: make(chan []*flint.Event, batchesKept), cursor: -1, limit: batchEvents}
	r.metrics = newMetrics(c.Registry, r.lag)
	return r
}

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }

// Run relays events until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	watchers.Go(func() { r.publish(ctx) })
	defer r.leave(ctx)
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for {
		more, err := r.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if others, ok := r.stalls.Pass(); ok {
				r.config.Logger.ErrorContext(ctx, "events not relayed", slog.Int("tries", r.failed), slog.Int("others", others), errAttr(err))
			}
			if !pause(ctx, min(firstPause<<min(r.troubled, 10), longPause)) {
				return nil
			}
			r.troubled++
		case more:
		default:
			select {
			case <-r.config.Store.EventsWritten():
				if !pause(ctx, gather) {
					return nil
				}
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// pause waits; false when it is of no use any more.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// step relays one batch and reports whether there may be more.
func (r *Relay) step(ctx context.Context) (more bool, err error) {
	if r.cursor < 0 {
		at, err := r.config.Store.Cursor(ctx)
		if err != nil {
			return false, err
		}
		r.cursor, r.saved = at, at
	}
	events, err := r.config.Store.Events(ctx, r.cursor, r.limit)
	if err != nil {
		return false, err
	}
	r.noteLag(ctx, events)
	if len(events) == 0 {
		if err := r.save(ctx, saveEvery); err != nil {
			r.cursor = -1
			return false, err
		}
		return false, nil
	}
	if err := r.relay(ctx, events); err != nil {
		r.cursor, r.limit = -1, 1 // what was written is not known; the next batch shows which event it was
		return false, err
	}
	more = len(events) == r.limit || r.cursor < events[len(events)-1].Seq
	r.failed, r.troubled, r.limit = 0, 0, min(2*r.limit, batchEvents)
	return more, nil
}

// relay writes the effects of as many events as go into one transaction.
func (r *Relay) relay(ctx context.Context, events []*flint.Event) error {
	every := saveEvery
	if r.index.follow(events) {
		every = 0 // looked at again, earlier events would find subscribers that came after them
	}
	b, err := r.plan(ctx, events)
	switch {
	case len(b.events) > 0 && b.size() > 0:
		if err = r.config.Store.Relay(ctx, &b.effects); err == nil { // an event that failed is the first of the next batch
			r.saved, r.savedAt = b.effects.Upto, time.Now()
		}
	case len(b.events) > 0:
		r.cursor = b.effects.Upto
		err = r.save(ctx, every)
	}
	switch {
	case err == nil:
		r.advance(ctx, b)
		return nil
	case ctx.Err() != nil:
		return err
	case len(b.events) <= 1 && !errors.Is(err, flint.ErrStorageUnavailable): // which is no fault of the event
		if r.failed++; r.failed >= tries {
			return r.setAside(ctx, events[0], err)
		}
	}
	return err
}

// advance goes on after a batch whose effects are written.
func (r *Relay) advance(ctx context.Context, b *batch) {
	r.cursor = b.effects.Upto
	r.metrics.relayed.Add(float64(len(b.events)))
	queued := false
	for i := range b.effects.Runs {
		run := &b.effects.Runs[i]
		queued = queued || run.Call != nil
		if run.Call == nil && r.config.Observe != nil {
			r.config.Observe(run.Execution)
		}
		r.metrics.runs.WithLabelValues(b.outcomes[i]).Inc()
	}
	if queued {
		r.config.Invoker.Ring()
	}
	if n := len(b.effects.Deliveries); n > 0 {
		r.metrics.matched.Add(float64(n))
		if r.config.Delivered != nil {
			r.config.Delivered()
		}
	}
	r.watch(ctx, b.events)
}

// save tells the database how far the relay has come, unless it was told within every; at once for 0.
func (r *Relay) save(ctx context.Context, every time.Duration) error {
	if r.cursor <= r.saved || every > 0 && time.Since(r.savedAt) < every {
		return nil
	}
	err := r.config.Store.Relay(ctx, &store.Effects{After: r.saved, Upto: r.cursor})
	if err == nil {
		r.saved, r.savedAt = r.cursor, time.Now()
	}
	return err
}

// leave saves the cursor when the relay ends. If it cannot, some events are looked at again.
func (r *Relay) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTime)
	defer cancel()
	if err := r.save(ctx, 0); err != nil {
		r.config.Logger.WarnContext(ctx, "place in the events not saved", errAttr(err))
	}
}

// setAside goes past an event that cannot be relayed. Its row stays as long as those of others, for whoever reads the log.
func (r *Relay) setAside(ctx context.Context, e *flint.Event, why error) error {
	if err := r.config.Store.Relay(ctx, &store.Effects{After: r.saved, Upto: e.Seq}); err != nil {
		return errors.Join(why, err) // it is not the event: nothing can be written
	}
	r.cursor, r.saved = e.Seq, e.Seq
	r.metrics.aside.Inc()
	r.config.Logger.ErrorContext(ctx, "event set aside: it has no effects", eventAttr(e), errAttr(why))
	return nil
}

func eventAttr(e *flint.Event) slog.Attr {
	return slog.Group("event", slog.Int64("seq", e.Seq), slog.String("project_id", string(e.Project)), slog.String("pattern", e.Pattern))
}

// noteLag remembers how far behind the relay is, and says so when it is far.
func (r *Relay) noteLag(ctx context.Context, events []*flint.Event) {
	if len(events) == 0 {
		r.oldest.Store(0)
		return
	}
	r.oldest.Store(events[0].CreatedAt.UnixMicro())
	if lag := r.lag(); lag > lagWarning && time.Since(r.warned) > lagRepeat {
		r.warned = time.Now()
		r.config.Logger.WarnContext(ctx, "events are relayed late", slog.Duration("lag", lag))
	}
}

// lag is how long the oldest event that was not relayed has waited.
func (r *Relay) lag() time.Duration {
	oldest := r.oldest.Load()
	if oldest == 0 {
		return 0
	}
	return max(0, time.Since(time.UnixMicro(oldest)))
}
