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
	"os"
	"os/exec"
	"path/filepath"
	"strings"

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
	sandbox.Host
	program string
	version string
	runDir  string
	owned   bool         // runDir was made here
	users   *users       // nil when sandboxes run as the user that Flint runs as
	noUsers string       // why
	refused error        // why no sandbox is started at all
	rooms   *stage.Rooms // nil when the host allows no mount namespace without a user namespace
	noRooms string       // why
	filter  []byte
	base    *rootfs.Etc
	view    view
}

var _ sandbox.Driver = (*Driver)(nil)

// New finds out what the host offers and returns a driver that uses all of it. The error says that bubblewrap is
// missing; what else is missing Findings says. The caller closes the driver.
func New(cfg Config) (_ *Driver, err error) {
	d := &Driver{runDir: cfg.RunDir, Host: sandbox.Host{Log: cfg.Logger, Overhead: ownProcesses}}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
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
	if d.version, err = sandbox.Ask(d.program); err != nil {
		return nil, err
	}
	d.version = strings.TrimPrefix(d.version, "bubblewrap ")
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
	d.Groups = cgroup.Open()
	if err := d.Groups.Clean(); err != nil {
		d.Log.Warn("stale control groups stay", slog.Any("err", err))
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
		if d.Guard, err = guard.New(d.Log); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	d.connect(cfg.Network)
	return d, nil
}

// prepare starts the launcher and tries what needs privileges.
func (d *Driver) prepare(first uint32) {
	etc, err := stage.OpenTree(d.base.Dir(), false, 0)
	d.Launcher, err = stage.NewLauncher(func() error {
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

func hasSeccomp() bool {
	b, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	return err == nil && strings.Contains(string(b), "kill_process")
}

// Close closes the sandboxes that still run and gives back what the driver holds.
func (d *Driver) Close() error {
	first, err := d.End()
	if !first {
		return nil
	}
	errs := []error{err}
	d.Launcher.Close()
	if d.rooms != nil {
		d.rooms.Close()
	}
	if d.users != nil {
		d.users.close()
	}
	errs = append(errs, d.Groups.Close())
	if d.owned {
		errs = append(errs, os.RemoveAll(d.runDir))
	}
	return errors.Join(errs...)
}
