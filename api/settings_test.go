package api_test

import (
	"context"
	"testing"

	"flint/api"
	"flint/api/apitest"
	"flint/auth"
	"flint/wire"
)

func TestSecure(t *testing.T) {
	t.Parallel()
	_, a := frame(t, func(c *api.Config) { c.Secure, c.PlainHost = true, "inside" })
	by := func(proto string) apitest.Actor { return apitest.Actor{"X-Forwarded-Proto": proto} }
	for _, c := range []struct {
		method, host, proto string
		status              int
		location            string
	}{
		{"GET", "api.test", "http", 301, "https://api.test/v1/echo/x?text=a"},
		{"HEAD", "api.test:81", "", 301, "https://api.test:81/v1/echo/x?text=a"},
		{"POST", "api.test", "http", 500, ""},
		{"GET", "api.test", "https", 200, ""},
		{"OPTIONS", "api.test", "http", 204, ""},
		{"GET", "localhost:8080", "", 200, ""},
		{"GET", "127.0.0.1:8080", "", 200, ""},
		{"GET", "[::1]:8080", "", 200, ""},
		{"GET", "inside:8080", "", 200, ""},
	} {
		w := apitest.Send(t, a, by(c.proto), c.method, "http://"+c.host+"/v1/echo/x?text=a", "", nil)
		if w.Code != c.status || w.Header().Get("Location") != c.location {
			t.Errorf("%s %s %s: %d to %q, want %d to %q", c.method, c.host, c.proto, w.Code, w.Header().Get("Location"), c.status, c.location)
		}
		if hsts := w.Header().Get("Strict-Transport-Security") != ""; hsts != (c.proto == "https") {
			t.Errorf("%s %s %s: Strict-Transport-Security is there: %v", c.method, c.host, c.proto, hsts)
		}
	}
	apitest.Run(t, a, []apitest.Scenario{
		{Name: "why not", As: by("http"), Method: "DELETE", Path: "http://api.test/v1/nothing", Status: 500, Type: "general_protocol_unsupported", Message: "This is reached by https only."},
		{Name: "unknown paths too", As: by("http"), Method: "GET", Path: "http://api.test/v1/nope", Status: 301},
	})
}

func TestDevelopment(t *testing.T) {
	t.Parallel()
	_, a := frame(t, func(c *api.Config) { c.Development = true })
	apitest.Run(t, a, []apitest.Scenario{
		{Name: "an error of no kind", Method: "GET", Path: "/v1/leak", Status: 500, Type: "general_unknown", Message: "secret", Want: `{"trace":["secret"]}`},
		{Name: "with a cause", Method: "GET", Path: "/v1/cause", Status: 500, Type: "own_type", Message: "own_type: secret: EOF", Want: `{"trace":["own_type: secret: EOF","EOF"]}`},
		{Name: "a client's mistake", Method: "GET", Path: "/v1/nope", Status: 404, Type: "general_route_not_found"},
	})
}

func TestFormatOfThoseWhoDoNotSay(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	type in struct{ api.Request }
	var seen wire.Format
	a := api.New(api.Config{Auth: b.Auth, Logger: b.Logger, Format: wire.ParseFormat("1.8.0")}, []api.Route{{
		Method: "GET", Path: "/v1/x", Name: "x", Scopes: []string{"functions.read"}, Callers: auth.Servers,
		Handler: api.Handle(204, func(_ context.Context, in *in) (api.NoContent, error) {
			seen = in.Format
			return api.NoContent{}, nil
		}),
	}})
	for said, want := range map[string]string{"": "1.8.0", "1.9.5": "1.9.5", "nonsense": "1.8.0"} {
		apitest.Run(t, a, []apitest.Scenario{{Name: "says " + said, As: apitest.Key.With(wire.FormatHeader, said), Method: "GET", Path: "/v1/x", Status: 204}})
		if seen != wire.ParseFormat(want) {
			t.Errorf("%q: %v, want %s", said, seen, want)
		}
	}
}
