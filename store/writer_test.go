package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"flint"
)

// held keeps the writer busy until it is let go, so that what comes meanwhile ends up in one batch.
func held(t *testing.T, s *Store) (letGo func()) {
	t.Helper()
	entered, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.write(context.WithoutCancel(t.Context()), func(context.Context, *tx) error {
			close(entered)
			<-release
			return nil
		})
	}()
	<-entered
	return func() {
		close(release)
		must(t, <-done)
	}
}

// queued waits until n writes wait for the writer.
func queued(s *Store, n int) {
	for {
		s.writer.mu.Lock()
		have := len(s.writer.queue)
		s.writer.mu.Unlock()
		if have >= n {
			return
		}
		runtime.Gosched()
	}
}

func addProject(ctx context.Context, t *tx, id string) error {
	return t.exec(ctx, "insert into projects (id, name, created_at, updated_at) values ($1, '', 0, 0)", id)
}

func TestWriterKeepsNeighboursApart(t *testing.T) {
	t.Parallel()
	s := setup(t)
	letGo := held(t, s.Store)
	boom := errors.New("boom")
	results := make([]error, 30)
	panics := make([]any, len(results))
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			results[i] = s.write(t.Context(), func(ctx context.Context, t *tx) error {
				if err := addProject(ctx, t, fmt.Sprintf("n%d", i)); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return boom
				case 2:
					panic(i)
				}
				return nil
			})
		})
	}
	queued(s.Store, len(results))
	letGo()
	wg.Wait()
	for i := range results {
		_, err := s.Project(t.Context(), flint.ProjectID(fmt.Sprintf("n%d", i)))
		switch i % 3 {
		case 0:
			if results[i] != nil || err != nil {
				t.Errorf("write %d: %v, then read: %v", i, results[i], err)
			}
		case 1:
			wantErr(t, "failing write", results[i], boom)
			wantErr(t, "read of a failed write", err, flint.ErrProjectNotFound)
		case 2:
			if panics[i] != i {
				t.Errorf("panic %d came back as %v", i, panics[i])
			}
			wantErr(t, "read of a panicked write", err, flint.ErrProjectNotFound)
		}
	}
}

func TestWriterForgetsCallersThatGaveUp(t *testing.T) {
	t.Parallel()
	s := setup(t)
	letGo := held(t, s.Store)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { wantErr(t, "cancelled write", s.CreateProject(ctx, &flint.Project{ID: "gone"}), gone) })
	queued(s.Store, 1)
	cancel(gone)
	wg.Wait()
	wg.Go(func() { must(t, s.CreateProject(t.Context(), &flint.Project{ID: "here"})) })
	queued(s.Store, 1)
	letGo()
	wg.Wait()
	wantErr(t, "write with a dead context", s.CreateProject(ctx, &flint.Project{ID: "dead"}), gone)
	for id, want := range map[flint.ProjectID]error{"gone": flint.ErrProjectNotFound, "dead": flint.ErrProjectNotFound, "here": nil} {
		if _, err := s.Project(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("Project(%s): %v, want %v", id, err, want)
		}
	}
}

func TestWriterTellsTheTruthWhenCallersGiveUpAtAnyTime(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const callers, each = 16, 40
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancel(t.Context())
				id := flint.ProjectID(fmt.Sprintf("c%d-%d", c, i))
				stop := make(chan struct{})
				go func() { cancel(); close(stop) }()
				err := s.CreateProject(ctx, &flint.Project{ID: id})
				<-stop
				_, found := s.Project(t.Context(), id)
				if (err == nil) != (found == nil) {
					t.Errorf("CreateProject() = %v, Project() = %v", err, found)
				}
			}
		})
	}
	wg.Wait()
}

func TestCloseFinishesWhatWasAccepted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	letGo := held(t, s.Store)
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() { must(t, s.CreateProject(t.Context(), &flint.Project{ID: flint.ProjectID(fmt.Sprint("q", i))})) })
	}
	queued(s.Store, 5)
	wg.Go(func() { must(t, s.Close()) })
	letGo()
	wg.Wait()
}

func TestFullDiskIsSaidAndOvercome(t *testing.T) {
	t.Parallel()
	s := setup(t)
	pages := func(n int) {
		must(t, s.write(t.Context(), func(ctx context.Context, t *tx) error {
			var v int
			_, err := t.one(ctx, fmt.Sprintf("pragma max_page_count = %d", n), nil, func(r scanner) error { return r.Scan(&v) })
			return err
		}))
	}
	pages(1) // as many as there are
	fill := func(ctx context.Context, id string) error {
		e := sample(id, s.f)
		e.Logs = string(make([]byte, 100_000))
		return s.AppendExecution(ctx, e)
	}
	wantErr(t, "write to a full disk", fill(t.Context(), "alone"), flint.ErrStorageUnavailable)

	letGo := held(t, s.Store)
	errs := make([]error, 10)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = fill(t.Context(), fmt.Sprint("together", i)) })
	}
	queued(s.Store, len(errs))
	letGo()
	wg.Wait()
	for _, err := range errs {
		wantErr(t, "write with others to a full disk", err, flint.ErrStorageUnavailable)
	}
	if _, err := s.Function(t.Context(), "p", "f"); err != nil {
		t.Errorf("read from a full disk: %v", err)
	}
	pages(1 << 30)
	must(t, fill(t.Context(), "after"))
	_, total, err := s.Executions(t.Context(), "p", "f", flint.List{})
	must(t, err)
	if total != 1 {
		t.Errorf("%d executions, want the one written when there was space", total)
	}
}

func TestDurabilityFollowsTheBatch(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for i, durable := range []bool{false, true, true, false, true, false} {
		level := 0
		must(t, s.writer.do(t.Context(), &job{durable: durable, run: func(ctx context.Context, t *tx) error {
			return t.conn.QueryRowContext(ctx, "pragma synchronous").Scan(&level)
		}}))
		if want := map[bool]int{false: 1, true: 2}[durable]; level != want {
			t.Errorf("batch %d: synchronous is %d, want %d", i, level, want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"select $1, $2":                    "select ?, ?",
		"select $2, $1":                    "select $2, $1",
		"select $1, $1":                    "select $1, $1",
		"a $1 $2 $3 $4 $5 $6 $7 $8 $9 $10": "a ? ? ? ? ? ? ? ? ? ?",
		"select $10":                       "select $10",
		"select 1":                         "select 1",
		"$":                                "$",
	} {
		if got := placeholders(in); got != want {
			t.Errorf("placeholders(%q) = %q, want %q", in, got, want)
		}
	}
}
