package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"flint"
)

// group is the workers of one target, and the calls that wait for one.
type group struct {
	pool   *Pool
	target *Target

	mu          sync.Mutex
	workers     []*worker
	starting    int
	waiting     []*waiter
	concurrency int  // of one worker; a guess until the first has said it
	retired     bool // no longer the pool's: calls must look it up anew
	replaced    bool // a newer target of the function exists: workers go as soon as they are idle
	lastUse     time.Time
}

// waiter is a call that waits for a worker.
type waiter struct {
	granted chan grant // capacity 1
}

type grant struct {
	worker *worker
	err    error
}

// wantStarts is how many workers should be started now, for calls that wait. It is the pool's one scaling decision.
func wantStarts(waiting, starting, live, concurrency, limit int) int {
	need := (waiting+concurrency-1)/concurrency - starting
	return max(0, min(need, limit-live-starting))
}

// acquire returns a worker with a slot that is the caller's. The slot is given back by the end of the call's response.
func (g *group) acquire(ctx context.Context) (*worker, Stats, error) {
	g.mu.Lock()
	if g.retired {
		g.mu.Unlock()
		return nil, Stats{}, errRetired
	}
	if w := g.free(); w != nil {
		w.inFlight++
		g.mu.Unlock()
		return w, Stats{}, nil
	}
	if len(g.waiting) >= g.pool.config.QueueLength {
		g.mu.Unlock()
		g.pool.metrics.refused.Inc()
		return nil, Stats{}, flint.ErrTooBusy
	}
	begin := time.Now()
	wt := &waiter{make(chan grant, 1)}
	g.waiting = append(g.waiting, wt)
	cold := len(g.workers) == 0
	g.scale()
	g.mu.Unlock()

	timer := time.NewTimer(g.pool.config.QueueTimeout)
	defer timer.Stop()
	for {
		select {
		case got := <-wt.granted:
			return got.worker, Stats{Cold: cold, Queue: time.Since(begin)}, got.err
		case <-timer.C:
			g.mu.Lock()
			if g.starting > 0 { // a start is not a queue: it ends by itself
				g.mu.Unlock()
				timer.Reset(g.pool.config.QueueTimeout)
				continue
			}
			g.mu.Unlock()
			g.pool.metrics.refused.Inc()
			return nil, Stats{}, g.leave(wt, flint.ErrTooBusy)
		case <-ctx.Done():
			return nil, Stats{}, g.leave(wt, context.Cause(ctx))
		}
	}
}

// leave takes a waiter out of the queue, or gives back what it has just been granted.
func (g *group) leave(wt *waiter, why error) error {
	g.mu.Lock()
	i := slices.Index(g.waiting, wt)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		if got := <-wt.granted; got.worker != nil {
			g.release(got.worker, false)
		}
	}
	return why
}

// free returns a worker with room: the first in line, so that the last ones become idle and go. One with an overdue call
// may be stuck and about to be killed: it gets no others until it has shown that it is not.
func (g *group) free() *worker {
	for _, w := range g.workers {
		if w.inFlight < w.concurrency && !w.draining && !w.spent && w.overdue <= 0 {
			return w
		}
	}
	return nil
}

// grantWaiting hands free slots to those who wait. The lock is held.
func (g *group) grantWaiting() {
	for len(g.waiting) > 0 {
		w := g.free()
		if w == nil {
			return
		}
		w.inFlight++
		g.waiting[0].granted <- grant{worker: w}
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
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
	w.inFlight--
	if overdue {
		w.overdue-- // below zero for a moment, when the end overtakes suspect
	}
	if len(g.waiting) > 0 {
		g.grantWaiting()
	}
	if w.inFlight == 0 {
		w.idleSince = time.Now()
		g.lastUse = w.idleSince
		if w.spent {
			w.draining = true
			g.pool.tasks.Go(func() { w.kill("a call in it was given up and could not be stopped") })
		} else if g.replaced {
			g.drain(w)
		}
	}
}

// scale starts workers for those who wait, as far as the limits allow. The lock is held.
func (g *group) scale() {
	limit := g.pool.workerLimit(g.concurrency)
	for range wantStarts(len(g.waiting), g.starting, len(g.workers), g.concurrency, limit) {
		if !g.pool.reserve() {
			return
		}
		g.starting++
		g.pool.tasks.Go(g.startOne)
	}
}

func (g *group) startOne() {
	begin := time.Now()
	w, err := g.pool.startBounded(g.target)
	g.pool.metrics.started(g.target.Runtime.ID, time.Since(begin), err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.starting--
	if err != nil {
		g.pool.unreserve()
		if g.starting == 0 { // nobody else comes for them
			for _, wt := range g.waiting {
				wt.granted <- grant{err: &StartError{err}}
			}
			g.waiting = nil
		}
		return
	}
	w.mu.Lock()
	w.group = g
	w.mu.Unlock()
	w.idleSince = time.Now()
	g.concurrency = w.concurrency
	g.workers = append(g.workers, w)
	g.pool.tasks.Go(func() { g.watch(w) })
	g.grantWaiting()
	g.scale()
	if (g.replaced || g.retired) && w.inFlight == 0 {
		g.drain(w)
	}
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
	g.workers = slices.DeleteFunc(g.workers, func(o *worker) bool { return o == w })
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

// reap drains what has been idle for longer than the keep-alive, and reports whether the group holds nothing more.
func (g *group) reap(now time.Time, keepAlive time.Duration) (empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.workers {
		if w.inFlight == 0 && (g.replaced || now.Sub(w.idleSince) >= keepAlive) {
			g.drain(w)
		}
	}
	if len(g.workers) == 0 && g.starting == 0 && len(g.waiting) == 0 && (g.replaced || now.Sub(g.lastUse) >= keepAlive) {
		g.retired = true
	}
	return g.retired
}

// idleWorker returns when the longest idle worker became idle, if there is one.
func (g *group) idleWorker() (*worker, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var found *worker
	var since time.Time
	for _, w := range g.workers {
		if w.inFlight == 0 && !w.draining && (found == nil || w.idleSince.Before(since)) {
			found, since = w, w.idleSince
		}
	}
	return found, since
}
