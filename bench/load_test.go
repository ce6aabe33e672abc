package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) endpoint {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return endpoint{Addr: s.Listener.Addr().String(), Host: "bench.example", Body: []byte("yes"), PID: os.Getpid()}
}

func nothing() {}

func TestLoad(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "bench.example" {
			t.Errorf("Host = %q", r.Host)
		}
		calls.Add(1)
		_, _ = w.Write([]byte("yes"))
	})
	edges := 0
	s, err := load(t.Context(), e, 4, 200*time.Millisecond, func() { edges++ }, func() { edges++ })
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(len(s.latencies)); n == 0 || n > calls.Load() {
		t.Errorf("%d calls measured of %d made", n, calls.Load())
	}
	if edges != 2 {
		t.Errorf("%d edges of the measured time, want 2", edges)
	}
	if first, last := s.latencies[0], s.latencies[len(s.latencies)-1]; first <= 0 || first > last {
		t.Errorf("latencies from %v to %v", first, last)
	}
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) http.HandlerFunc {
		var calls atomic.Int64
		return func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) > 20 {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
				return
			}
			_, _ = w.Write([]byte("yes"))
		}
	}
	tests := []struct {
		name, want string
		handler    http.HandlerFunc
	}{
		{"when one answer has another status", "status 503", answer(503, "yes")},
		{"when one answer has another body", `"no"`, answer(200, "no")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t.Context(), serve(t, tt.handler), 3, time.Minute, nothing, nothing)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("load() = %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("when it is told to stop", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		var calls atomic.Int64
		e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 5 {
				cancel()
			}
			_, _ = w.Write([]byte("yes"))
		})
		if _, err := load(ctx, e, 2, time.Minute, nothing, nothing); !errors.Is(err, context.Canceled) {
			t.Errorf("load() = %v, want %v", err, context.Canceled)
		}
	})
}

func TestServeBareAnswersWhatFunctionsAnswer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	addr, err := freePort(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serveBare(ctx, addr) }()
	var body []byte
	for err = errors.New("not asked"); err != nil; { // until it listens
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		default:
			body, err = once(ctx, endpoint{Addr: addr, Host: addr}, "/")
		}
	}
	if string(body) != expectedBody {
		t.Errorf("it answers %q, want %q", body, expectedBody)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
