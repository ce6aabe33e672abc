package invoke

import (
	"context"
	"errors"
	"sync"
	"time"

	"flint"
)

var errSoftTimeout = errors.New("Execution timed out.") //nolint:staticcheck,revive // the contract's text, shown as it is

// minRun is what a function has at least to run, however long its cold start took.
const minRun = time.Second

// deadline is the one deadline of a call. Until a worker has the call it is that of the caller's patience. From then on
// it is the function's timeout less what has passed, at least a second, and never later than the first.
type deadline struct {
	begun   time.Time
	timeout time.Duration // of the function
	limit   time.Duration // of the whole call
	late    error         // what missing that is called

	cancel context.CancelCauseFunc

	mu    sync.Mutex
	cause error
	timer *time.Timer
}

// begin gives a call of a function its deadline, which ends the returned context with its cause.
func (d *deadline) begin(ctx context.Context, f *flint.Function, synchronous time.Duration, async bool) context.Context {
	d.begun, d.timeout, d.limit, d.late = time.Now(), f.Timeout, synchronous, flint.ErrSynchronousTimeout
	if async {
		d.limit, d.late = f.Timeout+flint.AsynchronousGrace, flint.ErrAsynchronousTimeout
	}
	ctx, d.cancel = context.WithCancelCause(ctx)
	d.cause = d.late
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(d.limit, d.over)
	return ctx
}

// run is called when a worker has the call.
func (d *deadline) run() {
	passed := time.Since(d.begun)
	left, cause := max(d.timeout-passed, minRun), errSoftTimeout
	if rest := d.limit - passed; rest < left {
		left, cause = rest, d.late
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer.Reset(left) {
		d.cause = cause
	} else {
		d.timer.Stop() // it was over before
	}
}

func (d *deadline) over() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cancel(d.cause)
}

// stop ends the context of a call that is over.
func (d *deadline) stop() {
	d.mu.Lock()
	d.timer.Stop()
	d.mu.Unlock()
	d.cancel(context.Canceled)
}
