// Package stage shows trees of the host to sandboxes: on one thread with mount namespaces of its own, which no other
// thread of the program sees and which end with the program, however it ends. Sandbox runtimes are forked on that thread
// and find the trees under [Root], where any user may pass; what is mounted there later shows in sandboxes that run.
package stage

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// What keeps a job from its turn on the thread.
var (
	ErrClosed = errors.New("the sandbox driver is closed")
	ErrLate   = errors.New("the launcher is busy")
)

// Launcher is one operating system thread that forks every sandbox of a driver. The kernel ends a sandbox with the
// thread that forked it, and the Go scheduler ends threads as it likes, so that this one is kept. It may also have a
// mount namespace of its own, which no other thread of the program sees.
type Launcher struct {
	jobs chan job
	quit chan struct{}
	gone chan struct{}
}

type job struct {
	run    func() error
	result chan error
}

// NewLauncher starts the thread. The error is setup's, which runs on the thread before everything else; the launcher
// works without what setup could not do.
func NewLauncher(setup func() error) (*Launcher, error) {
	l := &Launcher{jobs: make(chan job), quit: make(chan struct{}), gone: make(chan struct{})}
	first := make(chan error, 1)
	go l.work(setup, first)
	return l, <-first
}

func (l *Launcher) work(setup func() error, first chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with this function, and the namespace with the thread
	if unix.Gettid() == unix.Getpid() {
		// The main thread does not end, and /proc/self shows its namespaces as those of the whole program. While it waits
		// here it cannot be the one that runs the next attempt.
		away := make(chan struct{})
		go func() {
			close(away)
			l.work(setup, first)
		}()
		<-away
		runtime.UnlockOSThread()
		return
	}
	defer close(l.gone)
	first <- setup()
	for {
		select {
		case j := <-l.jobs:
			j.result <- j.run()
		case <-l.quit:
			return
		}
	}
}

// Do runs f on the thread. ctx bounds the wait for its turn.
func (l *Launcher) Do(ctx context.Context, f func() error) error {
	err := l.Until(ctx.Done(), f)
	if errors.Is(err, ErrLate) {
		return context.Cause(ctx)
	}
	return err
}

// Until runs f on the thread unless its turn does not come before late. What runs there is short: a few system calls.
func (l *Launcher) Until(late <-chan struct{}, f func() error) error {
	j := job{run: f, result: make(chan error, 1)}
	select {
	case l.jobs <- j:
		return <-j.result
	case <-l.quit:
		return ErrClosed
	case <-late:
		return ErrLate
	}
}

// Close ends the thread, and with it every sandbox it forked.
func (l *Launcher) Close() {
	close(l.quit)
	<-l.gone
}
