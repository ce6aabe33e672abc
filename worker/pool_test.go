package worker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"flint"
	"flint/runtimes"
	"flint/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestACallIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t, 3, nil)
	target := b.target("d", nil)
	for i := range 3 {
		resp, body, err := b.get(t.Context(), target, "/", []byte("x"))
		if err != nil || resp.Status != 201 || body != "echo x" {
			t.Fatalf("got %v, %q, %v", resp, body, err)
		}
		if out := resp.Output(); out.Logs != "hello\n" || out.Errors != "oh\n" {
			t.Errorf("output %+v", out)
		}
		if resp.Output().Receipt.Cold() != (i == 0) {
			t.Errorf("call %d: cold = %v", i, resp.Output().Receipt.Cold())
		}
	}
}

func TestWhatACallLogsIsPassedOnWhileItRuns(t *testing.T) {
	t.Parallel()
	type line struct {
		execution flint.ExecutionID
		isError   bool
		text      string
	}
	logged := make(chan line, 10)
	b := setup(t, 3, func(c *worker.Config) {
		c.Logged = func(e *flint.Execution, isError bool, text []byte) { logged <- line{e.ID, isError, string(text)} }
	})
	target := b.target("d", nil)
	for _, logging := range []bool{true, false} {
		resp, _, err := b.pool.Do(t.Context(), target, &worker.Request{
			Method: "GET", Scheme: "http", Path: "/", Logging: logging, Execution: &flint.Execution{ID: "e"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := resp.Next(t.Context()); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		resp.Close()
	}
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil { // nobody knows whose logs these are
		t.Fatal(err)
	}
	want := []line{{"e", false, "hello\n"}, {"e", true, "oh\n"}}
	for _, w := range want {
		if got := <-logged; got != w {
			t.Errorf("logged %+v, want %+v", got, w)
		}
	}
	if len(logged) > 0 {
		t.Errorf("also logged %+v", <-logged)
	}
}

func TestManyCallsShareAWorker(t *testing.T) {
	t.Parallel()
	b := setup(t, 50, nil)
	target := b.target("d", nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	workers := map[string]int{}
	for range 50 {
		wg.Go(func() {
			resp, _, err := b.get(t.Context(), target, "/wait", nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			workers[resp.Headers[0].Value]++
			mu.Unlock()
		})
	}
	b.adapter.letGo()
	wg.Wait()
	if len(workers) != 1 || b.adapter.loads.Load() != 1 {
		t.Errorf("%d workers served, %d were loaded; want 1", len(workers), b.adapter.loads.Load())
	}
}

func TestSerialWorkersAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxSerial = 3 })
	target := b.target("d", nil)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, _, err := b.get(t.Context(), target, "/wait", nil); err != nil {
				t.Error(err)
			}
		})
	}
	b.adapter.letGo()
	wg.Wait()
	if n := b.adapter.loads.Load(); n < 1 || n > 3 {
		t.Errorf("%d workers, want at most 3", n)
	}
}

func TestBodiesLargerThanTheWindow(t *testing.T) {
	t.Parallel()
	b := setup(t, 3, nil)
	target := b.target("d", nil)
	large := bytes.Repeat([]byte("y"), 5<<20+17)
	if _, body, err := b.get(t.Context(), target, "/length", large); err != nil || body != "5242897" {
		t.Errorf("in memory: %q, %v", body, err)
	}
	resp, _, err := b.pool.Do(t.Context(), target, &worker.Request{Method: "POST", Path: "/length", Body: large[:100], More: bytes.NewReader(large[100:])})
	if err != nil {
		t.Fatal(err)
	}
	if piece, err := resp.Next(t.Context()); err != nil || string(piece) != "5242897" {
		t.Errorf("streamed: %q, %v", piece, err)
	}
	if _, body, err := b.get(t.Context(), target, "/large?5242897", nil); err != nil || len(body) != 5242897 {
		t.Errorf("response of %d bytes, %v", len(body), err)
	}
}

func TestACallerThatCannotBeReadEndsItsCallOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, 3, nil)
	target := b.target("d", nil)
	broken := io.MultiReader(strings.NewReader("abc"), errReader{})
	_, _, err := b.pool.Do(t.Context(), target, &worker.Request{Method: "POST", Path: "/length", More: broken})
	if _, ok := errors.AsType[*worker.BodyError](err); !ok {
		t.Errorf("got %v, want a BodyError", err)
	}
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil || b.adapter.loads.Load() != 1 {
		t.Errorf("next call: %v, %d loads", err, b.adapter.loads.Load())
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestDeadlines(t *testing.T) {
	t.Parallel()
	late := errors.New("too late")
	b := setup(t, 10, nil)
	target := b.target("d", nil)
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
		t.Fatal(err)
	}
	t.Run("a worker that lets go of the call lives on", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
		defer cancel()
		_, out, err := b.pool.Do(ctx, target, &worker.Request{Path: "/never", Logging: true})
		if !errors.Is(err, late) || out.Logs != "begun\n" {
			t.Errorf("got %v, %+v", err, out)
		}
		if _, _, err := b.get(t.Context(), target, "/", nil); err != nil || b.adapter.loads.Load() != 1 {
			t.Errorf("next call: %v, %d loads", err, b.adapter.loads.Load())
		}
	})
	t.Run("one in which the work goes on is replaced", func(t *testing.T) {
		loads := b.adapter.loads.Load()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
		defer cancel()
		if _, _, err := b.get(ctx, target, "/goes-on", nil); !errors.Is(err, late) {
			t.Errorf("got %v", err)
		}
		if _, _, err := b.get(t.Context(), target, "/", nil); err != nil || b.adapter.loads.Load() != loads+1 {
			t.Errorf("next call: %v, %d loads, want %d", err, b.adapter.loads.Load(), loads+1)
		}
		waitFor(t, "the old worker to go", func() bool { return liveLoaded(b) == 1 })
	})
	t.Run("one that does not is killed, and its neighbours hear why", func(t *testing.T) {
		neighbour := make(chan error, 1)
		go func() {
			_, _, err := b.get(t.Context(), target, "/wait", nil)
			neighbour <- err
		}()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, late)
		defer cancel()
		if _, _, err := b.get(ctx, target, "/deaf", nil); !errors.Is(err, late) {
			t.Errorf("got %v", err)
		}
		var ended *worker.EndedError
		if err := <-neighbour; !errors.As(err, &ended) || !strings.Contains(err.Error(), "did not stop within 200ms of its deadline") {
			t.Errorf("neighbour: %v", err)
		}
		if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
			t.Errorf("next call: %v", err)
		}
	})
}

func TestCrashesNameTheirCause(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, nil)
	target := b.target("d", nil)
	for path, want := range map[string]string{
		"/crash": "signal SIGSEGV (segmentation fault)\nIts last output:\nstack trace", "/oom": "out of memory",
		"/garbage": "it broke the worker protocol",
	} {
		_, out, err := b.pool.Do(t.Context(), target, &worker.Request{Path: path, Logging: true})
		var ended *worker.EndedError
		if !errors.As(err, &ended) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if path == "/crash" && out.Errors != "last words\n" {
			t.Errorf("%s: output %+v", path, out)
		}
		if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
			t.Errorf("after %s: %v", path, err)
		}
	}
}

func TestAFailedStartIsToldToAllWhoWait(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, nil)
	b.adapter.failLoad.Store(true)
	target := b.target("d", nil)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			_, _, err := b.get(t.Context(), target, "/", nil)
			var start *worker.StartError
			if !errors.As(err, &start) || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "no luck today") {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	b.adapter.failLoad.Store(false)
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
		t.Errorf("next call: %v", err)
	}
	missing := b.target("e", nil)
	missing.Digest = strings.Repeat("0", 64)
	var start *worker.StartError
	if _, _, err := b.get(t.Context(), missing, "/", nil); !errors.As(err, &start) {
		t.Errorf("missing package: %v", err)
	}
}

func TestAFullQueueIsSaid(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxSerial, c.QueueLength, c.QueueTimeout = 1, 2, 50*time.Millisecond })
	target := b.target("d", nil)
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 8)
	for range 8 {
		go func() {
			_, _, err := b.get(t.Context(), target, "/wait", nil)
			results <- err
		}()
	}
	for range 7 { // one has the worker; five are refused at once, two when their time in the queue is over
		if err := <-results; !errors.Is(err, flint.ErrFunctionBusy) {
			t.Errorf("got %v, want ErrFunctionBusy", err)
		}
	}
	b.adapter.letGo()
	if err := <-results; err != nil {
		t.Error(err)
	}
}

func TestAnOverloadIsKnownBeforeTheCallIsMade(t *testing.T) {
	t.Parallel()
	const waiting = 20
	b := setup(t, 1, func(c *worker.Config) {
		c.MaxSerial, c.QueueLength, c.QueueTimeout, c.PlaceTimeout = 1, waiting, time.Minute, time.Minute
	})
	target := b.target("d", nil)
	if err := b.pool.Overloaded(target); err != nil {
		t.Errorf("a target that nobody has called: %v", err)
	}
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.pool.Overloaded(target); err != nil {
		t.Errorf("a target whose worker is idle: %v", err)
	}
	results := make(chan error, waiting+1)
	for range waiting + 1 {
		go func() {
			_, _, err := b.get(t.Context(), target, "/wait", nil)
			results <- err
		}()
	}
	waitFor(t, "the queue to fill", func() bool { return b.pool.InFlight() == 1 && b.pool.Waiting() == waiting })
	if err := b.pool.Overloaded(target); !errors.Is(err, flint.ErrFunctionBusy) {
		t.Errorf("a target whose queue is full: got %v, want ErrFunctionBusy", err)
	}
	b.adapter.letGo()
	for range waiting + 1 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := b.pool.Overloaded(target); err != nil {
		t.Errorf("a target whose queue is empty again: %v", err)
	}
}

func TestANewTargetReplacesTheOld(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, func(c *worker.Config) { c.Linger = time.Nanosecond })
	first, second := b.target("one", map[string]string{"V": "1"}), b.target("two", map[string]string{"V": "2"})
	if _, body, err := b.get(t.Context(), first, "/env?V", nil); err != nil || body != "1" {
		t.Fatalf("%q, %v", body, err)
	}
	old := make(chan error, 1)
	go func() {
		_, _, err := b.get(t.Context(), first, "/wait", nil)
		old <- err
	}()
	if _, body, err := b.get(t.Context(), second, "/env?V", nil); err != nil || body != "2" {
		t.Errorf("%q, %v", body, err)
	}
	b.adapter.letGo()
	if err := <-old; err != nil {
		t.Errorf("a call on the old target: %v", err)
	}
	waitFor(t, "the old worker to go", func() bool { return liveLoaded(b) == 1 })
	if _, body, err := b.get(t.Context(), b.target("one", map[string]string{"V": "1"}), "/env?V", nil); err != nil || body != "1" {
		t.Errorf("rolled back: %q, %v", body, err)
	}
}

// liveLoaded is how many sandboxes live beside the stems that wait.
func liveLoaded(b *bundle) int { return b.driver.Live() - b.pool.Stems() }

func TestIdleWorkersGo(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, func(c *worker.Config) { c.KeepAlive = 10 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.pool.Run(ctx) }()
	if _, _, err := b.get(t.Context(), b.target("d", nil), "/", nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the idle worker to go", func() bool { return liveLoaded(b) == 0 })
	if _, _, err := b.get(t.Context(), b.target("d", nil), "/", nil); err != nil {
		t.Errorf("after it went: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDedicatedSandboxes(t *testing.T) {
	t.Parallel()
	for name, noBind := range map[string]bool{"the host cannot bind": true, "a variable is needed at start": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 10, nil)
			b.driver.NoBind = noBind
			target := b.target("d", map[string]string{"EARLY_BIRD": "1"})
			if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
				t.Fatal(err)
			}
			found := false
			for _, spec := range b.driver.Started() {
				for _, m := range spec.Mounts {
					if m.Target == runtimes.CodeDir {
						found = true
						if !strings.Contains(strings.Join(spec.Env, " "), "EARLY_BIRD=1") {
							t.Errorf("environment %v", spec.Env)
						}
					}
				}
			}
			if !found {
				t.Error("no sandbox has the package from its start")
			}
		})
	}
}

func TestADeletedFunctionEndsItsCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, nil)
	target := b.target("d", nil)
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
		t.Fatal(err)
	}
	running := make(chan error, 1)
	go func() {
		_, _, err := b.get(t.Context(), target, "/wait", nil)
		running <- err
	}()
	waitFor(t, "the call to run", func() bool { return b.pool.InFlight() == 1 })
	b.pool.Forget("p", "f", "the function was deleted")
	if err := <-running; err == nil || !strings.Contains(err.Error(), "the function was deleted") {
		t.Errorf("got %v", err)
	}
}

func TestTheNodeIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, func(c *worker.Config) { c.MaxWorkers = 2 })
	for i := range 6 { // each needs the place of an idle one
		target := b.target(string(rune('a'+i)), nil)
		target.Function = flint.FunctionID(rune('a' + i))
		if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
			t.Fatalf("function %d: %v", i, err)
		}
		if n := liveLoaded(b); n > 3 { // the one that goes may still be going
			t.Errorf("%d workers live", n)
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		<-tick.C
	}
}
