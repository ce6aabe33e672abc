package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"flint/e2e/node"
)

// mirror tells what it sees of a request.
const mirror = `module.exports = async ({ req, res }) => res.json({
  path: req.path, query: req.queryString, method: req.method, host: req.headers.host, user: req.headers['x-appwrite-user-id'],
  ip: req.headers['x-appwrite-client-ip'], country: req.headers['x-appwrite-country-code'], continent: req.headers['x-appwrite-continent-code'],
  eu: req.headers['x-appwrite-continent-eu'], prefix: req.headers['x-forwarded-prefix'], scheme: req.scheme
}, 200, { 'access-control-allow-origin': 'https://of-the-function.example', 'x-own': 'yes' })
`

// seen is what mirror answers.
type seen struct{ Path, Query, Method, Host, User, IP, Country, Continent, EU, Prefix, Scheme string }

// visit makes a request that is not followed when it is sent elsewhere.
func visit(t *testing.T, n *node.Node, q node.Request) (*node.Response, seen) {
	t.Helper()
	r, err := n.Visit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	if r.Status == http.StatusOK {
		if err := json.Unmarshal(r.Body, &s); err != nil {
			t.Fatalf("%s: %v", r.Body, err)
		}
	}
	return r, s
}

func rule(t *testing.T, n *node.Node, kind string, params map[string]any) {
	t.Helper()
	if _, err := n.Do(t.Context(), http.MethodPost, "/v1/proxy/rules/"+kind, params, nil); err != nil {
		t.Fatal(err)
	}
}

func TestDomains(t *testing.T) {
	t.Parallel()
	n := node.Start(t, node.Options{Args: []string{"--router-protection=true", "--hostnames=api.flint.test"}})
	js := runtime(t, n, "node")
	open := n.Deploy(t, node.Function{ID: "open", Runtime: js, Entrypoint: "i.js", Execute: []string{"any"}}, nil, map[string]string{"i.js": mirror})
	closed := n.Deploy(t, node.Function{ID: "closed", Runtime: js, Entrypoint: "i.js", Execute: []string{}}, nil, map[string]string{"i.js": mirror})
	rule(t, n, "function", map[string]any{"domain": "shop.example", "functionId": "open"})
	rule(t, n, "redirect", map[string]any{"domain": "old.example.com", "url": "https://new.example.com/x", "statusCode": 308, "resourceId": "open", "resourceType": "function"})
	rule(t, n, "api", map[string]any{"domain": "api.example.com"})

	t.Run("rules", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			q      node.Request
			status int
			typ    string // of the error
		}{
			{"own domain", node.Request{Host: "shop.example:8080"}, 200, ""},
			{"the root's dot", node.Request{Host: "shop.example."}, 200, ""},
			{"as a proxy says", node.Request{Host: "inner", Headers: map[string]string{"X-Forwarded-Host": "shop.example"}}, 200, ""},
			{"redirect", node.Request{Host: "old.example.com", Path: "/y"}, 308, ""},
			{"the API's domain", node.Request{Host: "api.example.com", Path: "/v1/health/version"}, 200, ""},
			{"the API's name", node.Request{Host: "api.flint.test", Path: "/v1/health/version"}, 200, ""},
			{"an unknown host", node.Request{Host: "stranger.example.com", Path: "/v1/health/version"}, 401, "general_access_forbidden"},
			{"an unknown host and a path", node.Request{Host: "stranger.example.com", Path: "/fn/tests/open/"}, 401, "general_access_forbidden"},
			{"an unknown name of ours", node.Request{Host: "nobody." + node.Domain}, 404, "rule_not_found"},
			{"the base", node.Request{Host: node.Domain}, 401, "general_access_forbidden"},
			{"certificates", node.Request{Host: open.Domain(), Path: "/.well-known/acme-challenge/x"}, 404, "general_route_not_found"},
			{"closed", node.Request{Host: closed.Domain()}, 401, "function_execute_permission_missing"},
			{"closed by path", node.Request{Path: "/fn/tests/closed/"}, 401, "function_execute_permission_missing"},
			{"no function by path", node.Request{Path: "/fn/tests/nope/"}, 404, "function_not_found"},
			{"no path", node.Request{Path: "/fn/tests"}, 404, "function_not_found"},
		} {
			if c.q.Headers == nil {
				c.q.Headers = map[string]string{}
			}
			c.q.Headers["Accept"] = "application/json"
			r, _ := visit(t, n, c.q)
			var e struct{ Type string }
			if r.Status >= 400 {
				if err := json.Unmarshal(r.Body, &e); err != nil {
					t.Errorf("%s: %s", c.name, r.Body)
				}
			}
			if r.Status != c.status || e.Type != c.typ {
				t.Errorf("%s: %d %s, want %d %s", c.name, r.Status, e.Type, c.status, c.typ)
			}
			if c.name == "redirect" && r.Headers.Get("Location") != "https://new.example.com/x" {
				t.Errorf("redirected to %s", r.Headers.Get("Location"))
			}
		}
	})
	t.Run("a path needs no name", func(t *testing.T) {
		for path, want := range map[string]seen{
			"/fn/tests/open/a%2Fb/c?x=1&y": {Path: "/a%2Fb/c", Query: "x=1&y", Prefix: "/fn/tests/open"},
			"/fn/tests/open?x=1":           {Path: "/", Query: "x=1", Prefix: "/fn/tests/open"},
			"/fn/tests/open/":              {Path: "/", Prefix: "/fn/tests/open"},
		} {
			_, got := visit(t, n, node.Request{Path: path, Headers: map[string]string{"X-Forwarded-Prefix": "/forged"}})
			if got.Path != want.Path || got.Query != want.Query || got.Prefix != want.Prefix {
				t.Errorf("%s: the function saw %+v", path, got)
			}
		}
	})
	t.Run("addresses and countries", func(t *testing.T) {
		_, got := visit(t, n, node.Request{Host: open.Domain(), Headers: map[string]string{"X-Forwarded-For": "8.8.8.8, 193.0.6.139, 10.0.0.1", "X-Forwarded-Proto": "https"}})
		if got.IP != "193.0.6.139" || got.Country != "NL" || got.Continent != "EU" || got.EU != "true" || got.Scheme != "https" {
			t.Errorf("the function saw %+v", got)
		}
		_, got = visit(t, n, node.Request{Host: open.Domain()})
		if got.IP != "127.0.0.1" || got.Country != "" || got.EU != "false" {
			t.Errorf("without a proxy the function saw %+v", got)
		}
	})
	t.Run("browsers", func(t *testing.T) { browsers(t, n, open) })
	t.Run("callers who say who they are", func(t *testing.T) { identified(t, n, closed) })
	t.Run("a domain follows activation and goes with its function", func(t *testing.T) {
		n.Redeploy(t, open, "", map[string]string{"i.js": `module.exports = async ({ res }) => res.json({ path: 'second' })`})
		if _, got := visit(t, n, node.Request{Host: "shop.example"}); got.Path != "second" {
			t.Errorf("the domain leads to %+v", got)
		}
		if _, err := n.Do(t.Context(), http.MethodDelete, "/v1/functions/open", nil, nil); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"shop.example", "old.example.com"} {
			if r, _ := visit(t, n, node.Request{Host: host}); r.Status != 401 {
				t.Errorf("%s answers %d after its function was deleted", host, r.Status)
			}
		}
		if r, _ := visit(t, n, node.Request{Host: open.Domain()}); r.Status != 404 {
			t.Errorf("its generated domain answers %d", r.Status)
		}
	})
}

// settings sets what a function does on its domain.
func settings(ctx context.Context, n *node.Node, function string, v map[string]any) error {
	_, err := n.Do(ctx, http.MethodPut, "/v1/flint/functions/"+function+"/domain", v, nil)
	return err
}

func browsers(t *testing.T, n *node.Node, f *node.Function) {
	t.Helper()
	ask := map[string]string{"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-one"}
	if r, got := visit(t, n, node.Request{Host: f.Domain(), Method: http.MethodOptions, Headers: ask}); got.Method != "OPTIONS" || r.Headers.Get("Access-Control-Allow-Origin") != "https://of-the-function.example" {
		t.Errorf("without settings the function answers browsers itself: %+v %v", got, r.Headers)
	}
	err := settings(t.Context(), n, f.ID, map[string]any{
		"corsOrigins": []string{"https://app.example.com"}, "corsHeaders": []string{"*"}, "corsExposedHeaders": []string{"X-Own"}, "corsCredentials": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := visit(t, n, node.Request{Host: f.Domain(), Method: http.MethodOptions, Headers: ask})
	h := r.Headers
	if r.Status != 204 || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" || h.Get("Access-Control-Allow-Headers") != "x-one" ||
		!strings.Contains(h.Get("Access-Control-Allow-Methods"), "PUT") || h.Get("Access-Control-Max-Age") != "600" || r.ExecutionID() != "" {
		t.Errorf("preflight: %d %v", r.Status, h)
	}
	r, _ = visit(t, n, node.Request{Host: f.Domain(), Headers: ask})
	if h := r.Headers; len(h.Values("Access-Control-Allow-Origin")) != 1 || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		h.Get("Access-Control-Expose-Headers") != "X-Own" || h.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("call: %v", h)
	}
	ask["Origin"] = "https://evil.example.com"
	for _, method := range []string{http.MethodOptions, http.MethodGet} {
		if r, _ := visit(t, n, node.Request{Host: f.Domain(), Method: method, Headers: ask}); r.Headers.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s of another origin: %v", method, r.Headers)
		}
	}
}

func identified(t *testing.T, n *node.Node, f *node.Function) {
	t.Helper()
	key := map[string]string{"X-Appwrite-Key": node.Key, "Accept": "application/json"}
	if r, _ := visit(t, n, node.Request{Host: f.Domain(), Headers: key}); r.Status != 401 {
		t.Errorf("a key opened a function that did not ask who calls: %d", r.Status)
	}
	if err := settings(t.Context(), n, f.ID, map[string]any{"identifyCallers": true}); err != nil {
		t.Fatal(err)
	}
	for _, q := range []node.Request{{Host: f.Domain()}, {Path: "/fn/tests/closed/"}} {
		q.Headers = key
		if r, _ := visit(t, n, q); r.Status != 200 {
			t.Errorf("a key does not open the function: %d %s", r.Status, r.Body)
		}
		q.Headers = nil
		if r, _ := visit(t, n, q); r.Status != 401 {
			t.Errorf("nobody opens it: %d", r.Status)
		}
		q.Headers = map[string]string{"X-Appwrite-Key": "standard_unknown"}
		if r, _ := visit(t, n, q); r.Status != 401 {
			t.Errorf("an unknown key opens it: %d", r.Status)
		}
	}
}
