package serve

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxPending is how many bytes may wait for the socket before those who can wait must.
const maxPending = 4 << 20

var errClosed = errors.New("connection closed")

// output gathers frames and writes them. Whoever finds nobody writing writes all that is there, and what is added
// meanwhile: one write for many frames, and no goroutine of its own.
type output struct {
	w io.WriteCloser

	mu       sync.Mutex
	shrunk   sync.Cond // pending was taken, or err was set
	pending  []byte
	added    uint64 // bytes that were ever pending
	taken    uint64 // bytes of them that were given to w
	spare    []byte // the buffer that was written last
	writing  bool
	closing  bool // close w once nothing is pending
	err      error
	lateness chan struct{} // capacity 1: see later

	rest atomic.Int32 // flushes that yield is left out for
}

func newOutput(w io.WriteCloser) *output {
	o := &output{w: w, lateness: make(chan struct{}, 1)}
	o.shrunk.L = &o.mu
	return o
}

// wait returns when there is room, or when the connection is gone. The loop that reads never calls it.
func (o *output) wait() {
	o.mu.Lock()
	for len(o.pending) > maxPending && o.err == nil {
		o.shrunk.Wait()
	}
	o.mu.Unlock()
}

// add queues what f appends and returns where that ends among all that was ever queued. The caller then calls flush, share or later.
func (o *output) add(f func(b []byte) []byte) (end uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && !o.closing {
		before := len(o.pending)
		o.pending = f(o.pending)
		o.added += uint64(len(o.pending) - before)
	}
	return o.added
}

// share writes what was queued up to an end, after others have had the chance to add theirs, unless one of these has
// written it meanwhile: of requests that run in turn, one writes what all of them log, and one what all of them answer.
func (o *output) share(end uint64) {
	o.yield()
	o.mu.Lock()
	gone := o.taken >= end
	o.mu.Unlock()
	if !gone {
		o.flush()
	}
}

// Limits of yield.
const (
	slowYield = 5 * time.Millisecond // half of what a goroutine that computes is given
	yieldRest = 1000                 // flushes
)

// yield lets goroutines run that are ready to, before a flush: with many short requests in flight one write then
// carries what many log and answer, which saves a third of the processor time of each. Where others compute for long
// it costs a request their time slices, so it is left out for the next ones.
func (o *output) yield() {
	if o.rest.Load() > 0 {
		o.rest.Add(-1)
		return
	}
	begun := time.Now()
	runtime.Gosched()
	if time.Since(begun) > slowYield {
		o.rest.Store(yieldRest)
	}
}

// flush writes what is pending unless another goroutine is at it.
func (o *output) flush() {
	o.mu.Lock()
	if o.writing {
		o.mu.Unlock()
		return
	}
	o.writing = true
	for len(o.pending) > 0 && o.err == nil {
		b := o.pending
		o.taken = o.added
		o.pending, o.spare = o.spare[:0], nil
		o.shrunk.Broadcast()
		o.mu.Unlock()
		_, err := o.w.Write(b)
		o.mu.Lock()
		if cap(b) <= maxPiece { // one large answer does not keep its memory
			o.spare = b
		}
		if err != nil && o.err == nil {
			o.fail(err)
		}
	}
	o.writing = false
	if o.closing && o.err == nil {
		o.fail(errClosed)
	}
	o.mu.Unlock()
}

// later has the goroutine in run flush, for the loop that reads: it must not be held up by writing.
func (o *output) later() {
	select {
	case o.lateness <- struct{}{}:
	default: // it will find this too
	}
}

// run flushes when later was called, until stop is closed.
func (o *output) run(stop <-chan struct{}) {
	for {
		select {
		case <-o.lateness:
			o.flush()
		case <-stop:
			return
		}
	}
}

// finish closes the connection after what is pending; add adds nothing from now on.
func (o *output) finish() {
	o.mu.Lock()
	o.closing = true
	o.mu.Unlock()
}

// abort closes the connection at once.
func (o *output) abort() {
	o.mu.Lock()
	if o.err == nil {
		o.fail(errClosed)
	}
	o.mu.Unlock()
}

func (o *output) fail(err error) {
	o.err = err
	o.pending = nil
	o.shrunk.Broadcast()
	_ = o.w.Close() // the error that counts is err
}
