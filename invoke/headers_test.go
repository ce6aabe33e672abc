package invoke

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/auth"
	"flint/worker"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	i := &Invoker{config: Config{Signer: auth.NewSigner([]byte("0123456789abcdef0123456789abcdef")), Domain: "functions.localhost"}}
	f := &flint.Function{Project: "p", ID: "My.fn", Logging: true}
	for _, c := range []struct {
		name, path     string
		headers        []flint.Header
		host, url      string
		port           int
		scheme, onPath string
		query          string
	}{
		{"no host", "/", nil, "my-fn.functions.localhost", "http://my-fn.functions.localhost/", 80, "http", "/", ""},
		{"real", "/", []flint.Header{{Name: "host", Value: "h:3000"}}, "h", "http://h:3000/", 3000, "http", "/", ""},
		{"https with port", "/a/b?c=d&e=f", []flint.Header{{Name: "host", Value: "www.mydomain.com:3001"}, {Name: "x-forwarded-proto", Value: "https"}}, "www.mydomain.com", "https://www.mydomain.com:3001/a/b?c=d&e=f", 3001, "https", "/a/b", "c=d&e=f"},
		{"http default port", "/", []flint.Header{{Name: "host", Value: "www.mydomain.com:80"}}, "www.mydomain.com", "http://www.mydomain.com/", 80, "http", "/", ""},
		{"https default", "/", []flint.Header{{Name: "host", Value: "myapp.com"}, {Name: "x-forwarded-proto", Value: "https"}}, "myapp.com", "https://myapp.com/", 443, "https", "/", ""},
		{"https on 443", "/", []flint.Header{{Name: "host", Value: "myapp.com:443"}, {Name: "x-forwarded-proto", Value: "https"}}, "myapp.com", "https://myapp.com/", 443, "https", "/", ""},
		{"https on 80", "/", []flint.Header{{Name: "host", Value: "myapp.com:80"}, {Name: "x-forwarded-proto", Value: "https"}}, "myapp.com", "https://myapp.com:80/", 80, "https", "/", ""},
		{"no leading slash, two question marks", "x?a=1?b=2", []flint.Header{{Name: "host", Value: "h"}}, "h", "http://h/x?a=1?b=2", 80, "http", "/x", "a=1?b=2"},
		{"IPv6", "/", []flint.Header{{Name: "host", Value: "[::1]:3000"}}, "::1", "http://[::1]:3000/", 3000, "http", "/", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _ := i.request(&target{function: f}, &Call{Project: "p", Function: "My.fn", Method: "GET", Path: c.path, Headers: c.headers, id: "e"})
			got := []any{r.Host, r.URL, r.Port, r.Scheme, r.Path, r.QueryString}
			if diff := cmp.Diff([]any{c.host, c.url, c.port, c.scheme, c.onPath, c.query}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInjectedHeaders(t *testing.T) {
	t.Parallel()
	i := &Invoker{config: Config{Signer: auth.NewSigner([]byte("0123456789abcdef0123456789abcdef")), Domain: "d"}}
	call := &Call{
		Project: "p", Function: "f", Trigger: flint.TriggerHTTP, Method: "GET", Path: "/", ClientIP: "1.2.3.4", id: "exec",
		Headers: []flint.Header{
			{Name: "host", Value: "h"},
			{Name: "x-appwrite-user-id", Value: "forged"},
			{Name: "x-open-runtimes-secret", Value: "s"},
			{Name: "x-appwrite-anything", Value: "forged"},
			{Name: "accept", Value: "a"},
			{Name: "accept", Value: "b"},
			{Name: "cookie", Value: "c=1"},
			{Name: "cookie", Value: "d=2"},
		},
	}
	r, stored := i.request(&target{function: &flint.Function{Project: "p", ID: "f"}}, call)
	got := map[string]string{}
	for _, h := range r.Headers {
		if _, twice := got[h.Name]; twice {
			t.Errorf("%s appears twice", h.Name)
		}
		got[h.Name] = h.Value
	}
	if len(got["x-appwrite-key"]) < 100 || got["x-appwrite-key"][:10] != "ephemeral_" {
		t.Errorf("key %q", got["x-appwrite-key"])
	}
	delete(got, "x-appwrite-key")
	want := map[string]string{
		"host": "h", "accept": "a, b", "cookie": "c=1; d=2", "x-appwrite-execution-id": "exec", "x-appwrite-trigger": "http",
		"x-appwrite-user-id": "", "x-appwrite-user-jwt": "", "x-appwrite-country-code": "", "x-appwrite-continent-code": "",
		"x-appwrite-continent-eu": "false", "x-appwrite-client-ip": "1.2.3.4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]flint.Header{{Name: "host", Value: "h"}, {Name: "x-appwrite-client-ip", Value: "1.2.3.4"}}, stored); diff != "" {
		t.Error("stored", diff)
	}
}

func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	const plain = "text/plain; charset=utf-8"
	for _, c := range []struct {
		name string
		in   []flint.Header
		want []flint.Header
	}{
		{"none", nil, []flint.Header{{Name: "content-type", Value: plain}}},
		{"kept", []flint.Header{{Name: "Content-Type", Value: "text/plain; charset=iso-8859-1"}}, []flint.Header{{Name: "content-type", Value: "text/plain; charset=iso-8859-1"}}},
		{"upper case", []flint.Header{{Name: "content-type", Value: "TEXT/PLAIN"}}, []flint.Header{{Name: "content-type", Value: plain}}},
		{"JSON", []flint.Header{{Name: "content-type", Value: "application/json"}}, []flint.Header{{Name: "content-type", Value: "application/json; charset=utf-8"}}},
		{"HTML", []flint.Header{{Name: "content-type", Value: "text/html"}}, []flint.Header{{Name: "content-type", Value: "text/html; charset=utf-8"}}},
		{"multipart", []flint.Header{{Name: "content-type", Value: "multipart/form-data; boundary=AbC"}}, []flint.Header{{Name: "content-type", Value: "multipart/form-data; boundary=AbC"}}},
		{"image", []flint.Header{{Name: "content-type", Value: "image/png"}}, []flint.Header{{Name: "content-type", Value: "image/png; charset=utf-8"}}},
		{"internal", []flint.Header{{Name: "X-Open-Runtimes-Secret", Value: "x"}, {Name: "content-type", Value: plain}}, []flint.Header{{Name: "content-type", Value: plain}}},
		{"cookies", []flint.Header{{Name: "Set-Cookie", Value: "a"}, {Name: "set-cookie", Value: "b"}, {Name: "content-type", Value: plain}}, []flint.Header{{Name: "set-cookie", Value: "a"}, {Name: "set-cookie", Value: "b"}, {Name: "content-type", Value: plain}}},
	} {
		got, err := responseHeaders(c.in)
		if err != nil || !cmp.Equal(c.want, got) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	for _, bad := range []flint.Header{{Name: "a b", Value: "x"}, {Name: "a", Value: "x\r\ny: z"}, {Name: "", Value: "x"}} {
		if _, err := responseHeaders([]flint.Header{bad}); err == nil {
			t.Errorf("%q was let through", bad)
		}
	}
	if got := lastOfEach([]flint.Header{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}}); !cmp.Equal(got, []flint.Header{{Name: "a", Value: "3"}, {Name: "b", Value: "2"}}) {
		t.Errorf("lastOfEach = %v", got)
	}
	for status, ok := range map[int]bool{199: false, 200: true, 404: true, 599: true, 600: false, 1000: false, 0: false} {
		if (validStatus(status) == nil) != ok {
			t.Errorf("validStatus(%d) is not %v", status, ok)
		}
	}
}

func TestTargetKeys(t *testing.T) {
	t.Parallel()
	key := func(change func(*worker.Target)) string {
		w := &worker.Target{Project: "p", Function: "f", Deployment: "d", Digest: "x", Entrypoint: "e", Runtime: nil, Env: map[string]string{"A": "1", "B": "2"}}
		w.Runtime = testRuntime
		change(w)
		return targetKey(w)
	}
	same := key(func(*worker.Target) {})
	if key(func(*worker.Target) {}) != same {
		t.Error("equal targets have different keys")
	}
	for name, change := range map[string]func(*worker.Target){
		"variable":   func(w *worker.Target) { w.Env["A"] = "2" },
		"digest":     func(w *worker.Target) { w.Digest = "y" },
		"deployment": func(w *worker.Target) { w.Deployment = "e" },
		"size":       func(w *worker.Target) { w.Size.Memory = 1 },
	} {
		if key(change) == same {
			t.Errorf("another %s gives the same key", name)
		}
	}
}

// BenchmarkRequest is what is made of a call for the worker and for its record.
func BenchmarkRequest(b *testing.B) {
	i := &Invoker{config: Config{Signer: auth.NewSigner([]byte("0123456789abcdef0123456789abcdef")), Domain: "d"}}
	t := &target{function: &flint.Function{Project: "p", ID: "f", Logging: true}}
	call := &Call{
		Project: "p", Function: "f", Trigger: flint.TriggerHTTP, Method: "GET", Path: "/orders/7?expand=items", ClientIP: "203.0.113.7", id: "exec",
		Headers: []flint.Header{{Name: "host", Value: "shop.functions.localhost"}, {Name: "accept", Value: "*/*"}, {Name: "user-agent", Value: "bench"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := i.request(t, call); r.Port != 80 {
			b.Fatal(r)
		}
	}
}
