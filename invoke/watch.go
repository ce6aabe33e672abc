package invoke

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"time"
)

// A queued call has a deadline that everything below obeys. Should something below not, a call would keep its slot and its
// lease for ever. So what is made of the deadline is watched from outside: a call that has not come back a while after it
// is given up, its execution ends with a reason, and the log has where it hangs.

// watchMargin is how long after its deadline a call may take to come back: workers are killed in that time.
const watchMargin = 15 * time.Second

// hangTime is how long a call has to come back once it has been given up.
const hangTime = time.Second

var errHangs = errors.New("The platform gave the execution up because it did not end at its deadline.") //nolint:staticcheck,revive // shown as it is

// maxStack bounds what is said of the goroutine of a call that hangs.
const maxStack = 8 << 10

// within runs work and returns what it returns. When that takes longer than the bound its context ends, and if it does not
// return then either, it is left behind: hangs is where it is.
func within(ctx context.Context, bound time.Duration, work func(context.Context) error) (hangs string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended, number := make(chan error, 1), make(chan []byte, 1)
	go func() { // within waits for its end, but for that of a defect
		number <- goroutine()
		ended <- work(ctx)
	}()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case err := <-ended:
		return "", err
	case <-timer.C:
	}
	cancel(errHangs)
	timer.Reset(hangTime)
	select {
	case err := <-ended:
		return "", err
	case <-timer.C:
		return stackOf(<-number), errHangs
	}
}

// goroutine is how the stack of the one that runs begins: "goroutine 7 ".
func goroutine() []byte {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	if i := bytes.IndexByte(buf, '['); i > 0 {
		return buf[:i]
	}
	return buf
}

// stackOf returns the stack of a goroutine, as far as there is room for it.
func stackOf(number []byte) string {
	const all = 4 << 20
	buf := make([]byte, all)
	buf = buf[:runtime.Stack(buf, true)]
	for one := range bytes.SplitSeq(buf, []byte("\n\n")) {
		if bytes.HasPrefix(one, number) {
			return string(one[:min(len(one), maxStack)])
		}
	}
	return "its stack is beyond those that were looked at"
}
