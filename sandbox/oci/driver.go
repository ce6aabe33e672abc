// Package oci is the sandbox driver for OCI runtimes: runc, crun, or runsc, which is gVisor. It gives them the same
// profile that the bubblewrap driver has: namespaces, a user of the host for each sandbox, no capabilities, the system
// call filter, control groups.
//
// Bundles, and all that a runtime writes down about its containers, lie in a mount namespace that ends with the process;
// see package stage. Control groups of a node that was killed are removed by the next one.
package oci

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"flint/internal/cgroup"
	"flint/internal/guard"
	"flint/internal/network"
	"flint/internal/rootfs"
	"flint/internal/stage"
	"flint/internal/stdio"
	"flint/sandbox"
)

// Config configures a Driver.
type Config struct {
	Runtime   string // path or name of the program; runc, crun and runsc are looked for on PATH when empty
	RunDir    string // a directory of the driver's own; a temporary one when empty
	FirstUser uint32 // the first of the host's user ids that sandboxes run as; 1,000,000,000 when 0
	// Network configures the networks of sandboxes that have one of their own; nil: none has, beside a bare loopback.
	Network *network.Config
	Logger  *slog.Logger // discards when nil
	// Weak takes protections away. Only tests set it, those that have to see attacks succeed.
	Weak Weakness
}

// Weakness is what is wrong with the sandboxes of a test.
type Weakness struct {
	Spec     func(*specs.Spec) // changes what the runtime reads
	Leak     *os.File          // a descriptor that the program inherits
	Writable bool              // what is to be read-only can be written
	Limits   bool              // no limits are set
}

// Driver starts sandboxes with an OCI runtime.
type Driver struct {
	sandbox.Host
	runtime ociRuntime
	runDir  string
	owned   bool     // runDir was made here
	others  []string // where runtimes make groups that groups does not know
	rooms   *stage.Rooms
	users   *users
	profile *specs.LinuxSeccomp // nil when the kernel has no filters
	etc     *rootfs.Etc
	system  rootfs.System
	fixed   []mount // of the system: in every sandbox
	weak    Weakness
}

var _ sandbox.Driver = (*Driver)(nil)

// stateDir is where runtimes keep what they know of their containers.
const stateDir = stage.Root + "/.state"

// New finds a runtime and prepares what all sandboxes share. It needs the privileges of root: the error says what is
// missing. The caller closes the driver.
func New(cfg Config) (_ *Driver, err error) {
	d := &Driver{runDir: cfg.RunDir, Host: sandbox.Host{Log: cfg.Logger, Overhead: ownProcesses}, weak: cfg.Weak}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if err := stdio.KeepInherited(); err != nil {
		return nil, err
	}
	if d.runtime, err = findRuntime(cfg.Runtime); err != nil {
		return nil, err
	}
	if d.users, err = newUsers(cmp.Or(cfg.FirstUser, firstUser)); err != nil {
		return nil, fmt.Errorf("users for sandboxes: %w", err)
	}
	if hasSeccomp() && !d.runtime.gVisor() {
		if d.profile, err = profile(); err != nil {
			return nil, err
		}
	}
	if d.runDir == "" {
		if d.runDir, err = os.MkdirTemp("", "flint-sandbox-"); err != nil {
			return nil, err
		}
		d.owned = true
	}
	if d.etc, err = rootfs.OpenEtc(filepath.Join(d.runDir, "etc")); err != nil {
		return nil, fmt.Errorf("prepare the sandboxes' /etc: %w", err)
	}
	d.system = rootfs.Look()
	d.Groups = cgroup.Open()
	d.others = d.Groups.Others()
	if err := d.Groups.Clean(); err != nil {
		d.Log.Warn("stale control groups stay", slog.Any("err", err))
	}
	cgroup.CleanOthers(d.others)
	if d.Launcher, err = stage.NewLauncher(d.furnish); err != nil {
		err = fmt.Errorf("sandboxes of OCI runtimes need the privileges of root (bubblewrap does without): %w", err)
		return nil, errors.Join(err, d.Close())
	}
	if d.Guard, err = guard.New(d.Log); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.connect(cfg.Network)
	return d, nil
}

// furnish runs on the launcher's thread before everything else. It mounts on the stage what all sandboxes see.
func (d *Driver) furnish() (err error) {
	dirs := append(slices.Clone(d.system.Dirs), d.etc.Dir())
	targets := append(slices.Clone(d.system.Dirs), rootfs.Inside)
	var sources []*stage.Source
	for i, dir := range dirs {
		t, err := d.open(dir, false)
		if err != nil {
			return err
		}
		sources = append(sources, stage.NewSource(t, false))
		d.fixed = append(d.fixed, mount{target: targets[i], dir: true})
	}
	if d.rooms, err = stage.NewRooms(d.runtime.path, "/sys/fs/cgroup"); err != nil {
		return err
	}
	if d.runtime.kind == "crun" {
		// Versions of it refuse hosts that have the unified hierarchy beside the others. It does not need to see that.
		_ = unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH) // mostly not there
	}
	s := stage.New(d.rooms, ".system", sources)
	for i := range d.fixed {
		d.fixed[i].source = s.Path(i)
	}
	return errors.Join(s.Set(), os.Mkdir(stateDir, 0o711))
}

// open copies a mount of the host with the attributes that it has in sandboxes.
func (d *Driver) open(source string, writable bool) (*stage.Tree, error) {
	attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if !writable && !d.weak.Writable {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	return stage.OpenTree(source, true, attr)
}

func hasSeccomp() bool {
	b, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	return err == nil && strings.Contains(string(b), "errno")
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
	cgroup.CloseOthers(d.others)
	errs = append(errs, d.Groups.Close())
	if d.owned {
		errs = append(errs, os.RemoveAll(d.runDir))
	}
	return errors.Join(errs...)
}

// hostUsers says which of the host's users the sandboxes run as.
func (d *Driver) hostUsers() string {
	return "each sandbox is a user of its own on the host, from " + strconv.FormatUint(uint64(d.users.first), 10) + " to " +
		strconv.FormatUint(uint64(d.users.first+d.users.count-1), 10)
}
