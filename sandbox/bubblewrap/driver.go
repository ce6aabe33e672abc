// Package bubblewrap is the sandbox driver that Flint uses on Linux: namespaces made by the bubblewrap program, a user
// of the host for each sandbox, a system call filter and control groups.
//
// One thread forks all sandboxes and lives as long as the [Driver]; where the host allows it, that thread has a mount
// namespace of its own, in which the sandboxes' sources are staged and through which [sandbox.Sandbox.Bind] mounts into
// sandboxes that run. Nothing of that shows on the host, and all of it ends with the process, however it ends.
package bubblewrap

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"flint/internal/cgroup"
	"flint/internal/guard"
	"flint/internal/network"
	"flint/internal/rootfs"
	"flint/internal/seccomp"
	"flint/internal/stage"
	"flint/internal/stdio"
	"flint/internal/usermap"
	"flint/sandbox"
)

// Config configures a Driver.
type Config struct {
	Bubblewrap string // path of the program; it is looked for on PATH when empty
	RunDir     string // a directory of the driver's own; a temporary one when empty
	FirstUser  uint32 // the first of the host's user ids that sandboxes run as; 1,000,000,000 when 0
	// Network configures the networks of sandboxes that have one of their own; nil: none has, beside a bare loopback.
	Network *network.Config
	Logger  *slog.Logger // discards when nil
}

// Driver starts sandboxes with bubblewrap.
type Driver struct {
	program  string
	version  string
	runDir   string
	owned    bool // runDir was made here
	log      *slog.Logger
	groups   *cgroup.Manager
	launcher *stage.Launcher
	users    *users       // nil when sandboxes run as the user that Flint runs as
	noUsers  string       // why
	refused  error        // why no sandbox is started at all
	rooms    *stage.Rooms // nil when the host allows no mount namespace without a user namespace
	noRooms  string       // why
	guard    *guard.Guard // nil when the kernel ends the sandboxes with this process
	networks networks     // nil when sandboxes have no network of their own
	noNets   string       // why
	filter   []byte
	base     *rootfs.Etc
	tries    atomic.Uint64 // sandboxes that Findings ran
	view     view

	mu     sync.Mutex
	closed bool
	live   map[string]*running // those that are not closed
}

var _ sandbox.Driver = (*Driver)(nil)

// New finds out what the host offers and returns a driver that uses all of it. The error says that bubblewrap is
// missing; what else is missing Findings says. The caller closes the driver.
func New(cfg Config) (_ *Driver, err error) {
	d := &Driver{runDir: cfg.RunDir, log: cfg.Logger, live: map[string]*running{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := stdio.KeepInherited(); err != nil {
		return nil, err
	}
	if d.program, err = exec.LookPath(cmp.Or(cfg.Bubblewrap, "bwrap")); err != nil {
		return nil, fmt.Errorf("find bubblewrap (on Debian: apt-get install bubblewrap): %w", err)
	}
	if d.program, err = filepath.Abs(d.program); err != nil {
		return nil, err
	}
	if d.version, err = version(d.program); err != nil {
		return nil, err
	}
	if d.filter, err = seccomp.Filter(); err != nil {
		return nil, err
	}
	if !hasSeccomp() {
		d.filter = nil
	}
	if d.runDir == "" {
		if d.runDir, err = os.MkdirTemp("", "flint-sandbox-"); err != nil {
			return nil, err
		}
		d.owned = true
	}
	if d.base, err = rootfs.OpenEtc(filepath.Join(d.runDir, "etc")); err != nil {
		return nil, fmt.Errorf("prepare the sandboxes' /etc: %w", err)
	}
	d.groups = cgroup.Open()
	if err := d.groups.Clean(); err != nil {
		d.log.Warn("stale control groups stay", slog.Any("err", err))
	}
	d.view.System, d.view.masks = rootfs.Look(), findMasks()
	// The launcher is started here, not by the first sandbox, because what its thread may do decides how all start.
	d.prepare(cmp.Or(cfg.FirstUser, firstUser))
	if d.users == nil {
		uidMap, err := os.ReadFile("/proc/self/uid_map")
		if err != nil || usermap.HostRoot(string(uidMap), os.Geteuid()) {
			// Root needs no capability to write the kernel's settings in /proc, so that no namespace would hold it.
			d.refused = fmt.Errorf("sandboxes would run as root of the host, which is no isolation: run Flint as another user, "+
				"or let it give each sandbox a user of its own (%s)", d.noUsers)
		}
	}
	if d.users != nil {
		if d.guard, err = guard.New(d.log); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	d.connect(cfg.Network)
	return d, nil
}

// prepare starts the launcher and tries what needs privileges.
func (d *Driver) prepare(first uint32) {
	etc, err := stage.OpenTree(d.base.Dir(), false, 0)
	d.launcher, err = stage.NewLauncher(func() error {
		if err != nil {
			return err
		}
		r, err := stage.NewRooms(d.program)
		if err != nil {
			return err
		}
		s := stage.New(r, ".etc", []*stage.Source{stage.NewSource(etc, false)})
		d.rooms, d.view.etc = r, s.Path(0)
		return s.Set()
	})
	if etc != nil {
		_ = etc.Close()
	}
	if err != nil {
		if d.rooms != nil {
			d.rooms.Close()
		}
		d.rooms, d.view.etc = nil, d.base.Dir()
		d.noRooms, d.noUsers = err.Error(), err.Error()
		return
	}
	if d.users, err = newUsers(first); err != nil {
		d.users, d.noUsers = nil, err.Error()
	}
}

func version(program string) (string, error) {
	cmd := exec.Command(program, "--version") //nolint:noctx // it has a deadline of its own
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(out.String(), "bubblewrap ")), nil
}

func hasSeccomp() bool {
	b, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	return err == nil && strings.Contains(string(b), "kill_process")
}

// register notes a sandbox that is being started. Its id is taken until unregister.
func (d *Driver) register(id string, s *running) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return stage.ErrClosed
	}
	if _, taken := d.live[id]; taken {
		return fmt.Errorf("sandbox id %q is taken", id)
	}
	d.live[id] = s
	return nil
}

func (d *Driver) unregister(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.live, id)
}

// Close closes the sandboxes that still run and gives back what the driver holds.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	left := slices.Collect(maps.Values(d.live))
	d.mu.Unlock()
	var errs []error
	for _, s := range left {
		<-s.settled // a start that is under way ends within its deadline
		errs = append(errs, s.Close())
	}
	errs = append(errs, d.guard.Close())
	if d.networks != nil {
		errs = append(errs, d.networks.Close())
	}
	d.launcher.Close()
	if d.rooms != nil {
		d.rooms.Close()
	}
	if d.users != nil {
		d.users.close()
	}
	errs = append(errs, d.groups.Close())
	if d.owned {
		errs = append(errs, os.RemoveAll(d.runDir))
	}
	return errors.Join(errs...)
}
