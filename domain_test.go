package flint_test

import (
	"testing"

	"flint"
)

func TestOrigins(t *testing.T) {
	t.Parallel()
	c := flint.CORS{Origins: []string{"https://app.example.com", "http://*.dev.example.com:8080"}}
	for origin, want := range map[string]bool{
		"https://app.example.com": true, "HTTPS://App.Example.com": true, "http://app.example.com": false, "https://app.example.com:8443": false,
		"http://a.dev.example.com:8080": true, "http://a.b.dev.example.com:8080": true, "http://dev.example.com:8080": false,
		"http://evildev.example.com:8080": false, "null": false, "": false,
	} {
		if got := c.Allows(origin); got != want {
			t.Errorf("%q is allowed: %v", origin, got)
		}
	}
	for s, want := range map[string]bool{
		"*": true, "https://x.y": true, "https://*.x.y:1": true, "https://x.y/": false, "x.y": false, "https://*": false, "ftp://x": false, "https://a*b.c": false, "https://u@x.y": false,
	} {
		if got := flint.ValidOrigin(s); got != want {
			t.Errorf("%q is valid: %v", s, got)
		}
	}
}

func TestValidDomain(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"example.com": true, "A-1.b.co": true, "localhost": false, "1.2.3.4": false, "a..b": false, "-a.b": false, "a-.b": false, "https://a.b": false,
		"a.b/c": false, "a.b:80": false, "": false, ".": false, "a.b.": false, "a_b.c": false, "[::1]": false, "*.a.b": false,
	} {
		if got := flint.ValidDomain(s); got != want {
			t.Errorf("%q is valid: %v", s, got)
		}
	}
}
