package worker

import (
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

	since  time.Time // since when somebody has been waiting
	looked time.Time // when the rate was last worked out
	served int       // since then
	rate   float64   // calls a second that left the queue for a worker, while there was one; 0: not known
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
		q.since, q.looked, q.served = now, now, 0
	}
	q.lanes[w.depth] = append(q.lanes[w.depth], w)
	q.n++
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
	i := slices.Index(q.lanes[w.depth], w)
	if i < 0 {
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
	rate := float64(q.served) / passed.Seconds()
	if q.rate > 0 {
		rate = (q.rate + rate) / 2
	}
	q.rate, q.looked, q.served = rate, now, 0
}

// pressure is what the admission of one more call to a queue depends on.
type pressure struct {
	waiting  int
	rate     float64       // calls a second that leave the queue; 0: not known
	standing time.Duration // for how long somebody has been waiting
	workers  int           // that the function may have
	starting bool          // workers are on their way: it will soon be faster
}

const (
	burst    = time.Second     // a queue that is older is no burst any more
	patience = time.Second     // what a call may wait in such a queue
	stamina  = 5 * time.Second // what one may wait in a burst
)

// admits reports whether one more call may wait, and if not after which time it may try again. A burst is taken in as
// far as it can be served soon; a queue that does not go away is kept short, so that it costs nobody much and is gone
// soon after the load is. most is the bound of the queue.
func (p pressure) admits(most int) (ok bool, retry time.Duration) {
	expected := 0.0
	if p.rate > 0 {
		expected = float64(p.waiting+1) / p.rate
	}
	retry = time.Duration(math.Ceil(max(1, min(30, expected)))) * time.Second
	switch {
	case p.waiting >= most:
		return false, retry
	case p.waiting < p.workers, p.rate <= 0 && p.standing < stamina:
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
	g.waiting.measure(now)
	p := pressure{waiting: g.waiting.n, rate: g.waiting.rate, workers: g.limit(0), starting: g.starting > 0}
	if p.waiting > 0 {
		p.standing = now.Sub(g.waiting.since)
	}
	ok, retry := p.admits(g.pool.config.QueueLength)
	if ok {
		return nil
	}
	if len(g.workers) == 0 {
		return flint.ErrTooBusy.After(retry)
	}
	return flint.ErrFunctionBusy.After(retry)
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
