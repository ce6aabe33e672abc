package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/internal/forwarded"
)

// front returns a proxy of some rules, whose API says where it was reached. Functions are behind https, so that a way to
// a function is seen without one.
func front(t testing.TB, change func(*Config)) *Proxy {
	t.Helper()
	rules := map[string]*flint.Rule{
		"shop.example":          {Domain: "shop.example", Project: "p", Function: "f"},
		"api.example":           {Domain: "api.example", Type: flint.RuleAPI},
		"old.example":           {Domain: "old.example", Type: flint.RuleRedirect, RedirectURL: "https://new.example/x", RedirectStatus: 307},
		"f.functions.localhost": {Domain: "f.functions.localhost", Project: "p", Function: "f"},
	}
	c := Config{
		Rule: func(_ context.Context, domain string) (*flint.Rule, error) {
			if r := rules[domain]; r != nil {
				return r, nil
			}
			return nil, flint.ErrRuleNotFound
		},
		Domain: "functions.localhost", Hosts: []string{"flint.example", "203.0.113.1"}, Secure: true, Logger: slog.New(slog.DiscardHandler),
		Forwarded: forwarded.Rules{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		Next:      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the API at "+r.Host) }),
	}
	if change != nil {
		change(&c)
	}
	return New(c)
}

func visit(t *testing.T, p *Proxy, method, host, target string, headers map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	r.Host = host
	r.Header.Set("Accept", "application/json")
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestRouting(t *testing.T) {
	t.Parallel()
	open := front(t, nil)
	protected := front(t, func(c *Config) { c.Protected = true })
	for _, c := range []struct {
		host, target string
		status       int
		want         string // in the answer, or where it leads
		protected    int    // status with protection, when that differs
	}{
		{"shop.example", "/a%2Fb?c", 301, "https://shop.example/a%2Fb?c", 0},
		{"SHOP.example.:8080", "/", 301, "https://SHOP.example.:8080/", 0},
		{"f.functions.localhost", "/v1/health", 301, "https://f.functions.localhost/v1/health", 0},
		{"shop.example", "/.well-known/acme-challenge/x", 404, "general_route_not_found", 0},
		{"old.example", "/y?z", 307, "https://new.example/x", 0},
		{"api.example", "/v1/x", 200, "the API at api.example", 0},
		{"api.example", "/fn/p/f/x", 301, "https://api.example/fn/p/f/x", 0},
		{"functions.localhost", "/", 401, "general_access_forbidden", 0},
		{"nobody.functions.localhost", "/", 404, "rule_not_found", 0},
		{"flint.example", "/v1/x", 200, "the API at flint.example", 0},
		{"203.0.113.1:80", "/", 200, "the API at 203.0.113.1:80", 0},
		{"localhost:8080", "/", 200, "the API at localhost:8080", 0},
		{"127.0.0.2", "/", 200, "the API at 127.0.0.2", 0},
		{"[::1]:8080", "/", 200, "the API at [::1]:8080", 0},
		{"", "/", 200, "the API at ", 401},
		{"stranger.example", "/", 200, "the API at stranger.example", 401},
		{"203.0.113.9", "/", 200, "the API at 203.0.113.9", 401},
		{"stranger.example", "/fn/p/f/", 301, "https://stranger.example/fn/p/f/", 401},
		{"localhost", "/fn/p", 404, "function_not_found", 0},
	} {
		w := visit(t, open, "GET", c.host, c.target, nil)
		if got := w.Header().Get("Location") + w.Body.String(); w.Code != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s%s: %d %s, want %d %s", c.host, c.target, w.Code, got, c.status, c.want)
		}
		if c.protected == 0 {
			c.protected = c.status
		}
		if w := visit(t, protected, "GET", c.host, c.target, nil); w.Code != c.protected {
			t.Errorf("%s%s with protection: %d, want %d", c.host, c.target, w.Code, c.protected)
		}
	}
	if w := visit(t, open, "POST", "shop.example", "/", nil); w.Code != 500 || !strings.Contains(w.Body.String(), "general_protocol_unsupported") {
		t.Errorf("POST by http: %d %s", w.Code, w.Body)
	}
	if w := visit(t, open, "GET", "inner", "/", map[string]string{"X-Forwarded-Host": "api.example"}); w.Body.String() != "the API at api.example" {
		t.Errorf("a trusted proxy's host: %s", w.Body)
	}
	distrustful := front(t, func(c *Config) { c.Forwarded = forwarded.Rules{} })
	if w := visit(t, distrustful, "GET", "inner", "/", map[string]string{"X-Forwarded-Host": "api.example"}); w.Body.String() != "the API at inner" {
		t.Errorf("anybody's host: %s", w.Body)
	}
}

func TestRulesAreRemembered(t *testing.T) {
	t.Parallel()
	asked := 0
	var meanwhile func()
	p := front(t, func(c *Config) {
		c.Rule = func(context.Context, string) (*flint.Rule, error) {
			if asked++; meanwhile != nil {
				meanwhile()
			}
			return &flint.Rule{Type: flint.RuleAPI}, nil
		}
	})
	look := func(want int, when string) {
		t.Helper()
		visit(t, p, "GET", "a.example", "/", nil)
		if asked != want {
			t.Errorf("%s: asked %d times, want %d", when, asked, want)
		}
	}
	look(1, "first")
	look(1, "again")
	p.Forget("b.example")
	look(1, "after a change of another")
	p.Forget("a.example")
	meanwhile = func() { p.Forget("a.example") } // what was read is old before it is kept
	look(2, "after a change")
	meanwhile = nil
	look(3, "after a change while it was read")
	p.Forget("")
	look(4, "after a change of everything")
}

func TestARuleThatCannotBeRead(t *testing.T) {
	t.Parallel()
	p := front(t, func(c *Config) {
		c.Rule = func(context.Context, string) (*flint.Rule, error) { return nil, io.ErrUnexpectedEOF }
	})
	w := visit(t, p, "GET", "a.example", "/", nil)
	if w.Code != 500 || strings.Contains(w.Body.String(), "EOF") || !strings.Contains(w.Body.String(), "Server Error") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]place{
		"/fn/p/f":            {"p", "f", "/", "/fn/p/f"},
		"/fn/p/f/":           {"p", "f", "/", "/fn/p/f"},
		"/fn/p/f?a=/b":       {"p", "f", "/?a=/b", "/fn/p/f"},
		"/fn/p/f?":           {"p", "f", "/?", "/fn/p/f"},
		"/fn/p/f//a%2Fb/?c?": {"p", "f", "//a%2Fb/?c?", "/fn/p/f"},
		"/fn/p.1/f_2/..":     {"p.1", "f_2", "/..", "/fn/p.1/f_2"},
		"/fn/p":              {},
		"/fn/":               {},
		"/fn/p/":             {},
		"/fn//f":             {},
		"/fn/%70/f":          {},
		"/fn/p/-f":           {},
	} {
		got, ok := parsePath(uri)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" || ok != (want != place{}) {
			t.Errorf("parsePath(%q): %v (-want +got):\n%s", uri, ok, diff)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		peer    string
		tls     bool
		at      place
		headers map[string]string
		want    []flint.Header
	}{
		{"nothing said", "192.0.2.1:1", false, place{}, nil, nil},
		{"a trusted proxy", "192.0.2.1:1", false, place{}, map[string]string{"X-Forwarded-Proto": "HTTPS, http"}, []flint.Header{{Name: "x-forwarded-proto", Value: "https"}}},
		{"a stranger", "198.51.100.1:1", false, place{}, map[string]string{"X-Forwarded-Proto": "https"}, nil},
		{"nonsense", "192.0.2.1:1", false, place{}, map[string]string{"X-Forwarded-Proto": "gopher"}, nil},
		{"our own TLS", "198.51.100.1:1", true, place{}, map[string]string{"X-Forwarded-Proto": "http"}, []flint.Header{{Name: "x-forwarded-proto", Value: "https"}}},
		{"a forged prefix", "192.0.2.1:1", false, place{prefix: "/fn/p/f"}, map[string]string{"X-Forwarded-Prefix": "/x"}, []flint.Header{{Name: "x-forwarded-prefix", Value: "/fn/p/f"}}},
		{"a proxy's prefix on a domain", "192.0.2.1:1", false, place{}, map[string]string{"X-Forwarded-Prefix": "/x"}, []flint.Header{{Name: "x-forwarded-prefix", Value: "/x"}}},
		{"names in lower case", "192.0.2.1:1", false, place{}, map[string]string{"X-One": "A"}, []flint.Header{{Name: "x-one", Value: "A"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.Host, r.RemoteAddr = "h:1", c.peer
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			for name, value := range c.headers {
				r.Header.Set(name, value)
			}
			got := front(t, nil).headers(r, c.at)
			if diff := cmp.Diff(append([]flint.Header{{Name: "host", Value: "h:1"}}, c.want...), got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader("body"))
	if got := front(t, nil).headers(r, place{}); !slices.Contains(got, flint.Header{Name: "content-length", Value: "4"}) {
		t.Errorf("the length of the body is missing: %v", got)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	own := &flint.Error{Kind: flint.NotFound, Type: "a_type", Message: "<b>not here</b>"}
	for _, c := range []struct {
		name, method, accept string
		err                  error
		status               int
		kind, want           string
	}{
		{"people", "GET", "text/html, application/json", own, 404, "text/html; charset=UTF-8", "&lt;b&gt;not here&lt;/b&gt;"},
		{"whoever does not say", "GET", "", own, 404, "text/html; charset=UTF-8", "a_type"},
		{"anything will do", "GET", "*/*", own, 404, "text/html; charset=UTF-8", "a_type"},
		{"programs", "GET", "application/json", own, 404, "application/json; charset=UTF-8", ""},
		{"only the head", "HEAD", "", own, 404, "text/html; charset=UTF-8", ""},
		{"a function that failed", "GET", "", nil, 502, "text/html; charset=UTF-8", "The function failed."},
		{"a function that refused", "GET", "", nil, 499, "text/html; charset=UTF-8", "without a body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), c.method, "/", nil)
			r.Header.Set("Accept", c.accept)
			w := httptest.NewRecorder()
			(&Proxy{}).writePage(w, r, c.status, c.err)
			body := w.Body.String()
			if w.Code != c.status || w.Header().Get("Content-Type") != c.kind || !strings.Contains(body, c.want) || strings.Contains(body, "<b>") {
				t.Errorf("%d %v %s", w.Code, w.Header(), body)
			}
			if c.method == "HEAD" && body != "" {
				t.Errorf("an answer to HEAD with a body: %s", body)
			}
			if !strings.HasPrefix(c.kind, "application/json") {
				return
			}
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]any{"message": own.Message, "code": 404.0, "type": own.Type, "version": flint.ReferenceVersion}, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPagesAreKept(t *testing.T) {
	t.Parallel()
	var r rendered
	first := r.of(pageData{429, "Too Many Requests", "m", "t"})
	if again := r.of(pageData{429, "Too Many Requests", "m", "t"}); &first[0] != &again[0] {
		t.Error("a page that was made before is made again")
	}
	if other := string(r.of(pageData{429, "Too Many Requests", "another", "t"})); !strings.Contains(other, "another") {
		t.Errorf("the page of another error is %s", other)
	}
	r.of(pageData{404, "Not Found", strings.Repeat("m", maxPage), "t"})
	if n := len(r.pages); n != 2 {
		t.Errorf("%d pages are kept, one of them too large", n)
	}
	for i := range 2 * maxPages {
		r.of(pageData{404, "Not Found", strconv.Itoa(i), "t"})
	}
	if n := len(r.pages); n != maxPages {
		t.Errorf("%d pages are kept, the bound is %d", n, maxPages)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for err, want := range map[*flint.Error]string{flint.ErrTooBusy: "1", flint.ErrRateLimited: "1", flint.ErrFunctionNotFound: ""} {
		w := httptest.NewRecorder()
		front(t, nil).writeError(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), err)
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%v: Retry-After is %q, want %q", err, got, want)
		}
	}
}

// BenchmarkTakes is how a request on a function's domain is told from others.
func BenchmarkTakes(b *testing.B) {
	p := front(b, nil)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/orders/7?expand=items", nil)
	r.Host = "shop.example"
	b.ReportAllocs()
	for b.Loop() {
		if !p.Takes(r) {
			b.Fatal("not taken")
		}
	}
}

func TestTakes(t *testing.T) {
	t.Parallel()
	p := front(t, nil)
	for _, c := range []struct {
		host, target string
		want         bool
	}{
		{"shop.example", "/", true},
		{"SHOP.example:8080", "/fn/p/f/", true},
		{"old.example", "/fn/p/f/", false},
		{"api.example", "/v1/functions", false},
		{"api.example", "/fn/p/f/x", true},
		{"flint.example", "/v1/functions", false},
		{"flint.example", "/fn/p/f", true},
		{"203.0.113.1", "/fn/", true},
		{"localhost:80", "/fnord", false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.target, nil)
		r.Host = c.host
		if got := p.Takes(r); got != c.want {
			t.Errorf("Takes(%s%s) = %v, want %v", c.host, c.target, got, c.want)
		}
	}
}
