package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"flint"
)

// shelf makes functions with known attributes: f0 … f9, in this order of creation, three of them in one millisecond.
func shelf(t *testing.T) *bundle {
	t.Helper()
	s := setup(t)
	must(t, s.DeleteFunction(t.Context(), "p", "f"))
	names := []string{"Alpha", "beta", "Gamma_1", "delta%", `ep\silon`, "Zeta", "alpha two", "", "It's", "käse"}
	for i, name := range names {
		at := time.UnixMilli(1_700_000_000_000 + int64(max(i, 2))*1000).UTC()
		must(t, s.CreateFunction(t.Context(), &flint.Function{
			Project: "p", ID: flint.FunctionID(fmt.Sprint("f", i)), Name: name, Runtime: []string{"node-22", "php-8.3"}[i%2], Enabled: i%3 == 0,
			Timeout: time.Duration(i%4) * time.Second, CreatedAt: at, UpdatedAt: at,
		}, nil))
	}
	must(t, s.CreateProject(t.Context(), &flint.Project{ID: "q"}))
	must(t, s.CreateFunction(t.Context(), &flint.Function{Project: "q", ID: "f0", Name: "Alpha"}, nil))
	return s
}

func functionIDs(all []*flint.Function) string {
	return strings.ReplaceAll(ids(all, func(f *flint.Function) string { return string(f.ID) }), "f", "")
}

func TestListConditions(t *testing.T) {
	t.Parallel()
	s := shelf(t)
	all := flint.FunctionAttributes()
	for query, want := range map[string]string{
		`{"method":"equal","attribute":"name","values":["Alpha","Zeta"]}`:                        "0 5",
		`{"method":"equal","attribute":"name","values":["It's"]}`:                                "8",
		`{"method":"equal","attribute":"name","values":["' or 1=1 --"]}`:                         "",
		`{"method":"equal","attribute":"name","values":["x'; drop table functions; --"]}`:        "",
		`{"method":"equal","attribute":"enabled","values":[true]}`:                               "0 3 6 9",
		`{"method":"equal","attribute":"timeout","values":[0,3]}`:                                "0 3 4 7 8",
		`{"method":"equal","attribute":"$id","values":["f7"]}`:                                   "7",
		`{"method":"equal","attribute":"$createdAt","values":["2023-11-14T22:13:22.000+00:00"]}`: "0 1 2",
		`{"method":"notEqual","attribute":"runtime","values":["node-22"]}`:                       "1 3 5 7 9",
		`{"method":"lessThan","attribute":"timeout","values":[1]}`:                               "0 4 8",
		`{"method":"lessThanEqual","attribute":"timeout","values":[1]}`:                          "0 1 4 5 8 9",
		`{"method":"greaterThan","attribute":"timeout","values":[2]}`:                            "3 7",
		`{"method":"greaterThanEqual","attribute":"timeout","values":[2]}`:                       "2 3 6 7",
		`{"method":"greaterThan","attribute":"$createdAt","values":["2023-11-14T22:13:28Z"]}`:    "9",
		`{"method":"greaterThan","attribute":"$sequence","values":[0]}`:                          "0 1 2 3 4 5 6 7 8 9",
		`{"method":"between","attribute":"timeout","values":[1,2]}`:                              "1 2 5 6 9",
		`{"method":"notBetween","attribute":"timeout","values":[1,2]}`:                           "0 3 4 7 8",
		`{"method":"isNull","attribute":"name"}`:                                                 "",
		`{"method":"isNotNull","attribute":"name"}`:                                              "0 1 2 3 4 5 6 7 8 9",
		`{"method":"contains","attribute":"name","values":["LPH"]}`:                              "0 6",
		`{"method":"contains","attribute":"name","values":["%"]}`:                                "3",
		`{"method":"contains","attribute":"name","values":["_"]}`:                                "2",
		`{"method":"contains","attribute":"name","values":["\\"]}`:                               "4",
		`{"method":"contains","attribute":"name","values":["zet","two"]}`:                        "5 6",
		`{"method":"containsAny","attribute":"name","values":["zet","two"]}`:                     "5 6",
		`{"method":"containsAll","attribute":"name","values":["alpha","two"]}`:                   "6",
		`{"method":"notContains","attribute":"name","values":["a"]}`:                             "4 7 8 9",
		`{"method":"startsWith","attribute":"name","values":["alpha"]}`:                          "0 6",
		`{"method":"notStartsWith","attribute":"runtime","values":["node"]}`:                     "1 3 5 7 9",
		`{"method":"endsWith","attribute":"name","values":["TA"]}`:                               "1 5",
		`{"method":"notEndsWith","attribute":"name","values":["a"]}`:                             "2 3 4 6 7 8 9",
		`{"method":"regex","attribute":"name","values":["^[A-Z]\\w+_?\\d?$"]}`:                   "0 2 5",
		`{"method":"or","values":[{"method":"equal","attribute":"$id","values":["f1"]},{"method":"and","values":[{"method":"equal","attribute":"enabled","values":[true]},{"method":"greaterThan","attribute":"timeout","values":[2]}]}]}`: "1 3",
	} {
		l, err := flint.ParseList([]string{query}, all)
		if err != nil {
			t.Errorf("ParseList(%s): %v", query, err)
			continue
		}
		got, total, err := s.Functions(t.Context(), "p", l)
		if err != nil || functionIDs(got) != want || total != len(got) {
			t.Errorf("Functions(%s) = %q, %d, %v, want %q", query, functionIDs(got), total, err, want)
		}
	}
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	s := shelf(t)
	for what, l := range map[string]flint.List{
		"unknown attribute": {Filters: []flint.Query{{Method: "equal", Attribute: "name) or (1=1", Values: []any{"x"}}}},
		"unknown order":     {Orders: []flint.Order{{Attribute: "name desc; --"}}},
		"unknown method":    {Filters: []flint.Query{{Method: "like", Attribute: "name", Values: []any{"x"}}}},
		"no value":          {Filters: []flint.Query{{Method: "equal", Attribute: "name"}}},
		"too many values":   {Filters: []flint.Query{{Method: "lessThan", Attribute: "timeout", Values: []any{1, 2}}}},
		"wrong type":        {Filters: []flint.Query{{Method: "equal", Attribute: "timeout", Values: []any{"1"}}}},
		"not a value":       {Filters: []flint.Query{{Method: "equal", Attribute: "name", Values: []any{struct{}{}}}}},
		"text on a number":  {Filters: []flint.Query{{Method: "contains", Attribute: "timeout", Values: []any{1}}}},
		"empty or":          {Filters: []flint.Query{{Method: "or"}}},
		"or of values":      {Filters: []flint.Query{{Method: "or", Values: []any{1, 2}}}},
		"full text":         {Filters: []flint.Query{{Method: "search", Attribute: "name", Values: []any{"x"}}}},
		"bad expression":    {Filters: []flint.Query{{Method: "regex", Attribute: "name", Values: []any{"("}}}},
		"random cursor":     {Orders: []flint.Order{{Random: true}}, Cursor: "f1"},
	} {
		if _, _, err := s.Functions(t.Context(), "p", l); err == nil {
			t.Errorf("%s: no error", what)
		} else {
			wantErr(t, what, err, flint.ErrInvalidQuery)
		}
	}
	_, _, err := s.Functions(t.Context(), "q", flint.List{Cursor: "f1"})
	wantErr(t, "cursor of another project", err, flint.ErrCursorNotFound)
	if !strings.Contains(err.Error(), "Function 'f1' for the 'cursor' value not found.") {
		t.Errorf("message: %v", err)
	}
}

func TestLargestListIsAnswered(t *testing.T) {
	t.Parallel()
	s := shelf(t)
	var queries []string
	for range 4 {
		queries = append(queries, `{"method":"notContains","attribute":"name","values":["`+strings.Repeat(`x","`, 490)+`x"]}`)
	}
	for range 3 {
		queries = append(queries, `{"method":"equal","attribute":"timeout","values":[1]}`)
	}
	for len(queries) < 190 {
		queries = append(queries, `{"method":"isNotNull","attribute":"name"}`)
	}
	l, err := flint.ParseList(queries, flint.FunctionAttributes())
	must(t, err)
	if all, _, err := s.Functions(t.Context(), "p", l); err != nil || functionIDs(all) != "1 5 9" {
		t.Errorf("Functions() = %s, %v", functionIDs(all), err)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	s := shelf(t)
	list := func(l flint.List) string {
		t.Helper()
		all, _, err := s.Functions(t.Context(), "p", l)
		must(t, err)
		return functionIDs(all)
	}
	newest := []flint.Order{{Attribute: "$createdAt", Descending: true}}
	for _, c := range []struct {
		l    flint.List
		want string
	}{
		{flint.List{}, "0 1 2 3 4 5 6 7 8 9"},
		{flint.List{Limit: 3, Offset: 8}, "8 9"},
		{flint.List{Limit: 3, Orders: newest}, "9 8 7"},
		{flint.List{Orders: newest, Offset: 7}, "2 1 0"},
		{flint.List{Limit: 2, Cursor: "f3"}, "4 5"},
		{flint.List{Limit: 2, Cursor: "f3", Offset: 1}, "5 6"},
		{flint.List{Limit: 2, Cursor: "f3", CursorBefore: true}, "1 2"},
		{flint.List{Limit: 2, Cursor: "f0", CursorBefore: true}, ""},
		{flint.List{Limit: 2, Cursor: "f3", Orders: newest}, "2 1"},
		{flint.List{Limit: 2, Cursor: "f3", Orders: newest, CursorBefore: true}, "5 4"},
		{flint.List{Search: "ALPHA"}, "0 6"},
		{flint.List{Search: "php", Limit: 2}, "1 3"},
		{flint.List{Search: "%"}, "3"},
	} {
		if got := list(c.l); got != c.want {
			t.Errorf("Functions(%+v) = %q, want %q", c.l, got, c.want)
		}
	}
	if got := strings.Fields(list(flint.List{Orders: []flint.Order{{Random: true}}})); len(got) != 10 {
		t.Errorf("a random list has %d rows", len(got))
	}
	if all, total, err := s.Functions(t.Context(), "p", flint.List{NoTotal: true}); total != 0 || len(all) != 10 || err != nil {
		t.Errorf("without total: %d of %d, %v", len(all), total, err)
	}
}

// TestCursorsVisitEveryRowOnce walks lists of many orders page by page, both ways.
func TestCursorsVisitEveryRowOnce(t *testing.T) {
	t.Parallel()
	s := shelf(t)
	attributes := []string{"name", "runtime", "enabled", "timeout", "$createdAt", "$id", "$sequence"}
	var orders [][]flint.Order
	for i, a := range attributes {
		for _, down := range []bool{false, true} {
			other := attributes[(i+3)%len(attributes)]
			orders = append(orders, []flint.Order{{Attribute: a, Descending: down}, {Attribute: other, Descending: !down}})
			orders = append(orders, []flint.Order{{Attribute: a, Descending: down}, {Attribute: other, Descending: down}, {Attribute: "runtime"}})
		}
	}
	for i, o := range orders {
		for _, size := range []int{1, 3} {
			if size == 1 && i%4 != 0 {
				continue
			}
			whole, _, err := s.Functions(t.Context(), "p", flint.List{Orders: o, Limit: 100})
			must(t, err)
			var forth []*flint.Function
			for l := (flint.List{Orders: o, Limit: size}); ; {
				page, total, err := s.Functions(t.Context(), "p", l)
				must(t, err)
				if total != 10 {
					t.Fatalf("total %d on a page", total)
				}
				if len(page) == 0 {
					break
				}
				forth = append(forth, page...)
				l.Cursor = string(page[len(page)-1].ID)
			}
			if functionIDs(forth) != functionIDs(whole) {
				t.Errorf("order %+v, pages of %d: %s, want %s", o, size, functionIDs(forth), functionIDs(whole))
			}
			var back []*flint.Function
			last := whole[len(whole)-1]
			for l := (flint.List{Orders: o, Limit: size, NoTotal: true, Cursor: string(last.ID), CursorBefore: true}); ; {
				page, _, err := s.Functions(t.Context(), "p", l)
				must(t, err)
				if len(page) == 0 {
					break
				}
				back = append(append([]*flint.Function{}, page...), back...)
				l.Cursor = string(page[0].ID)
			}
			if got := functionIDs(append(back, last)); got != functionIDs(whole) {
				t.Errorf("order %+v, pages of %d backwards: %s, want %s", o, size, got, functionIDs(whole))
			}
		}
	}
}

func TestTotalsStopCounting(t *testing.T) {
	t.Parallel()
	s, ctx := setup(t), t.Context()
	must(t, s.write(ctx, func(ctx context.Context, t *tx) error {
		e := sample("e", s.f)
		if err := addExecution(ctx, t, record(e)); err != nil {
			return err
		}
		for range 13 { // 1, 2, 4 … 8192 rows
			if err := t.exec(ctx, `insert into executions select id || '-' || (select count(*) from executions), owner, created_at, updated_at, deployment,
				trigger, status, method, path, status_code, duration, scheduled_at, permissions, headers, logs, errors, receipt from executions`); err != nil {
				return err
			}
		}
		return nil
	}))
	all, total, err := s.Executions(ctx, "p", "f", flint.List{})
	must(t, err)
	if total != flint.MaxListTotal || len(all) != flint.DefaultListLimit {
		t.Errorf("Executions() = %d of %d", len(all), total)
	}
}

func TestListsUseTheirIndexes(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for query, index := range map[string]string{
		"select t.id from executions t where " + ownerScope + " order by t.created_at, t.id limit 25":                                      "executions_owner",
		"select t.id from executions t where " + ownerScope + " order by t.created_at desc, t.id desc limit 25":                            "executions_owner",
		"select t.id from executions t where " + ownerScope + " and (t.created_at, t.id) < ($3, $4) order by t.created_at desc, t.id desc": "executions_owner",
		"select coalesce(max(place), 0) from calls where owner = $1 and order_key = $2 and order_key <> ''":                                "calls_order",
		"select id from calls where owner = $1 and order_key = $2 and order_key <> '' order by place limit 1":                              "calls_order",
		"select id from calls where owner = $1 and parked = 'limit' order by due_at, id limit 1":                                           "calls_limited",
		"select count(*) from calls where owner = $1 and lease_node <> ''":                                                                 "calls_running",
		"select id from calls where lease_node = '' and expires_at > 0 and expires_at < $1 order by expires_at":                            "calls_expiring",
		"select id from calls where lease_node = '' and parked = '' and due_at <= $1 order by due_at, id limit 1":                          "calls_due",
		"select 1 from deployments where status = 'waiting' and source_digest <> '' limit 1":                                               "deployments_waiting",
		"select t.id from deployments t where t.status = 'waiting' and t.source_digest <> '' order by t.created_at, t.id limit 1":          "deployments_waiting",
		"select 1 from executions where owner = $1 and created_at < $2 and status in ('completed', 'failed') limit 1":                      "executions_owner",
	} {
		var plan []string
		must(t, s.each(t.Context(), "explain query plan "+query, []any{"a", "b", "c", "d"}[:strings.Count(query, "$")], func(r scanner) error {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			plan = append(plan, detail)
			return err
		}))
		text := strings.Join(plan, "; ")
		if !strings.Contains(text, index) || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s\nis done by: %s", query, text)
		}
	}
}

// FuzzLists runs whatever queries a client may send: each is answered or refused, and the database stays whole.
func FuzzLists(f *testing.F) {
	for _, seed := range []string{
		`{"method":"equal","attribute":"name","values":["' or 1=1 --"]}`, `{"method":"contains","attribute":"name","values":["%_\\"]}`,
		`{"method":"or","values":[{"method":"isNull","attribute":"name"},{"method":"regex","attribute":"name","values":["a+"]}]}`,
		`{"method":"orderDesc","attribute":"$createdAt"}`, `{"method":"cursorAfter","values":["f"]}`, `{"method":"offset","values":[9223372036854775807]}`,
	} {
		f.Add(seed)
	}
	s, err := Open(f.Context(), Config{Path: f.TempDir() + "/flint.db", Secret: secret(1)})
	must(f, err)
	f.Cleanup(func() { must(f, s.Close()) })
	must(f, s.CreateProject(f.Context(), &flint.Project{ID: "p"}))
	must(f, s.CreateFunction(f.Context(), &flint.Function{Project: "p", ID: "f", Name: "F"}, nil))
	f.Fuzz(func(t *testing.T, query string) {
		l, err := flint.ParseList([]string{query}, flint.FunctionAttributes())
		if err != nil {
			return
		}
		var known *flint.Error
		if _, _, err := s.Functions(t.Context(), "p", l); err != nil && (!errors.As(err, &known) || known.Kind != flint.Invalid) {
			t.Fatalf("Functions(%s) = %v", query, err)
		}
		if f, err := s.Function(t.Context(), "p", "f"); err != nil || f.Name != "F" {
			t.Fatalf("after Functions(%s): %v, %v", query, f, err)
		}
	})
}
