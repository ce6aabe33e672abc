package server

import (
	"net/http"
	"net/url"
	"testing"
)

func TestCreatesExecution(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path string
		length       int64
		want         bool
	}{
		{"POST", "/v1/functions/f/executions", 0, true},
		{"POST", "/v1/functions/f/executions", shortBody, true},
		{"POST", "/v1/functions/f/executions", shortBody + 1, false},
		{"GET", "/v1/functions/f/executions", 0, false},
		{"POST", "/v1/functions/f/deployments", 100, false},
		{"POST", "/v1/functions", 100, false},
		{"POST", "/v1/flint/functions/f/executions", 100, false},
		{"POST", "/functions/f/executions", 100, false},
	} {
		r := &http.Request{Method: c.method, URL: &url.URL{Path: c.path}, ContentLength: c.length}
		if got := createsExecution(r); got != c.want {
			t.Errorf("%s %s with %d bytes: %v, want %v", c.method, c.path, c.length, got, c.want)
		}
	}
}
