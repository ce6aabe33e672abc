package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// url is what a function sees of a URL.
type url struct {
	url, path, queryString string
	query                  map[string]any
	scheme, host           string
	port                   int
}

// urlCase checks what a function sees of a URL; {host} in what is wanted stands for the function's domain.
func urlCase(name, path, host, proto string, want func(*language) url) testCase {
	c := testCase{name: name, exchange: exchange{action: "requestUrl", path: path, host: host}}
	if proto != "" {
		c.headers, c.exchange.headers = nil, map[string]string{"x-forwarded-proto": proto}
	}
	c.check = func(t *testing.T, s *subject, a *answer) {
		t.Helper()
		w := want(s.language)
		fill := strings.NewReplacer("{host}", s.function.Domain())
		if w.query == nil {
			w.query = map[string]any{}
		}
		expected := map[string]any{
			"url": fill.Replace(w.url), "path": w.path, "queryString": w.queryString, "query": w.query, "scheme": w.scheme,
			"host": fill.Replace(w.host), "port": float64(w.port),
		}
		if diff := cmp.Diff(expected, a.object(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	return c
}

func always(u url) func(*language) url { return func(*language) url { return u } }

// queryCase checks the fields of a query.
func queryCase(name, query string, want func(*language) map[string]any) testCase {
	return testCase{
		name: name, exchange: exchange{action: "requestUrl", path: "/?" + query},
		check: func(t *testing.T, s *subject, a *answer) {
			t.Helper()
			if diff := cmp.Diff(want(s.language), a.object(t)["query"]); diff != "" {
				t.Errorf("query %q (-want +got):\n%s", query, diff)
			}
		},
	}
}

func fields(pairs ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

var requestCases = []testCase{
	urlCase("url with port, scheme and query", "/a/b?c=d&e=f", "{host}:3001", "https", always(url{
		"https://{host}:3001/a/b?c=d&e=f", "/a/b", "c=d&e=f", fields("c", "d", "e", "f"), "https", "{host}", 3001,
	})),
	urlCase("url with the default port of http", "/", "{host}:80", "", always(url{url: "http://{host}/", path: "/", scheme: "http", host: "{host}", port: 80})),
	urlCase("url without port under https", "/", "{host}", "https", always(url{url: "https://{host}/", path: "/", scheme: "https", host: "{host}", port: 443})),
	urlCase("url with the default port of https", "/", "{host}:443", "https", always(url{url: "https://{host}/", path: "/", scheme: "https", host: "{host}", port: 443})),
	urlCase("url with port 80 under https", "/", "{host}:80", "https", always(url{url: "https://{host}:80/", path: "/", scheme: "https", host: "{host}", port: 80})),
	urlCase("url with port 80 under http", "/", "{host}:80", "http", always(url{url: "http://{host}/", path: "/", scheme: "http", host: "{host}", port: 80})),
	urlCase("url with another port", "/", "{host}:3000", "", always(url{url: "http://{host}:3000/", path: "/", scheme: "http", host: "{host}", port: 3000})),
	urlCase("url with an escaped path", "/a%20b/%C3%A9", "{host}", "", func(l *language) url {
		return url{url: "http://{host}/a%20b/%C3%A9", path: choose(l.decodesPath, "/a b/é", "/a%20b/%C3%A9"), scheme: "http", host: "{host}", port: 80}
	}),
	func() testCase {
		c := urlCase("a fragment does not reach the function", "/a/b?c=d#something", "{host}", "", always(url{
			"http://{host}/a/b?c=d", "/a/b", "c=d", fields("c", "d"), "http", "{host}", 80,
		}))
		c.only = "execution"
		return c
	}(),
	queryCase("query with odd separators", "a=b&c==d&e=f=g=&h&i=j&&k", func(*language) map[string]any {
		return fields("a", "b", "c", "=d", "e", "f=g=", "h", "", "i", "j", "k", "")
	}),
	queryCase("query with a repeated key", "x=1&x=2", func(l *language) map[string]any { return fields("x", choose(l.firstWins, "1", "2")) }),
	queryCase("query with escapes", "a=b%20c&d=e+f", func(l *language) map[string]any {
		if l.decodesQuery {
			return fields("a", "b c", "d", "e f")
		}
		return fields("a", "b%20c", "d", "e+f")
	}),
	func() testCase {
		c := queryCase("query with a bad escape", "a=%zz&b=c", func(*language) map[string]any { return fields("a", "%zz", "b", "c") })
		c.skip = func(l *language) bool { return l.badEscapes }
		return c
	}(),
	{
		name: "query with a bad escape of a strict language", exchange: exchange{action: "requestUrl", path: "/?a=%zz&b=c"},
		skip: func(l *language) bool { return !l.badEscapes }, status: 500, body: is(""), errors: is("Could not parse url params.\n"),
	},
	{name: "a query with escapes as text", exchange: exchange{action: "requestUrl", path: "/?a=b%20c"}, check: func(t *testing.T, s *subject, a *answer) {
		if got, want := a.object(t)["queryString"], choose(s.decodesText, "a=b c", "a=b%20c"); got != want {
			t.Errorf("queryString %q, want %q", got, want)
		}
	}},

	methodCase("GET"), methodCase("POST"), methodCase("PUT"), methodCase("PATCH"), methodCase("DELETE"), methodCase("OPTIONS"),

	{
		name: "request headers", exchange: exchange{action: "requestHeaders", headers: map[string]string{
			"X-Mixed-Case": "Value", "x-open-runtimes-secret": "no", "cookie": "a=1; b=2", "authorization": "Bearer token", "content-type": "application/vnd.api+json",
		}, method: "POST", body: "x"},
		check: func(t *testing.T, s *subject, a *answer) {
			got := a.object(t)
			for name, want := range map[string]string{
				"x-mixed-case": "Value", "cookie": "a=1; b=2", "authorization": "Bearer token", "x-action": "requestHeaders", "content-type": "application/vnd.api+json",
				"x-appwrite-execution-id": a.ID, "x-appwrite-trigger": "http", "x-appwrite-user-id": "", "x-appwrite-user-jwt": "", "x-appwrite-country-code": "",
				"x-appwrite-continent-code": "", "x-appwrite-continent-eu": "false", "x-appwrite-client-ip": "127.0.0.1", "host": s.function.Domain(),
			} {
				if got[name] != want {
					t.Errorf("header %s is %v, want %q", name, got[name], want)
				}
			}
			for name := range got {
				if strings.HasPrefix(name, "x-open-runtimes-") || name != strings.ToLower(name) {
					t.Errorf("header %s reached the function", name)
				}
			}
			if _, forged := got["x-appwrite-event"]; forged {
				t.Error("a synchronous call has x-appwrite-event")
			}
			checkKey(t, s, fmt.Sprint(got["x-appwrite-key"]))
		},
	},
	{
		name: "headers of the platform cannot be forged", only: "domain", exchange: exchange{action: "requestHeaders", headers: map[string]string{
			"X-Appwrite-User-Id": "root", "x-appwrite-trigger": "event", "x-appwrite-anything": "1",
		}},
		check: func(t *testing.T, _ *subject, a *answer) {
			got := a.object(t)
			if got["x-appwrite-user-id"] != "" || got["x-appwrite-trigger"] != "http" || got["x-appwrite-anything"] != nil {
				t.Errorf("the function saw %v", got)
			}
		},
	},
	{name: "stored headers", exchange: exchange{action: "headersResponse", method: "POST", body: "x", headers: map[string]string{"content-type": "text/x", "x-other": "1"}}, check: checkStored},
}

func methodCase(method string) testCase {
	return testCase{name: "method " + method, exchange: exchange{action: "requestMethod", method: method}, body: is(method)}
}

// checkKey uses the key that a function got: it may do what the function's scopes say, and nothing else.
func checkKey(t *testing.T, s *subject, key string) {
	t.Helper()
	if !strings.HasPrefix(key, "ephemeral_") {
		t.Errorf("x-appwrite-key is %q", key)
		return
	}
	c := s.node.As(key)
	if _, err := c.Do(t.Context(), "GET", "/v1/functions/"+s.function.ID, nil, nil); err != nil {
		t.Errorf("the function's key cannot read functions: %v", err)
	}
	for _, beyond := range [][2]string{{"GET", "/v1/functions/" + s.function.ID + "/executions"}, {"DELETE", "/v1/functions/" + s.function.ID}} {
		if status, err := c.Do(t.Context(), beyond[0], beyond[1], nil, nil); status != 401 {
			t.Errorf("%s %s with the function's key: %d %v, want 401", beyond[0], beyond[1], status, err)
		}
	}
}

// checkStored looks at what an execution keeps of the headers.
func checkStored(t *testing.T, s *subject, a *answer) {
	e, err := s.node.Execution(t.Context(), s.function.ID, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	request := map[string]string{}
	for _, h := range e.RequestHeaders {
		request[h.Name] = h.Value
		switch h.Name {
		case "content-type", "agent", "content-length", "host", "x-appwrite-client-ip":
		default:
			t.Errorf("request header %s is stored", h.Name)
		}
	}
	if request["content-type"] != "text/x" || request["x-appwrite-client-ip"] != "127.0.0.1" {
		t.Errorf("stored request headers are %v", request)
	}
	typed := false
	for _, h := range e.ResponseHeaders {
		typed = typed || h.Name == "content-type" && h.Value == plain
		if h.Name != "content-type" && h.Name != "content-length" {
			t.Errorf("response header %s is stored", h.Name)
		}
	}
	if !typed {
		t.Errorf("stored response headers are %v", e.ResponseHeaders)
	}
	if e.Trigger != "http" || e.RequestMethod != "POST" || e.RequestPath != "/" || e.DeploymentID != s.function.DeploymentID || e.Duration <= 0 || len(e.Permissions) != 0 {
		t.Errorf("stored execution is %+v", e)
	}
}
