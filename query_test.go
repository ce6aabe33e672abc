package flint_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
)

func TestParseList(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 2, 3, 4, 5, 6, 700_000_000, time.UTC)
	for _, c := range []struct {
		name    string
		queries []string
		want    flint.List
	}{
		{"nothing is the first page", nil, flint.List{}},
		{
			"shape",
			[]string{
				`{"method":"limit","values":[7]}`, `{"method":"offset","values":[3]}`, `{"method":"cursorBefore","values":["abc"]}`,
				`{"method":"orderDesc","attribute":"$createdAt"}`, `{"method":"orderAsc"}`, `{"method":"orderRandom"}`,
				`{"method":"select","values":["status","$id"]}`,
			},
			flint.List{
				Limit: 7, Offset: 3, Cursor: "abc", CursorBefore: true, Select: []string{"status", "$id"},
				Orders: []flint.Order{{Attribute: "$createdAt", Descending: true}, {Attribute: "$sequence"}, {Random: true}},
			},
		},
		{
			"the first of several counts",
			[]string{
				`{"method":"limit","values":[7]}`, `{"method":"limit","values":[8]}`, `{"method":"offset","values":[1]}`, `{"method":"offset","values":[2]}`,
				`{"method":"cursorAfter","values":["a"]}`, `{"method":"cursorBefore","values":["b"]}`,
			},
			flint.List{Limit: 7, Offset: 1, Cursor: "a"},
		},
		{
			"values have the types of their attributes",
			[]string{
				`{"method":"equal","attribute":"status","values":["ready","failed"]}`,
				`{"method":"between","attribute":"buildSize","values":[1,9007199254740993]}`,
				`{"method":"equal","attribute":"activate","values":[true]}`,
				`{"method":"lessThan","attribute":"$createdAt","values":["2024-02-03T04:05:06.700+00:00"]}`,
				`{"method":"isNull","attribute":"type"}`,
			},
			flint.List{Filters: []flint.Query{
				{Method: "equal", Attribute: "status", Values: []any{"ready", "failed"}},
				{Method: "between", Attribute: "buildSize", Values: []any{int64(1), int64(9007199254740993)}},
				{Method: "equal", Attribute: "activate", Values: []any{true}},
				{Method: "lessThan", Attribute: "$createdAt", Values: []any{at}},
				{Method: "isNull", Attribute: "type"},
			}},
		},
		{
			"nesting",
			[]string{`{"method":"or","values":[{"method":"equal","attribute":"type","values":["cli"]},{"method":"isNotNull","attribute":"type","values":[]}]}`},
			flint.List{Filters: []flint.Query{{Method: "or", Values: []any{
				flint.Query{Method: "equal", Attribute: "type", Values: []any{"cli"}}, flint.Query{Method: "isNotNull", Attribute: "type"},
			}}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.want.Limit == 0 {
				c.want.Limit = flint.DefaultListLimit
			}
			got, err := flint.ParseList(c.queries, flint.DeploymentAttributes())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("ParseList() (-want +got):\n%s", d)
			}
		})
	}
}

func TestParseListRefuses(t *testing.T) {
	t.Parallel()
	invalid := func(detail string) string { return "Invalid `queries` param: Invalid query: " + detail }
	for query, want := range map[string]string{
		`equal("name",["a"])`:              invalid("Syntax error"),
		``:                                 invalid("Syntax error"),
		`{"method":"equal"} x`:             invalid("Syntax error"),
		`"equal"`:                          invalid("A query must be a JSON object."),
		`[]`:                               invalid("A query must be a JSON object."),
		`{"method":1}`:                     invalid("A query's method must be a string."),
		`{}`:                               invalid("A query's method must be a string."),
		`{"method":"equal","attribute":1}`: invalid("A query's attribute must be a string."),
		`{"method":"equal","attribute":"name","values":"a"}`:                                                 invalid("A query's values must be an array."),
		`{"method":"equal","attribute":"nope","values":["a"]}`:                                               invalid("Attribute not found in schema: nope"),
		`{"method":"equal","attribute":"*","values":["a"]}`:                                                  invalid("Attribute not found in schema: *"),
		`{"method":"equal","values":["a"]}`:                                                                  invalid("Attribute not found in schema: "),
		`{"method":"orderAsc","attribute":"scheduleNext"}`:                                                   invalid("Attribute not found in schema: scheduleNext"),
		`{"method":"isNull","attribute":"nope"}`:                                                             invalid("Attribute not found in schema: nope"),
		`{"method":"equal","attribute":"name","values":[]}`:                                                  invalid("Equal queries require at least one value."),
		`{"method":"equal","attribute":"name","values":[1]}`:                                                 invalid(`Query value is invalid for attribute "name"`),
		`{"method":"equal","attribute":"name","values":[null]}`:                                              invalid(`Query value is invalid for attribute "name"`),
		`{"method":"equal","attribute":"timeout","values":["1"]}`:                                            invalid(`Query value is invalid for attribute "timeout"`),
		`{"method":"equal","attribute":"timeout","values":[1.5]}`:                                            invalid(`Query value is invalid for attribute "timeout"`),
		`{"method":"equal","attribute":"enabled","values":["true"]}`:                                         invalid(`Query value is invalid for attribute "enabled"`),
		`{"method":"equal","attribute":"$createdAt","values":["soon"]}`:                                      invalid(`Query value is invalid for attribute "$createdAt"`),
		`{"method":"notEqual","attribute":"name","values":["a","b"]}`:                                        invalid("NotEqual queries require exactly one value."),
		`{"method":"between","attribute":"timeout","values":[1]}`:                                            invalid("Between queries require exactly two values."),
		`{"method":"contains","attribute":"timeout","values":[1]}`:                                           invalid(`Cannot query contains on attribute "timeout" because it is not an array or string.`),
		`{"method":"limit","values":[0]}`:                                                                    invalid("Invalid limit: Value must be a valid range between 1 and 9,223,372,036,854,775,807"),
		`{"method":"limit","values":["5"]}`:                                                                  invalid("Invalid limit: Value must be a valid range between 1 and 9,223,372,036,854,775,807"),
		`{"method":"offset","values":[-1]}`:                                                                  invalid("Invalid offset: Value must be a valid range between 0 and 9,223,372,036,854,775,807"),
		`{"method":"offset"}`:                                                                                invalid("Invalid offset: Value must be a valid range between 0 and 9,223,372,036,854,775,807"),
		`{"method":"or","values":[{"method":"isNull","attribute":"name"}]}`:                                  invalid("Or queries require at least two queries"),
		`{"method":"and","values":[{"method":"limit","values":[1]},{"method":"isNull","attribute":"name"}]}`: invalid("And queries can only contain filter queries"),
		`{"method":"select","values":["name"]}`:                                                              "Invalid `queries` param: Invalid query method: select",
		`{"method":"elemMatch","attribute":"name","values":["a"]}`:                                           "Invalid `queries` param: Invalid query method: elemMatch",
		`{"method":""}`: "Invalid `queries` param: Invalid query method: ",
	} {
		_, err := flint.ParseList([]string{query}, flint.FunctionAttributes())
		var e *flint.Error
		if !errors.As(err, &e) || e.Type != "general_argument_invalid" || e.Message != want {
			t.Errorf("ParseList(%s) = %v, want %s", query, err, want)
		}
	}
	for _, query := range []string{
		`{"method":"cursorAfter","values":["no spaces"]}`, `{"method":"cursorAfter"}`,
		strings.Repeat(`{"method":"or","values":[`, 20) + strings.Repeat("]}", 20),
		`{"method":"equal","attribute":"name","values":["` + strings.Repeat(`a","`, 500) + `a"]}`,
	} {
		if _, err := flint.ParseList([]string{query}, flint.FunctionAttributes()); !errors.Is(err, flint.ErrInvalidArgument) {
			t.Errorf("ParseList(%.60s) = %v, want general_argument_invalid", query, err)
		}
	}
	_, err := flint.ParseList([]string{`{"method":"search","attribute":"name","values":["a"]}`}, flint.FunctionAttributes())
	if !errors.Is(err, flint.ErrInvalidQuery) {
		t.Errorf("search: %v, want general_query_invalid", err)
	}
	many := make([]string, 201)
	for i := range many {
		many[i] = `{"method":"isNull","attribute":"name"}`
	}
	if _, err := flint.ParseList(many, flint.FunctionAttributes()); !errors.Is(err, flint.ErrInvalidArgument) {
		t.Errorf("201 queries: %v, want general_argument_invalid", err)
	}
	for i := range many {
		many[i] = `{"method":"equal","attribute":"name","values":["` + strings.Repeat(`a","`, 499) + `a"]}`
	}
	if _, err := flint.ParseList(many[:5], flint.FunctionAttributes()); !errors.Is(err, flint.ErrInvalidArgument) {
		t.Errorf("2500 values: %v, want general_argument_invalid", err)
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, s := range []string{
		"2024-02-03T04:05:06Z", "2024-02-03T04:05:06.000+00:00", "2024-02-03T06:05:06+02:00", "2024-02-03 04:05:06", "2024-02-03T04:05:06",
		"2024-02-03 04:05:06.000", "2024-02-03T06:05:06+0200",
	} {
		if got, ok := flint.ParseTime(s); !ok || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "now", "2024-13-01", "2024-02-03T25:00:00Z"} {
		if got, ok := flint.ParseTime(s); ok {
			t.Errorf("ParseTime(%q) = %v", s, got)
		}
	}
}

func FuzzParseList(f *testing.F) {
	for _, seed := range []string{
		`{"method":"equal","attribute":"name","values":["a"]}`, `{"method":"or","values":[{"method":"isNull","attribute":"name"},{}]}`,
		`{"method":"limit","values":[1e3]}`, `{"method":"cursorAfter","values":["x"]}`, `{"method":"between","attribute":"timeout","values":[1,2]}`,
		`{"method":"select","values":["*"]}`, `null`, `[[[[`, `{"method":"regex","attribute":"name","values":["("]}`,
	} {
		f.Add(seed)
	}
	allowed := flint.FunctionAttributes()
	f.Fuzz(func(t *testing.T, query string) {
		l, err := flint.ParseList([]string{query}, allowed)
		if err != nil {
			var e *flint.Error
			if !errors.As(err, &e) || e.Kind != flint.Invalid {
				t.Fatalf("ParseList(%q) = %v: not an error for clients", query, err)
			}
			return
		}
		if l.Limit < 1 || l.Offset < 0 || !json.Valid([]byte(query)) {
			t.Fatalf("ParseList(%q) = %+v", query, l)
		}
		checkFilters(t, l.Filters, allowed, 0)
	})
}

// checkFilters fails unless every value has the type of its attribute.
func checkFilters(t *testing.T, filters []flint.Query, allowed flint.Attributes, depth int) {
	t.Helper()
	if depth > 20 {
		t.Fatal("the nesting has no bound")
	}
	for _, q := range filters {
		if q.Method == "and" || q.Method == "or" {
			var children []flint.Query
			for _, v := range q.Values {
				child, ok := v.(flint.Query)
				if !ok {
					t.Fatalf("%s holds %T", q.Method, v)
				}
				children = append(children, child)
			}
			checkFilters(t, children, allowed, depth+1)
			continue
		}
		for _, v := range q.Values {
			var got flint.AttributeType
			switch v.(type) {
			case string:
				got = flint.AttributeString
			case int64:
				got = flint.AttributeInteger
			case float64:
				got = flint.AttributeFloat
			case bool:
				got = flint.AttributeBoolean
			case time.Time:
				got = flint.AttributeDatetime
			}
			if got == 0 || got != allowed[q.Attribute] {
				t.Fatalf("%s on %s holds %T", q.Method, q.Attribute, v)
			}
		}
	}
}
