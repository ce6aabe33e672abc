package bubblewrap

import (
	"cmp"
	"encoding/json"
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
	"flint/internal/network"
	"flint/internal/stage"
	"flint/internal/stdio"
	"flint/internal/usermap"
	"flint/sandbox"
)

const (
	endTimeout      = 10 * time.Second // for the kernel to end what was killed
	outputTimeout   = 5 * time.Second  // for output after that; only a descriptor that left the sandbox needs it
	launcherTimeout = 10 * time.Second // for a turn on the launcher's thread
	exitSignal      = 128              // and the signal's number: how bubblewrap tells that a signal ended the program
	exitNoProgram   = 127
)

// running is one sandbox. Two goroutines copy its output and one waits for its end; done is closed after all three.
type running struct {
	driver  *Driver
	spec    sandbox.Spec
	settled chan struct{} // closed when Start has returned

	// Set by Start, in this order, as far as it comes.
	user    *user
	network *network.Network // nil when it is bubblewrap's or the host's
	group   *cgroup.Group
	stage   *stage.Stage
	io      stdio.Pipes
	status  *os.File
	reports *json.Decoder
	cmd     *exec.Cmd
	pid     int // of the first process inside, whose end is the end of all
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

// own gives the writable sources to the sandbox's user.
func (s *running) own() error {
	if s.user == nil {
		return nil
	}
	for _, m := range s.spec.Mounts {
		if m.Writable {
			if err := usermap.Give(m.Source, int(s.user.id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow starts the goroutines that accompany the sandbox to its end.
func (s *running) follow() {
	s.io.Copy(s.spec.Stdout, s.spec.Stderr)
	s.waited = true
	go s.wait()
}

func (s *running) wait() {
	defer close(s.done)
	_ = s.cmd.Wait() // what it says is read from the state
	s.end()
	s.io.Wait(time.Now().Add(outputTimeout))
	s.usage = s.measure()
	s.exit = s.verdict()
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

// verdict says how the program ended.
func (s *running) verdict() sandbox.Exit {
	e := sandbox.Exit{OutOfMemory: s.group.OutOfMemory() > 0}
	state, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		e.Code = s.cmd.ProcessState.ExitCode()
	case state.Signaled():
		e.Signal = state.Signal()
	case state.ExitStatus() > exitSignal && state.ExitStatus() <= exitSignal+64:
		e.Signal = syscall.Signal(state.ExitStatus() - exitSignal)
	default:
		e.Code = state.ExitStatus()
	}
	if e.Code == 1 && !s.ran() {
		e.Code = exitNoProgram
	}
	return e
}

// ran says whether the program ran at all: bubblewrap reports an exit code only then.
func (s *running) ran() bool {
	_ = s.status.SetReadDeadline(time.Now().Add(time.Second)) // all who could write are gone
	for {
		var report struct {
			Exit *int `json:"exit-code"`
		}
		if s.reports.Decode(&report) != nil {
			return false
		}
		if report.Exit != nil {
			return true
		}
	}
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
	if s.stage == nil {
		return "", fmt.Errorf("bind %s: %w: %s", target, sandbox.ErrNoBind, s.driver.noRooms)
	}
	t, err := stage.OpenTree(source, false, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
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
func (s *running) Stdin() io.WriteCloser {
	return s.io.Stdin()
}

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
	} else if s.cmd != nil { // the start failed
		s.slay()
		_ = s.cmd.Wait()
		if s.pidfd > 0 {
			s.end()
		}
	}
	s.mu.Lock()
	s.closed = true
	bounds := s.bounds
	s.mu.Unlock()
	var errs []error
	if s.stage != nil {
		errs = append(errs, s.onLauncher(func() error {
			return errors.Join(s.stage.Unbind(bounds), s.stage.Clear())
		}))
	}
	s.io.Close()
	if s.status != nil {
		_ = s.status.Close()
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
	if s.network != nil {
		s.network.Close()
	}
	s.driver.unregister(s.spec.ID)
	return errors.Join(errs...)
}

// slay kills bubblewrap and its child while it starts. The child first: it would go on alone.
func (s *running) slay() {
	pid := strconv.Itoa(s.cmd.Process.Pid)
	if b, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children"); err == nil {
		for child := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		}
	}
	s.group.Kill()
	_ = s.cmd.Process.Kill()
}
