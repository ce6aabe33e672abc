// Package keepalive learns from the times of a function's calls how long its workers should stay and when it will need one.
package keepalive

import (
	"math"
	"sync"
	"time"
)

// History is when a function was called: a histogram of how long it was idle before each call, as in Shahrad et al.,
// "Serverless in the Wild", USENIX ATC 2020. It is safe for concurrent use. The zero value has learned nothing.
type History struct {
	mu      sync.Mutex
	bins    []uint32 // idle times by minutes; nil: none yet
	count   uint32   // of those in bins
	outside uint32   // idle times that were too long for them
	last    time.Time
	changed bool // since plan was worked out
	result  Plan
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

	// Settle is how long a worker stays whose function is not expected to be called soon.
	Settle = 30 * time.Second
)

// Plan is when a function should have a worker, from its last call on: until Settle, and from Wait for the time Keep.
// Without Wait it has one all the time.
type Plan struct{ Wait, Keep time.Duration }

// At returns what a plan means for a function that has been idle for some time: how long its workers stay, and whether
// it should have one although nobody has called yet.
func (p Plan) At(idle time.Duration) (stay time.Duration, expected bool) {
	if p.Wait == 0 {
		return p.Keep, false
	}
	if idle >= p.Wait && idle < p.Wait+p.Keep {
		return p.Wait + p.Keep, true
	}
	return Settle, false
}

// Arrive notes a call of a function that had none.
func (h *History) Arrive(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.last.IsZero() {
		h.add(now.Sub(h.last))
	}
	h.last = now
}

// Rest notes that a function has no calls any more.
func (h *History) Rest(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = now
}

func (h *History) add(idle time.Duration) {
	if h.bins == nil {
		h.bins = make([]uint32, binCount)
	}
	if h.count+h.outside >= halveAt {
		h.count = 0
		for i := range h.bins {
			h.bins[i] /= 2
			h.count += h.bins[i]
		}
		h.outside /= 2
	}
	h.changed = true
	if bin := int(idle / binWidth); bin < binCount {
		h.bins[max(bin, 0)]++
		h.count++
	} else {
		h.outside++
	}
}

// Learned reports whether there is anything to lose.
func (h *History) Learned() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count+h.outside > 0
}

// Plan returns what the calls so far suggest; not ok: nothing, because they are too few or have no pattern.
func (h *History) Plan() (p Plan, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed {
		h.changed = false
		h.result, h.usable = h.work()
	}
	return h.result, h.usable
}

func (h *History) work() (Plan, bool) {
	total := h.count + h.outside
	if h.count < minIdleTimes || float64(h.outside) > maxOutside*float64(total) || h.variation() < minVariation {
		return Plan{}, false
	}
	head, tail := h.percentile(headShare), h.percentile(tailShare)+1 // the bin's beginning and end
	p := Plan{Wait: time.Duration((1 - margin) * float64(head) * float64(binWidth))}
	p.Keep = time.Duration((1+margin)*float64(tail)*float64(binWidth)) - p.Wait
	if p.Wait <= 2*Settle { // not worth going
		p = Plan{Keep: p.Wait + p.Keep}
	}
	return p, true
}

// percentile returns the bin in which a share of the idle times is reached.
func (h *History) percentile(share float64) int {
	want := uint32(math.Ceil(share * float64(h.count)))
	var seen uint32
	for i, n := range h.bins {
		if seen += n; seen >= want {
			return i
		}
	}
	return binCount - 1
}

// variation is the coefficient of variation of the bins: 0 when all are alike, large when few hold everything.
func (h *History) variation() float64 {
	mean := float64(h.count) / binCount
	var squares float64
	for _, n := range h.bins {
		d := float64(n) - mean
		squares += d * d
	}
	return math.Sqrt(squares/binCount) / mean
}
