package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/term"

	"flint/config"
	"flint/internal/http1"
	"flint/internal/runner"
	"flint/internal/sysio"
	"flint/proxy"
)

// webServer is what serveHTTP needs of a server.
type webServer interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
	Close() error
}

func newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 15 * time.Second, ReadTimeout: 15 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what strangers send is not the operator's to read
	}
}

// newFront makes the server of functions and API: calls of functions take the short way, also those over the API.
func newFront(front *proxy.Proxy, logger *slog.Logger) *http1.Server {
	takes := func(r *http.Request) bool { return front.Takes(r) || createsExecution(r) }
	return http1.New(http1.Config{
		Wrap:    sysio.Wrap,
		Handler: front, Takes: takes, Rest: newHTTP(front), Logger: logger,
		HeadTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute, BodyTimeout: time.Minute, SendTimeout: 5 * time.Minute,
	})
}

// shortBody is the longest body of a request to the API that takes the short way, where a body has less time.
const shortBody = 1 << 20

// createsExecution reports whether a request is the one by which the API runs functions.
func createsExecution(r *http.Request) bool {
	return r.Method == http.MethodPost && r.ContentLength <= shortBody && strings.HasPrefix(r.URL.Path, "/v1/functions/") && strings.HasSuffix(r.URL.Path, "/executions")
}

// serveHTTP serves until it is told to stop, then waits for the requests that run.
func serveHTTP(l net.Listener, s webServer, grace time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		failed := make(chan error, 1)
		go func() { failed <- s.Serve(l) }() // ends with Shutdown or Close
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
		}
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := s.Shutdown(stop)
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.Join(fmt.Errorf("requests still ran %s after the node was told to stop", grace), s.Close())
		}
		if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
}

func serveMetrics(ctx context.Context, addr string, registry *prometheus.Registry) (runner.Service, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return runner.Service{}, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	return runner.Service{Name: "metrics", Run: serveHTTP(l, newHTTP(mux), 5*time.Second)}, nil
}

// NewLogger makes the logger that the settings describe, writing to w.
func NewLogger(c config.Config, w io.Writer) (*slog.Logger, error) {
	level, err := logLevel(c.LogLevel)
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	f, isFile := w.(*os.File)
	if c.LogFormat == "json" || c.LogFormat == "auto" && !(isFile && term.IsTerminal(int(f.Fd()))) {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}
