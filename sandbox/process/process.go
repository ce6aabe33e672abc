// Package process is the sandbox driver without a sandbox: plain processes in sessions of their own, for development on
// hosts that have nothing better. It isolates nothing.
//
// There is no other view of the file system either. The targets of a spec's mounts are replaced by their sources
// wherever they begin a path in the arguments, the environment and the working directory; what a program composes by
// itself from other sources it does not find.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flint/sandbox"
)

// outputTimeout is how long output is awaited from a descendant that left the session, when the rest is gone.
const outputTimeout = 2 * time.Second

// Driver starts plain processes.
type Driver struct{}

var _ sandbox.Driver = (*Driver)(nil)

// New returns a driver.
func New() *Driver { return &Driver{} }

// Findings says that there is no isolation.
func (*Driver) Findings(context.Context) []sandbox.Finding {
	return []sandbox.Finding{{
		Layer: "sandbox",
		Detail: "NO ISOLATION AT ALL: functions run as plain processes of the user that Flint runs as. They can read and " +
			"change all that this user can, each other's secrets included, and no limit holds. Run only code that you wrote",
	}}
}

// Start starts spec.Args.
func (*Driver) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if len(spec.Args) == 0 {
		return nil, fmt.Errorf("start sandbox %s: there is no program to run", spec.ID)
	}
	tr := newTranslation(spec.Mounts)
	s := &running{done: make(chan struct{})}
	s.cmd = &exec.Cmd{
		Dir: tr.apply(cmp.Or(spec.Dir, "/")), Env: []string{}, // empty is not nil, which would be Flint's own
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	for _, a := range spec.Args {
		s.cmd.Args = append(s.cmd.Args, tr.apply(a))
	}
	for _, e := range spec.Env {
		k, v, _ := strings.Cut(e, "=")
		s.cmd.Env = append(s.cmd.Env, k+"="+tr.apply(v))
	}
	var err error
	if s.cmd.Path, err = lookPath(s.cmd.Args[0], s.cmd.Env, s.cmd.Dir); err == nil {
		err = s.start(spec)
	}
	if err != nil {
		return nil, fmt.Errorf("start sandbox %s: %w", spec.ID, err)
	}
	return s, nil
}

// lookPath finds the program on the PATH that it will see.
func lookPath(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	var list string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	for _, d := range filepath.SplitList(cmp.Or(list, "/usr/bin:/bin")) {
		file := filepath.Join(cmp.Or(d, dir), name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// running is one process with what it started. Two goroutines copy its output, one waits for its end.
type running struct {
	cmd    *exec.Cmd
	stdin  *os.File
	out    []*os.File
	copies sync.WaitGroup
	done   chan struct{}
	exit   sandbox.Exit // final when done is closed
	usage  sandbox.Usage

	mu     sync.Mutex
	reaped bool // the process id may mean another process
}

func (s *running) start(spec sandbox.Spec) (err error) {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			for _, f := range append(s.out, s.stdin) {
				if f != nil {
					_ = f.Close()
				}
			}
		}
	}()
	if spec.Stdin {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		theirs, s.stdin = append(theirs, r), w
		s.cmd.Stdin = r
	}
	var to []io.Writer
	for i, w := range []io.Writer{spec.Stdout, spec.Stderr} {
		if w == nil {
			continue
		}
		r, p, err := os.Pipe()
		if err != nil {
			return err
		}
		theirs, s.out, to = append(theirs, p), append(s.out, r), append(to, w)
		if i == 0 {
			s.cmd.Stdout = p
		} else {
			s.cmd.Stderr = p
		}
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	var one sync.Mutex // serialises both: they may be the same writer
	for i, from := range s.out {
		s.copies.Go(func() {
			_, _ = io.Copy(&serial{to: to[i], mu: &one}, from)
			_, _ = io.Copy(io.Discard, from) // a writer that fails must not block the process
		})
	}
	go s.wait()
	return nil
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

func (s *running) wait() {
	defer close(s.done)
	pid := s.cmd.Process.Pid
	for {
		// The dead process is left unburied, so that its id still names the group that is to follow it.
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	s.mu.Lock()
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	_ = s.cmd.Wait() // what it says is read from the state
	s.reaped = true
	s.mu.Unlock()
	for _, f := range s.out {
		_ = f.SetReadDeadline(time.Now().Add(outputTimeout))
	}
	s.copies.Wait()
	for _, f := range s.out {
		_ = f.Close()
	}
	s.usage.CPU = s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
	if r, ok := s.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.usage.PeakMemory = r.Maxrss << 10
	}
	s.exit.Code = max(0, s.cmd.ProcessState.ExitCode())
	if w, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		s.exit.Signal = w.Signal()
	}
}

// Bind returns source: the process sees the host as it is.
func (s *running) Bind(source, target string) (string, error) {
	if _, err := os.Stat(source); err != nil {
		return "", fmt.Errorf("bind %s: %w", target, err)
	}
	return source, nil
}

// SetLimits does nothing: no limit holds here.
func (s *running) SetLimits(sandbox.Limits) error { return nil }

// Stdin returns the process's standard input, or nil.
func (s *running) Stdin() io.WriteCloser {
	if s.stdin == nil {
		return nil
	}
	return s.stdin
}

// Done is closed when the process and its group are gone.
func (s *running) Done() <-chan struct{} { return s.done }

// Exit says how the process ended.
func (s *running) Exit() sandbox.Exit {
	<-s.done
	return s.exit
}

// Kill ends the process group.
func (s *running) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reaped {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// Usage is known when the process has ended.
func (s *running) Usage() sandbox.Usage {
	select {
	case <-s.done:
		return s.usage
	default:
		return sandbox.Usage{}
	}
}

// Close ends the process group.
func (s *running) Close() error {
	s.Kill()
	<-s.done
	if s.stdin != nil {
		_ = s.stdin.Close() // the user of Stdin may have closed it
	}
	return nil
}

// translation replaces the targets of mounts by their sources.
type translation []sandbox.Mount

func newTranslation(mounts []sandbox.Mount) translation {
	t := slices.Clone(mounts)
	for i := range t {
		t[i].Target = path.Clean(t[i].Target)
	}
	slices.SortStableFunc(t, func(a, b sandbox.Mount) int { return cmp.Compare(len(b.Target), len(a.Target)) })
	return t
}

// apply translates the paths that s, or a part of it behind a colon or an equals sign, begins with.
func (t translation) apply(s string) string {
	var b strings.Builder
	for start := true; s != ""; {
		if start {
			if source, rest, ok := t.match(s); ok {
				b.WriteString(source)
				s, start = rest, false
				continue
			}
		}
		start = s[0] == ':' || s[0] == '='
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}

func (t translation) match(s string) (source, rest string, ok bool) {
	for _, m := range t {
		if rest, ok := strings.CutPrefix(s, m.Target); ok && (rest == "" || strings.ContainsRune("/:", rune(rest[0]))) {
			return m.Source, rest, true
		}
	}
	return "", s, false
}
