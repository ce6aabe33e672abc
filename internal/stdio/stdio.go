// Package stdio connects the standard descriptors of a process that another program starts.
package stdio

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// KeepInherited keeps from child processes what this process inherited beside the standard descriptors: Go keeps only what
// it opened itself.
func KeepInherited() error {
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // before Linux 5.11
		err = keepEach()
	}
	if err != nil {
		return fmt.Errorf("keep open files from sandboxes: %w", err)
	}
	return nil
}

func keepEach() error {
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		return err
	}
	for fd := range int(min(most.Cur, 1<<16)) {
		if fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// Pipes are the standard descriptors: Theirs for the process, Ours the other ends. Ours[0] is nil when the process reads
// nothing, Ours[1] when nobody wants its output; errors are always read, because the program that starts it complains there.
type Pipes struct {
	Theirs [3]*os.File
	Ours   [3]*os.File

	copies sync.WaitGroup
}

// Open makes the descriptors. What it made when it fails, Close gives back.
func (p *Pipes) Open(input, output bool) (err error) {
	if input {
		p.Theirs[0], p.Ours[0], err = os.Pipe()
	} else {
		p.Theirs[0], err = os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	}
	if err != nil {
		return err
	}
	if output {
		p.Ours[1], p.Theirs[1], err = os.Pipe()
	} else {
		p.Theirs[1], err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	if err != nil {
		return err
	}
	p.Ours[2], p.Theirs[2], err = os.Pipe()
	return err
}

// Copy starts the goroutines that copy output as it comes, for which Wait waits. Writes are serialised, because both
// writers may be the same; a nil one discards, and one that fails does not block the process.
func (p *Pipes) Copy(stdout, stderr io.Writer) {
	var one sync.Mutex
	for i, to := range []io.Writer{1: stdout, 2: stderr} {
		from := p.Ours[i]
		if i == 0 || from == nil {
			continue
		}
		p.copies.Go(func() {
			if to != nil {
				_, _ = io.Copy(&serial{to: to, mu: &one}, from)
			}
			_, _ = io.Copy(io.Discard, from)
		})
	}
}

// Wait waits until all output is copied. It gives up at the time late, which it needs when a descriptor left the sandbox.
func (p *Pipes) Wait(late time.Time) {
	for _, f := range p.Ours[1:] {
		if f != nil {
			_ = f.SetReadDeadline(late)
		}
	}
	p.copies.Wait()
}

// Stdin returns what writes to the process, or nil.
func (p *Pipes) Stdin() io.WriteCloser {
	if p.Ours[0] == nil {
		return nil
	}
	return p.Ours[0]
}

// CloseTheirs closes the ends that the process has got.
func (p *Pipes) CloseTheirs() {
	for i, f := range p.Theirs {
		if f != nil {
			_ = f.Close()
			p.Theirs[i] = nil
		}
	}
}

// Close closes all ends.
func (p *Pipes) Close() {
	p.CloseTheirs()
	for _, f := range p.Ours {
		if f != nil {
			_ = f.Close() // the user of Stdin may have closed it
		}
	}
}

type serial struct {
	mu *sync.Mutex
	to io.Writer
}

func (w *serial) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}
