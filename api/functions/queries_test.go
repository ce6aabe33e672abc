package functions_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"flint"
	"flint/api/apitest"
)

// queried is a list with rows to query.
type queried struct {
	path, name string
	allowed    flint.Attributes
	selects    bool
}

func queryBed(t *testing.T) (*bed, []queried) {
	t.Helper()
	b := setup(t)
	ctx := t.Context()
	b.function(t, "f")
	b.function(t, "g")
	for i := range 5 {
		at := time.Now().Add(time.Duration(i) * time.Millisecond)
		for _, err := range []error{
			b.Store.CreateDeployment(ctx, &flint.Deployment{Project: apitest.Project, Function: "f", ID: flint.DeploymentID(fmt.Sprintf("d%d", i)), Type: "manual", CreatedAt: at}),
			b.Store.AppendExecution(ctx, &flint.Execution{Project: apitest.Project, Function: "f", ID: flint.ExecutionID(fmt.Sprintf("e%d", i)), Status: "completed", Trigger: "http", Duration: float64(i) / 4, StatusCode: 200 + i, CreatedAt: at}),
			b.Store.CreateVariable(ctx, &flint.Variable{Project: apitest.Project, Function: "f", ID: flint.VariableID(fmt.Sprintf("v%d", i)), Key: fmt.Sprintf("K%d", i), CreatedAt: at}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return b, []queried{
		{"/v1/functions", "functions", flint.FunctionAttributes(), false},
		{"/v1/functions/f/deployments", "deployments", flint.DeploymentAttributes(), true},
		{"/v1/functions/f/executions", "executions", flint.ExecutionAttributes(), false},
		{"/v1/functions/f/variables", "variables", flint.VariableAttributes(), false},
	}
}

// query writes a query. Values that are queries themselves nest.
func query(method, attribute string, values ...any) string {
	for i, v := range values {
		if s, ok := v.(string); ok && strings.HasPrefix(s, `{"`) {
			values[i] = json.RawMessage(s)
		}
	}
	q := map[string]any{"method": method, "values": values}
	if attribute != "" {
		q["attribute"] = attribute
	}
	text, _ := json.Marshal(q) // what tests write marshals
	return string(text)
}

func (q queried) get(queries ...string) apitest.Scenario {
	v := url.Values{}
	for _, text := range queries {
		v.Add("queries[]", text)
	}
	return apitest.Scenario{Name: strings.Join(queries, " "), As: apitest.Key, Method: "GET", Path: q.path + "?" + v.Encode(), Status: 200}
}

func (q queried) refuse(typ string, queries ...string) apitest.Scenario {
	s := q.get(queries...)
	s.Status, s.Type = 400, typ
	return s
}

func valueOf(k flint.AttributeType) any {
	switch k {
	case flint.AttributeInteger:
		return 3
	case flint.AttributeFloat:
		return 0.5
	case flint.AttributeBoolean:
		return true
	case flint.AttributeDatetime:
		return "2024-01-02T03:04:05.678+00:00"
	default:
		return "x"
	}
}

func TestEveryQueryOnEveryList(t *testing.T) {
	t.Parallel()
	b, lists := queryBed(t)
	const argument, syntax = "general_argument_invalid", "general_query_invalid"
	for _, q := range lists {
		t.Run(q.name, func(t *testing.T) { //nolint:paralleltest // one store
			var all []apitest.Scenario
			for name, kind := range q.allowed {
				if kind == flint.AttributeSelect {
					continue
				}
				v := valueOf(kind)
				for _, method := range []string{"equal", "notEqual", "lessThan", "lessThanEqual", "greaterThan", "greaterThanEqual"} {
					all = append(all, q.get(query(method, name, v)))
				}
				all = append(all, q.get(query("equal", name, v, v)), q.get(query("between", name, v, v)), q.get(query("notBetween", name, v, v)),
					q.get(query("isNull", name)), q.get(query("isNotNull", name)), q.get(query("orderAsc", name)), q.get(query("orderDesc", name)),
					q.refuse(argument, query("equal", name)), q.refuse(argument, query("equal", name, []string{"list"})), q.refuse(argument, query("between", name, v)),
					q.refuse(argument, query("notEqual", name, v, v)))
				for _, method := range []string{"contains", "containsAny", "containsAll", "notContains", "startsWith", "notStartsWith", "endsWith", "notEndsWith", "regex"} {
					if kind == flint.AttributeString {
						all = append(all, q.get(query(method, name, v)))
					} else {
						all = append(all, q.refuse(argument, query(method, name, v)))
					}
				}
				if kind == flint.AttributeString {
					all = append(all, q.refuse(syntax, query("search", name, v)), q.refuse(syntax, query("notSearch", name, v)), q.refuse(argument, query("equal", name, 1)))
				} else {
					all = append(all, q.refuse(argument, query("equal", name, "no such value")))
				}
			}
			many := make([]any, 501)
			for i := range many {
				many[i] = "x"
			}
			all = append(all,
				q.get(query("and", "", query("equal", "$id", "x"), query("or", "", query("isNull", "$id"), query("notEqual", "$id", "y")))),
				q.get(query("orderRandom", "")), q.get(query("orderDesc", "")), q.get(query("limit", "", 1), query("offset", "", 1)), q.get(query("limit", "", 100_000)),
				q.get(query("equal", "$id", many[:500]...)), q.refuse(argument, query("equal", "$id", many...)),
				q.refuse(argument, query("or", "", query("isNull", "$id"))), q.refuse(argument, query("and", "", query("limit", "", 1), query("isNull", "$id"))),
				q.refuse(argument, query("limit", "", 0)), q.refuse(argument, query("limit", "", "1")), q.refuse(argument, query("offset", "", -1)),
				q.refuse(argument, query("equal", "nope", 1)), q.refuse(argument, query("orderAsc", "nope")), q.refuse(argument, query("equal", "$permissions", "x")),
				q.refuse(argument, query("elemMatch", "$id", "x")), q.refuse(argument, query("nope", "$id", "x")), q.refuse(argument, "{"), q.refuse(argument, "[]"), q.refuse(argument, "x"),
				q.refuse("general_cursor_not_found", query("cursorAfter", "", "nope")), q.refuse(argument, query("cursorAfter", "", 1)), q.refuse(argument, query("cursorAfter", "", "")))
			if selects := query("select", "", "$id"); q.selects {
				all = append(all, q.get(selects))
			} else {
				s := q.refuse(argument, selects)
				s.Message = "Invalid `queries` param: Invalid query method: select"
				all = append(all, s)
			}
			apitest.Run(t, b, all)
		})
	}
}

func TestCursorsOnEveryList(t *testing.T) {
	t.Parallel()
	b, lists := queryBed(t)
	for _, q := range lists {
		page := func(queries ...string) []string {
			t.Helper()
			w := apitest.Send(t, b, apitest.Key, "GET", q.get(queries...).Path, "", nil)
			var model map[string]json.RawMessage
			var rows []struct {
				ID string `json:"$id"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &model); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(model[q.name], &rows); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			var ids []string
			for _, r := range rows {
				ids = append(ids, r.ID)
			}
			return ids
		}
		for _, order := range []string{query("orderAsc", ""), query("orderDesc", "$createdAt"), query("orderAsc", "$id")} {
			all := page(order)
			if len(all) < 2 {
				t.Fatalf("%s has %v", q.name, all)
			}
			if got := page(order, query("cursorAfter", "", all[0])); !slices.Equal(got, all[1:]) {
				t.Errorf("%s %s after the first: %v of %v", q.name, order, got, all)
			}
			if got := page(order, query("cursorBefore", "", all[len(all)-1]), query("limit", "", 1)); !slices.Equal(got, all[len(all)-2:len(all)-1]) {
				t.Errorf("%s %s before the last: %v of %v", q.name, order, got, all)
			}
			if got := page(order, query("cursorAfter", "", all[0]), query("offset", "", 1)); !slices.Equal(got, all[min(2, len(all)):]) {
				t.Errorf("%s %s after the first but one: %v of %v", q.name, order, got, all)
			}
		}
	}
}
