package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"flint"
	"flint/internal/journal"
	"flint/internal/pull"
	"flint/internal/sparse"
)

// Records of calls are stored behind their callers. A commit costs more than many rows: whoever waited for one of his
// own would wait for longer than a short call takes. A record is in the journal before its caller goes on, where it
// outlives the process, and in the database a moment later, together with those that came meanwhile. Who reads
// executions waits for that moment, so that nobody can tell.
//
// The number of the last batch is stored with its rows: a batch that the journal still has is stored again only if it
// was not stored before.

const (
	recordDelay  = 25 * time.Millisecond // how long a record may wait for others; who reads does not wait for that
	recordBatch  = 512                   // records that wait no longer
	recordRetry  = time.Second           // between attempts while the database cannot be written
	recordEffort = 10 * time.Second      // for one attempt
	journalSize  = 4 << 20               // of a batch; what is too much for it is written as everything else is
	mostSpare    = 4 * recordBatch       // records whose memory is kept for the next batch
)

// records owns the journal. It is safe for concurrent use.
type records struct {
	writer *writer
	log    *slog.Logger
	begun  pull.Bell // a batch has its first record
	hurry  pull.Bell // somebody waits for it, or it is large

	unstored atomic.Int64 // records that are not in the database yet
	failing  atomic.Bool  // the database cannot be written at the moment
	said     sparse.Gate  // that

	mu      sync.Mutex
	journal *journal.Journal // nil: there is none
	buffer  []byte
	rows    []executionRecord // of the batch that takes records
	spare   []executionRecord // the memory of those of the one before; nil while it is stored
	stored  chan struct{}     // closed when that batch has been stored, or could not be
	before  chan struct{}     // the same of the one before it
}

// openRecords stores what an earlier process left in its journal and begins a new one. Without a journal, which other
// processes or the file system may be the reason of, records are written as everything else is.
func openRecords(ctx context.Context, name string, w *writer, log *slog.Logger) (*records, error) {
	r := &records{writer: w, log: log, begun: pull.NewBell(), hurry: pull.NewBell()}
	j, err := journal.Open(name, journalSize)
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, journal.ErrInUse) {
			level = slog.LevelDebug
		}
		log.Log(ctx, level, "no journal: every call waits for a commit of its own", slog.String("err", err.Error()))
		return r, nil
	}
	last, err := r.replay(ctx, j.Found())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s, without which its executions have no record: %w", name, err), j.Close())
	}
	j.Begin(last + 1)
	r.journal, r.stored = j, make(chan struct{})
	return r, nil
}

const lastRecords = "select value from meta where name = 'records'"

// replay stores the batches that the database does not have, and returns the highest number of all.
func (r *records) replay(ctx context.Context, found []journal.Batch) (last uint64, err error) {
	err = r.writer.do(ctx, &job{run: func(ctx context.Context, t *tx) error {
		_, err := t.one(ctx, lastRecords, nil, func(s scanner) error { return s.Scan(&last) })
		return err
	}})
	if err != nil {
		return 0, err
	}
	for _, b := range found {
		if b.Number <= last {
			continue
		}
		rows := make([]executionRecord, 0, len(b.Entries))
		for _, entry := range b.Entries {
			row, err := decodeRecord(entry)
			if err != nil {
				return 0, err
			}
			rows = append(rows, row)
		}
		if err := r.write(ctx, b.Number, rows); err != nil {
			return 0, err
		}
		r.log.InfoContext(ctx, "stored what a killed process had accepted", slog.Int("executions", len(rows)))
		last = b.Number
	}
	return last, nil
}

// add accepts a record, if there is a journal with room for it.
func (r *records) add(row *executionRecord) bool {
	r.mu.Lock()
	if r.journal == nil {
		r.mu.Unlock()
		return false
	}
	r.buffer = encodeRecord(r.buffer[:0], row)
	taken := r.journal.Append(r.buffer)
	if taken {
		r.rows = append(r.rows, *row)
		r.unstored.Add(1)
	}
	if cap(r.buffer) > 1<<18 {
		r.buffer = nil
	}
	n := len(r.rows)
	r.mu.Unlock()
	switch {
	case !taken || n == recordBatch:
		r.hurry.Ring()
	case n == 1:
		r.begun.Ring()
	}
	return taken
}

// settle returns when all records that were accepted before are in the database. While it cannot be written they are
// not waited for.
func (r *records) settle(ctx context.Context) {
	if r.unstored.Load() == 0 || r.failing.Load() {
		return
	}
	r.mu.Lock()
	stored := r.stored
	if len(r.rows) == 0 {
		stored = r.before
	}
	r.mu.Unlock()
	if stored == nil {
		return
	}
	r.hurry.Ring()
	select {
	case <-stored:
	case <-ctx.Done():
	}
}

// run stores batches until ctx ends, and then what is left. What cannot be stored then stays in the journal.
func (r *records) run(ctx context.Context) {
	timer := time.NewTimer(recordDelay)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-r.begun:
		case <-ctx.Done():
		}
		timer.Reset(recordDelay)
		select {
		case <-timer.C:
		case <-r.hurry:
		case <-ctx.Done():
		}
		if !r.store(ctx) {
			return // the next batch would take the place of this one
		}
	}
	r.store(ctx) // what came during the last one
}

// store ends the batch that takes records and writes it, however long that takes while ctx lasts. It reports false when
// it was not written.
func (r *records) store(ctx context.Context) bool {
	r.mu.Lock()
	if len(r.rows) == 0 {
		r.mu.Unlock()
		return true
	}
	number := r.journal.Turn()
	rows := r.rows
	r.rows, r.spare = r.spare, nil
	r.before, r.stored = r.stored, make(chan struct{})
	r.mu.Unlock()

	for err := r.write(ctx, number, rows); err != nil; err = r.write(ctx, number, rows) {
		if _, ok := r.said.Pass(); ok {
			r.log.ErrorContext(ctx, "records of calls wait: the database cannot be written", slog.Int("executions", len(rows)), slog.String("err", err.Error()))
		}
		r.giveUp()
		retry := time.NewTimer(recordRetry)
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return false
		}
	}
	clear(rows) // lets go of the texts
	r.mu.Lock()
	defer r.mu.Unlock()
	if cap(rows) <= mostSpare {
		r.spare = rows[:0]
	}
	r.journal.Drop()
	r.failing.Store(false)
	r.unstored.Add(-int64(len(rows)))
	r.tell()
	return true
}

// giveUp lets those go who wait for records.
func (r *records) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing.Store(true)
	r.tell()
	close(r.stored)
	r.stored = make(chan struct{})
}

// tell tells those who wait for the batch before.
func (r *records) tell() {
	if r.before != nil {
		close(r.before)
		r.before = nil
	}
}

// write stores rows with the number of their batch: all of them or none. What belongs to a function that is gone goes
// with it.
func (r *records) write(ctx context.Context, number uint64, rows []executionRecord) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordEffort)
	defer cancel()
	err := r.writer.do(ctx, &job{run: func(ctx context.Context, t *tx) error {
		err := addExecutions(ctx, t, rows, func(row *executionRecord, err error) {
			if !errors.Is(err, flint.ErrFunctionNotFound) {
				r.log.ErrorContext(ctx, "record of a call refused", slog.String("execution_id", row.id), slog.String("err", err.Error()))
			}
		})
		if err != nil {
			return err
		}
		return t.exec(ctx, "insert into meta (name, value) values ('records', $1) on conflict (name) do update set value = excluded.value",
			strconv.FormatUint(number, 10))
	}})
	if err == nil {
		r.writer.wrote(len(rows))
	}
	return err
}

// close lets go of the journal after run has ended. Records that were not stored stay in it.
func (r *records) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.journal
	r.journal = nil
	switch {
	case j == nil:
		return nil
	case r.unstored.Load() == 0:
		return j.Remove()
	}
	return j.Close()
}
