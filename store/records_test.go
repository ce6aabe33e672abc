package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

func everyone(t *testing.T, s *Store) (ids []string) {
	t.Helper()
	all, _, err := s.Executions(t.Context(), "p", "f", flint.List{Limit: 5000, Orders: []flint.Order{{Attribute: "$id"}}})
	must(t, err)
	for _, e := range all {
		ids = append(ids, string(e.ID))
	}
	return ids
}

func TestKeptExecutionsAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 12 {
				id := fmt.Sprintf("e%d-%d", c, i)
				e := sample(id, s.f)
				e.Permissions = []string{`read("user:u")`}
				must(t, s.KeepExecution(ctx, e))
				switch i % 4 {
				case 0:
					got, err := s.Execution(ctx, "p", "f", flint.ExecutionID(id))
					must(t, err)
					if diff := cmp.Diff(e, got); diff != "" {
						t.Errorf("Execution(%s) (-want +got):\n%s", id, diff)
					}
				case 1:
					rows, total, err := s.Executions(ctx, "p", "f", flint.List{Filters: where("$id", "equal", id)})
					if must(t, err); len(rows) != 1 || total != 1 {
						t.Errorf("%d executions %s are listed", len(rows), id)
					}
				case 2:
					recent, err := s.RecentExecutions(ctx, "p", "", 8*12)
					if must(t, err); !strings.Contains(ids(recent, func(e *flint.Execution) string { return string(e.ID) }), id) {
						t.Errorf("execution %s is not among the recent ones", id)
					}
				case 3:
					must(t, s.DeleteExecution(ctx, "p", "f", flint.ExecutionID(id)))
				}
			}
		})
	}
	wg.Wait()
	if n := len(everyone(t, s.Store)); n != 8*9 {
		t.Errorf("%d executions, want %d", n, 8*9)
	}
	if n := s.records.unstored.Load(); n != 0 {
		t.Errorf("%d are not stored after a list", n)
	}
}

func TestKeptExecutionOfADeletedFunction(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.KeepExecution(ctx, sample("e1", s.f)))
	must(t, s.DeleteFunction(ctx, "p", "f"))
	late := sample("late", s.f)
	late.CreatedAt = now().Add(-time.Second)
	must(t, s.KeepExecution(ctx, late))
	must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f"}, nil))
	if got := everyone(t, s.Store); got != nil {
		t.Errorf("the namesake has executions %v", got)
	}
}

// TestRefusedRecordsLeaveTheirNeighboursAlone has a batch of several statements in which some rows cannot be stored.
func TestRefusedRecordsLeaveTheirNeighboursAlone(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	gone := &flint.Function{Project: "p", ID: "gone"}
	must(t, s.CreateFunction(ctx, gone, nil))
	namesake := &flint.Function{Project: "p", ID: "namesake"}
	must(t, s.CreateFunction(ctx, namesake, nil))
	must(t, errors.Join(s.AppendExecution(ctx, sample("e020", s.f)), s.AppendExecution(ctx, sample("e060", s.f))))
	must(t, errors.Join(s.DeleteFunction(ctx, "p", "gone"), s.DeleteFunction(ctx, "p", "namesake")))
	must(t, s.CreateFunction(ctx, namesake, nil))

	var rows []executionRecord
	var want []string
	refused := map[int]error{ // by place: at both ends of a statement, within one, among rows that are alike, and among those that are left over
		0: flint.ErrFunctionNotFound, 7: flint.ErrFunctionNotFound, 12: flint.ErrFunctionNotFound, 20: nil, 42: flint.ErrFunctionNotFound, 60: nil,
	}
	for i := range 5*insertRows + 3 + 2*alikeRows {
		e := sample(fmt.Sprintf("e%03d", i), s.f)
		switch i {
		case 0, 42:
			e.Function = "gone"
		case 7, 12:
			e.Function, e.CreatedAt = "namesake", now().Add(-time.Hour)
		case 30:
			e.Function = "namesake" // of the one that is there
		}
		if _, no := refused[i]; !no || i == 20 || i == 60 {
			want = append(want, string(e.ID))
		}
		rows = append(rows, *record(e))
	}
	got := map[int]error{}
	must(t, s.write(ctx, func(ctx context.Context, tx *tx) error {
		return addExecutions(ctx, tx, rows, func(r *executionRecord, err error) {
			got[slices.IndexFunc(rows, func(o executionRecord) bool { return o.id == r.id })] = err
		})
	}))
	for place, err := range got {
		if wanted, ok := refused[place]; !ok || wanted != nil && !errors.Is(err, wanted) {
			t.Errorf("record %d is refused: %v", place, err)
		}
	}
	if len(got) != len(refused) {
		t.Errorf("%d records are refused, want %d", len(got), len(refused))
	}
	var stored []string
	must(t, s.each(ctx, "select id from executions order by id", nil, func(r scanner) error {
		var id string
		err := r.Scan(&id)
		stored = append(stored, id)
		return err
	}))
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
}

// TestRecordsKeepWhatIsTheirs has records that are alike but for one, in each of the columns that a statement has once.
func TestRecordsKeepWhatIsTheirs(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	other := &flint.Function{Project: "p", ID: "other"}
	must(t, s.CreateFunction(ctx, other, nil))
	var want []*flint.Execution
	for i, differ := range []func(*flint.Execution){
		func(e *flint.Execution) { e.Function = other.ID },
		func(e *flint.Execution) { e.Deployment = "another" },
		func(e *flint.Execution) { e.Trigger = flint.TriggerSchedule },
		func(e *flint.Execution) { e.Status = flint.ExecutionFailed },
		func(e *flint.Execution) { e.RequestMethod = "PUT" },
		func(e *flint.Execution) { e.RequestPath = "/another" },
		func(e *flint.Execution) { e.StatusCode = 201 },
		func(e *flint.Execution) { e.ScheduledAt = time.UnixMilli(1700000000000) },
		func(e *flint.Execution) { e.Permissions = []string{`read("user:u")`} },
		func(e *flint.Execution) { e.Errors = "an error\n" },
	} {
		for n := range alikeRows {
			e := sample(fmt.Sprintf("e%02d%02d", i, n), s.f)
			if n == alikeRows/2 {
				differ(e)
			}
			want = append(want, e)
		}
	}
	rows := make([]executionRecord, 0, len(want))
	for _, e := range want {
		rows = append(rows, newRecord(e))
	}
	must(t, s.write(ctx, func(ctx context.Context, tx *tx) error {
		return addExecutions(ctx, tx, rows, func(r *executionRecord, err error) { t.Errorf("%s is refused: %v", r.id, err) })
	}))
	for i, e := range want {
		got := value[*flint.Execution](t)(s.Execution(ctx, e.Project, e.Function, e.ID))
		if *record(got) != rows[i] {
			t.Errorf("stored is %+v, want %+v", *record(got), rows[i])
		}
	}
}

// TestNothingIsAddedAfterTrouble: a full database has ended the transaction, so that what came after would be stored on its own.
func TestNothingIsAddedAfterTrouble(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	var rows []executionRecord
	for i := range 3 * insertRows {
		e := sample(fmt.Sprintf("e%02d", i), s.f)
		switch i {
		case 0:
			e.Function = "unknown" // so that the first rows are added one by one
		case insertRows - 1:
			e.Logs = strings.Repeat("x", 1<<20) // the last of them is too much
		}
		rows = append(rows, *record(e))
	}
	must(t, s.writer.do(ctx, &job{run: func(ctx context.Context, t *tx) error {
		_, err := t.conn.ExecContext(ctx, "pragma max_page_count = 200")
		return err
	}}))
	err := s.writer.do(ctx, &job{run: func(ctx context.Context, t *tx) error {
		return addExecutions(ctx, t, rows, func(*executionRecord, error) {})
	}})
	if err == nil {
		t.Fatal("a full database takes all")
	}
	stored := 0
	must(t, s.one(ctx, "select count(*) from executions", nil, func(r scanner) error { return r.Scan(&stored) }))
	if stored != 0 {
		t.Errorf("%d executions are stored", stored)
	}
}

// TestJournalIsStoredOnce opens what a killed process leaves at different times.
func TestJournalIsStoredOnce(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	reopened := func(what, journal string, want ...string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "flint.db")
		db := openWriter(s.config.Path)
		_, err := db.ExecContext(ctx, "vacuum into $1", path)
		must(t, errors.Join(err, db.Close()))
		must(t, os.WriteFile(path+".records", []byte(journal), 0o600))
		for range 2 { // the second finds nothing left
			again, err := Open(ctx, Config{Path: path, Secret: secret(1)})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if diff := cmp.Diff(want, everyone(t, again)); diff != "" {
				t.Errorf("%s: executions (-want +got):\n%s", what, diff)
			}
			must(t, again.Close())
			if _, err := os.Stat(path + ".records"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: the journal was left: %v", what, err)
			}
		}
	}
	journal := func() string {
		b, err := os.ReadFile(s.config.Path + ".records")
		must(t, err)
		return string(b)
	}
	letGo := sync.OnceFunc(held(t, s.Store))
	defer letGo()
	for i := range 3 {
		must(t, s.KeepExecution(ctx, sample(fmt.Sprint("e", i), s.f)))
	}
	unstored := journal()
	reopened("before they were stored", unstored, "e0", "e1", "e2")
	letGo()
	everyone(t, s.Store)
	must(t, s.DeleteExecution(ctx, "p", "f", "e1"))
	reopened("a journal that was stored", unstored, "e0", "e2")
	must(t, s.KeepExecution(ctx, sample("e3", s.f)))
	everyone(t, s.Store)
	reopened("an empty one", journal(), "e0", "e2", "e3")
	reopened("none", "", "e0", "e2", "e3")
}

func TestRecordsWaitForADatabaseThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	limit := func(pages string) {
		t.Helper()
		must(t, s.writer.do(ctx, &job{run: func(ctx context.Context, t *tx) error {
			return t.each(ctx, "pragma max_page_count = "+pages, nil, ignore)
		}}))
	}
	limit("1") // as many as it has
	big := strings.Repeat("x", 100_000)
	for i := range 20 {
		e := sample(fmt.Sprintf("e%02d", i), s.f)
		e.Logs = big
		must(t, s.KeepExecution(ctx, e))
	}
	if got := everyone(t, s.Store); got != nil { // and does not wait for them
		t.Errorf("executions %v are listed that could not be stored", got)
	}
	var refused error
	for i := 0; refused == nil && i < 200; i++ { // the journal has its bound
		e := sample(fmt.Sprintf("f%03d", i), s.f)
		e.Logs = big
		refused = s.KeepExecution(ctx, e)
	}
	wantErr(t, "KeepExecution with a full journal", refused, flint.ErrStorageUnavailable)
	kept := s.records.unstored.Load()
	limit("1000000")
	for s.records.failing.Load() {
		s.records.mu.Lock()
		stored := s.records.stored
		s.records.mu.Unlock()
		s.records.hurry.Ring()
		<-stored
	}
	if got := everyone(t, s.Store); int64(len(got)) != kept {
		t.Errorf("%d executions are stored, %d were kept", len(got), kept)
	}
}

// TestRecordsOutliveADatabaseThatCannotBeWritten closes a store that could write neither of two batches.
func TestRecordsOutliveADatabaseThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	config := Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: secret(1)}
	s, err := Open(ctx, config)
	must(t, err)
	f := &flint.Function{Project: "p", ID: "f"}
	must(t, s.CreateProject(ctx, &flint.Project{ID: "p"}))
	must(t, s.CreateFunction(ctx, f, nil))
	must(t, s.writer.do(ctx, &job{run: func(ctx context.Context, t *tx) error {
		return t.each(ctx, "pragma max_page_count = 1", nil, ignore) // as many as it has
	}}))
	keep := func(id string) {
		t.Helper()
		e := sample(id, f)
		e.Logs = strings.Repeat("x", 100_000)
		must(t, s.KeepExecution(ctx, e))
	}
	keep("e1")
	for !s.records.failing.Load() {
		runtime.Gosched()
	}
	keep("e2")
	must(t, s.Close())
	again, err := Open(ctx, config)
	must(t, err)
	if diff := cmp.Diff([]string{"e1", "e2"}, everyone(t, again)); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
	must(t, again.Close())
}

func TestWithoutAJournal(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	other, err := Open(ctx, Config{Path: s.config.Path, Secret: secret(1)})
	must(t, err)
	must(t, other.KeepExecution(ctx, sample("e1", s.f)))
	if got := everyone(t, s.Store); len(got) != 1 {
		t.Errorf("executions %v, want one", got)
	}
	must(t, other.Close())
}

// TestRecordFormat: what is in a journal is read by other versions, too.
func TestRecordFormat(t *testing.T) {
	t.Parallel()
	e := sample("e1", &flint.Function{Project: "p", ID: "f"})
	e.CreatedAt, e.UpdatedAt, e.ScheduledAt = time.UnixMilli(1700000000123), time.UnixMilli(1700000000456), time.UnixMilli(1700000000001)
	e.Permissions, e.Errors, e.Logs = []string{`read("user:u")`}, "oh\n", "one\n"
	const want = "\x02\x13s\x01ps\x01fi\xf6\xa1\xab\xfe\xf9bs\x02e1i\xf6\xa1\xab\xfe\xf9bi\x90\xa7\xab\xfe\xf9bs\x1468c1f2aa0003f1b2c3d4s\x04https\tcompleted" +
		"s\x04POSTs\x17/orders/17?expand=itemsi\x90\x03f\xd7\x86\x8aq\xfe&T?i\x82\xa0\xab\xfe\xf9bs\x10\nread(\"user:u\")\ns\xbb\x02" +
		`{"q":[{"name":"content-type","value":"application/json"},{"name":"content-length","value":"128"},{"name":"host","value":"shop.functions.localhost"},` +
		`{"name":"x-appwrite-client-ip","value":"203.0.113.7"}],"s":[{"name":"content-type","value":"application/json; charset=utf-8"},{"name":"content-length","value":"512"}]}` +
		"s\x04one\ns\x03oh\ns\"0 0 1234 128 512 1011 58720256 1 0"
	diff(t, "the entry", string(encodeRecord(nil, record(e))), want)
	if got := value[executionRecord](t)(decodeRecord([]byte(want))); got != *record(e) {
		t.Errorf("the record is %+v, want %+v", got, *record(e))
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(encodeRecord(nil, record(sample("e1", &flint.Function{Project: "p", ID: "f"}))))
	f.Add([]byte{recordFormat, recordColumns, kindText, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("decodeRecord() = %v", err)
			}
			return
		}
		again, err := decodeRecord(encodeRecord(nil, &r))
		if err != nil || !bytes.Equal(encodeRecord(nil, &r), encodeRecord(nil, &again)) {
			t.Errorf("record %v is %v after encoding it: %v", r, again, err)
		}
	})
}
