package functions

import (
	"encoding/json"
	"strings"
	"testing"

	"flint"
	"flint/wire"
)

func TestParseCall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{`equal("name", ["x", "y"])`, `{"method":"equal","attribute":"name","values":["x","y"]}`},
		{`equal("a", ['x'])`, `{"method":"equal","attribute":"a","values":["x"]}`},
		{`equal('a', 'it"s [1, 2]')`, `{"method":"equal","attribute":"a","values":["it\"s [1, 2]"]}`},
		{`equal("a", ["it's"])`, `{"method":"equal","attribute":"a","values":["it's"]}`},
		{`equal("a", ['it\'s \"b\"\, \[c\]'])`, `{"method":"equal","attribute":"a","values":["it's \"b\", [c]"]}`},
		{`equal("a", ["C:\temp\\x"])`, `{"method":"equal","attribute":"a","values":["C:\\temp\\\\x"]}`},
		{`equal("a", ["é, \u00e9"])`, `{"method":"equal","attribute":"a","values":["é, \\u00e9"]}`},
		{`equal("a", [true, false, null, 1, -2.50, 1e3, .5, +7, "1"])`, `{"method":"equal","attribute":"a","values":[true,false,null,1,-2.5,1000,0.5,7,"1"]}`},
		{`equal("a", 99999999999999999999)`, `{"method":"equal","attribute":"a","values":[100000000000000000000]}`},
		{`equal("a", 1e999)`, `{"method":"equal","attribute":"a","values":["1e999"]}`},
		{`equal("a", [])`, `{"method":"equal","attribute":"a"}`},
		{`equal("a", ["x",,'',])`, `{"method":"equal","attribute":"a","values":["x","",""]}`},
		{`equal(name, [a b, (c)])`, `{"method":"equal","attribute":"name","values":["ab","(c)"]}`},
		{`between("a", 1, 2)`, `{"method":"between","attribute":"a","values":[1,2]}`},
		{`isNull("a")`, `{"method":"isNull","attribute":"a"}`},
		{`orderAsc('')`, `{"method":"orderAsc"}`},
		{`orderDesc()`, `{"method":"orderDesc"}`},
		{` limit( 5 ) `, `{"method":"limit","values":[5]}`},
		{`cursorAfter('x')`, `{"method":"cursorAfter","values":["x"]}`},
		{`select(["a", 'b'])`, `{"method":"select","values":["a","b"]}`},
		{`equal("a", ["x)`, ""},
		{`equal("a", ["x"`, ""},
		{`equal("a", ['x")`, ""},
		{`equal("a", [["x"]])`, ""},
		{`equal("a", "x"])`, ""},
		{`equal("a", "x"["y"])`, ""},
		{`equal("a", ["x"]"y")`, ""},
		{`equal(["a"], "x")`, `{"method":"equal","attribute":"a","values":["x"]}`},
		{`equal(["a","b"], "x")`, ""},
		{`equal(1, "x")`, ""},
		{`("a")`, ""},
		{`equal`, ""},
		{``, ""},
	} {
		q, ok := parseCall(c.text)
		got := ""
		if ok {
			b, err := json.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != c.want {
			t.Errorf("parseCall(%s) = %s, want %s", c.text, got, c.want)
		}
	}
}

// FuzzText reads queries of the oldest clients: what becomes of them is queries of today, or stays as it was.
func FuzzText(f *testing.F) {
	for _, seed := range []string{`equal("name", ['x', "y"])`, `between("timeout", 1, 2e3)`, `limit(5)`, `equal("a", ["\"\\", null])`, `{"method":"equal","attribute":"deployment","values":[1]}`} {
		f.Add(seed)
	}
	format := wire.ParseFormat("1.4.0")
	f.Fuzz(func(t *testing.T, text string) {
		in := page{Queries: []string{text}, format: format}
		got := in.current(map[string]string{"deployment": "deploymentId"})
		if got[0] != text && !json.Valid([]byte(got[0])) {
			t.Errorf("%q became %q", text, got[0])
		}
		if q, ok := parseCall(text); ok && len(q.Values) > 1+strings.Count(text, ",") {
			t.Errorf("%q has %d values", text, len(q.Values))
		}
		_, _ = flint.ParseList(got, flint.FunctionAttributes())
	})
}
