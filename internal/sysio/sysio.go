// Package sysio reads and writes descriptors that do not block without telling Go's scheduler. Go prepares for every ordinary
// call that it may take long: it wakes the thread that watches over such calls, whenever that sleeps, and that thread looks for
// some milliseconds after each. Where a call takes microseconds that is most of its price.
package sysio

import (
	"io"
	"net"
	"os"
	"syscall"
)

// most is how many bytes are moved by such a call: the collector waits for it.
const most = 64 << 10

// Yield lets another thread have the processor if one waits for this very one.
func Yield() { _, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) } // cannot fail

// Conn is a connection whose reads and writes are made like that. One goroutine may read and another write.
type Conn struct {
	net.Conn
	raw syscall.RawConn

	in, out   transfer
	read, put func(fd uintptr) bool // made once: they would be on the heap each time
}

type transfer struct {
	p   []byte
	n   int
	err error
}

// Wrap returns a Conn for connections of the kernel, and others as they are.
func Wrap(c net.Conn) net.Conn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	w := &Conn{Conn: c, raw: raw}
	w.read = func(fd uintptr) bool {
		w.in.n, w.in.err = Read(int(fd), w.in.p)
		return w.in.err != syscall.EAGAIN //nolint:errorlint // as the kernel says it
	}
	w.put = func(fd uintptr) bool {
		w.out.n, w.out.err = Write(int(fd), w.out.p)
		return w.out.err != syscall.EAGAIN //nolint:errorlint // as the kernel says it
	}
	return w
}

// Read implements [io.Reader].
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) > most {
		p = p[:most]
	}
	c.in.p = p
	waited := c.raw.Read(c.read)
	n, err := c.in.n, c.in.err
	c.in = transfer{}
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements [io.Writer].
func (c *Conn) Write(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		var n int
		n, err = c.writeSome(p[done:min(done+most, len(p))])
		done += n
	}
	return done, err
}

func (c *Conn) writeSome(p []byte) (int, error) {
	c.out.p = p
	waited := c.raw.Write(c.put)
	n, err := c.out.n, c.out.err
	c.out = transfer{}
	if waited != nil {
		return 0, waited
	}
	return n, os.NewSyscallError("write", err)
}
