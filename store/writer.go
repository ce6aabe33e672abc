package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"flint"
	"flint/internal/pull"
)

const (
	writeQueue = 1024 // callers whose writes wait for a commit; more of them wait to get in
	writeBatch = 256  // writes in one commit
)

// job is one caller's write. It is either all in the database or not at all.
type job struct {
	run      func(context.Context, *tx) error
	single   bool // one statement only: it needs no savepoint
	durable  bool // must survive the loss of power
	actor    flint.Actor
	taken    bool // in a batch, or its caller leads; under the writer's lock
	err      error
	panicked any
	wake     chan bool // true: the write has ended; false: lead the next batch
}

// writer owns the one connection that changes the database.
//
// There is no goroutine behind it. A caller who finds the writer idle leads: it commits its own write together with
// those that have queued up, and then hands the lead to the first who came meanwhile. One caller alone pays for no
// change of goroutine, many share the price of a commit, and nobody works for others longer than one batch.
type writer struct {
	db    *sql.DB
	slots chan struct{} // one per caller between the start and the end of its write

	mu     sync.Mutex
	queue  []*job
	busy   bool // somebody leads
	closed bool
	idle   chan struct{} // closed when nobody leads after close

	rows atomic.Int64 // written since the log was last copied
	full pull.Bell    // there are many

	written atomic.Int64 // written so far, for the indexes behind the calls
	behind  pull.Bell    // there are many

	events pull.Bell // there are new ones

	// Only the leader touches these.
	tx    tx
	power bool // commits survive the loss of power at the moment
	batch []*job
}

func newWriter(db *sql.DB, conn *sql.Conn) *writer {
	return &writer{
		db: db, tx: tx{conn: conn, stmts: map[string]*sql.Stmt{}, spans: map[spanKey]span{}}, slots: make(chan struct{}, writeQueue), idle: make(chan struct{}), full: pull.NewBell(), behind: pull.NewBell(), events: pull.NewBell(),
		batch: make([]*job, 0, writeBatch),
	}
}

// do writes a job and returns when its fate is known. When do returns the context's error, nothing was written.
func (w *writer) do(ctx context.Context, j *job) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-w.slots }()
	j.actor = flint.ActorOf(ctx) // whoever leads writes for others
	lead, err := w.join(j)
	if err != nil {
		return err
	}
	if !lead {
		select {
		case done := <-j.wake:
			lead = !done
		case <-ctx.Done():
			if w.leave(j) {
				return context.Cause(ctx)
			}
			lead = !<-j.wake // being written: its end is near and must be known
		}
		if lead { // those whose writes have just ended may have more: let them into the batch
			runtime.Gosched()
		}
	}
	if lead {
		w.lead(context.WithoutCancel(ctx), j)
	}
	if j.panicked != nil {
		panic(j.panicked) // the caller's own function's: the caller's to handle
	}
	return j.err
}

// join queues a job and reports whether its caller leads.
func (w *writer) join(j *job) (lead bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, flint.ErrShuttingDown.Because(errClosed)
	}
	if !w.busy {
		w.busy, j.taken = true, true
		return true, nil
	}
	j.wake = make(chan bool, 1)
	w.queue = append(w.queue, j)
	return false, nil
}

// leave takes a job back unless it is being written.
func (w *writer) leave(j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j.taken {
		return false
	}
	for i, other := range w.queue {
		if other == j {
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
			break
		}
	}
	return true
}

// lead commits one batch: the leader's job and those that wait. Then somebody else leads, or nobody.
func (w *writer) lead(ctx context.Context, j *job) {
	w.mu.Lock()
	n := min(len(w.queue), writeBatch-1)
	w.batch = append(append(w.batch[:0], j), w.queue[:n]...)
	for _, other := range w.batch {
		other.taken = true
	}
	w.queue = w.queue[:copy(w.queue, w.queue[n:])]
	w.mu.Unlock()

	w.commit(ctx, w.batch)
	w.wrote(len(w.batch))
	if w.tx.emitted {
		w.tx.emitted = false
		w.events.Ring()
	}
	followers := w.batch[1:]
	for _, other := range followers {
		other.wake <- true
	}
	clear(w.batch)

	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.queue) > 0:
		next := w.queue[0]
		w.queue = w.queue[:copy(w.queue, w.queue[1:])]
		next.taken = true
		next.wake <- false
	default:
		w.busy = false
		if w.closed {
			close(w.idle)
		}
	}
}

// close refuses new writes, waits for those that were accepted and closes the database.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	if !w.busy {
		close(w.idle)
	}
	w.mu.Unlock()
	<-w.idle
	for _, s := range w.tx.stmts {
		_ = s.Close()
	}
	return errors.Join(w.tx.conn.Close(), w.db.Close())
}

// commit writes a batch as one transaction.
func (w *writer) commit(ctx context.Context, batch []*job) {
	if err := w.transact(ctx, batch); err != nil {
		err = translate(err)
		for _, j := range batch {
			if j.err == nil || w.tx.trouble != nil {
				j.err = err
			}
		}
	}
}

// transact returns an error when the batch as a whole is not in the database. What a job did wrong on its own is in the
// job, and leaves its neighbours alone.
func (w *writer) transact(ctx context.Context, batch []*job) error {
	w.tx.trouble = nil
	power := false
	for _, j := range batch {
		power = power || j.durable
	}
	if power != w.power {
		// Not prepared: SQLite obeys this one when it is parsed, and not again when it is run.
		if _, err := w.tx.conn.ExecContext(ctx, durability(power)); err != nil {
			return w.tx.note(err)
		}
		w.power = power
	}
	if len(batch) == 1 && batch[0].single { // a statement alone is a transaction of its own
		w.attempt(ctx, batch[0])
		return nil
	}
	if err := w.tx.exec(ctx, beginText); err != nil {
		return err
	}
	if j := batch[0]; len(batch) == 1 { // a job alone needs no savepoint
		if j.err = translate(call(ctx, j, &w.tx)); j.err != nil || j.panicked != nil || w.tx.trouble != nil {
			w.rollback(ctx)
			return w.tx.trouble
		}
		return w.end(ctx)
	}
	for _, j := range batch {
		if w.attempt(ctx, j); w.tx.trouble != nil {
			w.rollback(ctx)
			return w.tx.trouble
		}
	}
	return w.end(ctx)
}

func (w *writer) end(ctx context.Context) error {
	err := w.tx.exec(ctx, commitText)
	if err != nil {
		w.rollback(ctx)
	}
	return err
}

// rollback ends a transaction that the database may have ended already, which it says with an error of no interest.
func (w *writer) rollback(ctx context.Context) {
	trouble := w.tx.trouble
	_ = w.tx.exec(ctx, rollbackText)
	clear(w.tx.spans)
	w.tx.trouble = trouble
}

// attempt runs one job so that its failure undoes its own changes only.
func (w *writer) attempt(ctx context.Context, j *job) {
	if j.single {
		j.err = translate(j.run(ctx, &w.tx))
		return
	}
	if j.err = w.tx.exec(ctx, "savepoint job"); j.err != nil {
		w.tx.trouble = j.err
		return
	}
	j.err = translate(call(ctx, j, &w.tx))
	if w.tx.trouble != nil {
		return
	}
	if j.err != nil || j.panicked != nil {
		clear(w.tx.spans)
		if err := w.tx.exec(ctx, "rollback to savepoint job"); err != nil {
			w.tx.trouble = err
			return
		}
	}
	if err := w.tx.exec(ctx, "release savepoint job"); err != nil {
		w.tx.trouble = err
	}
}

// call keeps a panic in one caller's function from ending the leader; do raises it again where it belongs.
func call(ctx context.Context, j *job, t *tx) (err error) {
	defer func() { j.panicked = recover() }()
	t.actor = j.actor
	return j.run(ctx, t)
}

// tx is the transaction of the writer.
type tx struct {
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt // by text; all texts are constants, so it is bounded
	event   int64                // number of the last event
	emitted bool                 // there are events since the bell was rung
	actor   flint.Actor          // of the job that runs
	spans   map[spanKey]span     // that are in the database; some, at most spanCache
	trouble error                // the database's own, which spoils the whole transaction
}

func (t *tx) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := t.stmts[query]; s != nil {
		return s, nil
	}
	s, err := t.conn.PrepareContext(ctx, placeholders(query))
	if err != nil {
		return nil, t.note(fmt.Errorf("prepare %q: %w", query, err))
	}
	t.stmts[query] = s
	return s, nil
}

func (t *tx) note(err error) error {
	if isTrouble(err) {
		t.trouble = err
	}
	return err
}

func (t *tx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.count(ctx, query, args...)
	return err
}

// count executes a statement and returns how many rows it changed.
func (t *tx) count(ctx context.Context, query string, args ...any) (int, error) {
	s, err := t.prepared(ctx, query) //nolint:sqlclosecheck // the writer keeps it
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, t.note(err)
	}
	n, err := r.RowsAffected()
	return int(n), err
}

// one reads one row and reports whether there is one.
func (t *tx) one(ctx context.Context, query string, args []any, scan func(scanner) error) (bool, error) {
	s, err := t.prepared(ctx, query) //nolint:sqlclosecheck // the writer keeps it
	if err != nil {
		return false, err
	}
	switch err := scan(s.QueryRowContext(ctx, args...)); {
	case err == nil:
		return true, nil
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	default:
		return false, t.note(err)
	}
}

func (t *tx) each(ctx context.Context, query string, args []any, scan func(scanner) error) error {
	s, err := t.prepared(ctx, query) //nolint:sqlclosecheck // the writer keeps it
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return t.note(err)
	}
	return t.note(drain(rows, scan))
}
