package worker

import (
	"math"
	"time"
)

// ceiling finds out how many calls at once a function can really serve, when its workers are short of processors. More than
// that only makes all of them slower, and with many more they miss their deadlines, and the work on them is lost. The number
// is cut, and the cut stays if as many calls end in a second as before; if fewer do, the calls were waiting for something
// else as well, and the cut is taken back. Calls of workers that have processors to spare are never too many, however long they take.
// A flood is let in step by step, so that there is something left to cut. The zero value has seen nothing.
type ceiling struct {
	limit int     // 0: none
	grown int     // calls at once that were fine lately
	took  float64 // seconds that calls took lately; 0: none has ended

	trying  bool    // the last cut is not proven yet
	settled bool    // and the calls that are too many have ended
	before  float64 // the rate before it
	prior   int     // the limit before it
	rest    int     // looks until the next cut
	regret  int     // the rest after the next cut that is taken back
}

// flow is what a function's workers did between two looks.
type flow struct {
	rate     float64 // calls ended in a second
	mean     float64 // calls in flight, on average
	inFlight int     // now
	waiting  int
	workers  int
	hot      bool // all of them are short of processors
}

const (
	enough     = 0.5  // seconds that a call may take in workers that are short of processors, because of the others there
	lost       = 0.75 // a rate below that part of the one before is a loss
	minCeiling = 4    // calls in each worker
	firstFlood = 100  // calls at once of a function of which nothing is known
	firstRest  = 30   // looks
	longRest   = 600
)

// look takes note of what happened. It is called about once a second.
func (c *ceiling) look(f flow) {
	if f.rate > 0 {
		c.took = f.mean / f.rate // Little's law
	}
	crowded := f.hot && f.rate > 0 && c.took > enough
	if !crowded || c.rest > 0 { // while it rests a cut has shown that they are not too many
		c.grown = max(f.inFlight, c.grown-c.grown/10)
	}
	if f.rate <= 0 {
		if f.inFlight == 0 {
			c.open(f)
		}
		return
	}
	if c.trying {
		c.judge(f)
		return
	}
	if c.rest > 0 {
		c.rest--
	}
	least := max(minCeiling*f.workers, int(math.Ceil(f.rate*enough)))
	switch {
	case c.limit > 0 && (!f.hot || c.took < enough/2) || f.inFlight < c.limit/2:
		c.open(f)
	case !crowded || c.rest > 0 || f.inFlight <= least:
	default:
		c.prior, c.before, c.limit = c.limit, f.rate, least
		c.trying, c.settled = true, false
	}
}

// most is how many calls may be in flight at once.
func (c *ceiling) most() int {
	n := max(firstFlood, 2*c.grown)
	if c.limit > 0 {
		n = min(n, c.limit)
	}
	return n
}

// judge keeps a cut or takes it back, once it has taken effect.
func (c *ceiling) judge(f flow) {
	if f.inFlight > c.limit {
		return
	}
	if !c.settled { // the next look is the first that sees nothing of what was
		c.settled = true
		return
	}
	c.trying = false
	if f.rate < lost*c.before && f.waiting > 0 {
		c.limit = c.prior
		c.regret = min(max(firstRest, 2*c.regret), longRest)
		c.rest = c.regret
	}
}

// open raises the limit, until it is none.
func (c *ceiling) open(f flow) {
	if c.limit == 0 {
		return
	}
	c.limit += c.limit/4 + 1
	if c.limit > 2*f.inFlight+20*minCeiling*max(1, f.workers) {
		c.limit = 0
	}
}

// meter adds up how many calls are in flight for how long. Its owner's lock guards it.
type meter struct {
	area  float64 // calls times seconds
	at    time.Time
	ended int
}

// change is called before the number in flight changes.
func (m *meter) change(inFlight int, now time.Time) {
	if inFlight > 0 {
		m.area += float64(inFlight) * now.Sub(m.at).Seconds()
	}
	m.at = now
}

// read returns the mean number in flight and the rate of ends over the time that has passed, and begins anew.
func (m *meter) read(inFlight int, passed time.Duration, now time.Time) (mean, rate float64) {
	m.change(inFlight, now)
	mean, rate = m.area/passed.Seconds(), float64(m.ended)/passed.Seconds()
	m.area, m.ended = 0, 0
	return mean, rate
}
