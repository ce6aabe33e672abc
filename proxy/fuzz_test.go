package proxy

import (
	"strings"
	"testing"

	"flint"
)

// FuzzPlace reads the hosts and targets of callers.
func FuzzPlace(f *testing.F) {
	f.Add("A.Functions.Localhost.:8080", "/fn/p/f/x?y=z")
	f.Add("[::1]:80", "/fn/p/f?/")
	f.Fuzz(func(t *testing.T, host, uri string) {
		if name := hostname(host); name != strings.ToLower(name) || len(name) > len(strings.ToLower(host)) {
			t.Errorf("hostname(%q) = %q", host, name)
		}
		at, ok := parsePath(uri)
		if !ok {
			return
		}
		if !flint.ValidID(string(at.project)) || !flint.ValidID(string(at.function)) || !strings.HasPrefix(at.target, "/") {
			t.Errorf("parsePath(%q) = %+v", uri, at)
		}
		if whole := at.prefix + at.target; strings.HasPrefix(uri, pathPrefix) && whole != uri && strings.Replace(whole, "/?", "?", 1) != uri && strings.TrimSuffix(whole, "/") != uri {
			t.Errorf("parsePath(%q) = %+v, which is %q", uri, at, whole)
		}
	})
}
