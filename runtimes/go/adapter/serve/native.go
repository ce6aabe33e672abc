package serve

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// capture takes over what the process prints through os.Stdout and os.Stderr. Looking for it costs one system call for
// each request and nothing else while nothing is printed.
type capture struct {
	take func(stream byte, text []byte)
	seen atomic.Bool // something was printed, ever

	mu      sync.Mutex // held while text is read and handed on, so that order is kept
	buffer  []byte
	readers [2]*os.File // by stream
	fds     [2]int      // theirs
	saved   [2]os.File  // what the two were; referred to, so that they are not closed
}

// newCapture replaces what os.Stdout and os.Stderr point to, not the variables: loggers that were made while
// packages were initialised are captured too. Crashes of the runtime still reach the real standard error.
func newCapture(take func(stream byte, text []byte)) (*capture, error) {
	c := &capture{take: take, buffer: make([]byte, 64<<10)}
	for stream, file := range []*os.File{os.Stdout, os.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("capture output: %w", err)
		}
		raw, err := r.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { c.fds[stream] = int(fd) }) // a descriptor
		}
		if err != nil {
			return nil, fmt.Errorf("capture output: %w", err)
		}
		c.readers[stream] = r
		c.saved[stream] = *file
		*file = *w
	}
	return c, nil
}

// run reads while requests are running, so that a full pipe holds nobody up. It ends with the process.
func (c *capture) run() {
	var wg sync.WaitGroup
	for stream, r := range c.readers {
		wg.Go(func() {
			raw, err := r.SyscallConn()
			if err != nil {
				return
			}
			_ = raw.Read(func(uintptr) bool { // ends when the pipe does
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.read(stream)
			})
		})
	}
	wg.Wait()
}

// drain hands on all that has been printed so far.
func (c *capture) drain() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready() {
		c.read(0)
		c.read(1)
	}
}

// ready reports whether something may be in the pipes.
func (c *capture) ready() bool {
	var now syscall.Timespec
	for {
		fds := [2]pollFD{{fd: int32(c.fds[0]), events: pollIn}, {fd: int32(c.fds[1]), events: pollIn}}
		n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 2, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if errno != syscall.EINTR {
			return n > 0 || errno != 0 // then reading says what is wrong
		}
	}
}

// pollFD is struct pollfd of ppoll(2).
type pollFD struct {
	fd     int32
	events int16
	_      int16 // what has happened
}

const pollIn = 1 // POLLIN

// settle is drain for functions that are known to print, and nothing for the others.
func (c *capture) settle() {
	if c != nil && c.seen.Load() {
		c.drain()
	}
}

// read hands on what is in a pipe and reports whether the pipe has ended. It reads up to EAGAIN, because the pipe is
// watched by edges.
func (c *capture) read(stream int) (ended bool) {
	for {
		n, err := move(syscall.SYS_READ, c.fds[stream], c.buffer)
		switch {
		case n > 0:
			c.seen.Store(true)
			c.take(byte(stream), c.buffer[:n]) // 0 or 1
		case errors.Is(err, syscall.EAGAIN):
			return false
		default:
			return true
		}
	}
}
