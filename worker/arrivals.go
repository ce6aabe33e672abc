package worker

import (
	"math"
	"sync"
	"time"
)

// arrivals learns when a function is called: a histogram of how long it was idle before each call, as in Shahrad et al.,
// "Serverless in the Wild", USENIX ATC 2020. It is safe for concurrent use. The zero value has learned nothing.
type arrivals struct {
	mu      sync.Mutex
	bins    []uint32 // idle times by minutes; nil: none yet
	count   uint32   // of those in bins
	outside uint32   // idle times that were too long for them
	last    time.Time
	changed bool // since plan was worked out
	result  plan
	usable  bool
}

const (
	binWidth = time.Minute
	binCount = 240 // four hours

	minIdleTimes = 10   // fewer say nothing
	minVariation = 2.0  // coefficient of variation of the bins from which on they have a shape
	maxOutside   = 0.5  // share of idle times that may be too long
	headShare    = 0.05 // of the idle times are shorter than the wait
	tailShare    = 0.99 // of the idle times are shorter than wait and keep together
	margin       = 0.1  // by which the window is wider on both sides
	halveAt      = 1000 // idle times after which the old ones count half
	settle       = 30 * time.Second
)

// plan is when a function should have a worker, from its last call on: until settle, and from wait for the time keep.
// Without wait it has one all the time.
type plan struct{ wait, keep time.Duration }

// at returns what a plan means for a function that has been idle for some time: how long its workers stay, and whether
// it should have one although nobody has called yet.
func (p plan) at(idle time.Duration) (stay time.Duration, expected bool) {
	if p.wait == 0 {
		return p.keep, false
	}
	if idle >= p.wait && idle < p.wait+p.keep {
		return p.wait + p.keep, true
	}
	return settle, false
}

// arrive notes a call of a function that had none.
func (a *arrivals) arrive(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.last.IsZero() {
		a.add(now.Sub(a.last))
	}
	a.last = now
}

// rest notes that a function has no calls any more.
func (a *arrivals) rest(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = now
}

func (a *arrivals) add(idle time.Duration) {
	if a.bins == nil {
		a.bins = make([]uint32, binCount)
	}
	if a.count+a.outside >= halveAt {
		a.count = 0
		for i := range a.bins {
			a.bins[i] /= 2
			a.count += a.bins[i]
		}
		a.outside /= 2
	}
	a.changed = true
	if bin := int(idle / binWidth); bin < binCount {
		a.bins[max(bin, 0)]++
		a.count++
	} else {
		a.outside++
	}
}

// learned reports whether there is anything to lose.
func (a *arrivals) learned() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count+a.outside > 0
}

// plan returns what the calls so far suggest; not ok: nothing, because they are too few or have no pattern.
func (a *arrivals) plan() (p plan, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed {
		a.changed = false
		a.result, a.usable = a.work()
	}
	return a.result, a.usable
}

func (a *arrivals) work() (plan, bool) {
	total := a.count + a.outside
	if a.count < minIdleTimes || float64(a.outside) > maxOutside*float64(total) || a.variation() < minVariation {
		return plan{}, false
	}
	head, tail := a.percentile(headShare), a.percentile(tailShare)+1 // the bin's beginning and end
	p := plan{wait: time.Duration((1 - margin) * float64(head) * float64(binWidth))}
	p.keep = time.Duration((1+margin)*float64(tail)*float64(binWidth)) - p.wait
	if p.wait <= 2*settle { // not worth going
		p = plan{keep: p.wait + p.keep}
	}
	return p, true
}

// percentile returns the bin in which a share of the idle times is reached.
func (a *arrivals) percentile(share float64) int {
	want := uint32(math.Ceil(share * float64(a.count)))
	var seen uint32
	for i, n := range a.bins {
		if seen += n; seen >= want {
			return i
		}
	}
	return binCount - 1
}

// variation is the coefficient of variation of the bins: 0 when all are alike, large when few hold everything.
func (a *arrivals) variation() float64 {
	mean := float64(a.count) / binCount
	var squares float64
	for _, n := range a.bins {
		d := float64(n) - mean
		squares += d * d
	}
	return math.Sqrt(squares/binCount) / mean
}
