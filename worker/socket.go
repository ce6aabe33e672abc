package worker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flint/internal/sysio"
)

// socket is Flint's end of the stream to a worker. A Unix socket tells whoever waits for it each time that the other side has
// read something, because there is room to write now: with the runtime's poller, which always asks for both, every request
// would wake a thread for nothing, often on the very processor that the worker wants. So the socket is in a poller of its own
// that asks for what comes, and the runtime's waits for that one. One goroutine at a time reads, and one writes.
type socket struct {
	poller   *os.File        // the runtime sees it as a file; it is readable when fd is
	pollerFD int             // of poller
	wait     syscall.RawConn // of poller
	name     string

	mu     sync.RWMutex // held to write when closed is set
	fd     int          // does not block
	closed bool         // or about to be
}

// openSocket takes over a connection, which is closed.
func openSocket(conn *net.UnixConn) (_ *socket, err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{fd: -1, name: conn.LocalAddr().String()}
	ctlErr := raw.Control(func(fd uintptr) { s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(ctlErr, os.NewSyscallError("fcntl", err)); err != nil {
		return nil, err
	}
	if err = s.watch(); err != nil {
		_ = unix.Close(s.fd) // nothing was written
		return nil, err
	}
	return s, nil
}

// watch makes the poller.
func (s *socket) watch() error {
	poller, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	err = unix.EpollCtl(poller, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(s.fd)})
	if err == nil {
		err = unix.SetNonblock(poller, true) // makes it a file that the runtime waits for
	}
	if err != nil {
		_ = unix.Close(poller)
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.pollerFD = poller
	s.poller = os.NewFile(uintptr(poller), s.name)
	s.wait, err = s.poller.SyscallConn()
	if err == nil {
		err = s.poller.SetReadDeadline(time.Time{}) // an error says that the runtime does not wait for it
	}
	if err != nil {
		return errors.Join(err, s.poller.Close())
	}
	return nil
}

// eachTime calls f at once and then each time that something has come, until f returns true or the socket is closed.
func (s *socket) eachTime(f func() bool) error {
	return s.wait.Read(func(uintptr) bool { return f() })
}

// wakeReader ends eachTime.
func (s *socket) wakeReader() { _ = s.poller.SetReadDeadline(time.Unix(1, 0)) } // it is closed: then that has ended

// tryRead reads what there is at once. The error is EAGAIN when there is nothing.
func (s *socket) tryRead(p []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	n, err := sysio.Read(s.fd, p)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return 0, syscall.EAGAIN
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// announce says whether eachTime is to hear of what comes from now on. It may miss what had come before.
func (s *socket) announce(on bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	events := uint32(unix.EPOLLET)
	if on {
		events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	_ = unix.EpollCtl(s.pollerFD, unix.EPOLL_CTL_MOD, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd)}) // both are open
}

// tryWrite writes as much as there is room for at once.
func (s *socket) tryWrite(p []byte) (n int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	for n < len(p) {
		some, err := sysio.Write(s.fd, p[n:])
		if errors.Is(err, syscall.EAGAIN) {
			return n, nil
		}
		if n += some; err != nil {
			return n, os.NewSyscallError("write", err)
		}
	}
	return n, nil
}

// write writes all of p, and waits for room until deadline.
func (s *socket) write(p []byte, deadline time.Time) error {
	for len(p) > 0 {
		n, err := s.tryWrite(p)
		if err != nil {
			return err
		}
		if p = p[n:]; n == 0 {
			if err := s.room(deadline); err != nil {
				return err
			}
		}
	}
	return nil
}

// room waits until there is room to write, with a descriptor that the runtime's poller has until then.
func (s *socket) room(deadline time.Time) error {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return net.ErrClosed
	}
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	s.mu.RUnlock()
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), s.name)
	defer f.Close()
	if err := f.SetWriteDeadline(deadline); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Write(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(poll, 0)
		return n > 0 || err != nil // then the next write says what is wrong
	})
}

// close ends both directions: reads and writes that wait end with an error.
func (s *socket) close() {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return
	}
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // the other side may be gone; who waits for room hears of it
	_ = s.poller.Close()                    // returns when eachTime does
	_ = unix.Close(s.fd)
}
