package functions

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"flint"
	"flint/api"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"users.*", "users.u1.create", "users.*.update.email", "users.*.sessions.*.delete", "databases.*.collections.*.documents.*.create",
		"databases.d.tables.t.rows.r", "tablesdb.*.tables.*.rows.*.upsert", "buckets.*.files.*", "teams.*.memberships.*.update.status", "schedules.*.create",
	} {
		if why := checkEvent(good); why != "" {
			t.Errorf("checkEvent(%q) = %q", good, why)
		}
	}
	for bad, want := range map[string]string{
		"functions.*.create": "Triggering a function on a function event is not allowed.",
		"users":              "Event is not valid.", "*": "Event is not valid.", "*.x": "Event is not valid.", "users.*.explode": "Event is not valid.",
		"users.*.create.email": "Event is not valid.", "users.*.update.shoe": "Event is not valid.", "users.*.files.*": "Event is not valid.",
		"users.": "Event is not valid.", "users.a b": "Event is not valid.", "messages.*.delete": "Event is not valid.", "users.*.sessions": "Event is not valid.",
		"databases.*.tables.*.rows.*.update.x": "Event is not valid.",
	} {
		if got := checkEvent(bad); got != want {
			t.Errorf("checkEvent(%q) = %q, want %q", bad, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	many := make(api.Object, 101)
	for i := range many {
		many[i] = flint.Header{Name: "a"}
	}
	for _, c := range []struct {
		name    string
		headers api.Object
		encoded int
		ok      bool
	}{
		{"none", nil, 2, true},
		{"plain", api.Object{{Name: "X-A1", Value: "b"}}, 0, true},
		{"a hyphen at the end", api.Object{{Name: "x-", Value: "b"}}, 0, false},
		{"no name", api.Object{{Value: "b"}}, 0, false},
		{"the platform's", api.Object{{Name: "X-APPWRITE-x"}}, 0, false},
		{"almost the platform's", api.Object{{Name: "x-appwrite"}}, 0, true},
		{"too many", many, 0, false},
		{"most bytes", api.Object{{Name: "a", Value: strings.Repeat("b", 16382)}}, 0, true},
		{"too many bytes", api.Object{{Name: "a", Value: strings.Repeat("b", 16383)}}, 0, false},
		{"too long a text", nil, 65_536, false},
	} {
		if got := checkHeaders(c.headers, c.encoded) == ""; got != c.ok {
			t.Errorf("%s: valid = %v, want %v", c.name, got, c.ok)
		}
	}
}

func FuzzEvent(f *testing.F) {
	for _, seed := range []string{"users.*.update.email", "databases.main.tables.*.rows.*.create", "functions.*.create", "users."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, event string) {
		if checkEvent(event) == "" && !regexp.MustCompile(`^[a-z]+([.][A-Za-z0-9*][A-Za-z0-9_-]*|[.][A-Za-z0-9][A-Za-z0-9._-]*)+$`).MatchString(event) {
			t.Errorf("%q is valid", event)
		}
	})
}

// FuzzHeaders holds what clients may have a function called with to what HTTP allows.
func FuzzHeaders(f *testing.F) {
	f.Add("x-one", "1")
	f.Add("X-Appwrite-Key", "\r\n")
	f.Fuzz(func(t *testing.T, name, value string) {
		if checkHeaders(api.Object{{Name: name, Value: value}}, len(name)+len(value)) != "" {
			return
		}
		if !httpguts.ValidHeaderFieldName(name) || strings.ContainsAny(value, "\r\n\x00") || strings.HasPrefix(strings.ToLower(name), "x-appwrite-") {
			t.Errorf("%q: %q is valid", name, value)
		}
	})
}
