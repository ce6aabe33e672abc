package guard

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// endTimeout is for the kernel to end what was killed.
const endTimeout = 10 * time.Second

// Process is the first process of a sandbox, whose end is the end of all. It is safe for concurrent use.
type Process struct {
	Pid   int
	guard *Guard

	mu sync.Mutex
	fd int // of the process; 0 after Close
}

// Follow returns the process pid and puts it on the guard's list. The caller closes it when it has ended.
func (g *Guard) Follow(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("watch the sandbox: %w", err)
	}
	g.Watch(pid)
	return &Process{Pid: pid, guard: g, fd: fd}, nil
}

// Kill kills it if it is there.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd > 0 {
		_ = unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0)
	}
}

// End kills it and waits until it is gone, and with it, by the kernel, every other. It says whether that came in time.
func (p *Process) End() bool {
	p.Kill()
	for deadline := time.Now().Add(endTimeout); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.guard.Forget(p.Pid)
	// It falls to Flint to bury the dead when Flint is the first process of a container.
	_ = unix.Waitid(unix.P_PIDFD, p.fd, nil, unix.WEXITED|unix.WNOHANG, nil)
	return true
}

// Close gives it up. It does not end it.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd == 0 {
		return nil
	}
	p.guard.Forget(p.Pid)
	err := unix.Close(p.fd)
	p.fd = 0
	return err
}
