package realtime

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/auth"
)

func TestFilters(t *testing.T) {
	t.Parallel()
	payload := map[string]any{"status": "failed", "duration": 1.5, "name": nil, "list": []any{"a"}, "flag": true}
	q := func(method, attribute string, values string) string {
		return `{"method":"` + method + `","attribute":"` + attribute + `","values":` + values + `}`
	}
	for text, want := range map[string]bool{
		q("equal", "status", `["failed"]`):       true,
		q("equal", "status", `["a","failed"]`):   true,
		q("equal", "status", `["a"]`):            false,
		q("equal", "flag", `[true]`):             true,
		q("equal", "list", `[["a"]]`):            false,
		q("equal", "none", `["a"]`):              false,
		q("notEqual", "status", `["a"]`):         true,
		q("notEqual", "status", `["failed"]`):    false,
		q("lessThan", "duration", `[2]`):         true,
		q("lessThan", "duration", `[1.5]`):       false,
		q("lessThanEqual", "duration", `[1.5]`):  true,
		q("greaterThan", "duration", `[1]`):      true,
		q("greaterThan", "duration", `["1"]`):    false,
		q("greaterThanEqual", "status", `["f"]`): true,
		q("isNull", "name", `[]`):                true,
		q("isNull", "status", `[]`):              false,
		q("isNotNull", "status", `[]`):           true,
		q("isNotNull", "none", `[]`):             false,
		q("select", "", `["*"]`):                 true,
		`{"method":"and","values":[` + q("isNull", "name", `[]`) + `,` + q("equal", "status", `["a"]`) + `]}`: false,
		`{"method":"or","values":[` + q("isNull", "name", `[]`) + `,` + q("equal", "status", `["a"]`) + `]}`:  true,
	} {
		f, err := parseFilters([]string{text})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := holds(f, payload); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{
		"", "x", "[]", "{}", q("contains", "a", `["b"]`), q("equal", "", `["b"]`), q("equal", "a", `[]`), q("lessThan", "a", `[1,2]`), q("select", "", `["a"]`),
		`{"method":"and","values":[]}`, `{"method":"or","values":[{"method":"select","values":["*"]},{"method":"select","values":["*"]}]}`,
	} {
		if f, err := parseFilters([]string{text}); err == nil {
			t.Errorf("%s is taken: %+v", text, f)
		}
	}
}

func TestChannels(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		pattern string
		ids     []string
		scope   string
		want    []string
	}{
		{"functions.[functionId].deployments.[deploymentId].update", []string{"f", "d"}, "functions.read", []string{"console", "projects.p", "functions.f", "functions.f.update"}},
		{"functions.[functionId].executions.[executionId]", []string{"f", "e"}, "executions.read", []string{"console", "projects.p", "executions", "executions.e", "functions.f"}},
		{"functions.[functionId].delete", []string{"f"}, "functions.read", []string{"console", "projects.p", "functions.f", "functions.f.delete"}},
		{"rules.[ruleId].create", []string{"r"}, "rules.read", []string{"console", "projects.p"}},
		{"variables.[variableId].create", []string{"v"}, "project.read", []string{"console", "projects.p"}},
		{"users.[userId].update.email", []string{"u"}, "users.read", []string{"console", "projects.p"}},
	} {
		about := topicOf(&flint.Event{Pattern: x.pattern, IDs: x.ids})
		if diff := cmp.Diff(x.want, about.channels("p")); diff != "" || about.scope() != x.scope {
			t.Errorf("%s: %s\n%s", x.pattern, about.scope(), diff)
		}
	}
	for _, x := range []struct {
		user string
		want []string
	}{
		{"", []string{"account", "account.create", "accounts", "a"}},
		{"u", []string{"account.u", "account.u.create", "accounts", "a"}},
	} {
		got := normal([]string{"account", "account.create", "account.other", "account.other.create", "accounts", "a", "a"}, x.user)
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("channels of %q (-want +got):\n%s", x.user, diff)
		}
	}
}

func FuzzFilters(f *testing.F) {
	f.Add(`{"method":"equal","attribute":"a","values":["b"]}`, `{"a":"b"}`)
	f.Add(`{"method":"and","values":[{"method":"isNull","attribute":"a"},{"method":"lessThan","attribute":"a","values":[1]}]}`, `{"a":[1]}`)
	f.Fuzz(func(_ *testing.T, query, payload string) {
		filters, err := parseFilters([]string{query})
		var fields map[string]any
		if err == nil && json.Unmarshal([]byte(payload), &fields) == nil {
			holds(filters, fields)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"type":"subscribe","data":[{"channels":["a"],"queries":[],"subscriptionId":"x"}]}`)
	f.Add(`{"type":"unsubscribe","data":[{"subscriptionId":"x"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c := &conn{principal: &auth.Principal{}, subscriptions: map[string]*subscription{}}
		reply, err := c.answer([]byte(text))
		if (reply == nil) == (err == nil) || len(c.subscriptions) > maxSubscriptions {
			t.Errorf("%s: %+v, %v, %d subscriptions", text, reply, err, len(c.subscriptions))
		}
	})
}

func FuzzFromQuery(f *testing.F) {
	f.Add("channels[]=a.b&a_b[0][]=%7B%7D&a_b[1]=x&channels[3]=c")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		slots, channels, err := fromQuery(values, "")
		if err == nil && (len(slots) > maxSubscriptions || channels == nil) {
			t.Errorf("%s: %d slots, channels %v", text, len(slots), channels)
		}
	})
}
