package worker

import (
	"context"
	"sync"
	"time"

	"flint"
	"flint/runtimes"
)

// stems keeps started workers without code, for the runtimes that are in use. How many of a runtime follows its recent
// cold starts; a runtime without any for a while keeps none.
type stems struct {
	pool *Pool

	mu    sync.Mutex
	kinds map[string]*stemKind
	ended bool
}

type stemKind struct {
	runtime *runtimes.Runtime
	idle    []*stem
	size    flint.Specification // of the function that came last: the next is probably as large
	filling bool
	recent  []time.Time // cold starts within stemMemory
	used    time.Time
}

const (
	stemMemory  = 10 * time.Second      // cold starts this recent count towards how many stems are kept
	stemIdle    = 10 * time.Minute      // a runtime that starts nothing for so long keeps no stems
	maxStems    = 8                     // of one runtime
	stemRetries = 3                     // of a refill that fails
	refillDelay = 50 * time.Millisecond // from a cold start to the making of the next stem
)

// wantStems is how many stems a runtime should have, given how many cold starts it has had lately.
func wantStems(recent int, idle time.Duration) int {
	if idle > stemIdle {
		return 0
	}
	return min(max(recent, 1), maxStems)
}

// kindOf names what a stem can become: compiled languages share theirs.
func kindOf(rt *runtimes.Runtime) string {
	if rt.Language.Worker.Exec != "" {
		return "exec"
	}
	return rt.ID
}

// take returns a stem for the runtime: one that waits, or else a new one.
func (s *stems) take(ctx context.Context, rt *runtimes.Runtime, size flint.Specification) (*stem, error) {
	now := time.Now()
	s.mu.Lock()
	k := s.kind(rt, now)
	k.size = size
	k.recent = append(k.recent, now)
	var got *stem
	for got == nil && len(k.idle) > 0 {
		got, k.idle = k.idle[0], k.idle[1:]
		if !got.alive() {
			dead := got
			s.pool.tasks.Go(dead.close)
			got = nil
		}
	}
	s.fill(k, refillDelay)
	s.mu.Unlock()
	if got != nil {
		s.pool.metrics.stemHits.Inc()
		return got, nil
	}
	return s.pool.stem(ctx, rt, size)
}

// Warm has stems made for a runtime that will be used.
func (p *Pool) Warm(rt *runtimes.Runtime) {
	p.stems.mu.Lock()
	defer p.stems.mu.Unlock()
	p.stems.fill(p.stems.kind(rt, time.Now()), 0)
}

func (s *stems) kind(rt *runtimes.Runtime, now time.Time) *stemKind {
	k := s.kinds[kindOf(rt)]
	if k == nil {
		k = &stemKind{runtime: rt, size: flint.SpecificationBySlug(flint.DefaultSpecification)}
		s.kinds[kindOf(rt)] = k
	}
	k.used = now
	return k
}

// fill starts the refill of a kind after a while, one stem after the other, so that it does not take the processors from
// the calls that made it necessary. The lock is held.
func (s *stems) fill(k *stemKind, after time.Duration) {
	if k.filling || s.ended || len(k.idle) >= k.want() {
		return
	}
	k.filling = true
	s.pool.tasks.Go(func() {
		delay := time.NewTimer(after)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-s.pool.ctx.Done():
		}
		failures := 0
		for {
			s.mu.Lock()
			size := k.size
			s.mu.Unlock()
			made, err := s.pool.stem(s.pool.ctx, k.runtime, size)
			s.mu.Lock()
			if err == nil && s.ended {
				s.mu.Unlock()
				made.close()
				return
			}
			if err == nil {
				k.idle = append(k.idle, made)
				failures = 0
			} else if failures++; s.pool.ctx.Err() == nil {
				s.pool.config.Logger.Warn("stem did not start", errAttr(err), runtimeAttr(k.runtime.ID))
			}
			if s.ended || failures >= stemRetries || len(k.idle) >= k.want() {
				k.filling = false
				s.mu.Unlock()
				return
			}
			s.mu.Unlock()
		}
	})
}

func (k *stemKind) want() int {
	now := time.Now()
	for len(k.recent) > 0 && now.Sub(k.recent[0]) > stemMemory {
		k.recent = k.recent[1:]
	}
	return wantStems(len(k.recent), now.Sub(k.used))
}

// trim ends the stems that are no longer wanted, and those that died.
func (s *stems) trim() {
	s.mu.Lock()
	var gone []*stem
	for _, k := range s.kinds {
		kept := k.idle[:0]
		for _, st := range k.idle {
			if len(kept) < k.want() && st.alive() {
				kept = append(kept, st)
			} else {
				gone = append(gone, st)
			}
		}
		k.idle = kept
		s.fill(k, 0)
	}
	s.mu.Unlock()
	for _, st := range gone {
		st.close()
	}
}

// end closes all stems; none is made afterwards.
func (s *stems) end() {
	s.mu.Lock()
	s.ended = true
	var all []*stem
	for _, k := range s.kinds {
		all = append(all, k.idle...)
		k.idle = nil
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, st := range all {
		wg.Go(st.close)
	}
	wg.Wait()
}

func (s *stems) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, k := range s.kinds {
		n += len(k.idle)
	}
	return n
}
