package bubblewrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flint/internal/cgroup"
	"flint/internal/stage"
	"flint/sandbox"
)

// startTimeout bounds a start whose context has no nearer deadline.
const startTimeout = 30 * time.Second

// ownProcesses is bubblewrap's share of a sandbox's processes: the one that watches it and the first inside.
const ownProcesses = 2

var errSlowStart = fmt.Errorf("the sandbox did not start within %v", startTimeout)

// Start starts spec.Args in a new sandbox.
func (d *Driver) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if d.refused != nil {
		return nil, d.refused
	}
	spec, err := check(spec)
	if err != nil {
		return nil, err
	}
	s := &running{driver: d}
	if s.Tree, err = sandbox.NewTree(&d.Host, spec, s); err != nil {
		return nil, err
	}
	defer s.Settle()
	s.NoBind = d.noRooms
	s.Open = func(source string) (*stage.Tree, error) {
		return stage.OpenTree(source, false, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errSlowStart)
	defer cancel()
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("start sandbox %s: %w", spec.ID, errors.Join(err, s.Close()))
	}
	return s, nil
}

// start acquires what the sandbox needs, step by step. Close gives back whatever was acquired.
func (s *running) start(ctx context.Context) (err error) {
	d := s.driver
	if d.users != nil {
		if s.user, err = d.users.take(); err != nil {
			return err
		}
	}
	if err := s.Join(ctx); err != nil {
		return err
	}
	if err := s.own(); err != nil {
		return err
	}
	if s.Group, err = d.Groups.Create(s.Spec.ID, s.GroupLimits(s.Spec.Limits)); err != nil {
		return err
	}
	source := func(i int) string { return s.Spec.Mounts[i].Source }
	if d.rooms != nil {
		sources, err := openSources(s.Spec.Mounts)
		if err != nil {
			return err
		}
		s.Stage = stage.New(d.rooms, s.Spec.ID, sources)
		source = s.Stage.Path
	}
	v := d.view
	if v.files, err = d.base.Refresh(); err != nil {
		return err
	}
	l, err := s.prepare(options(s.Spec, v, source))
	if err != nil {
		return err
	}
	defer l.close()
	if err := d.Launcher.Do(ctx, func() error { return s.launch(l) }); err != nil {
		return err
	}
	if err := s.letGo(ctx, l); err != nil {
		return err
	}
	if s.Stage != nil {
		// From here on the sandbox holds its mounts itself.
		if err := d.Launcher.Do(ctx, s.Stage.Strike); err != nil {
			return err
		}
	}
	s.Follow()
	return nil
}

// openSources copies the mounts at the sources, as the host shows them.
func openSources(mounts []sandbox.Mount) ([]*stage.Source, error) {
	var out []*stage.Source
	for _, m := range mounts {
		t, err := stage.OpenTree(m.Source, true, 0)
		if err != nil {
			for _, s := range out {
				err = errors.Join(err, s.Close())
			}
			return nil, err
		}
		out = append(out, stage.NewSource(t, m.Propagate))
	}
	return out, nil
}

// launch is what Flint holds of a bubblewrap process while it starts.
type launch struct {
	theirs []*os.File // given to the process
	block  *os.File   // lets the sandbox wait for what Flint does to it from outside
	args   []string
}

func (l *launch) close() {
	l.closeTheirs()
	if l.block != nil {
		_ = l.block.Close()
	}
}

func (l *launch) closeTheirs() {
	for _, f := range l.theirs {
		_ = f.Close()
	}
	l.theirs = nil
}

// give adds a descriptor to those that the process inherits and returns its number there.
func (l *launch) give(f *os.File) string {
	l.theirs = append(l.theirs, f)
	return strconv.Itoa(2 + len(l.theirs))
}

// prepare makes the command and the descriptors that it talks to Flint through.
func (s *running) prepare(opts []string) (_ *launch, err error) {
	l := &launch{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if s.user != nil {
		// A copy, because launch closes what it gave.
		fd, err := unix.FcntlInt(s.user.space.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		space := l.give(os.NewFile(uintptr(fd), "userns"))
		// Named twice, because bubblewrap leaves the first open in the program and closes the second there.
		l.args = append(l.args, "--userns", space, "--sync-fd", space)
	} else {
		l.args = append(l.args, "--unshare-user")
	}
	l.args = append(l.args, "--uid", strconv.Itoa(insideID), "--gid", strconv.Itoa(insideID))
	status, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.status = status
	l.args = append(l.args, "--json-status-fd", l.give(w))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	l.args = append(l.args, "--block-fd", l.give(os.NewFile(uintptr(pair[1]), "block")))
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, errors.Join(err, unix.Close(pair[0]))
	}
	l.block = os.NewFile(uintptr(pair[0]), "block")
	if s.driver.filter != nil {
		f, err := memory("seccomp", s.driver.filter)
		if err != nil {
			return nil, err
		}
		l.args = append(l.args, "--seccomp", l.give(f))
	}
	f, err := memory("options", []byte(strings.Join(opts, "\x00")+"\x00"))
	if err != nil {
		return nil, err
	}
	// Options that are read from a file show in no list of processes, here or inside.
	l.args = append(append(l.args, "--args", l.give(f), "--"), s.Spec.Args...)
	return l, s.IO.Open(s.Spec.Stdin, s.Spec.Stdout != nil)
}

// memory returns an anonymous file with text, open at its start.
func memory(name string, text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(text); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// launch forks bubblewrap, on the launcher's thread.
func (s *running) launch(l *launch) error {
	if s.Stage != nil {
		if err := s.Stage.Set(); err != nil {
			return err
		}
	}
	cmd := exec.Command(s.driver.program, l.args...) //nolint:noctx // it ends when the sandbox is closed
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.ExtraFiles = l.theirs
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.IO.Theirs[0], s.IO.Theirs[1], s.IO.Theirs[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.user != nil {
		// Without the groups of the user that Flint runs as: they would open the files of those groups.
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	}
	spawn := func() error { return s.Group.Spawn(cmd.SysProcAttr, cmd.Start) }
	var err error
	if s.Network != nil {
		err = s.Network.Start(cmd, spawn)
	} else {
		err = spawn()
	}
	l.closeTheirs()
	s.IO.CloseTheirs()
	if cmd.Process != nil {
		s.cmd = cmd
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", s.driver.program, err)
	}
	return nil
}

// letGo learns the process id of the sandbox, sets what has to be set from outside and lets the program run.
func (s *running) letGo(ctx context.Context, l *launch) error {
	stop := context.AfterFunc(ctx, s.slay) // everything below ends with the processes
	defer stop()
	fail := func(what string, err error) error {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	if s.Network != nil {
		if err := s.Network.Ready(ctx); err != nil {
			return fail("set up", err)
		}
	}
	var first struct {
		Pid int `json:"child-pid"`
	}
	s.reports = json.NewDecoder(s.status)
	if err := s.reports.Decode(&first); err != nil {
		return fail("set up", s.complaint(err))
	}
	var err error
	if s.First, err = s.driver.Guard.Follow(first.Pid); err != nil {
		return fail("set up", err)
	}
	if err := s.limit(); err != nil {
		return fail("limit the sandbox", err)
	}
	if _, err := l.block.Write([]byte{1}); err != nil {
		return fail("let the sandbox run", s.complaint(err))
	}
	// The sandbox takes that byte when all of it stands. It closes its end then, or earlier, when it fails: the byte is
	// still there in that case, and the kernel says so.
	if _, err := l.block.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fail("set up", s.complaint(err))
	}
	return nil
}

// limit sets the limits that hold for each process. The program inherits them from the process that waits to run it.
func (s *running) limit() error {
	set := func(resource int, most uint64) error {
		var now unix.Rlimit
		if err := unix.Prlimit(s.First.Pid, resource, nil, &now); err != nil {
			return err
		}
		most = min(most, now.Max) // raising it takes a privilege
		return unix.Prlimit(s.First.Pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil)
	}
	l := s.Spec.Limits
	errs := []error{set(unix.RLIMIT_NOFILE, uint64(max(0, l.Files))), set(unix.RLIMIT_CORE, 0)}
	if l.FileSize > 0 {
		errs = append(errs, set(unix.RLIMIT_FSIZE, uint64(l.FileSize)))
	}
	if !s.driver.Groups.Has(cgroup.Processes) {
		errs = append(errs, set(unix.RLIMIT_NPROC, uint64(max(0, l.Processes+ownProcesses))))
	}
	return errors.Join(errs...)
}

// complaint returns what bubblewrap wrote about its failure, or err when it wrote nothing. The program has not run, so
// that the words are bubblewrap's.
func (s *running) complaint(err error) error {
	s.slay()
	_ = s.IO.Ours[2].SetReadDeadline(time.Now().Add(time.Second))
	text, _ := io.ReadAll(io.LimitReader(s.IO.Ours[2], 4<<10))
	if say := strings.TrimPrefix(strings.TrimSpace(string(text)), "bwrap: "); say != "" {
		return errors.New(say)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("bubblewrap ended without a word")
	}
	return err
}
