package worker

import (
	"context"
	"math"
	"sync"
	"time"

	"flint"
	"flint/runtimes"
)

// stems keeps started workers without code, for the runtimes that are in use. How many of a runtime follows its recent
// cold starts; a runtime without any for a while keeps none. All that are being made go to whoever has waited longest,
// whether a call or the store made it necessary.
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
	waiting []chan stemOrError  // calls without one, longest first; capacity 1
	making  int                 // stems that are being made
	filling bool                // a goroutine refills, or is about to
	demand  demand
	used    time.Time
}

type stemOrError struct {
	stem *stem
	err  error
}

const (
	stemMemory  = 10 * time.Second      // in which the weight of a cold start falls to a third
	stemIdle    = 10 * time.Minute      // a runtime that starts nothing for so long keeps no stems
	maxStems    = 8                     // of one runtime
	stemRetries = 3                     // of a refill that fails
	refillDelay = 50 * time.Millisecond // from a cold start to the making of the next stem
	refillYield = 2 * time.Second       // how long a refill makes way for cold starts at most
)

// demand is how often a runtime has started cold lately: every start counts one, and less and less as time passes.
type demand struct {
	level float64
	at    time.Time
}

func (d *demand) add(now time.Time) { d.level, d.at = d.now(now)+1, now }

func (d *demand) now(now time.Time) float64 {
	if d.at.IsZero() {
		return 0
	}
	return d.level * math.Exp(-now.Sub(d.at).Seconds()/stemMemory.Seconds())
}

// wantStems is how many stems a runtime should have, given its demand and how long it has not been used.
func wantStems(level float64, idle time.Duration) int {
	if idle > stemIdle {
		return 0
	}
	return min(max(int(math.Ceil(level-0.1)), 1), maxStems)
}

func (k *stemKind) want(now time.Time) int { return wantStems(k.demand.now(now), now.Sub(k.used)) }

// kindOf names what a stem can become: compiled languages share theirs.
func kindOf(rt *runtimes.Runtime) string {
	if rt.Language.Worker.Exec != "" {
		return "exec"
	}
	return rt.ID
}

// take returns a stem for the runtime: one that waits, or else the next that is ready.
func (s *stems) take(ctx context.Context, rt *runtimes.Runtime, size flint.Specification) (*stem, error) {
	now := time.Now()
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil, flint.ErrShuttingDown
	}
	k := s.kind(rt, now)
	k.size = size
	k.demand.add(now)
	var got *stem
	for got == nil && len(k.idle) > 0 {
		got, k.idle = k.idle[0], k.idle[1:]
		if !got.alive() {
			dead := got
			s.pool.tasks.Go(dead.close)
			got = nil
		}
	}
	if got != nil {
		s.fill(k, refillDelay)
		s.mu.Unlock()
		s.pool.metrics.stemHits.Inc()
		return got, nil
	}
	ready := make(chan stemOrError, 1)
	k.waiting = append(k.waiting, ready)
	if k.making < len(k.waiting) {
		k.making++
		s.pool.tasks.Go(func() { _ = s.make(k) }) // those who wait for it hear of its error
	}
	s.fill(k, refillDelay)
	s.mu.Unlock()
	select {
	case r := <-ready:
		return r.stem, r.err
	case <-ctx.Done():
		s.leave(k, ready)
		return nil, context.Cause(ctx)
	}
}

// leave takes a call out of those that wait, and keeps the stem that it has just been given for the next.
func (s *stems) leave(k *stemKind, ready chan stemOrError) {
	s.mu.Lock()
	for i, w := range k.waiting {
		if w == ready {
			k.waiting = append(k.waiting[:i], k.waiting[i+1:]...)
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	if r := <-ready; r.stem != nil {
		s.deliver(k, r.stem, nil)
	}
}

// make makes one stem, whose making is counted already, and hands it on.
func (s *stems) make(k *stemKind) (err error) {
	s.mu.Lock()
	size := k.size
	s.mu.Unlock()
	made, err := s.pool.stem(s.pool.ctx, k.runtime, size)
	s.mu.Lock()
	k.making--
	s.mu.Unlock()
	s.deliver(k, made, err)
	return err
}

// deliver gives a stem, or the reason why there is none, to the call that has waited longest; a stem that nobody waits for
// is kept.
func (s *stems) deliver(k *stemKind, made *stem, err error) {
	s.mu.Lock()
	switch {
	case len(k.waiting) > 0 && (err == nil || k.making < len(k.waiting)): // others that are being made may still do
		k.waiting[0] <- stemOrError{made, err}
		k.waiting = k.waiting[1:]
		made = nil
	case err == nil && !s.ended:
		k.idle = append(k.idle, made)
		made = nil
	}
	s.mu.Unlock()
	if made != nil {
		made.close()
	}
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
	if k.filling || s.ended || len(k.idle) >= k.want(time.Now()) {
		return
	}
	k.filling = true
	s.pool.tasks.Go(func() { s.refill(k, after) })
}

func (s *stems) refill(k *stemKind, after time.Duration) {
	s.pool.yield(after)
	failures := 0
	for {
		s.mu.Lock()
		if s.ended || failures >= stemRetries || len(k.idle)+k.making >= k.want(time.Now()) {
			k.filling = false
			s.mu.Unlock()
			return
		}
		k.making++
		s.mu.Unlock()
		if err := s.make(k); err == nil {
			failures = 0
		} else if failures++; s.pool.ctx.Err() == nil {
			s.pool.config.Logger.Warn("stem did not start", errAttr(err), runtimeAttr(k.runtime.ID))
		}
		s.pool.yield(0)
	}
}

// yield waits for a time, and then until no function starts cold, but not for ever.
func (p *Pool) yield(after time.Duration) {
	timer := time.NewTimer(after)
	defer timer.Stop()
	for passed := time.Duration(0); ; passed += refillDelay {
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			return
		}
		if len(p.starts) == 0 || passed > refillYield {
			return
		}
		timer.Reset(refillDelay)
	}
}

// trim ends the stems that are no longer wanted, and those that died.
func (s *stems) trim() {
	now := time.Now()
	s.mu.Lock()
	var gone []*stem
	for _, k := range s.kinds {
		kept := k.idle[:0]
		for _, st := range k.idle {
			if len(kept) < k.want(now) && st.alive() {
				kept = append(kept, st)
			} else {
				gone = append(gone, st)
			}
		}
		clear(k.idle[len(kept):])
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
