package health_test

import (
	"context"
	"errors"
	"testing"

	"flint/api/apitest"
	"flint/api/health"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	var fault error
	a := b.Serve(health.New(health.Config{Check: func(context.Context) error { return fault }}).Routes())
	apitest.Run(t, a, []apitest.Scenario{
		{As: apitest.NoScope, Method: "GET", Path: "/v1/health", Status: 200, Want: `{"name":"http","ping":"*","status":"pass"}`},
		{As: apitest.Guest, Method: "GET", Path: "/v1/health", Status: 401, Type: "general_unauthorized_scope"},
		{Name: "version", Method: "GET", Path: "/v1/health/version", Status: 200, Want: `{"version":"1.9.6"}`},
		{Name: "version for the command line", As: apitest.Actor{"X-Appwrite-Project": "console"}, Method: "GET", Path: "/v1/health/version", Status: 200},
		{Name: "version for anyone", As: apitest.Actor{"X-Appwrite-Project": "nope", "X-Appwrite-Key": "x"}, Method: "GET", Path: "/v1/health/version", Status: 200},
	})
	fault = errors.New("no disk")
	apitest.Run(t, a, []apitest.Scenario{{Name: "a fault", As: apitest.NoScope, Method: "GET", Path: "/v1/health", Status: 200, Want: `{"status":"fail"}`}})
}
