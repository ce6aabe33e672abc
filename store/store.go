// Package store keeps the platform's rows: projects, keys, functions, variables, rules, deployments and executions.
//
// The row is the truth. Everything that changes a row goes through one writer, which commits what has queued up while
// the last commit ran as one transaction, so that many callers share the price of one. Readers have connections of
// their own and never wait for the writer.
//
// Work that outlives its caller, a build or an asynchronous execution, has an owner: a node with a lease and a fencing
// number that grows with every claim. A result that carries an old number changes nothing.
//
// One goroutine stores the records of calls behind their callers (records.go), one removes what deleted functions leave
// behind, one copies the log of commits into the database, one keeps the indexes that no call waits for (behind.go);
// [Store.Close] waits for them, and for the writes that were accepted.
package store

import (
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"flint"
	"flint/internal/pull"
)

// Config is what a Store needs.
type Config struct {
	Path    string                  // the SQLite file; made when missing
	Logger  *slog.Logger            // nil: silence
	Secret  []byte                  // 32 bytes; variable values and key secrets are sealed under a key derived from it
	Model   Model                   // what events carry of a noun; nil: nothing
	Died    func(*flint.DeadLetter) // told of dead letters after their commit, without body and headers; must not block; nil: nobody asks
	Changed func(Change)            // called after a commit that changed what nodes keep in memory, by whoever made the change, who waits for it; nil: nobody asks

	// Changing is called before the commit of a change of a function that clients may see before Changed has been told of it, and
	// what it returns after that. It may be called in a transaction, and must not read or write the store. nil: nobody asks.
	Changing func(flint.ProjectID, flint.FunctionID) (over func())

	ScheduleSpread time.Duration    // longest delay of scheduled runs, for functions that do not say it themselves
	ScheduleClock  func() time.Time // what schedules go by [time.Now]
}

// Change names a row that nodes may hold in memory and that is now different or gone.
type Change struct {
	Kind     string // project, key, function or rule
	Project  flint.ProjectID
	Function flint.FunctionID // of function and rule; empty in a project change, which concerns all its functions
	Domain   string           // of rule
	KeyHash  string           // of key: HashSecret of its secret
	Visible  bool             // of function: somebody may have seen the change and count on it before whoever made it is told
}

// Store is the database. It is safe for concurrent use.
type Store struct {
	config  Config
	log     *slog.Logger
	seal    cipher.AEAD
	read    *sql.DB
	hot     map[string]*sql.Stmt // prepared reads; never written after Open
	warm    statements           // those of lists
	writer  *writer
	records *records
	leases  leases    // of calls
	copier  *sql.DB   // copies the log of commits
	sweep   pull.Bell // there is something to remove
	stop    context.CancelFunc
	done    sync.WaitGroup
	closed  atomic.Bool
}

var errClosed = errors.New("the store is closed")

// Open opens the database, making and migrating it as needed, and begins to remove what deleted functions left behind.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.ScheduleClock == nil {
		c.ScheduleClock = now
	}
	aead, err := newSeal(c.Secret)
	if err != nil {
		return nil, err
	}
	if err := touch(c.Path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{config: c, log: c.Logger, seal: aead, sweep: pull.NewBell(), hot: map[string]*sql.Stmt{}}
	db := openWriter(c.Path)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", c.Path, err), db.Close())
	}
	if err := migrate(ctx, conn, migrations(), c.Path); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate store %s: %w", c.Path, err), db.Close())
	}
	s.read = openReaders(c.Path, max(4, 2*runtime.NumCPU()))
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.writer = newWriter(db, conn)
	if err := conn.QueryRowContext(ctx, lastEvent).Scan(&s.writer.tx.event); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", c.Path, err), s.Close())
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.records, err = openRecords(ctx, c.Path+".records", s.writer, s.log); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	s.done.Go(func() { s.records.run(run) })
	s.done.Go(func() { s.sweepBuried(run) })
	s.copier = openCheckpointer(c.Path)
	s.done.Go(func() { s.checkpoint(run, s.copier) })
	s.done.Go(func() { s.indexBehind(run) })
	return s, nil
}

// prepare checks the secret and parses the reads of every request once.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.checkSecret(ctx); err != nil {
		return err
	}
	for _, query := range hotReads() {
		stmt, err := s.read.PrepareContext(ctx, placeholders(query)) //nolint:sqlclosecheck // closed with the store
		if err != nil {
			return fmt.Errorf("prepare %q: %w", query, err)
		}
		s.hot[query] = stmt
	}
	return nil
}

// Close finishes the writes that were accepted and closes the file. Later calls fail with ErrShuttingDown.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	s.done.Wait()
	var err error
	if s.records != nil {
		err = s.records.close()
	}
	if s.copier != nil {
		err = errors.Join(err, s.copier.Close())
	}
	err = errors.Join(err, s.writer.close())
	for _, stmt := range s.hot {
		_ = stmt.Close()
	}
	s.warm.close()
	return errors.Join(err, s.read.Close())
}

// touch makes the database's file with its folder, readable by nobody else.
func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // the operator's own path
	if err != nil {
		return err
	}
	return f.Close()
}

// write runs f in a transaction of the writer. Either all of it is committed when write returns nil, or nothing.
func (s *Store) write(ctx context.Context, f func(context.Context, *tx) error) error {
	return s.writer.do(ctx, &job{run: f})
}

// changed announces a change to whoever keeps rows in memory.
func (s *Store) changed(c Change) {
	if s.config.Changed != nil {
		s.config.Changed(c)
	}
}

// changing announces what is about to be committed.
func (s *Store) changing(project flint.ProjectID, function flint.FunctionID) (over func()) {
	if s.config.Changing == nil {
		return func() {}
	}
	return s.config.Changing(project, function)
}

func (s *Store) functionChanged(project flint.ProjectID, function flint.FunctionID) {
	s.changed(Change{Kind: "function", Project: project, Function: function})
}

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }

// one reads one row; sql.ErrNoRows comes back as it is.
func (s *Store) one(ctx context.Context, query string, args []any, scan func(scanner) error) error {
	var row *sql.Row
	if stmt := s.hot[query]; stmt != nil {
		row = stmt.QueryRowContext(ctx, args...)
	} else {
		row = s.read.QueryRowContext(ctx, placeholders(query), args...)
	}
	err := scan(row)
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return s.failed(err)
}

// each reads many rows.
func (s *Store) each(ctx context.Context, query string, args []any, scan func(scanner) error) error {
	var rows *sql.Rows
	var err error
	stmt := s.hot[query]
	if stmt == nil {
		if known := s.warm.take(ctx, s.read, query); known != nil {
			defer s.warm.release(known)
			stmt = known.Stmt
		}
	}
	if stmt != nil {
		rows, err = stmt.QueryContext(ctx, args...)
	} else {
		rows, err = s.read.QueryContext(ctx, placeholders(query), args...)
	}
	if err != nil {
		return s.failed(err)
	}
	return s.failed(drain(rows, scan))
}

func drain(rows *sql.Rows, scan func(scanner) error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// failed turns what a read returned into what a caller is told.
func (s *Store) failed(err error) error {
	if err != nil && s.closed.Load() {
		return flint.ErrShuttingDown.Because(errClosed)
	}
	return translate(err)
}

// millis and instant turn times into what the rows hold and back.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// now is the present as rows can hold it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// stamp sets the times of a new row, where its maker left them open, to what a later read returns.
func stamp(created, updated *time.Time) {
	if created.IsZero() {
		*created = now()
	}
	if updated.IsZero() {
		*updated = *created
	}
	*created, *updated = instant(millis(*created)), instant(millis(*updated))
}

// hotReads are the statements that requests run all the time.
func hotReads() []string {
	return []string{
		readProject, readKey, readFunction, readVariable, readVariables, readRule, readRuleByDomain, readDeployment, readBuildLog,
		readWaitingBuild, readExecution, readDueCall, readNextDue, readBehind,
		readSchedule, readDueSchedules, readNextSchedule,
	}
}
