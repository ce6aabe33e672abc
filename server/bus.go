package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/bus"
	"flint/config"
	"flint/invoke"
	"flint/proxy"
	"flint/schedule"
	"flint/store"
)

// The bells of a node.
const (
	callBell  = "calls"
	buildBell = "builds"
)

// BusDir is where the embedded bus keeps its streams. It can be thrown away while no node runs.
func BusDir(c config.Config) string { return filepath.Join(c.Data, "bus") }

func openBus(ctx context.Context, c config.Config, logger *slog.Logger, registry prometheus.Registerer) (*bus.Bus, error) {
	return bus.Open(ctx, bus.Config{URL: string(c.NATS), Dir: BusDir(c), Alone: true, Logger: logger, Registry: registry})
}

// growth tells of builds whose log grows.
func growth(b *bus.Bus) func(*flint.Deployment) {
	return func(d *flint.Deployment) {
		b.PublishLive(&flint.Event{
			Project: d.Project, Pattern: "functions.[functionId].deployments.[deploymentId].update", IDs: []string{string(d.Function), string(d.ID)},
		})
	}
}

// changes tells those who keep things in memory, here and on other nodes, what is no longer true.
type changes struct {
	auth    *auth.Authenticator
	invoker *invoke.Invoker
	front   *proxy.Proxy
	bus     *bus.Bus

	scheduler *schedule.Scheduler
}

// connect begins to pass changes on.
func (c *changes) connect(a *auth.Authenticator, i *invoke.Invoker, p *proxy.Proxy, s *schedule.Scheduler, b *bus.Bus, logger *slog.Logger) {
	c.auth, c.invoker, c.front, c.scheduler, c.bus = a, i, p, s, b
	b.OnChange(func(text []byte) {
		if text == nil {
			c.forgetAll()
			return
		}
		var change store.Change
		if err := json.Unmarshal(text, &change); err != nil {
			logger.Warn("change not understood", slog.String("err", err.Error()))
			return
		}
		change.Visible = true // nobody here can wait for it
		c.apply(change)
	})
}

// announce says that a function of this node changes at any moment.
func (c *changes) announce(project flint.ProjectID, function flint.FunctionID) (over func()) {
	if c.invoker == nil {
		return func() {}
	}
	return c.invoker.Changing(project, function)
}

// publish passes a change of this node on.
func (c *changes) publish(change store.Change) {
	if c.auth == nil {
		return
	}
	if text, err := json.Marshal(change); err == nil { // it is texts and a bool
		c.bus.PublishChange(text)
	}
	c.apply(change)
}

func (c *changes) apply(change store.Change) {
	switch change.Kind {
	case "project":
		c.auth.ForgetProject(change.Project)
		c.invoker.Changed(change.Project, "", change.Visible)
		c.front.Forget("")
	case "key":
		c.auth.Forget(change.KeyHash)
	case "function":
		c.scheduler.Ring() // first: the other one may wait for workers
		c.invoker.Ring()   // more calls of it may run at once than before
		c.invoker.Changed(change.Project, change.Function, change.Visible)
	case "rule":
		c.front.Forget(change.Domain)
	}
}

// forgetAll is for when changes of other nodes may have been missed.
func (c *changes) forgetAll() {
	c.auth.ForgetAll()
	c.invoker.ForgetAll()
	c.front.Forget("")
}

// withRealtime has the one path that is no request and answer served by its own handler.
func withRealtime(hub http.Handler, rest *api.API) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.TrimSuffix(r.URL.Path, "/") == "/v1/realtime" && !rest.WantsHTTPS(r) {
			hub.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}
