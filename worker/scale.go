package worker

import (
	"time"

	"flint"
	"flint/sandbox"
)

// wantStarts is how many workers should be started now, for calls that wait.
func wantStarts(waiting, starting, live, concurrency, limit int) int {
	need := (waiting+concurrency-1)/concurrency - starting
	return max(0, min(need, limit-live-starting))
}

// load is how busy the workers of a group are.
type load struct {
	workers  int // that take calls
	hot      int // of those: short of processor time
	starting int
	inFlight int
	limit    int // of workers
	cpus     int // of the machine
}

// wantForCPU reports whether another worker would help calls that compete for the processor time of one process: all
// workers are at what one thread can do, each has several calls, and the machine has more processors than that.
func (l load) wantForCPU() bool {
	return l.workers > 0 && l.hot == l.workers && l.starting == 0 && l.inFlight >= 2*l.workers && l.workers < min(l.limit, l.cpus)
}

// A worker is hot whose process uses about one processor: what a single thread can have. One that uses more has several
// threads, and needs no company.
const (
	hotAbove = 0.85
	hotBelow = 1.2

	starvedShare = 0.2 // of the time that threads want a processor they wait for it
)

// isHot judges the processors that a worker has used on average. size is what it may use.
func isHot(used float64, size flint.Specification) bool {
	top := topOf(size)
	return used >= hotAbove*top && used <= hotBelow*top
}

// isStarved judges the processors that a worker has used on average and those that its threads have waited for meanwhile:
// one that others keep from the processors uses few of them and is short of them all the same.
func isStarved(used, delayed float64, size flint.Specification) bool {
	return isHot(used, size) || used+delayed >= hotAbove*topOf(size) && delayed >= starvedShare*(used+delayed)
}

// topOf is how many processors one thread of a worker may use.
func topOf(size flint.Specification) float64 {
	if size.CPUs > 0 && size.CPUs < 1 {
		return size.CPUs
	}
	return 1
}

// backoff is how long after so many failures in a row no worker is started that nobody waits for.
func backoff(failures int) time.Duration {
	return min(5*time.Minute, time.Second<<min(failures, 10))
}

// scale starts workers for those who wait, as far as the limits allow. The lock is held.
func (g *group) scale() {
	if g.waiting.n == 0 || g.retired {
		return
	}
	depth := 0
	for d := range g.waiting.lanes {
		if g.waiting.first(d) != nil {
			depth = d
		}
	}
	for range wantStarts(g.waiting.n, g.starting, len(g.workers), g.perWorker(), g.limit(depth)) {
		if !g.pool.reserve(g, depth) {
			return
		}
		g.startReserved()
	}
}

// startReserved starts a worker whose place is reserved. The lock is held.
func (g *group) startReserved() {
	if g.starting == 0 {
		g.startsSince = time.Now()
	}
	g.starting++
	g.pool.tasks.Go(g.startOne)
}

// startWarm starts workers that nobody waits for until there are n, as far as there are places. The lock is held.
func (g *group) startWarm(n int, now time.Time) {
	n = min(n, g.limit(0))
	for live := g.usable() + g.starting; live < n && !g.retired && !now.Before(g.retry); live++ {
		if !g.pool.reserveSpare() {
			return
		}
		g.startReserved()
	}
}

// warm is how many workers should be ready at a time although nobody calls, and how long idle ones stay. The lock is held.
func (g *group) warm(now time.Time) (n int, stay time.Duration) {
	stay = g.scaling.KeepAlive.Duration(g.pool.config.KeepAlive)
	if g.replaced {
		return 0, stay
	}
	n = g.scaling.MinWarm
	if g.scaling.KeepAlive == flint.KeepAliveLearned {
		if p, ok := g.function.history.Plan(); ok {
			var expected bool
			stay, expected = p.At(now.Sub(g.lastUse))
			if expected {
				n = max(n, 1)
			}
		}
	}
	return n, stay
}

// tidy drains the idle workers that should not stay, and reports how long it has been since the group was used. The lock
// is held.
func (g *group) tidy(now time.Time) {
	keep, stay := g.warm(now)
	live := g.usable()
	if g.replaced && now.Before(g.linger) {
		keep = max(keep, 1)
	}
	if g.replaced && now.Before(g.held) {
		keep = max(keep, g.prepared)
	}
	limit := g.limit(maxDepth)
	for _, w := range g.workers {
		if w.inFlight > 0 || !w.open() {
			continue
		}
		if live > limit || live > keep && (g.replaced || now.Sub(w.idleSince) >= stay) {
			g.drain(w)
			live--
		}
	}
	for i := len(g.workers) - 1; i >= 0 && live > limit; i-- { // busy ones go after their calls
		if w := g.workers[i]; w.open() {
			w.leaving = true
			live--
		}
	}
}

// reap tidies, starts what should be ready, and reports whether the group holds nothing more.
func (g *group) reap(now time.Time) (empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tidy(now)
	keep, stay := g.warm(now)
	g.startWarm(keep, now)
	held := len(g.workers) > 0 || g.starting > 0 || g.waiting.n > 0 || keep > 0
	if g.scaling.KeepAlive == flint.KeepAliveLearned && !g.replaced {
		if p, ok := g.function.history.Plan(); ok {
			stay = max(stay, p.Wait+p.Keep)
		}
	}
	if !held && (g.replaced || now.Sub(g.lastUse) >= stay) {
		g.retired = true
	}
	return g.retired
}

// watchLoad looks at what the workers do: it spreads calls over them when they are short of processor time, starts another
// one when that helps, and finds out how many calls they can serve. Hosts that do not account for processor time have no
// hot workers.
func (g *group) watchLoad(now time.Time, cpus int) {
	g.mu.Lock()
	all := append([]*worker(nil), g.workers...)
	if len(all) == 0 {
		g.pace = 0
		g.mu.Unlock()
		return
	}
	busy := g.inFlight >= 2*len(all) || g.hot
	g.mu.Unlock()
	used, delay := make([]time.Duration, len(all)), make([]time.Duration, len(all))
	for i, w := range all {
		used[i] = w.box.Usage().CPU
		if box, ok := w.box.(sandbox.Delayer); ok && busy {
			delay[i] = box.Delay()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	l := load{inFlight: g.inFlight, starting: g.starting, limit: g.limit(0), cpus: cpus}
	starved := 0
	for i, w := range all {
		passed, spent, delayed := now.Sub(w.looked).Seconds(), used[i]-w.used, delay[i]-w.delay
		if w.delay == 0 { // nobody had looked
			delayed = 0
		}
		first := w.looked.IsZero()
		w.looked, w.used, w.delay = now, used[i], delay[i]
		if w.removed || !w.open() {
			continue
		}
		l.workers++
		if first || passed <= 0 {
			continue
		}
		if isHot(spent.Seconds()/passed, g.target.Size) {
			l.hot++
		}
		if isStarved(spent.Seconds()/passed, max(0, delayed).Seconds()/passed, g.target.Size) {
			starved++
		}
	}
	g.hot = starved > 0
	if l.wantForCPU() && g.pool.reserveSpare() {
		g.startReserved()
	}
	passed := now.Sub(g.looked)
	first := g.looked.IsZero()
	g.looked, g.pace = now, g.meter.ended
	mean, rate := g.meter.read(g.inFlight, max(passed, time.Millisecond), now)
	if !first {
		g.ceiling.look(flow{
			rate: rate, mean: mean, inFlight: g.inFlight, waiting: g.waiting.n, workers: max(1, l.workers), hot: l.workers > 0 && starved == l.workers,
		})
	}
	g.grantWaiting()
}
