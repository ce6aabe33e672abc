package invoke

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"flint"
)

// FuzzResponseHeaders gives the answers of functions to a real response: what got through is what HTTP allows.
func FuzzResponseHeaders(f *testing.F) {
	f.Add("Content-Type", "TEXT/html", "content-type", "x")
	f.Add("x-open-runtimes-x", "", "X-A", "a\r\nb: c")
	f.Fuzz(func(t *testing.T, name, value, name2, value2 string) {
		headers, err := responseHeaders([]flint.Header{{Name: name, Value: value}, {Name: name2, Value: value2}})
		if err != nil {
			return
		}
		types := 0
		for _, h := range headers {
			if !httpguts.ValidHeaderFieldName(h.Name) || !httpguts.ValidHeaderFieldValue(h.Value) || h.Name != strings.ToLower(h.Name) || strings.HasPrefix(h.Name, internalPrefix) {
				t.Errorf("%q: %q got through", h.Name, h.Value)
			}
			if http.CanonicalHeaderKey(h.Name) == "Content-Type" {
				types++
			}
		}
		if types != 1 {
			t.Errorf("there are %d content types in %v", types, headers)
		}
		storedHeaders(headers)
		lastOfEach(headers)
	})
}

// FuzzHost reads the hosts of callers.
func FuzzHost(f *testing.F) {
	f.Add("example.com:8080", "http")
	f.Add("[::1]:443", "https")
	f.Add("a:b:c", "")
	f.Fuzz(func(t *testing.T, host, scheme string) {
		name, port := splitHost(host, scheme)
		if port < 0 || port > 65535 || len(name) > len(host) {
			t.Errorf("splitHost(%q) = %q, %d", host, name, port)
		}
	})
}
