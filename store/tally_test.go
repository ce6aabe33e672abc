package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

func TestCountable(t *testing.T) {
	t.Parallel()
	q := func(attribute, method string, values ...any) flint.Query {
		return flint.Query{Method: method, Attribute: attribute, Values: values}
	}
	fast, slow := q("duration", "lessThan", 1.0), q("duration", "greaterThanEqual", 1.0)
	for _, c := range []struct {
		in, want flint.Query
		same, ok bool
	}{
		{in: q("status", "notEqual", "failed"), want: q("status", "notEqual", "failed"), same: true, ok: true},
		{in: q("requestMethod", "contains", "E"), want: q("requestMethod", "contains", "E"), same: true, ok: true},
		{in: q("requestPath", "equal", "/"), want: q("requestPath", "equal", "/"), same: true, ok: true},
		{in: q("requestPath", "notEqual", "/"), want: q("requestPath", "notEqual", "/"), same: true, ok: true},
		{in: q("requestPath", "equal", "/a")},
		{in: q("requestPath", "equal", "/", "/a")},
		{in: q("requestPath", "contains", "/")},
		{in: q("duration", "lessThan", 1), want: fast, same: true, ok: true},
		{in: q("duration", "lessThan", 0.99)},
		{in: q("duration", "lessThan", 7.5), want: fast, ok: true},
		{in: q("duration", "lessThanEqual", 1.0), want: fast, ok: true},
		{in: q("duration", "lessThanEqual", 0.5)},
		{in: q("duration", "greaterThanEqual", 1.0), want: slow, same: true, ok: true},
		{in: q("duration", "greaterThanEqual", 0.5), want: slow, ok: true},
		{in: q("duration", "greaterThan", 1.0)},
		{in: q("duration", "greaterThan", 0.99), want: slow, ok: true},
		{in: q("duration", "greaterThan", 2.0)},
		{in: q("duration", "between", 0.0, 2.0)},
		{in: q("duration", "equal", 1.0)},
		{in: q("$createdAt", "greaterThan", time.UnixMilli(1))},
		{in: q("$updatedAt", "greaterThan", time.UnixMilli(1))},
		{in: q("$id", "equal", "e")},
		{in: q("$permissions", "contains", "any")},
		{in: q("", "or", q("status", "equal", "failed"), slow), want: q("", "or", q("status", "equal", "failed"), slow), same: true, ok: true},
		{in: q("", "or", q("status", "equal", "failed"), q("duration", "lessThan", 3.0)), want: q("", "or", q("status", "equal", "failed"), fast), ok: true},
		{in: q("", "and", q("status", "equal", "failed"), q("$id", "equal", "e"))},
	} {
		got, same, ok := countable(c.in)
		if ok != c.ok || ok && (same != c.same || !cmp.Equal(got, c.want)) {
			t.Errorf("countable(%v) = %v, %v, %v, want %v, %v, %v", c.in, got, same, ok, c.want, c.same, c.ok)
		}
	}
}

// TestLongListsHaveTheSameTotals holds totals that stop at the most that is counted, and some that nearly do, against those of all rows.
func TestLongListsHaveTheSameTotals(t *testing.T) {
	t.Parallel()
	leaveOut(t)
	s, ctx := setup(t), t.Context()
	at := func(i int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(i)*1000) }
	insert := func(first, last int) {
		must(t, s.write(ctx, func(ctx context.Context, t *tx) error {
			return errors.Join(
				t.exec(ctx, "insert into execution_spans (owner, deployment, first_at, last_at) select uid, 'd', 0, $1 from functions where 1 = 1 on conflict do nothing", at(100_000).UnixMilli()),
				t.exec(ctx, `with recursive n(i) as (select $1 union all select i + 1 from n where i < $2)
				insert into executions (id, owner, created_at, updated_at, deployment, trigger, status, method, path, status_code, duration, scheduled_at, permissions, headers, logs, errors)
				select printf('%06d', i), (select uid from functions), $3 + i * 1000, $3 + i * 1000 + case when i % 100 = 7 then 4000000 else 5 end, 'd',
				case when i % 500 = 1 then 'event' else 'http' end, case when i % 50 = 3 then 'failed' else 'completed' end, case when i % 3 = 1 then 'POST' else 'GET' end,
				case when i % 2 = 0 then '/' else '/orders/' || (i % 1000) end, case when i % 50 = 3 then 500 else 200 end, case when i % 20 = 4 then 1 + i % 7 else 0.25 end,
				0, '', '{}', '', '' from n`, int64(first), int64(last), at(0).UnixMilli()))
		}))
	}
	var lists []flint.List
	for _, f := range [][]flint.Query{
		nil,
		where("status", "equal", "completed"), where("status", "equal", "failed"), where("requestMethod", "equal", "GET"), where("trigger", "notEqual", "http"),
		where("responseStatusCode", "lessThan", 500), where("requestPath", "equal", "/"), where("requestPath", "notEqual", "/"),
		append(where("requestPath", "equal", "/"), where("status", "equal", "failed")...),
		append(where("requestPath", "contains", "orders"), where("status", "equal", "failed")...),
		where("duration", "lessThan", 1), where("duration", "lessThan", 3), where("duration", "lessThan", 0.2), where("duration", "greaterThan", 0.5), where("duration", "greaterThan", 3),
		where("deploymentId", "equal", "d"), where("deploymentId", "equal", "e"), append(where("deploymentId", "equal", "d"), where("status", "equal", "failed")...),
		where("requestPath", "contains", "orders"), where("requestPath", "contains", "ers/1"), where("requestPath", "endsWith", "/77"), where("requestPath", "contains", "/"),
		where("requestPath", "containsAll", "RDER", "771"), where("requestPath", "containsAny", "none", "orders/9"), where("requestPath", "contains", "none"),
		append(where("requestPath", "contains", "orders"), where("$createdAt", "lessThan", at(4000))...),
		where("$updatedAt", "between", at(100), at(4000)), where("$updatedAt", "between", at(100), at(11_000)), where("$updatedAt", "greaterThan", at(6990)), where("$updatedAt", "lessThan", at(5050)),
		append(where("$updatedAt", "greaterThan", at(100)), where("status", "equal", "failed")...),
		where("$createdAt", "between", at(100), at(8000)),
	} {
		lists = append(lists, flint.List{Filters: f, Orders: by("$createdAt", true)})
	}
	for _, state := range []struct {
		name   string
		change func()
	}{
		{"few indexed", func() {
			insert(0, 7999)
			_, err := s.indexRows(ctx, 1, 1000)
			must(t, err)
		}},
		{"all indexed", func() { s.indexAll(t) }},
		{"some removed", func() {
			_, err := s.PruneExecutions(ctx, at(2990), 5000)
			must(t, err)
			_, err = s.TrimExecutions(ctx, 5000, 5000)
			must(t, err)
		}},
		{"some changed", func() {
			must(t, s.write(ctx, func(ctx context.Context, t *tx) error {
				return t.exec(ctx, "update executions set status = 'failed', status_code = 503, duration = 2 where id > '007000' and id < '007100'")
			}))
		}},
		{"some added", func() { insert(8000, 8099) }},
		{"those indexed", func() { s.indexAll(t) }},
		{"the function deleted", func() {
			must(t, s.DeleteFunction(ctx, "p", "f"))
			must(t, s.sweepOnce(ctx))
			must(t, s.CreateFunction(ctx, &flint.Function{Project: "p", ID: "f", Name: "F"}, nil))
		}},
	} {
		state.change()
		for _, l := range lists {
			got := s.executionLister("p", "f", l)
			plain := s.executionLister("p", "f", l)
			plain.noun.parts, plain.noun.narrow, plain.noun.behind, plain.noun.late = nil, nil, false, nil
			if d := cmp.Diff(readIDs(t, plain), readIDs(t, got)); d != "" {
				t.Errorf("%s: %+v (-all rows +plan):\n%s", state.name, l, d)
			}
		}
	}
}

// TestTotalsAreNotCounted holds the statements of lists whose totals the counters say.
func TestTotalsAreNotCounted(t *testing.T) {
	t.Parallel()
	s := mix(t)
	s.indexAll(t)
	for _, f := range [][]flint.Query{
		nil, where("status", "equal", "completed"), where("requestPath", "equal", "/"), where("duration", "lessThan", 1), where("deploymentId", "equal", "d1"),
		where("requestPath", "contains", "order"),
	} {
		r := s.executionLister("p", "f", flint.List{Filters: f, Orders: by("$createdAt", true)})
		r.trace = func(query string, args []any) {
			for _, step := range s.plan(t, query, args) {
				if fullScan(step) {
					t.Errorf("%v: %s\n%s", f, step, query)
				}
			}
			if strings.HasPrefix(query, "select count(*)") {
				t.Errorf("%v is counted: %s", f, query)
			}
		}
		_, _, err := r.read(t.Context())
		must(t, err)
	}
}

// TestExecutionsOfManyKindsAreListed has more kinds of them than are added up.
func TestExecutionsOfManyKindsAreListed(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	const n = tallyKinds + 10
	for i := range n {
		e := sample(fmt.Sprint("e", i), s.f)
		e.StatusCode = 200 + i
		must(t, s.AppendExecution(ctx, e))
	}
	s.indexAll(t)
	for _, c := range []struct {
		filters []flint.Query
		want    int
	}{{nil, n}, {where("responseStatusCode", "greaterThan", 300), n - 101}} {
		if _, total, err := s.Executions(ctx, "p", "f", flint.List{Filters: c.filters}); total != c.want || err != nil {
			t.Errorf("Executions(%v) = %d, %v, want %d", c.filters, total, err, c.want)
		}
	}
}

// TestOlderStoresAreCounted brings a store up to date whose executions have been indexed in part.
func TestOlderStoresAreCounted(t *testing.T) {
	t.Parallel()
	s, ctx := olderStore(t, "000[0-6]*.sql", `insert into projects values ('p', 'P', 1, 1);
		insert into functions values ('p', 'f', 7, 0, 1, 1, 'An old one', 'node-22', true, true, '', 15, '', '', '', '', 0, '', 0, '', '{}');
		with recursive n(i) as (select 1 union all select i + 1 from n where i < 30)
			insert into executions select 'e' || i, 7, 1700000000000 + i, 1700000000000 + i, 'd' || (i % 3), 'http', 'completed', 'GET',
			case when i > 25 then '/late' when i % 2 = 0 then '/' else '/' || (i % 4) end, 200, i % 4 / 2.0, 0, '', '{}', '', '', '' from n;
		insert into execution_spans (owner, deployment, first_at, last_at) select 7, 'd' || value, 1700000000000, 1700000000099 from json_each('[0,1,2]');
		insert into execution_ranks (rowid, places) select t.rowid, `+rankTerms+` from executions t where t.rowid <= 20;
		insert into execution_paths (owner, path) select distinct 7, path from executions where path <> '/'; -- also of later ones, as a removal may leave them
		update execution_behind set upto = 20`)
	checkBehind(t, s, "brought up to date")
	s.indexAll(t)
	checkBehind(t, s, "all indexed")
	for _, c := range []struct {
		filters []flint.Query
		want    int
	}{{nil, 30}, {where("deploymentId", "equal", "d1"), 10}, {where("requestPath", "contains", "late"), 5}, {where("requestPath", "equal", "/"), 12}} {
		if _, total, err := s.Executions(ctx, "p", "f", flint.List{Filters: c.filters}); total != c.want || err != nil {
			t.Errorf("Executions(%v) = %d, %v, want %d", c.filters, total, err, c.want)
		}
	}
}
