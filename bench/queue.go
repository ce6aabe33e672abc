package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/bus"
	"flint/store"
	"flint/wire"
)

const (
	queueCallers = 64              // that enqueue at once
	queueBacklog = 3000            // calls whose making says how fast they are made
	queueCalls   = 200             // whose latency is measured at rest
	queueHalf    = 8 * time.Second // of load at half of what can be done
	queueBound   = 0.6             // of the raw rate that calls are accepted at, at least
)

// queueRow is what asynchronous calls cost with a number of others queued. Rates are a second's, times microseconds.
type queueRow struct {
	Queued   int     `json:"queued"`
	Accepted float64 `json:"accepted"` // by the node, over its API, each durable
	Raw      float64 `json:"raw"`      // of the same rows, by the same writer without API or node
	Ratio    float64 `json:"ratio"`    // median of those of the rounds
	Streamed float64 `json:"streamed"` // messages of that size that the stream of events of an embedded bus takes
	Made     float64 `json:"made"`     // calls that are made when nothing else is to do
	IdleP50  float64 `json:"idle_p50_us"`
	IdleP99  float64 `json:"idle_p99_us"`
	HalfP50  float64 `json:"half_p50_us"` // at half of the rate at which calls are made
	HalfP99  float64 `json:"half_p99_us"`
}

type queueRows []*queueRow

// queue measures asynchronous calls, with more and more of them waiting for tomorrow.
func queue(ctx context.Context, b *bed, o options) (result, error) {
	n, err := b.replicas(ctx, "queue", 1)
	if err != nil {
		return nil, err
	}
	raw, fillRaw, closeRaw, err := rawQueue(ctx, filepath.Join(b.dir, "queue-raw"))
	if err != nil {
		return nil, err
	}
	defer closeRaw()
	stream, closeStream, err := rawStream(ctx, filepath.Join(b.dir, "queue-bus"))
	if err != nil {
		return nil, err
	}
	defer closeStream()
	var rows queueRows
	for _, size := range []int{1000, 10_000, 100_000, 1_000_000} {
		if size > o.queued {
			break
		}
		b.say("queue: %d calls waiting", size)
		n.process.stop()
		if err := errors.Join(fillQueue(ctx, filepath.Join(b.dir, "queue", "data"), size-filled(rows)), fillRaw(ctx, size-filled(rows))); err != nil {
			return nil, err
		}
		if n, err = b.again(ctx, "queue"); err != nil {
			return nil, err
		}
		if err := n.relayed(ctx); err != nil {
			return nil, err
		}
		row := &queueRow{Queued: size}
		if err := row.measure(ctx, n, raw, stream, o); err != nil {
			return nil, fmt.Errorf("with %d queued: %w", size, err)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, errors.New("-queued must be at least 1000")
	}
	return rows, nil
}

func filled(rows queueRows) int {
	if len(rows) == 0 {
		return 0
	}
	return rows[len(rows)-1].Queued
}

// pace measures how often in a second something can be done.
type pace func(context.Context, time.Duration) (float64, error)

func (r *queueRow) measure(ctx context.Context, n *node, raw, stream pace, o options) error {
	var accepted, rates, ratios, streamed []float64
	for range o.rounds { // in alternation
		a, err := n.accept(ctx, o.duration)
		if err != nil {
			return err
		}
		own, err := raw(ctx, o.duration)
		if err != nil {
			return err
		}
		messages, err := stream(ctx, o.duration)
		if err != nil {
			return err
		}
		accepted, rates, streamed = append(accepted, a), append(rates, own), append(streamed, messages)
		ratios = append(ratios, ratio(a, own)) // the machine may be quicker in one round than in another
	}
	r.Accepted, r.Raw, r.Streamed = median(accepted), median(rates), median(streamed)
	r.Ratio = median(ratios)

	begin := time.Now()
	if _, err := n.enqueueAll(ctx, queueBacklog, 0); err != nil {
		return err
	}
	if err := n.drained(ctx); err != nil {
		return err
	}
	r.Made = queueBacklog / time.Since(begin).Seconds()

	idle := make([]time.Duration, 0, queueCalls)
	for range queueCalls {
		ids, err := n.enqueueAll(ctx, 1, 0)
		if err != nil {
			return err
		}
		took, err := n.ended(ctx, ids[0])
		if err != nil {
			return err
		}
		idle = append(idle, took)
	}
	slices.Sort(idle)
	r.IdleP50, r.IdleP99 = micros(quantile(idle, 0.5)), micros(quantile(idle, 0.99))

	ids, err := n.enqueueAll(ctx, int(r.Made/2*queueHalf.Seconds()), time.Duration(float64(time.Second)*2/r.Made))
	if err != nil {
		return err
	}
	if err := n.drained(ctx); err != nil {
		return err
	}
	half := make([]time.Duration, 0, 1000)
	for i := 0; i < len(ids); i += max(1, len(ids)/1000) { // some of them say it all
		took, err := n.ended(ctx, ids[i])
		if err != nil {
			return err
		}
		half = append(half, took)
	}
	slices.Sort(half)
	r.HalfP50, r.HalfP99 = micros(quantile(half, 0.5)), micros(quantile(half, 0.99))
	return nil
}

const (
	queueFunction = "copy-0"
	rawDeployment = "6b0bc3a87422520778ee" // as long as a real one
)

// accept returns how many calls a second the node accepts that are to run tomorrow.
func (n *node) accept(ctx context.Context, d time.Duration) (float64, error) {
	tomorrow := time.Now().Add(24 * time.Hour).Truncate(time.Minute).UTC().Format(time.RFC3339)
	body := fmt.Sprintf(`{"async":true,"method":"POST","path":"/","body":"{}","scheduledAt":%q}`, tomorrow)
	var made atomic.Int64
	from := time.Now()
	err := each(ctx, queueCallers, func(ctx context.Context) error {
		c, err := n.poster(ctx, body)
		if err != nil {
			return err
		}
		defer c.c.Close()
		for time.Since(from) < d && ctx.Err() == nil {
			if err := c.post(); err != nil {
				return err
			}
			made.Add(1)
		}
		return nil
	})
	return float64(made.Load()) / time.Since(from).Seconds(), err
}

// enqueueAll has a number of calls made as soon as can be, one after each pause, and returns their executions.
func (n *node) enqueueAll(ctx context.Context, count int, pause time.Duration) ([]string, error) {
	ids := make([]string, count)
	var next atomic.Int64
	begin := time.Now()
	err := each(ctx, min(count, queueCallers), func(ctx context.Context) error {
		c, err := n.poster(ctx, `{"async":true,"method":"GET","path":"/"}`)
		if err != nil {
			return err
		}
		defer c.c.Close()
		for {
			i := next.Add(1) - 1
			if int(i) >= count || !waitUntil(ctx, begin.Add(time.Duration(i)*pause)) {
				return ctx.Err()
			}
			if err := c.post(); err != nil {
				return err
			}
			if ids[i], err = c.accepted(); err != nil {
				return err
			}
		}
	})
	return ids, err
}

// each runs a function several times at once, and returns the first error.
func each(ctx context.Context, times int, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range times {
		wg.Go(func() {
			if err := do(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// poster is a connection on which one call is enqueued again and again.
func (n *node) poster(ctx context.Context, body string) (*conn, error) {
	c, err := dial(ctx, endpoint{Addr: n.addr, Host: n.addr}, "/")
	if err != nil {
		return nil, err
	}
	c.request = fmt.Appendf(nil, "POST /v1/functions/%s/executions HTTP/1.1\r\nHost: %s\r\nX-Appwrite-Project: %s\r\nX-Appwrite-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		queueFunction, n.addr, projectID, n.key, len(body), body)
	return c, c.c.SetDeadline(time.Now().Add(10 * time.Minute))
}

// post enqueues the call.
func (c *conn) post() error {
	if _, err := c.c.Write(c.request); err != nil {
		return err
	}
	a, err := readAnswer(c.r, c.buf)
	if err != nil {
		return err
	}
	c.buf = a.body
	if a.status != http.StatusAccepted {
		return fmt.Errorf("an asynchronous call was answered with status %d: %.200s", a.status, a.body)
	}
	return nil
}

// accepted is the execution of the call that was enqueued last.
func (c *conn) accepted() (string, error) {
	var e struct {
		ID string `json:"$id"`
	}
	return e.ID, json.Unmarshal(c.buf, &e)
}

// drained waits until no call waits that is due.
func (n *node) drained(ctx context.Context) error {
	return n.process.await(ctx, 2*time.Minute, func(ctx context.Context) error {
		var list struct {
			Total int `json:"total"`
		}
		const open = "?queries[]=%7B%22method%22:%22equal%22,%22attribute%22:%22status%22,%22values%22:[%22waiting%22,%22processing%22]%7D"
		if err := n.rest(ctx, http.MethodGet, "/v1/functions/"+queueFunction+"/executions"+open, nil, &list); err != nil {
			return err
		}
		if list.Total > 0 {
			return fmt.Errorf("%d calls have not been made", list.Total)
		}
		return nil
	})
}

// relayed waits until the events of the calls that were written without the node have been looked at.
func (n *node) relayed(ctx context.Context) error {
	return n.process.await(ctx, 10*time.Minute, func(ctx context.Context) error {
		done, err := n.counter(ctx, "flint_events_relayed_total")
		if err != nil {
			return err
		}
		lag, err := n.counter(ctx, "flint_events_lag_seconds")
		if err != nil {
			return err
		}
		if done == 0 || lag > 1 {
			return fmt.Errorf("the events of %d s ago have not been relayed", lag)
		}
		return nil
	})
}

// ended waits for the end of an execution and returns how long it took from when it was accepted.
func (n *node) ended(ctx context.Context, id string) (time.Duration, error) {
	var r struct {
		Queue float64 `json:"queueTime"`
		Cold  float64 `json:"coldStartTime"`
		Run   float64 `json:"runTime"`
	}
	err := n.process.await(ctx, time.Minute, func(ctx context.Context) error {
		return n.rest(ctx, http.MethodGet, "/v1/flint/functions/"+queueFunction+"/executions/"+id+"/receipt", nil, &r)
	})
	return time.Duration((r.Queue + r.Cold + r.Run) * float64(time.Second)), err
}

// rawQueue opens a store of its own and returns what measures how many calls a second it takes, without a node, and what adds a
// number of them.
func rawQueue(ctx context.Context, dir string) (measure pace, fill func(context.Context, int) error, closeIt func(), err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, nil, nil, err
	}
	db, err := store.Open(ctx, store.Config{Path: filepath.Join(dir, "flint.db"), Secret: make([]byte, 32), Model: rawModel()})
	if err != nil {
		return nil, nil, nil, err
	}
	closeIt = func() { _ = db.Close() }
	f := &flint.Function{Project: projectID, ID: queueFunction, Name: queueFunction, Runtime: "node-22"}
	if err := errors.Join(db.CreateProject(ctx, &flint.Project{ID: projectID}), db.CreateFunction(ctx, f, nil)); err != nil {
		closeIt()
		return nil, nil, nil, err
	}
	fill = func(ctx context.Context, count int) error { return enqueueMany(ctx, db, count) }
	return often(func(ctx context.Context, _ int64) error { return enqueueRaw(ctx, db) }), fill, closeIt, nil
}

// often returns how often in a second something can be done in this process by queueCallers at once. do is told its number.
func often(do func(ctx context.Context, number int64) error) pace {
	var numbers atomic.Int64
	return func(ctx context.Context, d time.Duration) (float64, error) {
		before := runtime.GOMAXPROCS(runtime.NumCPU()) // it is no generator now
		defer runtime.GOMAXPROCS(before)
		var made atomic.Int64
		from := time.Now()
		err := each(ctx, queueCallers, func(ctx context.Context) error {
			for time.Since(from) < d && ctx.Err() == nil {
				if err := do(ctx, numbers.Add(1)); err != nil {
					return err
				}
				made.Add(1)
			}
			return nil
		})
		return float64(made.Load()) / time.Since(from).Seconds(), err
	}
}

// rawStream opens a bus of its own and returns what measures how many events a second its stream takes and acknowledges, one by
// one. A stream does not wait for the disk.
func rawStream(ctx context.Context, dir string) (measure pace, closeIt func(), err error) {
	b, err := bus.Open(ctx, bus.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	if err != nil {
		return nil, nil, err
	}
	payload := []byte(`{"padding":"` + strings.Repeat("x", 400) + `"}`) // about the rows of a call
	return often(func(ctx context.Context, number int64) error {
		return b.PublishEvents(ctx, []*flint.Event{{
			Seq: number, Project: projectID, Pattern: "functions.[functionId].executions.[executionId].create", IDs: []string{queueFunction, flint.NewID()}, Payload: payload,
		}})
	}), func() { _ = b.Close() }, nil
}

// rawModel has events carry what those of a node carry, without the work of writing it anew.
func rawModel() store.Model {
	var once sync.Once
	var payload []byte
	var err error
	return func(noun any, _ []*flint.Variable) ([]byte, error) {
		e, ok := noun.(*flint.Execution)
		if !ok {
			return nil, nil
		}
		once.Do(func() { payload, err = json.Marshal(wire.NewExecution(e, true, wire.Format{})) })
		return payload, err
	}
}

// enqueueRaw writes the rows of a call that is to run tomorrow, as accept has them.
func enqueueRaw(ctx context.Context, db *store.Store) error {
	at := time.Now()
	return db.EnqueueExecution(ctx, &flint.Execution{
		Project: projectID, Function: queueFunction, ID: flint.ExecutionID(flint.NewID()), CreatedAt: at, UpdatedAt: at, Trigger: flint.TriggerSchedule,
		Deployment: rawDeployment,
		Status:     flint.ExecutionScheduled, ScheduledAt: at.Add(24 * time.Hour), RequestMethod: "POST", RequestPath: "/",
		RequestHeaders: []flint.Header{{Name: "host", Value: queueFunction + ".functions.localhost"}, {Name: "x-appwrite-client-ip", Value: "127.0.0.1"}},
	}, &store.QueuedCall{Method: "POST", Path: "/", Body: []byte("{}"), ClientIP: "127.0.0.1", Expires: at.Add(48 * time.Hour)})
}

// fillQueue adds calls to the database of a stopped node that are to run tomorrow.
func fillQueue(ctx context.Context, data string, count int) (err error) {
	secret, err := os.ReadFile(filepath.Join(data, "secret"))
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Path: filepath.Join(data, "flint.db"), Secret: secret})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return enqueueMany(ctx, db, count)
}

func enqueueMany(ctx context.Context, db *store.Store, count int) error {
	before := runtime.GOMAXPROCS(runtime.NumCPU())
	defer runtime.GOMAXPROCS(before)
	var next atomic.Int64
	return each(ctx, 4*queueCallers, func(ctx context.Context) error {
		for int(next.Add(1)) <= count && ctx.Err() == nil {
			if err := enqueueRaw(ctx, db); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r queueRows) check() error {
	var missed []error
	for _, row := range r {
		missed = append(missed, within(fmt.Sprintf("the raw rate divided by that of accepted calls, with %d queued", row.Queued), 1/row.Ratio, 1/queueBound, "times"))
	}
	return errors.Join(missed...)
}

func (r queueRows) print(w io.Writer) {
	fmt.Fprint(w, "\nAsynchronous calls, with others that wait for tomorrow\n\n")
	fmt.Fprintln(w, "queued\taccepted/s\traw/s\tratio\tstream/s\tmade/s\tidle p50 ms\tp99\thalf load p50 ms\tp99\t")
	for _, row := range r {
		fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", row.Queued, row.Accepted, row.Raw, row.Ratio, row.Streamed, row.Made,
			row.IdleP50/1000, row.IdleP99/1000, row.HalfP50/1000, row.HalfP99/1000)
	}
	fmt.Fprintf(w, "bound\t\t\t%.2f\t\t\t\t\t\t\t\n", queueBound)
}
