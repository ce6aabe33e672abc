// Package health is the REST service that says whether the server is up and which version it speaks.
package health

import (
	"context"
	"net/http"
	"time"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/wire"
)

// checkTime bounds a check: a part that hangs is not healthy.
const checkTime = 5 * time.Second

// Config is what the service needs.
type Config struct {
	Check func(context.Context) error // whether the node can work; nil: it can
}

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Check == nil {
		c.Check = func(context.Context) error { return nil }
	}
	return &Service{config: c}
}

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	return []api.Route{
		{Method: http.MethodGet, Path: "/v1/health", Name: "health.get", Summary: "Get health", Scopes: []string{"health.read"}, Callers: auth.Servers, Handler: api.Handle(http.StatusOK, s.get)},
		{Method: http.MethodGet, Path: "/v1/health/version", Name: "health.getVersion", Summary: "Get version", Scopes: []string{auth.Public}, Callers: auth.Unidentified, Handler: api.Handle(http.StatusOK, version)},
	}
}

func (s *Service) get(ctx context.Context, _ *struct{}) (*wire.HealthStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	start := time.Now()
	m := &wire.HealthStatus{Name: "http", Status: "pass"}
	if s.config.Check(ctx) != nil {
		m.Status = "fail"
	}
	m.Ping = int(time.Since(start).Milliseconds())
	return m, nil
}

func version(context.Context, *struct{}) (*wire.HealthVersion, error) {
	return &wire.HealthVersion{Version: flint.ReferenceVersion}, nil
}
