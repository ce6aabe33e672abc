package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

// behindState is what the indexes behind the calls hold, and should.
func behindState(t *testing.T, s *Store) (got, want []string) {
	t.Helper()
	read := func(query string) (all []string) {
		t.Helper()
		must(t, s.each(t.Context(), query, nil, func(r scanner) error {
			var text string
			err := r.Scan(&text)
			all = append(all, text)
			return err
		}))
		return all
	}
	const taken = "t.rowid <= (select upto from execution_behind)"
	got = read("select v.term || ' ' || v.doc as x from execution_ranked v where v.doc not in (select row from execution_again) order by x")
	want = read(`select x from (select rank(t.owner, t.duration, t.created_at, t.id, 0) || ' ' || t.rowid as x, t.rowid as n from executions t where ` + taken +
		` union all select rank(t.owner, t.duration, t.created_at, t.id, 1) || ' ' || t.rowid, t.rowid from executions t where ` + taken +
		`) where n not in (select row from execution_again) order by x`)
	got = append(got, read("select p.owner || ' ' || p.path from execution_paths p where p.id in (select id from path_search_docsize) order by p.owner, p.path")...)
	want = append(want, read("select distinct t.owner || ' ' || t.path from executions t where t.path <> '/' and ("+taken+
		" or exists (select 1 from execution_paths p where p.owner = t.owner and p.path = t.path)) order by t.owner, t.path")...)
	return got, want
}

func checkBehind(t *testing.T, s *Store, when string) {
	t.Helper()
	if got, want := behindState(t, s); !slices.Equal(got, want) {
		t.Errorf("%s: the indexes behind the calls (-want +have):\n%s", when, cmp.Diff(want, got))
	}
}

func TestIndexesBehindFollowTheRows(t *testing.T) {
	t.Parallel()
	s, ctx := mix(t), t.Context()
	some := func(most int) {
		t.Helper()
		_, err := s.indexRows(ctx, 1, most)
		must(t, err)
	}
	some(70)
	checkBehind(t, s.Store, "some indexed")
	s.indexAll(t)
	checkBehind(t, s.Store, "all indexed")

	_, err := s.PruneExecutions(ctx, time.UnixMilli(1_700_010_000_000), 1000)
	must(t, err)
	_, err = s.TrimExecutions(ctx, 40, 1000)
	must(t, err)
	must(t, s.write(ctx, func(ctx context.Context, t *tx) error {
		return errors.Join(t.exec(ctx, "delete from executions where id > 'e115'"), t.exec(ctx, "update executions set duration = 9 where id = 'e100'"))
	}))
	checkBehind(t, s.Store, "after removals")
	for i := range 9 { // the first ones have numbers that were used before
		e := sample(fmt.Sprint("n", i), s.f)
		e.CreatedAt, e.RequestPath = time.UnixMilli(1_800_000_000_000), fmt.Sprint("/new/", i)
		must(t, s.AppendExecution(ctx, e))
	}
	checkBehind(t, s.Store, "after additions")
	some(3)
	checkBehind(t, s.Store, "some additions indexed")
	s.indexAll(t)
	checkBehind(t, s.Store, "all additions indexed")

	must(t, s.DeleteFunction(ctx, "p", "f"))
	must(t, s.DeleteFunction(ctx, "p", "g"))
	must(t, s.sweepOnce(ctx))
	checkBehind(t, s.Store, "without functions")
	if got, _ := behindState(t, s.Store); len(got) != 0 {
		t.Errorf("%d entries are left", len(got))
	}
	if n, err := s.behind(ctx); n != 0 || err != nil {
		t.Errorf("behind() = %d, %v", n, err)
	}
}

// TestAnAsynchronousExecutionIsIndexedAgain ends an execution that the indexes have already.
func TestAnAsynchronousExecutionIsIndexedAgain(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.EnqueueExecution(ctx, sample("e1", s.f), &QueuedCall{Method: "GET", Path: "/"}))
	e2 := sample("e2", s.f)
	e2.Duration = 5
	must(t, s.AppendExecution(ctx, e2))
	s.indexAll(t)
	e, call, err := s.ClaimExecution(ctx, "n", time.Minute)
	must(t, err)
	e.Status, e.Duration = flint.ExecutionCompleted, 7
	if counted, err := s.finish(ctx, e, call.Attempt); !counted || err != nil {
		t.Fatalf("FinishExecution() = %v, %v", counted, err)
	}
	for _, when := range []string{"noted", "indexed again"} {
		checkBehind(t, s.Store, when)
		all, _, err := s.Executions(ctx, "p", "f", flint.List{Orders: by("duration", true)})
		must(t, err)
		if got := ids(all, func(e *flint.Execution) string { return string(e.ID) }); got != "e1 e2" {
			t.Errorf("%s: slowest = %s", when, got)
		}
		s.indexAll(t)
	}
}

// TestIndexesBehindOutliveTheStore opens a store again, and a copy as updates make them.
func TestIndexesBehindOutliveTheStore(t *testing.T) {
	t.Parallel()
	s, ctx := mix(t), t.Context()
	must(t, s.write(ctx, func(ctx context.Context, t *tx) error { return t.exec(ctx, "delete from executions where id < 'e020'") }))
	_, err := s.indexRows(ctx, 1, 50)
	must(t, err)
	copied := filepath.Join(t.TempDir(), "copy.db")
	must(t, backup(ctx, s.writer.tx.conn, copied))
	want, _ := behindState(t, s.Store)
	must(t, s.Close())
	for _, path := range []string{s.config.Path, copied} {
		c := s.config
		c.Path = path
		again, err := Open(ctx, c)
		must(t, err)
		t.Cleanup(func() { must(t, again.Close()) })
		checkBehind(t, again, path)
		if got, _ := behindState(t, again); !slices.Equal(got, want) {
			t.Errorf("opened again it has %d entries, want %d", len(got), len(want))
		}
	}
}

// TestWritesWakeTheIndexer waits for the rows that many writes leave behind to be taken.
func TestWritesWakeTheIndexer(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	for i := range 4 * behindFrom {
		must(t, s.AppendExecution(ctx, sample(fmt.Sprint("e", i), s.f)))
	}
	look, end := time.NewTicker(time.Millisecond), time.After(20*time.Second)
	defer look.Stop()
	for {
		n, err := s.behind(ctx)
		must(t, err)
		if n < 2*behindFrom {
			break
		}
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("%d rows still wait", n)
		}
	}
}
