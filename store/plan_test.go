package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

// mix makes executions of two functions, with usual and unusual values in every column.
func mix(t *testing.T) *bundle {
	t.Helper()
	s := setup(t)
	g := &flint.Function{Project: "p", ID: "g", Name: "G"}
	must(t, s.CreateFunction(t.Context(), g, nil))
	for i := range 120 {
		e := sample(fmt.Sprintf("e%03d", i), []*flint.Function{s.f, g}[i%5/4])
		e.CreatedAt = time.UnixMilli(1_700_000_000_000 + int64(i/3)*1_000_000).UTC() // some at once, 33 hours in all
		e.Deployment = flint.DeploymentID(fmt.Sprint("d", i/40))
		e.Status = []flint.ExecutionStatus{"completed", "failed", "completed", "waiting", "processing"}[i%7%5]
		e.Trigger = []flint.Trigger{"http", "http", "schedule", "event"}[i%11%4]
		e.RequestMethod = []string{"GET", "POST", "DELETE"}[i%13%3]
		e.RequestPath = []string{"/", "/Orders/1", "/orders/2", "/it's"}[i%17%4]
		e.StatusCode = []int{200, 201, 404, 500, 503}[i%19%5]
		e.Duration = []float64{0.25, 1, 3.5}[i%23%3]
		e.UpdatedAt = e.CreatedAt.Add(time.Duration([]int{0, 3_000, 10_000, 10_001, 5_000_000, -1}[i%29%6]) * time.Millisecond)
		must(t, s.AppendExecution(t.Context(), e))
	}
	return s
}

// TestPlansFindTheSameRows holds every way of reading a list against the one that goes through all rows, while the indexes behind the
// calls have none of them, some, or all, and after changes.
// leaveOut leaves a test out that asks one list after the other, under the race detector: scripts/test plays it without.
func leaveOut(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("played without the race detector")
	}
}

func TestPlansFindTheSameRows(t *testing.T) {
	t.Parallel()
	leaveOut(t)
	s := mix(t)
	ctx := t.Context()
	some := func(most int) { // so few are not taken in the background
		more, err := s.indexRows(ctx, 1, most)
		if must(t, err); !more {
			t.Errorf("no row is left to be indexed")
		}
	}
	for _, state := range []struct {
		name   string
		change func()
	}{
		{"none indexed", func() {}},
		{"some indexed", func() { some(50) }},
		{"all indexed", func() { s.indexAll(t) }},
		{"some removed and changed", func() {
			must(t, s.write(ctx, func(ctx context.Context, t *tx) error {
				return errors.Join(
					t.exec(ctx, "delete from executions where id in ('e007', 'e062', 'e063', 'e118', 'e119') or path = '/it''s' or created_at < 1700003000000"),
					t.exec(ctx, "update executions set duration = 0.125 where id in ('e030', 'e070', 'e081')"),
					t.exec(ctx, "update executions set duration = 7 where id = 'e090'"),
					t.exec(ctx, "update executions set status = 'failed', status_code = 503 where id in ('e031', 'e071', 'e082')"),
					t.exec(ctx, "update executions set trigger = 'event', method = 'DELETE' where id in ('e032', 'e072')"))
			}))
		}},
		{"some added", func() {
			for i := range 5 { // some have the row numbers of removed ones
				e := sample(fmt.Sprint("n", i), s.f)
				e.CreatedAt, e.RequestPath, e.Duration = time.UnixMilli(1_700_020_000_000+int64(i)), fmt.Sprint("/orders/new/", i%2), float64(i)/3
				must(t, s.AppendExecution(ctx, e))
			}
		}},
		{"some of those indexed", func() { some(2) }},
		{"many paths", func() {
			for i := range 2 * behindPaths {
				e := sample(fmt.Sprintf("m%03d", i), s.f)
				e.CreatedAt, e.RequestPath, e.Duration = time.UnixMilli(1_700_020_000_000+int64(i)*50_000), fmt.Sprint("/many/", i), float64(i%7)/5
				must(t, s.AppendExecution(ctx, e))
			}
			_, err := s.indexRows(ctx, 1, 100) // there may be none: so many are taken in the background
			must(t, err)
		}},
		{"all of them indexed", func() { s.indexAll(t) }},
		{"opened again", func() {
			must(t, s.Close())
			again, err := Open(ctx, s.config)
			must(t, err)
			t.Cleanup(func() { must(t, again.Close()) })
			s.Store = again
		}},
	} {
		state.change()
		comparePlans(t, s, state.name)
	}
}

func comparePlans(t *testing.T, s *bundle, state string) {
	t.Helper()
	var filters [][]flint.Query
	for _, q := range []flint.Query{
		{Method: "equal", Attribute: "status", Values: []any{"failed"}},
		{Method: "equal", Attribute: "status", Values: []any{"completed"}},
		{Method: "equal", Attribute: "status", Values: []any{"waiting", "failed", "waiting"}},
		{Method: "equal", Attribute: "status", Values: []any{"failed", "completed"}},
		{Method: "notEqual", Attribute: "status", Values: []any{"completed"}},
		{Method: "notEqual", Attribute: "status", Values: []any{"failed"}},
		{Method: "contains", Attribute: "status", Values: []any{"AIL"}},
		{Method: "notContains", Attribute: "status", Values: []any{"compl"}},
		{Method: "notEqual", Attribute: "trigger", Values: []any{"http"}},
		{Method: "equal", Attribute: "trigger", Values: []any{"event"}},
		{Method: "greaterThanEqual", Attribute: "responseStatusCode", Values: []any{404}},
		{Method: "lessThan", Attribute: "responseStatusCode", Values: []any{404}},
		{Method: "lessThanEqual", Attribute: "responseStatusCode", Values: []any{200}},
		{Method: "between", Attribute: "responseStatusCode", Values: []any{201, 500}},
		{Method: "notBetween", Attribute: "responseStatusCode", Values: []any{100, 404}},
		{Method: "equal", Attribute: "responseStatusCode", Values: []any{999}},
		{Method: "notEqual", Attribute: "requestMethod", Values: []any{"GET"}},
		{Method: "regex", Attribute: "requestMethod", Values: []any{"^(POST|DEL)"}},
		{Method: "equal", Attribute: "requestPath", Values: []any{"/orders/2", "/it's"}},
		{Method: "startsWith", Attribute: "requestPath", Values: []any{"/ORD"}},
		{Method: "endsWith", Attribute: "requestPath", Values: []any{"/"}},
		{Method: "containsAll", Attribute: "requestPath", Values: []any{"order", "2"}},
		{Method: "notStartsWith", Attribute: "requestPath", Values: []any{"/orders"}},
		{Method: "isNotNull", Attribute: "requestPath"},
		{Method: "isNull", Attribute: "requestPath"},
		{Method: "contains", Attribute: "requestPath", Values: []any{"ORDERS"}},
		{Method: "contains", Attribute: "requestPath", Values: []any{"rs/2", "t's"}},
		{Method: "contains", Attribute: "requestPath", Values: []any{"many"}},
		{Method: "contains", Attribute: "requestPath", Values: []any{"/17"}},
		{Method: "contains", Attribute: "requestPath", Values: []any{"it"}},
		{Method: "contains", Attribute: "requestPath", Values: []any{"a%y"}},
		{Method: "contains", Attribute: "requestPath", Values: []any{`a" OR "n`}},
		{Method: "endsWith", Attribute: "requestPath", Values: []any{"S/1"}},
		{Method: "notContains", Attribute: "requestPath", Values: []any{"/"}},
		{Method: "notEndsWith", Attribute: "requestPath", Values: []any{"/"}},
		{Method: "containsAll", Attribute: "requestPath", Values: []any{"RDER", "/", "w/1"}},
		{Method: "regex", Attribute: "requestPath", Values: []any{"^/(it|orders/2)"}},
		{Method: "greaterThan", Attribute: "requestPath", Values: []any{"/a"}},
		{Method: "greaterThan", Attribute: "$updatedAt", Values: []any{time.UnixMilli(1_700_030_000_000)}},
		{Method: "lessThanEqual", Attribute: "$updatedAt", Values: []any{time.UnixMilli(1_700_010_000_000)}},
		{Method: "between", Attribute: "$updatedAt", Values: []any{time.UnixMilli(1_700_010_000_000), time.UnixMilli(1_700_011_500_000)}},
		{Method: "equal", Attribute: "$updatedAt", Values: []any{time.UnixMilli(1_700_010_000_000)}},
		{Method: "notBetween", Attribute: "$updatedAt", Values: []any{time.UnixMilli(1_700_010_000_000), time.UnixMilli(1_700_015_000_000)}},
		{Method: "greaterThan", Attribute: "duration", Values: []any{1.0}},
		{Method: "greaterThanEqual", Attribute: "duration", Values: []any{1.0}},
		{Method: "between", Attribute: "duration", Values: []any{0.5, 2.0}},
		{Method: "equal", Attribute: "duration", Values: []any{3.5, 0.25}},
		{Method: "equal", Attribute: "deploymentId", Values: []any{"d1"}},
		{Method: "equal", Attribute: "deploymentId", Values: []any{"d0", "d2", "d7"}},
		{Method: "equal", Attribute: "deploymentId", Values: []any{"d7"}},
		{Method: "notEqual", Attribute: "deploymentId", Values: []any{"d1"}},
		{Method: "lessThan", Attribute: "$createdAt", Values: []any{time.UnixMilli(1_700_015_000_000)}},
		{Method: "greaterThan", Attribute: "$sequence", Values: []any{1_700_015_000_000}},
		{Method: "notBetween", Attribute: "$sequence", Values: []any{1_700_010_000_000, 1_700_015_000_000}},
		{Method: "equal", Attribute: "$createdAt", Values: []any{time.UnixMilli(1_700_015_000_000)}},
		{Method: "equal", Attribute: "$id", Values: []any{"e060", "e061"}},
		{Method: "or", Values: []any{
			flint.Query{Method: "equal", Attribute: "status", Values: []any{"failed"}}, flint.Query{Method: "equal", Attribute: "trigger", Values: []any{"event"}},
		}},
		{Method: "and", Values: []any{
			flint.Query{Method: "equal", Attribute: "requestMethod", Values: []any{"POST"}}, flint.Query{Method: "greaterThan", Attribute: "$createdAt", Values: []any{time.UnixMilli(1_700_015_000_000)}},
		}},
	} {
		filters = append(filters, []flint.Query{q}, []flint.Query{q, {Method: "equal", Attribute: "trigger", Values: []any{"schedule"}}},
			[]flint.Query{{Method: "equal", Attribute: "requestPath", Values: []any{"/orders/2"}}, q},
			[]flint.Query{{Method: "lessThanEqual", Attribute: "$createdAt", Values: []any{time.UnixMilli(1_700_025_000_000)}}, q})
	}
	filters = append(filters, nil)
	for i, f := range filters {
		for j, l := range []flint.List{
			{},
			{Orders: by("$createdAt", true)},
			{Orders: by("$createdAt", true), NoTotal: true, Limit: 3, Offset: 2},
			{Orders: by("duration", true), Limit: 9},
			{Orders: by("duration", true), Limit: 5, Offset: 3, Cursor: "e080"},
			{Orders: by("duration", true), Limit: 5, Cursor: "e080", CursorBefore: true},
			{Orders: by("duration", false), Limit: 9},
			{Orders: by("duration", false), Limit: 100, Cursor: "e090", NoTotal: true},
			{Orders: by("duration", false), Limit: 5, Offset: 3, Cursor: "e080", CursorBefore: true},
			{Orders: append(by("duration", false), by("$createdAt", true)...), Limit: 5},
			{Orders: by("$updatedAt", true), Limit: 5},
			{Orders: by("$updatedAt", false), Limit: 5, Offset: 2, Cursor: "e080"},
			{Orders: by("$updatedAt", true), Limit: 9, Cursor: "e080"},
			{Orders: by("$updatedAt", true), Limit: 9, Cursor: "e080", CursorBefore: true},
			{Orders: by("$updatedAt", false), Limit: 200, Cursor: "e040"},
			{Orders: by("$id", false), Limit: 4},
			{Cursor: "e060", Limit: 7},
			{Cursor: "e060", Limit: 7, CursorBefore: true},
			{Orders: by("$createdAt", true), Cursor: "e060", Limit: 7},
			{Orders: by("$createdAt", true), Cursor: "e060", Limit: 7, CursorBefore: true},
			{Orders: by("status", false), Cursor: "e060", Limit: 7},
			{Orders: append(by("$createdAt", true), by("$id", false)...), Cursor: "e060", Limit: 7},
			{Limit: 2, Offset: 1 << 62},
		} {
			if (i+j)%61 != 0 && len(f) > 0 { // each condition with some of the lists, each list with some conditions
				continue
			}
			l.Filters = f
			got := s.executionLister("p", "f", l)
			plain := s.executionLister("p", "f", l)
			plain.noun.parts, plain.noun.narrow, plain.noun.behind, plain.noun.late = nil, nil, false, nil
			if d := cmp.Diff(readIDs(t, plain), readIDs(t, got)); d != "" {
				t.Errorf("%s: %+v (-all rows +plan):\n%s", state, l, d)
			}
		}
	}
}

func readIDs(t *testing.T, r *lister[*flint.Execution]) string {
	t.Helper()
	rows, total, err := r.read(t.Context())
	must(t, err)
	return ids(rows, func(e *flint.Execution) string { return string(e.ID) }) + fmt.Sprint(" of ", total)
}

// TestListsOfExecutionsUseTheirIndexes asks the database how it reads what clients filter by.
func TestListsOfExecutionsUseTheirIndexes(t *testing.T) {
	t.Parallel()
	s := mix(t)
	newest := by("$createdAt", true)
	for _, c := range []struct {
		name, want string
		sorted     bool // few rows are sorted
		list       flint.List
	}{
		{"status", "executions_status (owner=? AND status=?)", false, flint.List{Filters: where("status", "equal", "failed")}},
		{"statuses", "executions_status (owner=? AND status=?)", false, flint.List{Filters: where("status", "notEqual", "completed")}},
		{"usual status", "executions_owner (owner=?)", false, flint.List{Filters: where("status", "equal", "completed")}},
		{"trigger", "executions_trigger (owner=? AND trigger=?)", false, flint.List{Filters: where("trigger", "equal", "event")}},
		{"code", "executions_code (owner=? AND status_code=?)", false, flint.List{Filters: where("responseStatusCode", "equal", 503)}},
		{"codes", "executions_code (owner=? AND status_code=?)", false, flint.List{Filters: where("responseStatusCode", "greaterThan", 400)}},
		{"method", "executions_method (owner=? AND method=?)", false, flint.List{Filters: where("requestMethod", "equal", "DELETE")}},
		{"path", "executions_path (owner=? AND path=?)", false, flint.List{Filters: where("requestPath", "equal", "/it's")}},
		{"part of a path", "executions_path (owner=? AND path=?)", true, flint.List{Filters: where("requestPath", "contains", "order")}},
		{"duration", "executions_duration (owner=? AND duration>?)", true, flint.List{Filters: where("duration", "greaterThan", 2.0)}},
		{"some part of a path", "executions_path (owner=? AND path=?)", true, flint.List{Filters: where("requestPath", "endsWith", "2")}},
		{"slowest", "SCAN v VIRTUAL TABLE", false, flint.List{Orders: by("duration", true), Limit: 5}},
		{"deployment", "executions_owner (owner=? AND created_at>? AND created_at<?)", false, flint.List{Filters: where("deploymentId", "equal", "d1")}},
		{"page of a value", "executions_status (owner=? AND status=? AND (created_at,id)<(?,?))", false, flint.List{Filters: where("status", "equal", "failed"), Cursor: "e060"}},
		{"page of a time", "executions_owner (owner=? AND created_at>? AND (created_at,id)<(?,?))", false, flint.List{
			Filters: where("$createdAt", "between", time.UnixMilli(1_700_000_000_000), time.UnixMilli(1_700_039_000_000)), Cursor: "e060",
		}},
		{"fastest", "SCAN v VIRTUAL TABLE", false, flint.List{Orders: by("duration", false), Cursor: "e080"}},
		{"last changed", "executions_owner (owner=? AND created_at>?)", true, flint.List{Orders: by("$updatedAt", true), Limit: 5}},
		{"changed", "executions_owner (owner=? AND created_at>?)", false, flint.List{Filters: where("$updatedAt", "greaterThan", time.UnixMilli(1_700_039_000_000))}},
		{"changed late", "executions_late (owner=? AND updated_at>? AND updated_at<?)", true, flint.List{
			Filters: where("$updatedAt", "between", time.UnixMilli(1_700_000_000_000), time.UnixMilli(1_700_039_000_000)),
		}},
		{"id", "(id=?)", true, flint.List{Filters: where("$id", "equal", "e060")}},
	} {
		if c.list.Orders == nil {
			c.list.Orders = newest
		}
		r := s.executionLister("p", "f", c.list)
		var page string
		var args []any
		r.trace = func(query string, a []any) { page, args = query, a }
		_, _, err := r.read(t.Context())
		must(t, err)
		inner, _, _ := strings.Cut(page, ") p cross join ") // how the keys of rows are found
		plan := strings.Join(s.plan(t, page, args), "\n")
		if !strings.Contains(plan, c.want) || strings.Contains(plan, "SCAN t") {
			t.Errorf("%s: %s\nis done by:\n%s\nwant %s", c.name, inner, plan, c.want)
		}
	}
}

func TestSpansHoldWhatIsInThem(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	base := time.UnixMilli(1_700_000_000_000).UTC()
	found := func(deployment string) int {
		t.Helper()
		all, total, err := s.Executions(ctx, "p", "f", flint.List{Filters: where("deploymentId", "equal", deployment)})
		must(t, err)
		if len(all) != total {
			t.Errorf("%d of %d", len(all), total)
		}
		return total
	}
	add := func(id, deployment string, at time.Time) {
		t.Helper()
		e := sample(id, s.f)
		e.Deployment, e.CreatedAt = flint.DeploymentID(deployment), at
		must(t, s.AppendExecution(ctx, e))
	}
	add("e1", "a", base)
	add("e2", "a", base.Add(50*time.Hour))
	add("e3", "a", base.Add(-50*time.Hour))
	add("e4", "b", base)
	if a, b, c := found("a"), found("b"), found("c"); a != 3 || b != 1 || c != 0 {
		t.Errorf("found %d, %d and %d executions", a, b, c)
	}

	// A span that was taken back is written again.
	fail := errors.New("no")
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		e := sample("e5", s.f)
		e.Deployment, e.CreatedAt = "c", base
		return errors.Join(addExecution(ctx, t, record(e)), fail)
	})
	if !errors.Is(err, fail) {
		t.Errorf("write() = %v", err)
	}
	add("e6", "c", base)
	if n := found("c"); n != 1 {
		t.Errorf("found %d executions of c", n)
	}

	// A namesake's are its own.
	must(t, s.DeleteFunction(ctx, "p", "f"))
	must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f", Name: "F"}, nil))
	add("e7", "a", now().Add(time.Second))
	if n := found("a"); n != 1 {
		t.Errorf("found %d executions of the namesake", n)
	}

	// An asynchronous execution gets its deployment when it ends.
	e := sample("e8", s.f)
	e.Deployment, e.CreatedAt = "", now().Add(-50*time.Hour)
	e.CreatedAt = now().Add(time.Second)
	must(t, s.EnqueueExecution(ctx, e, &QueuedCall{Method: "GET", Path: "/"}))
	must(t, s.write(ctx, func(ctx context.Context, t *tx) error { return t.exec(ctx, "update calls set due_at = 0") }))
	claimed, call, err := s.ClaimExecution(ctx, "n", time.Minute)
	must(t, err)
	claimed.Status, claimed.Deployment = flint.ExecutionCompleted, "z"
	if counted, err := s.finish(ctx, claimed, call.Attempt); !counted || err != nil {
		t.Errorf("FinishExecution() = %v, %v", counted, err)
	}
	if n := found("z"); n != 1 {
		t.Errorf("found %d executions that were claimed", n)
	}
}

func TestSearchFollowsFunctions(t *testing.T) {
	t.Parallel()
	s := shelf(t)
	search := func(project flint.ProjectID, text string) string {
		t.Helper()
		indexed := s.functionLister(project, flint.List{Search: text})
		plain := s.functionLister(project, flint.List{Search: text})
		plain.noun.found = nil
		got, total, err := indexed.read(t.Context())
		must(t, err)
		want, all, err := plain.read(t.Context())
		must(t, err)
		if functionIDs(got) != functionIDs(want) || total != all {
			t.Errorf("search for %q = %s of %d, want %s of %d", text, functionIDs(got), total, functionIDs(want), all)
		}
		return functionIDs(got)
	}
	for text, want := range map[string]string{
		"ALPHA": "0 6", "lpha": "0 6", "mma_1": "2", "lta%": "3", `p\si`: "4", "It's": "8", "KäSE": "9", "käs": "9", "KÄSE": "", `"`: "", `a"b`: "", `"" OR "`: "",
		"php-8": "1 3 5 7 9", "alpha OR beta": "", "name:alpha": "", "Alpha\x00": "0", "\xff\xfe\xfd": "", "<p>": "", "a two": "6", "*lpha": "", "f1\nbeta": "",
	} {
		if got := search("p", text); got != want {
			t.Errorf("search for %q = %q, want %q", text, got, want)
		}
	}
	if got := search("q", "alpha"); got != "0" {
		t.Errorf("search in another project = %q", got)
	}
	_, err := s.UpdateFunction(t.Context(), "p", "f0", func(f *flint.Function) error { f.Name = "Omega"; return nil })
	must(t, err)
	_, err = s.UpdateFunction(t.Context(), "p", "f3", func(f *flint.Function) error { f.Timeout = time.Minute; return nil })
	must(t, err)
	must(t, s.DeleteFunction(t.Context(), "p", "f6"))
	for text, want := range map[string]string{"alpha": "", "omega": "0", "delta": "3"} {
		if got := search("p", text); got != want {
			t.Errorf("after changes: search for %q = %q, want %q", text, got, want)
		}
	}
}

// TestPagesOfSearches has the same pages whether few or many functions of other projects have what is searched for.
func TestPagesOfSearches(t *testing.T) {
	t.Parallel()
	s := shelf(t)
	newest := []flint.Order{{Attribute: "$createdAt", Descending: true}}
	compare := func(others int) {
		t.Helper()
		for _, l := range []flint.List{
			{},
			{Limit: 2},
			{Orders: newest},
			{Orders: newest, Limit: 2},
			{Orders: newest, Limit: 2, Offset: 1},
			{Orders: newest, Limit: 2, Offset: 4},
			{Orders: newest, Limit: 2, Offset: 5},
			{Orders: newest, Offset: 3},
			{Orders: newest, Limit: 2, Cursor: "f5"},
			{Orders: newest, Limit: 2, Cursor: "f5", CursorBefore: true},
			{Orders: []flint.Order{{Attribute: "name"}}, Limit: 2},
		} {
			l.Search = "php-8"
			plain := s.functionLister("p", l)
			plain.noun.found = nil
			want, all, err := plain.read(t.Context())
			must(t, err)
			if got, total, err := s.Functions(t.Context(), "p", l); functionIDs(got) != functionIDs(want) || total != all || err != nil {
				t.Errorf("with %d others: Functions(%+v) = %q of %d, %v, want %q of %d", others, l, functionIDs(got), total, err, functionIDs(want), all)
			}
		}
	}
	compare(0)
	const others = 2*foundMost + 1
	for i := range others {
		id := flint.FunctionID(fmt.Sprint("other", i))
		must(t, s.CreateFunction(t.Context(), &flint.Function{Project: "q", ID: id, Runtime: "php-8.3"}, nil))
	}
	compare(others)
}

// olderStore opens a store that an older version has made, from the migrations whose names are as a pattern says, and filled.
func olderStore(t *testing.T, names, fill string) (*Store, context.Context) {
	t.Helper()
	older := fstest.MapFS{}
	all, err := fs.Glob(migrations(), names)
	must(t, err)
	for _, name := range all {
		text, err := fs.ReadFile(migrations(), name)
		must(t, err)
		older[name] = &fstest.MapFile{Data: text}
	}
	path, ctx := filepath.Join(t.TempDir(), "flint.db"), t.Context()
	db := openWriter(path)
	conn, err := db.Conn(ctx)
	must(t, err)
	must(t, migrate(ctx, conn, older, path))
	_, err = conn.ExecContext(ctx, fill)
	must(t, err)
	must(t, errors.Join(conn.Close(), db.Close()))
	s, err := Open(ctx, Config{Path: path, Secret: secret(1)})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s, ctx
}

// TestOlderStoresAreListed brings a store up to date that was filled before there were spans and an index for searches.
func TestOlderStoresAreListed(t *testing.T) {
	t.Parallel()
	s, ctx := olderStore(t, "000[123]*.sql", `insert into projects values ('p', 'P', 1, 1);
		insert into functions values ('p', 'f', 7, 0, 1, 1, 'An old one', 'node-22', true, true, '', 15, '', '', '', '', 0, '', 0, '', '{}');
		insert into executions values ('e1', 7, 1700000000000, 1, 'd', 'http', 'failed', 'GET', '/', 500, 1, 0, '', '{}', '', '');
		insert into executions values ('e2', 7, 1600000000000, 1, 'd', 'http', 'failed', 'GET', '/', 500, 1, 0, '', '{}', '', '')`)
	for _, f := range [][]flint.Query{where("deploymentId", "equal", "d"), where("status", "equal", "failed")} {
		if all, total, err := s.Executions(ctx, "p", "f", flint.List{Filters: f}); err != nil || total != 2 || len(all) != 2 {
			t.Errorf("Executions(%v) = %d of %d, %v", f, len(all), total, err)
		}
	}
	if all, _, err := s.Functions(ctx, "p", flint.List{Search: "old"}); err != nil || len(all) != 1 {
		t.Errorf("Functions() = %d, %v", len(all), err)
	}
}
