package worker_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"flint"
	"flint/worker"
)

// of returns a target of another function.
func (b *bundle) of(project, function string, s flint.Scaling) *worker.Target {
	t := b.target(function, nil)
	t.Project, t.Function, t.Scaling = flint.ProjectID(project), flint.FunctionID(function), s
	return t
}

// run runs the pool until the test ends.
func run(t *testing.T, b *bundle) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// keep makes n calls that wait, and returns what tells how they ended.
func keep(t *testing.T, b *bundle, target *worker.Target, n int) chan error {
	t.Helper()
	results := make(chan error, n)
	for range n {
		go func() {
			_, _, err := b.get(t.Context(), target, "/wait", nil)
			results <- err
		}()
	}
	return results
}

func TestWarmWorkersAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, func(c *worker.Config) { c.KeepAlive = time.Millisecond })
	run(t, b)
	b.pool.Adopt(b.of("p", "f", flint.Scaling{MinWarm: 2}))
	waitFor(t, "two warm workers", func() bool {
		_, ready := b.pool.Known("p", "f") // one of them is
		return ready && liveLoaded(b) == 2 && b.adapter.loads.Load() == 2
	})
	target := b.of("p", "f", flint.Scaling{MinWarm: 2})
	resp, _, err := b.get(t.Context(), target, "/", nil)
	if err != nil || resp.Output().Receipt.Cold() {
		t.Errorf("the first call: %v, cold %v", err, resp.Output().Receipt.Cold())
	}
	if _, _, err := b.get(t.Context(), target, "/crash", nil); err == nil {
		t.Error("a crash went unnoticed")
	}
	waitFor(t, "another worker in place of the one that crashed", func() bool { return b.adapter.loads.Load() == 3 && liveLoaded(b) == 2 })
	b.pool.Adopt(b.of("p", "f", flint.Scaling{}))
	waitFor(t, "the workers to go when none need be warm", func() bool { return liveLoaded(b) == 0 })
}

func TestFewerWorkersAreAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxSerial = 3 })
	target := b.of("p", "f", flint.Scaling{})
	results := keep(t, b, target, 5)
	waitFor(t, "three calls to run", func() bool { return b.pool.InFlight() == 3 })
	b.pool.Adopt(b.of("p", "f", flint.Scaling{MaxWorkers: 1}))
	b.adapter.letGo()
	for range 5 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	waitFor(t, "one worker to be left", func() bool { return liveLoaded(b) == 1 })
}

func TestMoreWorkersThanTheNodeGives(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, func(c *worker.Config) { c.MaxParallel, c.MaxSerial = 1, 1 })
	keep(t, b, b.of("p", "f", flint.Scaling{MaxWorkers: 3, CallsPerWorker: 2}), 9)
	waitFor(t, "six calls to run in three workers", func() bool { return b.pool.InFlight() == 6 && liveLoaded(b) == 3 })
	b.adapter.letGo()
}

func TestCallsOfFunctionsFindRoom(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxSerial, c.PlaceTimeout = 2, time.Minute })
	target := b.of("p", "f", flint.Scaling{})
	outer := keep(t, b, target, 8)
	waitFor(t, "all workers to be busy", func() bool { return b.pool.InFlight() == 2 })
	for depth := 1; depth <= 3; depth++ {
		resp, _, err := b.pool.Do(t.Context(), target, &worker.Request{Path: "/", Depth: depth})
		if err != nil {
			t.Fatalf("a call at depth %d: %v", depth, err)
		}
		for err == nil {
			_, err = resp.Next(t.Context())
		}
	}
	b.adapter.letGo()
	for range 8 {
		if err := <-outer; err != nil {
			t.Error(err)
		}
	}
}

func TestPlacesAreShared(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxWorkers, c.MaxSerial = 2, 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var greedy sync.WaitGroup
	for range 6 { // always more calls than places
		greedy.Go(func() {
			target := b.of("p", "greedy", flint.Scaling{})
			for ctx.Err() == nil {
				if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
					t.Errorf("the greedy one: %v", err)
					return
				}
			}
		})
	}
	waitFor(t, "all places to be taken", func() bool { return b.adapter.loads.Load() >= 2 })
	for _, f := range []string{"modest", "shy"} { // the second takes from the first, in whose place it may be
		if _, _, err := b.get(t.Context(), b.of("q", f, flint.Scaling{}), "/", nil); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	cancel()
	greedy.Wait()
}

func TestAFullNodeIsSaidSoon(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxWorkers, c.MaxSerial, c.PlaceTimeout = 2, 2, 20*time.Millisecond })
	busy := keep(t, b, b.of("p", "f", flint.Scaling{}), 2)
	waitFor(t, "all places to be taken", func() bool { return b.pool.InFlight() == 2 })
	if _, _, err := b.get(t.Context(), b.of("q", "g", flint.Scaling{}), "/", nil); !errors.Is(err, flint.ErrTooBusy) {
		t.Errorf("got %v, want ErrTooBusy", err)
	}
	b.adapter.letGo()
	for range 2 {
		if err := <-busy; err != nil {
			t.Error(err)
		}
	}
}

func TestIdleWorkersGiveTheirMemory(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(100)
	b := setup(t, 1, func(c *worker.Config) { c.Free, c.Least, c.MaxWorkers = free.Load, 10, 20 })
	run(t, b)
	kept := b.of("p", "kept", flint.Scaling{MinWarm: 1})
	for _, target := range []*worker.Target{kept, b.of("p", "f", flint.Scaling{}), b.of("q", "g", flint.Scaling{})} {
		if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
			t.Fatal(err)
		}
	}
	busy := keep(t, b, b.of("q", "busy", flint.Scaling{}), 1)
	waitFor(t, "all to have a worker", func() bool { return liveLoaded(b) == 4 && b.pool.InFlight() == 1 })
	free.Store(9)
	waitFor(t, "the idle ones to go", func() bool { return liveLoaded(b) == 2 })
	loads := b.adapter.loads.Load()
	if _, _, err := b.get(t.Context(), kept, "/", nil); err != nil || b.adapter.loads.Load() != loads {
		t.Errorf("the worker that is to be kept has gone, or: %v", err)
	}
	b.adapter.letGo()
	if err := <-busy; err != nil {
		t.Error(err)
	}
}

func TestTheLongestQueueGivesWay(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxSerial, c.QueueTotal = 1, 4 })
	target := b.of("p", "long", flint.Scaling{})
	if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
		t.Fatal(err)
	}
	long := keep(t, b, target, 5)
	waitFor(t, "the queue of one to fill", func() bool { return b.pool.InFlight() == 1 && b.pool.Waiting() == 4 })
	other := b.of("p", "other", flint.Scaling{})
	short := keep(t, b, other, 1)
	waitFor(t, "the other to run", func() bool { return b.pool.InFlight() == 2 })
	select {
	case err := <-long:
		if !errors.Is(err, flint.ErrTooBusy) {
			t.Errorf("got %v, want ErrTooBusy", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody gave way")
	}
	b.adapter.letGo()
	for range 4 {
		if err := <-long; err != nil {
			t.Error(err)
		}
	}
	if err := <-short; err != nil {
		t.Error(err)
	}
}

func TestPreparedWorkersTakeOver(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, func(c *worker.Config) { c.MaxSerial = 4; c.Linger = time.Nanosecond })
	first, second := b.target("one", nil), b.target("two", nil)
	first.Order, second.Order = 1, 2
	running := keep(t, b, first, 3)
	waitFor(t, "three calls to run", func() bool { return b.pool.InFlight() == 3 })
	if known, busy := b.pool.Known("p", "f"); !known || !busy {
		t.Errorf("known %v, busy %v", known, busy)
	}
	if err := b.pool.Prepare(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if n := b.adapter.loads.Load(); n != 6 {
		t.Errorf("%d workers were loaded, want as many new ones as were busy: 6 together", n)
	}
	b.pool.Adopt(second)
	resp, _, err := b.get(t.Context(), second, "/", nil)
	if err != nil || resp.Output().Receipt.Cold() || b.adapter.loads.Load() != 6 {
		t.Errorf("the first call of the new one: %v, %+v, %d loads", err, resp.Output(), b.adapter.loads.Load())
	}
	b.pool.Adopt(first) // read earlier, told later: it changes nothing
	b.adapter.letGo()
	for range 3 {
		if err := <-running; err != nil {
			t.Errorf("a call of the old one: %v", err)
		}
	}
	waitFor(t, "the old workers to go", func() bool { return liveLoaded(b) == 3 })
}

func TestWhatCannotBePreparedIsSaid(t *testing.T) {
	t.Parallel()
	b := setup(t, 1, nil)
	b.adapter.failLoad.Store(true)
	if err := b.pool.Prepare(t.Context(), b.target("one", nil)); err == nil {
		t.Error("no error")
	}
}

func TestARollbackFindsAWorker(t *testing.T) {
	t.Parallel()
	b := setup(t, 10, func(c *worker.Config) { c.Linger = time.Minute })
	first, second := b.target("one", nil), b.target("two", nil)
	first.Order, second.Order = 1, 2
	for _, target := range []*worker.Target{first, second} {
		if _, _, err := b.get(t.Context(), target, "/", nil); err != nil {
			t.Fatal(err)
		}
	}
	again := b.target("one", nil)
	again.Order = 3
	resp, _, err := b.get(t.Context(), again, "/", nil)
	if err != nil || resp.Output().Receipt.Cold() || b.adapter.loads.Load() != 2 {
		t.Errorf("rolled back: %v, %+v, %d loads", err, resp.Output(), b.adapter.loads.Load())
	}
	changed := b.target("one", map[string]string{"V": "1"})
	changed.Key, changed.Order = "one with a variable", 4
	if _, _, err := b.get(t.Context(), changed, "/", nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "what has the old variable to go", func() bool { return liveLoaded(b) == 2 })
}

// TestReplacementsUnderLoad replaces a target again and again while it is called.
func TestReplacementsUnderLoad(t *testing.T) {
	t.Parallel()
	b := setup(t, 3, nil)
	run(t, b)
	var mu sync.Mutex
	current := b.target("0", nil)
	target := func() *worker.Target { mu.Lock(); defer mu.Unlock(); return current }
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := b.get(t.Context(), target(), "/", nil); err != nil {
					t.Errorf("a call failed: %v", err)
				}
			}
		})
	}
	for i := 1; i <= 50; i++ {
		next := b.target(string(rune('0'+i%2)), nil)
		if i%5 == 0 {
			next = b.target("0", map[string]string{"V": string(rune('a' + i))})
			next.Key = "with " + next.Env["V"]
		}
		next.Order = uint64(i)
		if err := b.pool.Prepare(t.Context(), next); err != nil {
			t.Errorf("prepare: %v", err)
		}
		mu.Lock()
		current = next
		mu.Unlock()
		b.pool.Adopt(next)
	}
	cancel()
	callers.Wait()
}
