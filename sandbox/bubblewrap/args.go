package bubblewrap

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"flint/sandbox"
)

// Defaults of a spec's limits. Memory and processors have none.
const (
	defaultProcesses = 256
	defaultFiles     = 4096
	defaultTmp       = 256 << 20
	sharedMemory     = 64 << 20 // bytes of /dev/shm
)

// mostVariables keeps the options below what bubblewrap takes, which counts three for a variable.
const mostVariables = 2500

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,127}$`)

// check refuses specs that bubblewrap would misread, and returns a copy with defaults and with its mounts in order.
func check(spec sandbox.Spec) (sandbox.Spec, error) {
	if !idPattern.MatchString(spec.ID) {
		return spec, fmt.Errorf("sandbox id %q is not of the form [a-z0-9-]+", spec.ID)
	}
	if len(spec.Args) == 0 || spec.Args[0] == "" {
		return spec, errors.New("sandbox has no program to run")
	}
	if len(spec.Env) > mostVariables {
		return spec, fmt.Errorf("sandbox has %d environment variables, more than %d", len(spec.Env), mostVariables)
	}
	spec.Dir = cmp.Or(spec.Dir, "/")
	for _, e := range spec.Env {
		if i := strings.IndexByte(e, '='); i <= 0 {
			return spec, fmt.Errorf("environment entry %q is not of the form KEY=value", e)
		}
	}
	for _, s := range slices.Concat(spec.Args, spec.Env, []string{spec.Dir}) {
		if strings.IndexByte(s, 0) >= 0 {
			return spec, fmt.Errorf("sandbox value %q has a NUL byte", s)
		}
	}
	spec.Mounts = slices.Clone(spec.Mounts)
	for i, m := range spec.Mounts {
		for _, p := range []string{m.Source, m.Target} {
			if !path.IsAbs(p) || strings.IndexByte(p, 0) >= 0 {
				return spec, fmt.Errorf("mount path %q is not absolute", p)
			}
		}
		if spec.Mounts[i].Target = path.Clean(m.Target); spec.Mounts[i].Target == "/" {
			return spec, errors.New("nothing can be mounted over the root directory of a sandbox")
		}
	}
	// Parents come before what lies on them; among equals the order of the spec counts.
	slices.SortStableFunc(spec.Mounts, func(a, b sandbox.Mount) int {
		return cmp.Compare(strings.Count(a.Target, "/"), strings.Count(b.Target, "/"))
	})
	l := &spec.Limits
	l.Processes, l.Files = cmp.Or(l.Processes, defaultProcesses), cmp.Or(l.Files, defaultFiles)
	l.Tmp = cmp.Or(l.Tmp, defaultTmp)
	return spec, nil
}

// view is what a sandbox sees beside its spec.
type view struct {
	dirs  []string          // of the system, read-only
	links map[string]string // of the root directory
	etc   string            // the directory that files lists
	files []string
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
	for _, d := range v.dirs {
		a = append(a, "--ro-bind", d, d)
	}
	for link, to := range v.links {
		a = append(a, "--symlink", to, link)
	}
	a = append(a, "--ro-bind", v.etc, etcInside)
	for _, f := range v.files {
		to := f
		if _, own := classOf(spec.Network); own && f == resolvConf {
			to = ownResolvConf
		}
		a = append(a, "--symlink", path.Join(etcInside, to), path.Join("/etc", f))
	}
	a = append(a, "--proc", "/proc")
	for _, dev := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		a = append(a, "--dev-bind", "/dev/"+dev, "/dev/"+dev)
	}
	for i, std := range []string{"stdin", "stdout", "stderr"} {
		a = append(a, "--symlink", "/proc/self/fd/"+strconv.Itoa(i), "/dev/"+std)
	}
	a = append(a,
		"--symlink", "/proc/self/fd", "/dev/fd",
		"--perms", "1777", "--size", strconv.Itoa(sharedMemory), "--tmpfs", "/dev/shm",
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

// etcInside is where a sandbox finds the directory that its links in /etc point into. /etc itself can be added to by the
// spec, because it is no mount.
const etcInside = "/run/flint/etc"
