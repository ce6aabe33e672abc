package bubblewrap

import (
	"context"
	"errors"
	"runtime"
)

var (
	errClosed = errors.New("the sandbox driver is closed")
	errLate   = errors.New("the launcher is busy")
)

// launcher is one operating system thread that forks every sandbox of a driver. The kernel ends a sandbox with the
// thread that forked it, and the Go scheduler ends threads as it likes, so that this one is kept. It may also have a
// mount namespace of its own, which no other thread of the program sees.
type launcher struct {
	jobs chan job
	quit chan struct{}
	gone chan struct{}
}

type job struct {
	run    func() error
	result chan error
}

// newLauncher starts the thread. The error is setup's, which runs on the thread before everything else; the launcher
// works without what setup could not do.
func newLauncher(setup func() error) (*launcher, error) {
	l := &launcher{jobs: make(chan job), quit: make(chan struct{}), gone: make(chan struct{})}
	first := make(chan error, 1)
	go func() {
		defer close(l.gone)
		runtime.LockOSThread() // never unlocked: the thread ends with this function, and the namespace with the thread
		first <- setup()
		for {
			select {
			case j := <-l.jobs:
				j.result <- j.run()
			case <-l.quit:
				return
			}
		}
	}()
	return l, <-first
}

// do runs f on the thread. ctx bounds the wait for its turn.
func (l *launcher) do(ctx context.Context, f func() error) error {
	err := l.until(ctx.Done(), f)
	if errors.Is(err, errLate) {
		return context.Cause(ctx)
	}
	return err
}

// until runs f on the thread unless its turn does not come before late. What runs there is short: a few system calls.
func (l *launcher) until(late <-chan struct{}, f func() error) error {
	j := job{run: f, result: make(chan error, 1)}
	select {
	case l.jobs <- j:
		return <-j.result
	case <-l.quit:
		return errClosed
	case <-late:
		return errLate
	}
}

// close ends the thread, and with it every sandbox it forked.
func (l *launcher) close() {
	close(l.quit)
	<-l.gone
}
