package bubblewrap

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"flint/internal/rootfs"
	"flint/sandbox"
)

// mostVariables keeps the options below what bubblewrap takes, which counts three for a variable.
const mostVariables = 2500

// check refuses specs that bubblewrap would misread, and returns a copy with defaults and with its mounts in order.
func check(spec sandbox.Spec) (sandbox.Spec, error) {
	if len(spec.Env) > mostVariables {
		return spec, fmt.Errorf("sandbox has %d environment variables, more than %d", len(spec.Env), mostVariables)
	}
	return sandbox.Check(spec)
}

// view is what a sandbox sees beside its spec.
type view struct {
	rootfs.System
	etc   string   // the directory that files lists
	files []string // of /etc
	masks []mask
}

// mask is a file or directory of /proc that is shown empty.
type mask struct {
	path string
	dir  bool
}

// findMasks finds out which of the paths there are for others to read here. Bubblewrap would fail on others.
func findMasks() []mask {
	var found []mask
	for _, p := range sandbox.MaskedPaths() {
		if info, err := os.Stat(p); err == nil && info.Mode()&0o004 != 0 {
			found = append(found, mask{p, info.IsDir()})
		}
	}
	return found
}

// options returns what bubblewrap reads from its --args descriptor. source returns where it finds the i-th mount.
func options(spec sandbox.Spec, v view, source func(int) string) []string {
	a := []string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"}
	if spec.Network == sandbox.NetworkNone {
		a = append(a, "--unshare-net")
	}
	a = append(a, "--hostname", "flint", "--new-session", "--die-with-parent", "--clearenv")
	for _, d := range []string{"/usr", "/usr/local", "/etc", "/dev", "/run", "/var"} {
		a = append(a, "--perms", "0755", "--dir", d) // what bubblewrap makes by itself is closed to all but its owner
	}
	for _, d := range v.Dirs {
		a = append(a, "--ro-bind", d, d)
	}
	for link, to := range v.Links {
		a = append(a, "--symlink", to, link)
	}
	a = append(a, "--ro-bind", v.etc, rootfs.Inside)
	for _, f := range v.files {
		to := f
		if spec.Network.Own() && f == rootfs.ResolvConf {
			to = rootfs.OwnResolvConf
		}
		a = append(a, "--symlink", path.Join(rootfs.Inside, to), path.Join("/etc", f))
	}
	a = append(a, "--proc", "/proc")
	for _, m := range v.masks {
		if m.dir {
			a = append(a, "--tmpfs", m.path, "--remount-ro", m.path)
		} else {
			a = append(a, "--ro-bind", "/dev/null", m.path)
		}
	}
	for _, dev := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		a = append(a, "--dev-bind", "/dev/"+dev, "/dev/"+dev)
	}
	for i, std := range []string{"stdin", "stdout", "stderr"} {
		a = append(a, "--symlink", "/proc/self/fd/"+strconv.Itoa(i), "/dev/"+std)
	}
	a = append(a,
		"--symlink", "/proc/self/fd", "/dev/fd",
		"--perms", "1777", "--size", strconv.Itoa(sandbox.SharedMemory), "--tmpfs", "/dev/shm",
		"--perms", "1777", "--size", strconv.FormatInt(spec.Limits.Tmp, 10), "--tmpfs", "/tmp",
		"--symlink", "/tmp", "/var/tmp")
	for i, m := range spec.Mounts {
		how := "--ro-bind"
		if m.Writable {
			how = "--bind"
		}
		a = append(a, how, source(i), m.Target)
	}
	a = append(a, "--remount-ro", "/", "--chdir", spec.Dir)
	for _, e := range spec.Env {
		k, val, _ := strings.Cut(e, "=")
		a = append(a, "--setenv", k, val)
	}
	return a
}
