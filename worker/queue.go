package worker

import (
	"cmp"
	"math"
	"slices"
	"time"

	"flint"
)

// maxDepth is how deep calls of functions by functions are told apart; deeper ones count as this deep.
const maxDepth = 3

// waiter is a call that waits for a worker.
type waiter struct {
	depth   int
	number  uint64     // in the order of their coming
	granted chan grant // capacity 1
}

type grant struct {
	worker *worker
	start  span // of the worker, or the one that failed
	err    error
}

// queue is the calls that wait for a worker of one group, in lanes by how deep they are: those deeper down go first,
// because others wait for them with a worker in hand. It also measures how fast it is served.
type queue struct {
	lanes [maxDepth + 1][]*waiter
	n     int
	came  uint64 // all that ever waited

	since  time.Time // since when somebody has been waiting
	strain time.Time // when a call was refused last
	looked time.Time // when the rate was last worked out
	served int       // those that left for a worker since then
	ended  int       // calls that ended in workers since then
	rate   float64   // calls a second that were served while somebody waited; 0: not known
}

const (
	rateEvery  = 250 * time.Millisecond // the shortest time over which a rate is worked out
	rateMemory = 10 * time.Second       // a rate from before that says nothing of a new queue
)

func (q *queue) push(w *waiter, now time.Time) {
	if q.n == 0 {
		if now.Sub(q.looked) > rateMemory {
			q.rate = 0
		}
		q.begin(now)
		if now.Sub(q.strain) < calm {
			q.since = now.Add(-burst) // it was empty for a moment only
		}
	}
	q.came++
	w.number = q.came
	q.lanes[w.depth] = append(q.lanes[w.depth], w)
	q.n++
}

// begin has those who wait be the beginning of a queue: nothing of what was measured holds.
func (q *queue) begin(now time.Time) { q.since, q.looked, q.served, q.ended = now, now, 0, 0 }

// grow has the queue be served by n workers, one more than before.
func (q *queue) grow(n int, now time.Time) {
	if n == 1 { // until now they waited for a start, which says nothing of how long calls take
		q.begin(now)
		return
	}
	q.rate *= float64(n) / float64(n-1)
	q.looked, q.served, q.ended = now, 0, 0
}

// ahead is how many of those who wait as deep come before one.
func (q *queue) ahead(w *waiter) int {
	i, _ := q.find(w)
	return i
}

func (q *queue) find(w *waiter) (int, bool) {
	return slices.BinarySearchFunc(q.lanes[w.depth], w.number, func(o *waiter, number uint64) int { return cmp.Compare(o.number, number) })
}

func (q *queue) first(depth int) *waiter {
	if len(q.lanes[depth]) == 0 {
		return nil
	}
	return q.lanes[depth][0]
}

func (q *queue) shift(depth int) {
	q.lanes[depth][0] = nil
	q.lanes[depth] = q.lanes[depth][1:]
	q.n--
	q.served++
}

// remove takes a waiter out, and reports whether it was there.
func (q *queue) remove(w *waiter) bool {
	i, ok := q.find(w)
	if !ok {
		return false
	}
	q.lanes[w.depth] = slices.Delete(q.lanes[w.depth], i, i+1)
	q.n--
	return true
}

// last returns the call that came last from outside.
func (q *queue) last() *waiter {
	if n := len(q.lanes[0]); n > 0 {
		return q.lanes[0][n-1]
	}
	return nil
}

// clear answers all who wait, and returns how many they were.
func (q *queue) clear(why grant) int {
	n := q.n
	for depth, lane := range q.lanes {
		for _, w := range lane {
			w.granted <- why
		}
		q.lanes[depth] = nil
	}
	q.n = 0
	return n
}

// measure works out the rate, when enough time has passed.
func (q *queue) measure(now time.Time) {
	passed := now.Sub(q.looked)
	if q.n == 0 || passed < rateEvery {
		return
	}
	rate := float64(max(q.served, q.ended)) / passed.Seconds() // they differ while it changes how many are let in at once
	if q.rate > 0 {
		rate = (q.rate + rate) / 2
	}
	q.rate, q.looked, q.served, q.ended = rate, now, 0, 0
}

// pressure is what the admission of one more call to a queue depends on.
type pressure struct {
	waiting  int
	excess   int           // calls in workers that have to end before anybody is let in
	rate     float64       // calls a second that are served; 0: not known
	standing time.Duration // for how long somebody has been waiting
	workers  int           // that the function may have
	starting bool          // workers are on their way: it will soon be faster
}

const (
	burst    = time.Second     // a queue that is older is no burst any more
	patience = time.Second     // what a call may wait in such a queue
	stamina  = 5 * time.Second // what one may wait in a burst
	hope     = 8 * time.Second // what one may wait who has waited for a while
	few      = 16              // calls may always wait, until they are asked whether there is hope
	calm     = 5 * time.Second // for that long nobody was refused when a queue is a burst
)

// admits reports whether one more call may wait, and if not after which time it may try again. A burst is taken in as
// far as it can be served soon; a queue that does not go away is kept short, so that it costs nobody much and is gone
// soon after the load is. most is the bound of the queue.
func (p pressure) admits(most int) (ok bool, retry time.Duration) {
	expected := 0.0
	if p.rate > 0 {
		expected = float64(p.waiting+p.excess+1) / p.rate
	}
	retry = time.Duration(math.Ceil(max(1, min(30, expected)))) * time.Second
	switch {
	case p.waiting >= most:
		return false, retry
	case p.waiting < max(few, p.workers), p.rate <= 0 && p.standing < stamina:
		return true, 0
	case p.rate <= 0: // nobody has left for seconds
		return false, retry
	case p.standing < burst, p.starting:
		return expected <= stamina.Seconds(), retry
	}
	return expected <= patience.Seconds(), retry
}

// admit decides about one more call. The lock is held.
func (g *group) admit(now time.Time) error {
	p := g.pressure(now)
	ok, retry := p.admits(g.pool.config.QueueLength)
	if ok {
		return nil
	}
	g.waiting.strain = now
	if len(g.workers) == 0 {
		return flint.ErrTooBusy.After(retry)
	}
	return flint.ErrFunctionBusy.After(retry)
}

// Overloaded says why a call of a target from outside would be refused at once, or nil. It is asked before anything is made
// for the call: under a flood refusals are most of what a node does. Nil promises nothing, since others come meanwhile.
func (p *Pool) Overloaded(t *Target) error {
	g := t.group.Load()
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired || g.waiting.n < few { // where only few wait somebody may be let in
		return nil
	}
	err := g.admit(time.Now())
	if err != nil {
		p.metrics.refused.Inc()
	}
	return err
}

// pressure says how long those wait who come now. The lock is held.
func (g *group) pressure(now time.Time) pressure {
	q := &g.waiting
	q.measure(now)
	p := pressure{waiting: q.n, rate: q.rate, workers: g.limit(0), starting: g.starting > 0, excess: max(0, g.inFlight-g.ceiling.most())}
	if q.n > 0 {
		p.standing = now.Sub(q.since)
	}
	if p.rate == 0 && p.standing >= burst { // no call has ended yet: they take that long at least
		p.rate = float64(g.inFlight) / max(p.standing.Seconds(), g.ceiling.took)
	}
	return p
}

// hopeful reports whether a call that has waited for a while, with so many ahead of it, goes on waiting, and if not after
// which time it may try again. It is asked once: who is refused hears of it soon, and who stays is served, however long
// that takes then.
func (p pressure) hopeful(ahead int, waited time.Duration) (ok bool, retry time.Duration) {
	p.waiting, p.standing = ahead, waited
	if ahead < p.workers {
		return true, 0
	}
	if p.rate <= 0 {
		return false, time.Second
	}
	ok = float64(ahead+p.excess+1)/p.rate <= (hope - waited).Seconds()
	_, retry = p.admits(0)
	return ok, retry
}

// shed makes room for a call of g when the queues of the node are full together: the newest call of whoever has most
// waiting gives way, projects counted first. It reports whether that is somebody else.
func (p *Pool) shed(g *group) bool {
	projects := map[flint.ProjectID]int{}
	lengths := map[*group]int{}
	for _, o := range p.snapshot() {
		o.mu.Lock()
		lengths[o] = o.waiting.n
		o.mu.Unlock()
		projects[o.target.Project] += lengths[o]
	}
	longest := g
	for o, n := range lengths {
		a, b := projects[o.target.Project], projects[longest.target.Project]
		if a > b || a == b && n > lengths[longest] {
			longest = o
		}
	}
	if longest == g || projects[longest.target.Project] <= projects[g.target.Project] && lengths[longest] <= lengths[g]+1 {
		return false
	}
	longest.mu.Lock()
	defer longest.mu.Unlock()
	last := longest.waiting.last()
	if last == nil {
		return false
	}
	longest.dequeue(last)
	last.granted <- grant{err: flint.ErrTooBusy}
	p.metrics.refused.Inc()
	return true
}
