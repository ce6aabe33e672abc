package serve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// socket is the connection to Flint. Two things make it cheaper than a file of package os. Its reads and writes, which never
// block, are made without telling Go's scheduler, which would have its watching thread awake for some milliseconds after
// each. And the runtime's poller does not wait for it itself but for a poller that asks for what comes: a Unix socket tells those
// who wait for room to write, which the runtime always does, of each time that the other side reads.
type socket struct {
	in, out *poller

	mu     sync.RWMutex // held to write while fd is closed
	fd     int          // does not block
	closed bool
}

// poller is readable when a descriptor is ready.
type poller struct {
	file *os.File
	wait syscall.RawConn
}

// What a socket waits for.
const (
	comes = syscall.EPOLLIN | syscall.EPOLLRDHUP | edges
	room  = syscall.EPOLLOUT | edges
	edges = 1 << 31 // EPOLLET, whose name package syscall has with a sign
)

// mostMoved is how many bytes one call moves: the collector waits for it.
const mostMoved = 64 << 10

// dial connects without package net, which would cost every function a megabyte.
func dial(path string) (*socket, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	s := &socket{fd: fd}
	if err == nil {
		s.in, err = newPoller(fd, comes)
	}
	if err != nil {
		_ = syscall.Close(fd) // nothing was written
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return s, nil
}

func newPoller(fd int, events uint32) (*poller, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a poller: %w", err)
	}
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
	if err == nil {
		err = syscall.SetNonblock(epoll, true) // so that the runtime waits for it
	}
	if err != nil {
		_ = syscall.Close(epoll)
		return nil, fmt.Errorf("make a poller: %w", err)
	}
	file := os.NewFile(uintptr(epoll), "flint")
	wait, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &poller{file, wait}, nil
}

// Read implements [io.Reader].
func (s *socket) Read(p []byte) (n int, err error) {
	waitErr := s.in.wait.Read(func(uintptr) bool {
		n, err = move(syscall.SYS_READ, s.fd, p)
		return !errors.Is(err, syscall.EAGAIN)
	})
	switch {
	case waitErr != nil:
		return 0, waitErr
	case err == nil && n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, err
}

// Write implements [io.Writer]. One goroutine writes at a time.
func (s *socket) Write(p []byte) (done int, err error) {
	for done < len(p) {
		n, err := s.tryWrite(p[done:])
		done += n
		switch {
		case errors.Is(err, syscall.EAGAIN):
			n, err := s.writeRest(p[done:])
			return done + n, err
		case err != nil:
			return done, err
		}
	}
	return done, nil
}

func (s *socket) tryWrite(p []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	return move(syscall.SYS_WRITE, s.fd, p)
}

// writeRest writes where there was no room, with a poller that is there until then.
func (s *socket) writeRest(p []byte) (done int, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, os.ErrClosed
	}
	out, err := newPoller(s.fd, room)
	s.out = out
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	defer func() {
		s.mu.Lock()
		s.out = nil
		s.mu.Unlock()
		_ = out.file.Close() // Close may have been first
	}()
	for done < len(p) && err == nil {
		var n int
		waitErr := out.wait.Read(func(uintptr) bool {
			n, err = s.tryWrite(p[done:])
			return !errors.Is(err, syscall.EAGAIN)
		})
		done += n
		err = errors.Join(waitErr, err)
	}
	return done, err
}

// Close ends the reads and writes that wait.
func (s *socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return os.ErrClosed
	}
	s.closed = true
	out := s.out
	s.mu.Unlock() // those who wait may want it to see that
	err := s.in.file.Close()
	if out != nil {
		_ = out.file.Close() // who writes may have been first
	}
	s.mu.Lock()
	defer s.mu.Unlock() // nobody reads or writes any more
	return errors.Join(err, syscall.Close(s.fd))
}

// move is read(2) or write(2) of a descriptor that does not block.
func move(number uintptr, fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(len(p), mostMoved)]
	for {
		n, _, errno := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}
