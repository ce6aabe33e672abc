package oci

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flint/internal/cgroup"
	"flint/internal/stage"
	"flint/internal/stdio"
	"flint/sandbox"
)

const (
	endTimeout      = 10 * time.Second // for the kernel to end what was killed
	outputTimeout   = 5 * time.Second  // for output after that; only a descriptor that left the sandbox needs it
	launcherTimeout = 10 * time.Second // for a turn on the launcher's thread
	exitSignal      = 128              // and the signal's number: how a shell tells that a signal ended a program
	mostComplaint   = 4 << 10          // bytes
)

func limited(r io.Reader) io.Reader { return io.LimitReader(r, mostComplaint) }

// running is one sandbox. Two goroutines copy its output and one waits for its end; done is closed after all three.
type running struct {
	driver  *Driver
	spec    sandbox.Spec
	settled chan struct{} // closed when Start has returned

	// Set by Start, in this order, as far as it comes.
	user    *user
	group   *cgroup.Group
	stage   *stage.Stage
	io      stdio.Pipes
	first   *os.File // to the first process inside
	starter *exec.Cmd
	made    bool // the runtime has something to remove
	pid     int  // of the first process inside, whose end is the end of all
	pidfd   int

	done   chan struct{} // closed by wait
	waited bool          // wait runs, or has run

	exit  sandbox.Exit // final when done is closed
	usage sandbox.Usage

	mu     sync.Mutex
	bounds []*stage.Bound
	closed bool
	over   sync.Once
	errEnd error
}

// follow starts the goroutines that accompany the sandbox to its end.
func (s *running) follow() {
	s.io.Copy(s.spec.Stdout, s.spec.Stderr)
	s.waited = true
	go s.wait()
}

func (s *running) wait() {
	defer close(s.done)
	// The first process inside says how the program ended, or says nothing and is gone.
	said, _ := io.ReadAll(io.LimitReader(s.first, 16))
	s.end()
	s.io.Wait(time.Now().Add(outputTimeout))
	s.usage = s.measure()
	s.exit = s.verdict(string(said))
}

// end makes sure that the first process inside is gone, and with it, by the kernel, every other.
func (s *running) end() {
	_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
	for deadline := time.Now().Add(endTimeout); ; {
		left := time.Until(deadline)
		if left <= 0 {
			s.driver.log.Error("a sandbox does not end", slog.String("sandbox", s.spec.ID), slog.Int("pid", s.pid))
			return
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	s.driver.guard.Forget(s.pid)
	// It falls to Flint to bury the dead when Flint is the first process of a container.
	_ = unix.Waitid(unix.P_PIDFD, s.pidfd, nil, unix.WEXITED|unix.WNOHANG, nil)
}

// verdict says how the program ended. Who was killed before the first process could tell was killed with it.
func (s *running) verdict(said string) sandbox.Exit {
	e := sandbox.Exit{OutOfMemory: s.group.OutOfMemory() > 0}
	status, err := strconv.Atoi(strings.TrimSpace(said))
	switch {
	case err != nil:
		e.Signal = syscall.SIGKILL
	case status > exitSignal && status <= exitSignal+64:
		e.Signal = syscall.Signal(status - exitSignal)
	default:
		e.Code = status
	}
	return e
}

func (s *running) measure() sandbox.Usage {
	return sandbox.Usage{CPU: s.group.CPUTime(), PeakMemory: s.group.PeakMemory()}
}

// Bind mounts source read-only at target, which lies below a mount with Propagate set.
func (s *running) Bind(source, target string) (string, error) {
	target = path.Clean(target)
	at := -1
	for i, m := range s.spec.Mounts {
		if m.Propagate && stage.Within(target, m.Target) {
			at = i // parents come first: the last one is the nearest
		}
	}
	if at < 0 {
		return "", fmt.Errorf("bind %s: no mount of sandbox %s above it propagates", target, s.spec.ID)
	}
	if s.driver.runtime.gVisor() {
		return "", fmt.Errorf("bind %s: %w: gVisor sees no mounts that are made later", target, sandbox.ErrNoBind)
	}
	t, err := s.driver.open(source, false)
	if err != nil {
		return "", fmt.Errorf("bind %s: %w", target, err)
	}
	rel := "." + strings.TrimPrefix(target, s.spec.Mounts[at].Target)
	s.mu.Lock()
	defer s.mu.Unlock()
	err = stage.ErrClosed
	if !s.closed {
		err = s.onLauncher(func() error {
			b, err := s.stage.Bind(at, path.Clean(rel), t)
			if err == nil {
				s.bounds = append(s.bounds, b)
			}
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("bind %s: %w", target, errors.Join(err, t.Close()))
	}
	return target, nil
}

// SetLimits changes the limits that the host's control groups hold the tree to.
func (s *running) SetLimits(l sandbox.Limits) error {
	l.Processes = cmp.Or(l.Processes, sandbox.DefaultProcesses)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return stage.ErrClosed
	}
	if err := s.group.SetLimits(groupLimits(l)); err != nil {
		return fmt.Errorf("limit sandbox %s: %w", s.spec.ID, err)
	}
	return nil
}

func (s *running) onLauncher(f func() error) error {
	late := make(chan struct{})
	timer := time.AfterFunc(launcherTimeout, func() { close(late) })
	defer timer.Stop()
	return s.driver.launcher.Until(late, f)
}

// Stdin returns the program's standard input, or nil.
func (s *running) Stdin() io.WriteCloser { return s.io.Stdin() }

// Done is closed when the tree is gone and its output has been read.
func (s *running) Done() <-chan struct{} { return s.done }

// Exit says how the program ended.
func (s *running) Exit() sandbox.Exit {
	<-s.done
	return s.exit
}

// Kill ends the tree.
func (s *running) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
	}
}

// Usage returns what the tree has used so far.
func (s *running) Usage() sandbox.Usage {
	select {
	case <-s.done:
		return s.usage
	default:
		return s.measure()
	}
}

// ResetPeak lets Usage tell the most memory since now, where control groups can.
func (s *running) ResetPeak() bool { return s.group.ResetPeak() }

// Close ends the tree and gives back what it held.
func (s *running) Close() error {
	s.over.Do(func() { s.errEnd = s.release() })
	return s.errEnd
}

func (s *running) release() error {
	if s.waited {
		s.Kill()
		<-s.done
	} else if s.pidfd > 0 { // the start failed
		s.end()
	}
	s.mu.Lock()
	s.closed = true
	bounds := s.bounds
	s.mu.Unlock()
	var errs []error
	if s.made {
		errs = append(errs, s.remove())
	}
	if s.stage != nil {
		errs = append(errs, s.onLauncher(func() error {
			return errors.Join(s.stage.Unbind(bounds), s.removeBundle(), s.stage.Clear())
		}))
	}
	s.io.Close()
	if s.first != nil {
		_ = s.first.Close()
	}
	if s.pidfd > 0 {
		s.driver.guard.Forget(s.pid)
		errs = append(errs, unix.Close(s.pidfd))
	}
	if s.group != nil {
		s.group.Kill() // nothing is there, unless a start failed half-way
		errs = append(errs, s.group.Remove())
	}
	if s.user != nil {
		s.driver.users.give(s.user)
	}
	s.driver.unregister(s.spec.ID)
	return errors.Join(errs...)
}

// remove has the runtime remove what it keeps of the container, which may not exist when a start failed early.
func (s *running) remove() error {
	s.group.Kill()
	r := s.driver.runtime
	log := path.Join(stage.Root, s.spec.ID, "log")
	cmd := exec.Command(r.path, r.remove(stateDir, log, s.spec.ID)...) //nolint:noctx // it has a deadline of its own
	cmd.Env, cmd.Dir = []string{runtimePath}, "/"
	if err := s.onLauncher(cmd.Start); err != nil {
		return fmt.Errorf("run %s: %w", r.path, err)
	}
	late := time.AfterFunc(removeTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		var said []byte
		_ = s.onLauncher(func() error {
			said, _ = os.ReadFile(log)
			return nil
		})
		err = fmt.Errorf("%s: %w", r.kind, complaint(string(said)))
		return errors.Join(err, s.onLauncher(func() error { return ignoreMissing(os.Remove(log)) }))
	}
	return s.onLauncher(func() error { return ignoreMissing(os.Remove(log)) })
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
