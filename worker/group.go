package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"flint"
)

// group is the workers of one target, and the calls that wait for one.
type group struct {
	pool     *Pool
	function *function
	target   *Target

	mu          sync.Mutex
	workers     []*worker
	inFlight    int // calls in all of them
	starting    int
	startsSince time.Time // since when some worker has been starting
	waiting     queue
	concurrency int // of one worker, as the language has it; a guess until the first worker has said it
	scaling     flint.Scaling
	hot         bool      // a worker is short of processor time: calls are spread
	retired     bool      // no longer the pool's: calls must look it up anew
	replaced    bool      // a newer target of the function exists: workers go as soon as they are idle
	linger      time.Time // but for one, which stays until then in case the old target comes back
	lastUse     time.Time
	prepared    int // workers that are kept until held, because they will be needed
	held        time.Time
	meter       meter
	ceiling     ceiling
	looked      time.Time // when its load was looked at
	pace        int       // calls that ended within the last second
	failures    int       // starts that failed since one succeeded
	failed      string    // why the last of them did
	retry       time.Time // no start without a call before
	watchers    []chan struct{}
}

// acquire returns a worker with a slot that is the caller's. The slot is given back by the end of the call's response.
// depth says how many functions wait for the call in turn.
func (g *group) acquire(ctx context.Context, depth int) (*worker, toll, error) {
	depth = min(max(depth, 0), maxDepth)
	full := int64(g.pool.config.QueueTotal)
	g.mu.Lock()
	if g.retired {
		g.mu.Unlock()
		return nil, toll{}, errRetired
	}
	if g.scaling.KeepAlive == flint.KeepAliveLearned && g.inFlight == 0 && g.waiting.n == 0 {
		g.function.history.Arrive(time.Now())
	}
	if w := g.take(depth); w != nil {
		g.mu.Unlock()
		return w, toll{}, nil
	}
	if g.pool.queued.Load() >= full {
		g.mu.Unlock()
		if !g.pool.shed(g) {
			g.pool.metrics.refused.Inc()
			return nil, toll{}, flint.ErrTooBusy
		}
		g.mu.Lock()
		if g.retired {
			g.mu.Unlock()
			return nil, toll{}, errRetired
		}
	}
	begin := time.Now()
	if err := g.admit(begin); err != nil {
		g.mu.Unlock()
		g.pool.metrics.refused.Inc()
		return nil, toll{}, err
	}
	wt := &waiter{depth: depth, granted: make(chan grant, 1)}
	g.waiting.push(wt, begin)
	g.pool.queued.Add(1)
	g.grantWaiting() // room may have come while the lock was not held
	g.scale()
	g.mu.Unlock()
	got := g.wait(ctx, wt, begin)
	return got.worker, since(begin, got.start), got.err
}

// wait returns what a waiter is granted. One that is to be refused hears of it within a second, but for those few who are
// next and wait in vain.
func (g *group) wait(ctx context.Context, wt *waiter, begin time.Time) grant {
	c := &g.pool.config
	timer := time.NewTimer(min(c.PlaceTimeout, c.QueueTimeout))
	defer timer.Stop()
	reviewed := false
	for {
		select {
		case got := <-wt.granted:
			return got
		case now := <-timer.C:
			g.mu.Lock()
			starting, workers := g.starting, len(g.workers)
			ok, retry := true, time.Duration(0)
			if workers > 0 && !reviewed {
				ok, retry = g.pressure(now).hopeful(g.waiting.ahead(wt), now.Sub(begin))
			}
			g.mu.Unlock()
			left := c.QueueTimeout - now.Sub(begin)
			switch {
			case starting > 0: // a start is not a queue: it ends by itself
				timer.Reset(c.PlaceTimeout)
			case workers == 0 && g.pool.placeSoon(now, hope-now.Sub(begin)): // many functions are called at once
				timer.Reset(c.PlaceTimeout)
			case workers == 0: // others have all the places
				g.pool.metrics.refused.Inc()
				return g.leave(wt, flint.ErrTooBusy)
			case !ok:
				g.pool.metrics.refused.Inc()
				return g.leave(wt, flint.ErrFunctionBusy.After(retry))
			case left > 0:
				reviewed = true
				timer.Reset(left)
			default:
				g.pool.metrics.refused.Inc()
				return g.leave(wt, flint.ErrFunctionBusy)
			}
		case <-ctx.Done():
			return g.leave(wt, context.Cause(ctx))
		}
	}
}

// leave takes a waiter out of the queue, or gives back what it has just been granted.
func (g *group) leave(wt *waiter, why error) grant {
	g.mu.Lock()
	waited := g.dequeue(wt)
	left := grant{err: why}
	if g.starting > 0 && len(g.workers) == 0 {
		left.start = span{g.startsSince, time.Now()}
	}
	g.mu.Unlock()
	if !waited {
		if got := <-wt.granted; got.worker != nil {
			g.release(got.worker, false)
		}
	}
	return left
}

// dequeue takes a waiter out of the queue and reports whether it was there. The lock is held.
func (g *group) dequeue(wt *waiter) bool {
	if !g.waiting.remove(wt) {
		return false
	}
	g.pool.queued.Add(-1)
	return true
}

// refuseWaiting answers all who wait. The lock is held.
func (g *group) refuseWaiting(why grant) {
	g.pool.queued.Add(-int64(g.waiting.clear(why)))
}

// take gives a call of a depth a slot, if there is one for it. The lock is held.
func (g *group) take(depth int) *worker {
	if len(g.workers) == 0 || g.inFlight >= g.limit(depth)*g.perWorker() {
		return nil
	}
	if depth == 0 && g.inFlight >= g.ceiling.most() {
		return nil
	}
	w := g.free()
	if w != nil {
		g.meter.change(g.inFlight, time.Now())
		w.inFlight++
		g.inFlight++
		g.pool.inFlight.Add(1)
	}
	return w
}

// free returns a worker with room: the first in line, so that the last ones become idle and go; or while processors are
// short the one with the fewest calls. One with an overdue call may be stuck and about to be killed: it gets no others
// until it has shown that it is not.
func (g *group) free() *worker {
	var least *worker
	most := g.perWorker()
	for _, w := range g.workers {
		if w.inFlight >= min(w.concurrency, most) || !w.open() || w.overdue > 0 {
			continue
		}
		if !g.hot && g.ceiling.limit == 0 {
			return w
		}
		if least == nil || w.inFlight < least.inFlight {
			least = w
		}
	}
	return least
}

// open reports whether a worker takes further calls at all.
func (w *worker) open() bool { return !w.draining && !w.leaving && !w.spent }

// perWorker is how many calls one worker may have.
func (g *group) perWorker() int {
	if c := g.scaling.CallsPerWorker; c > 0 {
		return min(c, g.concurrency)
	}
	return g.concurrency
}

// limit is how many workers the group may have for calls of a depth. Where the owner has not said it, calls from
// functions may have some more than those from outside, and more the deeper they are: so the calls that a function waits
// for find room although the functions that wait have taken all there was.
func (g *group) limit(depth int) int {
	if n := g.scaling.MaxWorkers; n > 0 {
		return n
	}
	n := g.pool.config.MaxSerial
	if g.perWorker() > 1 {
		n = g.pool.config.MaxParallel
	}
	return n + depth*max(1, n/4)
}

// grantWaiting hands free slots to those who wait. The lock is held.
func (g *group) grantWaiting() {
	for depth := maxDepth; depth >= 0; depth-- {
		for wt := g.waiting.first(depth); wt != nil; wt = g.waiting.first(depth) {
			w := g.take(depth)
			if w == nil {
				break
			}
			wt.granted <- grant{worker: w, start: w.start}
			g.waiting.shift(depth)
			g.pool.queued.Add(-1)
		}
	}
}

// suspect notes that a call in the worker has missed its deadline and not ended.
func (g *group) suspect(w *worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.overdue++
}

// spend sees to it that a worker gets no more calls, and goes with its last one.
func (g *group) spend(w *worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.spent = true
}

// release gives a slot back. overdue: its call ended after its deadline.
func (g *group) release(w *worker, overdue bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	w.inFlight--
	if !w.removed {
		g.meter.change(g.inFlight, now)
		g.meter.ended++
		g.inFlight--
		g.pool.inFlight.Add(-1)
	}
	if overdue {
		w.overdue-- // below zero for a moment, when the end overtakes suspect
	}
	if g.waiting.n > 0 {
		g.waiting.ended++
		g.grantWaiting()
	}
	if w.inFlight > 0 {
		return
	}
	w.idleSince, g.lastUse = now, now
	if g.scaling.KeepAlive == flint.KeepAliveLearned && g.inFlight == 0 {
		g.function.history.Rest(g.lastUse)
	}
	switch {
	case w.spent:
		w.draining = true
		g.pool.tasks.Go(func() { w.kill("a call in it was given up and could not be stopped") })
	case w.leaving:
		g.drain(w)
	case g.replaced || len(g.workers) > g.limit(maxDepth):
		g.tidy(w.idleSince)
	case g.pool.wanting.Load() > 0: // somebody has no place on this node: an idle worker may give its
		g.pool.arrange()
	}
}

// startOne starts a worker whose place is reserved.
func (g *group) startOne() {
	begin := time.Now()
	w, err := g.pool.startBounded(g.target)
	now := time.Now()
	g.pool.metrics.started(g.target.Runtime.ID, now.Sub(begin), err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.starting--
	defer g.tellWatchers()
	if err != nil {
		g.pool.unreserve()
		g.failures++
		g.failed = err.Error()
		g.retry = now.Add(backoff(g.failures))
		if g.starting == 0 { // nobody else comes for them
			if g.usable() == 0 {
				g.refuseWaiting(grant{err: &StartError{err}, start: span{begin, now}})
			}
		}
		return
	}
	g.failures, g.failed = 0, ""
	w.mu.Lock()
	w.group = g
	w.mu.Unlock()
	w.account.countInto(g.pool.metrics.cpu.WithLabelValues(g.target.Runtime.ID))
	w.idleSince, w.start = now, span{begin, now}
	g.concurrency = w.concurrency
	g.workers = append(g.workers, w)
	g.waiting.measure(now)
	g.waiting.grow(len(g.workers), now)
	g.pool.tasks.Go(func() { g.watch(w) })
	g.grantWaiting()
	g.scale()
	if g.retired {
		g.drain(w)
	} else if w.inFlight == 0 {
		g.tidy(now)
	}
}

// usable is how many workers take calls or will. The lock is held.
func (g *group) usable() int {
	n := 0
	for _, w := range g.workers {
		if w.open() {
			n++
		}
	}
	return n
}

// watch takes a worker out when it ends, for whatever reason.
func (g *group) watch(w *worker) {
	<-w.dead
	if expected := g.remove(w); !expected {
		g.pool.metrics.crashes.WithLabelValues(g.target.Runtime.ID).Inc()
		g.pool.config.Logger.Warn("worker ended", workerAttr(w.id), functionAttr(g.target.Function), deploymentAttr(g.target.Deployment), errAttr(w.ended))
	}
	w.close()
	w.onEnd()
	g.pool.unreserve()
	g.mu.Lock()
	g.scale()
	g.mu.Unlock()
}

// remove takes a worker out of the group, and reports whether it was told to go.
func (g *group) remove(w *worker) (expected bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.removed {
		w.removed = true
		g.meter.change(g.inFlight, time.Now())
		g.inFlight -= w.inFlight
		g.pool.inFlight.Add(-int64(w.inFlight))
		g.workers = slices.DeleteFunc(g.workers, func(o *worker) bool { return o == w })
		g.grantWaiting()
	}
	return w.draining
}

// drain asks a worker to finish and go. The lock is held; watch does the rest.
func (g *group) drain(w *worker) {
	if w.draining {
		return
	}
	w.draining = true
	g.pool.tasks.Go(w.drain)
}

// end refuses those who wait and kills the workers, because the function is gone.
func (g *group) end(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retired, g.replaced = true, true
	g.refuseWaiting(grant{err: &EndedError{Reason: reason}})
	for _, w := range g.workers {
		w.draining = true
		w.kill(reason)
	}
	g.tellWatchers()
}

// tellWatchers wakes those who wait for a start to be over. The lock is held.
func (g *group) tellWatchers() {
	for _, ch := range g.watchers {
		close(ch)
	}
	g.watchers = nil
}

// await returns when the group has n workers that take calls, or none of its starts is under way any more, or ctx ends.
func (g *group) await(ctx context.Context, n int) error {
	for {
		g.mu.Lock()
		ready, starting := g.usable(), g.starting
		var changed chan struct{}
		if ready < n && starting > 0 {
			changed = make(chan struct{})
			g.watchers = append(g.watchers, changed)
		}
		g.mu.Unlock()
		switch {
		case changed == nil && ready > 0:
			return nil
		case changed == nil:
			return errNotReady
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errNotReady = errors.New("no worker could be made ready beforehand")
