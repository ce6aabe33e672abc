package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"flint"
)

const (
	scaleFunctions  = 10_000
	scaleExecutions = 1_000_000 // half of them of one function
	scaleBound      = 30        // times a primary-key read
	scaleRounds     = 61
)

// scaleCase is one list with what it may cost.
type scaleCase struct {
	name      string
	functions bool // of functions; otherwise executions of the function that has most
	list      flint.List
}

func where(attribute, method string, values ...any) []flint.Query {
	return []flint.Query{{Method: method, Attribute: attribute, Values: values}}
}

func by(attribute string, descending bool) []flint.Order {
	return []flint.Order{{Attribute: attribute, Descending: descending}}
}

func scaleCases() []scaleCase {
	newest := by("$createdAt", true)
	at := func(i int) time.Time { return time.UnixMilli(scaleTime(i)) }
	middle := scaleID(scaleExecutions / 2)
	span := where("$createdAt", "between", at(400_000), at(700_000))
	cases := []scaleCase{
		{name: "list", list: flint.List{}},
		{name: "list newest", list: flint.List{Orders: newest}},
		{name: "list without total", list: flint.List{Orders: newest, NoTotal: true}},
		{name: "page after", list: flint.List{Orders: newest, Cursor: middle}},
		{name: "page before", list: flint.List{Orders: newest, Cursor: middle, CursorBefore: true}},
		{name: "page by offset", list: flint.List{Orders: newest, Offset: 1000}},
		{name: "filter id", list: flint.List{Filters: where("$id", "equal", middle)}},
		{name: "filter time", list: flint.List{Orders: newest, Filters: span}},
		{name: "page of a time", list: flint.List{Orders: newest, Filters: span, Cursor: middle}},
		{name: "page of a value", list: flint.List{Orders: newest, Filters: where("status", "equal", "failed"), Cursor: middle}},
		{name: "page of values", list: flint.List{Orders: newest, Filters: where("responseStatusCode", "greaterThanEqual", 500), Cursor: middle}},
		{name: "page before of values", list: flint.List{Orders: newest, Filters: where("requestMethod", "notEqual", "GET"), Cursor: middle, CursorBefore: true}},
		{name: "page of a deployment", list: flint.List{Orders: newest, Filters: where("deploymentId", "equal", "d7"), Cursor: scaleID(380_000)}},
		{name: "values and a time", list: flint.List{Orders: newest, Filters: append(where("status", "equal", "failed"), span...)}},
		{name: "value without total", list: flint.List{Orders: newest, NoTotal: true, Filters: where("status", "equal", "failed")}},
	}
	for _, f := range []struct {
		attribute, method string
		values            []any
	}{
		{"status", "equal", []any{"failed"}},
		{"status", "equal", []any{"completed"}},
		{"status", "equal", []any{"waiting"}},
		{"status", "equal", []any{"waiting", "processing", "failed"}},
		{"status", "notEqual", []any{"completed"}},
		{"status", "notEqual", []any{"failed"}},
		{"trigger", "equal", []any{"schedule"}},
		{"trigger", "equal", []any{"event"}},
		{"trigger", "equal", []any{"http"}},
		{"requestMethod", "equal", []any{"DELETE"}},
		{"requestMethod", "equal", []any{"POST"}},
		{"requestMethod", "equal", []any{"GET"}},
		{"responseStatusCode", "equal", []any{503}},
		{"responseStatusCode", "equal", []any{502}},
		{"responseStatusCode", "equal", []any{200}},
		{"responseStatusCode", "greaterThanEqual", []any{500}},
		{"responseStatusCode", "between", []any{501, 502}},
		{"requestPath", "equal", []any{"/rare"}},
		{"requestPath", "equal", []any{"/orders/7"}},
		{"requestPath", "equal", []any{"/"}},
		{"deploymentId", "equal", []any{"d7"}},
		{"deploymentId", "equal", []any{"none"}},
		{"duration", "greaterThan", []any{14.0}},
		{"duration", "greaterThan", []any{5.0}},
		{"duration", "lessThan", []any{1.0}},
		{"requestPath", "contains", []any{"rar"}},
		{"requestPath", "contains", []any{"orders"}},
		{"requestPath", "startsWith", []any{"/rar"}},
		{"requestPath", "endsWith", []any{"/77"}},
		{"requestPath", "containsAll", []any{"RDER", "771"}},
		{"$updatedAt", "greaterThan", []any{at(scaleExecutions - 1000)}},
		{"$updatedAt", "between", []any{at(100_000), at(800_000)}},
	} {
		cases = append(cases, scaleCase{
			name: fmt.Sprintf("filter %s %s %v", f.attribute, f.method, f.values),
			list: flint.List{Orders: newest, Filters: where(f.attribute, f.method, f.values...)},
		})
	}
	cases = append(cases,
		scaleCase{
			name: "two conditions, one rare", list: flint.List{Orders: newest, Filters: append(where("responseStatusCode", "equal", 503), where("trigger", "equal", "event")...)},
		},
		scaleCase{
			name: "two conditions, both on thousands of rows",
			list: flint.List{Orders: newest, Filters: append(where("status", "equal", "failed"), where("trigger", "equal", "schedule")...)},
		},
		scaleCase{name: "list slowest", list: flint.List{Orders: by("duration", true)}},
		scaleCase{name: "list fastest", list: flint.List{Orders: by("duration", false)}},
		scaleCase{name: "list last changed", list: flint.List{Orders: by("$updatedAt", true)}},
		scaleCase{name: "page of the last changed", list: flint.List{Orders: by("$updatedAt", true), Cursor: middle}},
		scaleCase{name: "page of the first changed", list: flint.List{Orders: by("$updatedAt", false), Cursor: middle}},
		scaleCase{name: "page of the slowest", list: flint.List{Orders: by("duration", true), Cursor: middle}},
		scaleCase{name: "page of the fastest", list: flint.List{Orders: by("duration", false), Cursor: scaleID(scaleExecutions/2 + 2), CursorBefore: true}})
	return append(cases, scaleFunctionCases(newest)...)
}

func scaleFunctionCases(newest []flint.Order) []scaleCase {
	cases := []scaleCase{
		{name: "list", list: flint.List{}},
		{name: "list newest", list: flint.List{Orders: newest}},
		{name: "list by name", list: flint.List{Orders: by("name", false)}},
		{name: "page after", list: flint.List{Orders: newest, Cursor: "f5000"}},
		{name: "page before", list: flint.List{Orders: newest, Cursor: "f5000", CursorBefore: true}},
		{name: "page by name", list: flint.List{Orders: by("name", false), Cursor: "f5000"}},
		{name: "filter name", list: flint.List{Filters: where("name", "equal", "Function 77")}},
		{name: "filter runtime", list: flint.List{Orders: newest, Filters: where("runtime", "equal", "go-1.26")}},
		{name: "filter enabled", list: flint.List{Orders: newest, Filters: where("enabled", "equal", false)}},
		{name: "filter schedule", list: flint.List{Filters: where("schedule", "notEqual", "")}},
		{name: "filter deployment", list: flint.List{Filters: where("deploymentId", "equal", "d77")}},
		{name: "search", list: flint.List{Orders: newest, Search: "tion 77"}},
		{name: "search in vain", list: flint.List{Orders: newest, Search: "nothing"}},
		{name: "page of a search", list: flint.List{Orders: newest, Search: "tion 77", Cursor: "f7750"}},
		{name: "search with a condition", list: flint.List{Orders: newest, Search: "tion 77", Filters: where("enabled", "equal", true)}},
		{name: "search most have", list: flint.List{Orders: newest, Search: "function"}},
		{name: "search of two letters", list: flint.List{Orders: newest, Search: "77"}},
		{name: "search of a letter most have", list: flint.List{Orders: newest, Search: "n"}},
		{name: "search of a letter none has", list: flint.List{Orders: newest, Search: "x"}},
	}
	for i := range cases {
		cases[i].functions = true
	}
	return cases
}

func scaleTime(i int) int64 { return 1_700_000_000_000 + int64(i)*100 }

func scaleID(i int) string { return fmt.Sprintf("%013x%07x", scaleTime(i), i) }

// fillScale makes the rows, in the order in which they would have come. The event of each is somebody else's.
func fillScale(ctx context.Context, tb testing.TB, s *Store) {
	tb.Helper()
	e := sample("", &flint.Function{})
	headers := encodeHeaders(e.RequestHeaders, e.ResponseHeaders)
	must(tb, s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.exec(ctx, `with recursive n(i) as (select 0 union all select i + 1 from n where i < $1)
			insert into functions select 'p', 'f' || i, i + 1, 0, 1700000000000 + i, 1700000000000 + i, 'Function ' || i,
			case when i % 10 = 0 then 'go-1.26' else 'node-22' end, i % 100 <> 0, true, case when i % 50 = 0 then '0 * * * *' else '' end, 15, 'main.js',
			'npm install', '', 'd' || i, 0, 'd' || i, 0, 'ready', '{"execute":["any"],"logging":true}' from n`, scaleFunctions-1)
	}))
	const batch = 50_000 // executions of one deployment
	for i := 0; i < scaleExecutions; i += batch {
		must(tb, s.write(ctx, func(ctx context.Context, t *tx) error {
			return t.exec(ctx, `with recursive n(i) as (select $1 union all select i + 1 from n where i < $2),
				r(i, x) as (select i, abs((i * 2654435761) % 4294967291) % 10000 from n)
				insert into executions (id, owner, created_at, updated_at, deployment, trigger, status, method, path, status_code, duration,
				scheduled_at, permissions, headers, logs, errors)
				select printf('%013x%07x', 1700000000000 + i * 100, i), case when i % 2 = 0 then 1 else i / 2 % 10000 + 1 end,
				1700000000000 + i * 100, 1700000000005 + i * 100, 'd' || (i / 50000),
				case when x < 5 then 'event' when x < 500 then 'schedule' else 'http' end, case when x < 100 then 'failed' else 'completed' end,
				case when x % 1000 = 7 then 'DELETE' when x % 3 = 0 then 'POST' else 'GET' end,
				case when x = 9 then '/rare' when x % 2 = 0 then '/' else '/orders/' || x end,
				case when x = 3 then 503 when x < 100 then 500 when i between 300000 and 340000 and x % 4 = 0 then 502 else 200 end,
				case when x % 10 = 3 then x / 700.0 else 0.002 end, 0, '', $3, $4, '' from r`, i, i+batch-1, headers, e.Logs)
		}))
	}
	must(tb, s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.exec(ctx, `insert into execution_spans (owner, deployment, first_at, last_at)
			select owner, deployment, min(created_at), max(created_at) from executions group by owner, deployment`)
	}))
}

// BenchmarkScale measures lists of a large store, each in alternation with the read of one execution by its primary key,
// and shows the statements with their plans. It fails where a list costs more than the bound or reads a table from end
// to end.
func BenchmarkScale(b *testing.B) {
	s, err := Open(b.Context(), Config{Path: b.TempDir() + "/flint.db", Secret: secret(1)})
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	must(b, s.CreateProject(b.Context(), &flint.Project{ID: "p"}))
	begin := time.Now()
	fillScale(b.Context(), b, s)
	fmt.Printf("%d functions and %d executions made in %.0f s\n", scaleFunctions, scaleExecutions, time.Since(begin).Seconds())
	before := cpu(b)
	s.indexAll(b)
	fmt.Printf("indexed behind the calls: %.1f µs of processor time each\n", float64((cpu(b)-before).Microseconds())/scaleExecutions)
	for _, c := range scaleCases() {
		s.measureScale(b, c)
	}
	for b.Loop() { // what counts was measured above
	}
}

// indexAll brings the indexes behind the calls up to date.
func (s *Store) indexAll(tb testing.TB) {
	tb.Helper()
	for more := true; more; {
		var err error
		more, err = s.indexRows(tb.Context(), 1, behindRows)
		must(tb, err)
	}
}

func (s *Store) measureScale(b *testing.B, c scaleCase) {
	b.Helper()
	ctx := b.Context()
	run := func(trace func(string, []any)) (int, int, error) {
		r := s.executionLister("p", "f0", c.list)
		r.trace = trace
		rows, total, err := r.read(ctx)
		return len(rows), total, err
	}
	noun := "executions"
	if c.functions {
		noun = "functions"
		run = func(trace func(string, []any)) (int, int, error) {
			r := s.functionLister("p", c.list)
			r.trace = trace
			rows, total, err := r.read(ctx)
			return len(rows), total, err
		}
	}
	var lists, reads []time.Duration
	var listCPU, readCPU time.Duration
	var rows, total int
	for i := range scaleRounds {
		begin, used := time.Now(), cpu(b)
		_, err := s.Execution(ctx, "p", "f0", flint.ExecutionID(scaleID((scaleExecutions/2+i*4999)&^1)))
		must(b, err)
		reads = append(reads, time.Since(begin))
		readCPU += cpu(b) - used
		begin, used = time.Now(), cpu(b)
		rows, total, err = run(nil)
		must(b, err)
		lists = append(lists, time.Since(begin))
		listCPU += cpu(b) - used
		if i > 4 && lists[i] > 100*time.Millisecond {
			break // it is clear by now
		}
	}
	slices.Sort(lists)
	slices.Sort(reads)
	ratio := float64(listCPU) / float64(readCPU)
	verdict := ""
	if ratio > scaleBound {
		verdict = "  TOO MUCH"
		b.Errorf("%s: %s costs %.0f reads", noun, c.name, ratio)
	}
	fmt.Printf("\n%s: %s: %.1f reads (by the clock %.1f: %v, a read %v), %d rows of %d%s\n", noun, c.name, ratio,
		float64(lists[len(lists)/2])/float64(reads[len(reads)/2]), lists[len(lists)/2], reads[len(reads)/2], rows, total, verdict)
	_, _, err := run(func(query string, args []any) { s.explain(b, query, args) })
	must(b, err)
}

// explain prints a statement and its plan.
func (s *Store) explain(b *testing.B, query string, args []any) {
	b.Helper()
	for _, columns := range []string{executionColumns, functionColumns} {
		query = strings.Replace(query, columns, "…", 1)
	}
	fmt.Println("   ", query)
	query = strings.Replace(query, "…", "t.*", 1)
	for _, detail := range s.plan(b, query, args) {
		fmt.Println("      ", detail)
		if fullScan(detail) {
			b.Errorf("full scan: %s\n%s", detail, query)
		}
	}
}

// plan returns how the database answers a query.
func (s *Store) plan(tb testing.TB, query string, args []any) (steps []string) {
	tb.Helper()
	must(tb, s.each(tb.Context(), "explain query plan "+query, args, func(r scanner) error {
		var id, parent, unused int
		var detail string
		err := r.Scan(&id, &parent, &unused, &detail)
		steps = append(steps, detail)
		return err
	}))
	return steps
}

// fullScan reports whether a step of a plan reads a table from end to end. Results of other steps are no tables, and the
// index for searches is asked for a text.
func fullScan(step string) bool {
	what, ok := strings.CutPrefix(step, "SCAN ")
	name, _, _ := strings.Cut(what, " ")
	return ok && (name == "t" || name == "executions" || name == "functions")
}
