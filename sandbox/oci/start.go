package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flint/internal/cgroup"
	"flint/internal/stage"
	"flint/internal/usermap"
	"flint/sandbox"
)

const (
	startTimeout   = 60 * time.Second // of a start whose context has no nearer deadline
	removeTimeout  = 30 * time.Second // of the runtime's removal of a container
	startProcesses = 64               // what the runtime needs itself while it starts a container
	ownProcesses   = 1                // the first process inside
	cpuPeriod      = 100_000          // microseconds
	cpuLeast       = 1_000            // the smallest quota that the kernel takes
)

var errSlowStart = fmt.Errorf("the sandbox did not start within %v", startTimeout)

// Start starts spec.Args in a new sandbox.
func (d *Driver) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	spec, err := sandbox.Check(spec)
	if err != nil {
		return nil, err
	}
	s := &running{driver: d}
	if s.Tree, err = sandbox.NewTree(&d.Host, spec, s); err != nil {
		return nil, err
	}
	defer s.Settle()
	if d.runtime.gVisor() {
		s.NoBind = "gVisor sees no mounts that are made later"
	}
	s.Open = func(source string) (*stage.Tree, error) { return d.open(source, false) }
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errSlowStart)
	defer cancel()
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("start sandbox %s: %w", spec.ID, errors.Join(err, s.Close()))
	}
	return s, nil
}

// start acquires what the sandbox needs, step by step. Close gives back whatever was acquired.
func (s *running) start(ctx context.Context) (err error) {
	d := s.driver
	if s.user, err = d.users.take(); err != nil {
		return err
	}
	if err := s.Join(ctx); err != nil {
		return err
	}
	for _, m := range s.Spec.Mounts {
		if m.Writable {
			if err := usermap.Give(m.Source, s.user.id); err != nil {
				return err
			}
		}
	}
	if s.Group, err = d.Groups.Create(s.Spec.ID, s.startLimits()); err != nil {
		return err
	}
	mounts, err := s.open()
	if err != nil {
		return err
	}
	etc, err := d.etc.Refresh()
	if err != nil {
		return err
	}
	config, err := json.Marshal(s.config(mounts))
	if err != nil {
		return err
	}
	if err := s.IO.Open(s.Spec.Stdin, s.Spec.Stdout != nil); err != nil {
		return err
	}
	inside, err := s.talk()
	if err != nil {
		return err
	}
	defer inside.Close()
	err = d.Launcher.Do(ctx, func() error {
		if err := s.Stage.Set(); err != nil {
			return err
		}
		if err := os.Mkdir(s.bundle(), 0o755); err != nil {
			return err
		}
		if err := skeleton(s.bundle()+"/rootfs", d.system, s.etcLinks(etc), mounts); err != nil {
			return fmt.Errorf("make the root directory: %w", err)
		}
		if err := os.WriteFile(s.bundle()+"/config.json", config, 0o600); err != nil {
			return err
		}
		return s.launch(inside)
	})
	if err != nil {
		return err
	}
	_ = inside.Close()
	if err := s.await(ctx); err != nil {
		return err
	}
	if err := s.letGo(ctx); err != nil {
		return err
	}
	// From here on the sandbox holds its mounts itself. The bundle stays: the root directory is in it.
	if err := d.Launcher.Do(ctx, s.Stage.Strike); err != nil {
		return err
	}
	s.Follow()
	return nil
}

// open copies the mounts at the spec's sources and returns all mounts of the sandbox, parents before what lies on them.
func (s *running) open() ([]mount, error) {
	mounts := append([]mount(nil), s.driver.fixed...)
	var sources []*stage.Source
	for _, m := range s.Spec.Mounts {
		info, err := os.Stat(m.Source)
		var t *stage.Tree
		if err == nil {
			// Bind makes directories below those that are shared. The sandbox's view of them is its own.
			t, err = s.driver.open(m.Source, m.Writable || m.Propagate)
		}
		if err != nil {
			for _, src := range sources {
				err = errors.Join(err, src.Close())
			}
			return nil, err
		}
		src := stage.NewSource(t, m.Propagate)
		if !m.Writable && !s.driver.weak.Writable {
			src.ReadOnly()
		}
		sources = append(sources, src)
		mounts = append(mounts, mount{target: m.Target, dir: info.IsDir(), shared: m.Propagate})
	}
	s.Stage = stage.New(s.driver.rooms, s.Spec.ID, sources)
	for i := range s.Spec.Mounts {
		mounts[len(s.driver.fixed)+i].source = s.Stage.Path(i)
	}
	return mounts, nil
}

func (s *running) bundle() string { return path.Join(stage.Root, s.Spec.ID, "bundle") }

// talk makes the connection to the first process inside.
func (s *running) talk() (inside *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	inside = os.NewFile(uintptr(pair[1]), "inside")
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, errors.Join(err, inside.Close(), unix.Close(pair[0]))
	}
	s.first = os.NewFile(uintptr(pair[0]), "first")
	return inside, nil
}

// launch forks the runtime, on the launcher's thread.
func (s *running) launch(inside *os.File) error {
	d := s.driver
	files := []*os.File{inside}
	if leak := d.weak.Leak; leak != nil {
		files = append(files, leak, leak) // the first process inside uses the number of the first for itself
	}
	args := d.runtime.run(stateDir, s.bundle(), s.Spec.ID, len(files), s.Spec.Network)
	cmd := exec.Command(d.runtime.path, args...) //nolint:noctx // await ends it with the start
	cmd.Env, cmd.Dir = []string{runtimePath}, "/"
	cmd.ExtraFiles = files
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.IO.Theirs[0], s.IO.Theirs[1], s.IO.Theirs[2]
	// Without the groups of the user that Flint runs as: they would open the files of those groups.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}}
	run := cmd.Start
	if !d.runtime.joinsGroups() {
		run = func() error { return s.Group.Spawn(cmd.SysProcAttr, cmd.Start) }
	}
	var err error
	if s.Network != nil {
		err = s.Network.Start(cmd, run) // the configuration names no namespace, so that the sandbox stays in that of the runtime
	} else {
		err = run()
	}
	s.IO.CloseTheirs()
	if err != nil {
		return fmt.Errorf("run %s: %w", d.runtime.path, err)
	}
	s.starter, s.made = cmd, true
	return nil
}

// await waits for the runtime, which leaves the container behind, and learns the container's first process.
func (s *running) await(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.starter.Process.Kill() })
	err := s.starter.Wait()
	stop()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var pid, log []byte
	read := s.driver.Launcher.Do(ctx, func() error {
		pid, _ = os.ReadFile(s.bundle() + "/pid") // missing when it failed
		log, _ = os.ReadFile(s.bundle() + "/log")
		return nil
	})
	if read != nil {
		return read
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.driver.runtime.kind, complaint(string(log)+s.complaints()))
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		return fmt.Errorf("%s named no process: %w", s.driver.runtime.kind, err)
	}
	s.First, err = s.driver.Guard.Follow(number)
	return err
}

// complaints are what the runtime wrote where the program would write.
func (s *running) complaints() string {
	var b bytes.Buffer
	_ = s.IO.Ours[2].SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = b.ReadFrom(limited(s.IO.Ours[2]))
	return b.String()
}

// letGo sets the limits that the runtime could not have worked under, and lets the program run.
func (s *running) letGo(ctx context.Context) error {
	if !s.driver.weak.Limits {
		if err := s.Group.SetLimits(s.GroupLimits(s.Spec.Limits)); err != nil {
			return fmt.Errorf("limit the sandbox: %w", err)
		}
		if !s.driver.Groups.Has(cgroup.Processes) {
			most := uint64(max(0, s.Spec.Limits.Processes+ownProcesses))
			if err := unix.Prlimit(s.First.Pid, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
				return fmt.Errorf("limit the sandbox: %w", err)
			}
		}
	}
	deadline, _ := ctx.Deadline()
	if err := s.first.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := s.first.WriteString(start(s.Spec.Env)); err != nil {
		return fmt.Errorf("let the sandbox run: %w", err)
	}
	raw, err := s.first.SyscallConn()
	if err != nil {
		return err
	}
	var shut error
	if err := raw.Control(func(fd uintptr) { shut = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
		return err
	}
	return shut
}

// startLimits are those under which the runtime works.
func (s *running) startLimits() cgroup.Limits {
	if s.driver.weak.Limits {
		return cgroup.Limits{}
	}
	l := s.GroupLimits(s.Spec.Limits)
	l.Processes += startProcesses
	return l
}
