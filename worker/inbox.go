package worker

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"flint/internal/frame"
	"flint/internal/sysio"
)

// inbox takes frames from a worker's socket. One goroutine reads at a time: the worker's reader, which sleeps until
// something comes, or the caller of a call that is alone, which looks for its answer instead of sleeping.
type inbox struct {
	conn    *socket
	deliver func(frame.Header, []byte) error

	mu   sync.Mutex // held by who reads
	buf  []byte     // [at:end] was received and is not in a frame yet
	at   int
	end  int
	head frame.Header
	load []byte // the payload of the frame that has begun, its own memory: bodies are handed to callers as they are
	got  int    // bytes of it
	open bool   // a frame has begun
	err  error  // why there will be no more frames
}

func newInbox(conn *socket, deliver func(frame.Header, []byte) error) *inbox {
	return &inbox{conn: conn, deliver: deliver, buf: make([]byte, 64<<10)}
}

// run reads until nothing more can come and says why.
func (in *inbox) run() error {
	err := in.conn.eachTime(func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.take(nil) != nil
	})
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	return in.err
}

// lookTime is how long a caller looks for its answer at most. It has a processor meanwhile, but to sleep and be woken would
// take one about as long: there is the caller to wake, whoever wakes it, and what the scheduler does in between.
const lookTime = 200 * time.Microsecond

// look reads until enough says so, instead of the worker's reader, for a moment in which that is likely. It stops when
// that is over, and at once when the reader is at work.
func (in *inbox) look(enough func() bool) {
	if !in.mu.TryLock() {
		return
	}
	defer in.mu.Unlock()
	begun := time.Now()
	over := func() bool { return enough() || time.Since(begun) > lookTime }
	in.conn.announce(false)
	for {
		sysio.Yield() // the worker may have been woken on this very processor
		if in.take(over) != nil || over() {
			break
		}
	}
	in.conn.announce(true)
	if in.take(nil) != nil { // what came before that was not announced
		in.conn.wakeReader()
	}
}

// take hands on the frames that are there, and stops early when enough says so after some of them. mu is held.
func (in *inbox) take(enough func() bool) error {
	for in.err == nil {
		n, err := in.conn.tryRead(in.room())
		if errors.Is(err, syscall.EAGAIN) {
			return nil
		}
		if errors.Is(err, io.EOF) && (in.open || in.at < in.end) {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			err = in.cut(n)
		}
		in.err = err
		if enough != nil && enough() {
			break
		}
	}
	return in.err
}

// room is where the next bytes go: into the payload that they are of when they are many, else into buf.
func (in *inbox) room() []byte {
	if in.direct() {
		return in.load[in.got:]
	}
	if in.at > 0 {
		in.end = copy(in.buf, in.buf[in.at:in.end])
		in.at = 0
	}
	return in.buf[in.end:]
}

func (in *inbox) direct() bool { return len(in.load)-in.got > len(in.buf) }

// cut makes frames of n bytes that have been read into room.
func (in *inbox) cut(n int) error {
	if in.direct() {
		in.got += n
		n = 0
	}
	for in.end += n; ; {
		if !in.open {
			if in.end-in.at < frame.HeaderSize {
				return nil
			}
			h, err := frame.ParseHeader(in.buf[in.at : in.at+frame.HeaderSize])
			if err != nil {
				return err
			}
			in.at += frame.HeaderSize
			in.open, in.head, in.load, in.got = true, h, make([]byte, h.Length), 0
		}
		some := copy(in.load[in.got:], in.buf[in.at:in.end])
		in.at += some
		if in.got += some; in.got < len(in.load) {
			return nil
		}
		h, payload := in.head, in.load
		in.open, in.load, in.got = false, nil, 0
		if err := in.deliver(h, payload); err != nil {
			return err
		}
	}
}
