package oci

import (
	"fmt"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"flint/internal/rootfs"
	"flint/internal/seccomp"
	"flint/internal/stage"
	"flint/sandbox"
)

// initScript is the first process of a sandbox. The program is its child, for the first process of a process namespace
// does not die of signals as others do and has to bury the dead. It waits for what Flint sends through descriptor 3, which
// starts the program, and says there how that ended. What the shell has to say about signals is nobody's business.
const initScript = `exec 4>&2 2>/dev/null
go=$(cat <&3)
[ "$go" ] || exit 126
(exec 3>&-; eval "$go")
echo $? >&3`

// start returns what starts the program. A shell passes on the variables that it could have set itself; others go
// through env(1), and not in the arguments of the first process, where they would show on the host.
func start(env []string) string {
	var b strings.Builder
	for _, made := range []string{"HOME", "OLDPWD", "SHLVL"} { // by the runtime or the shell
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, made+"=") }) {
			b.WriteString("unset " + made + "\n")
		}
	}
	b.WriteString("exec ")
	first := true
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if shellName(name) {
			continue
		}
		if first {
			b.WriteString("env ")
			first = false
		}
		b.WriteString("'" + strings.ReplaceAll(e, "'", `'\''`) + "' ")
	}
	b.WriteString(`"$@" 2>&4 4>&-`)
	return b.String()
}

func shellName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}

// mount is one mount of a sandbox. Its source is on the stage.
type mount struct {
	source, target string
	dir            bool
	shared         bool
}

// config returns what a runtime reads.
func (s *running) config(mounts []mount) *specs.Spec {
	spec := s.Spec
	args := append([]string{"/bin/sh", "-c", initScript, "sh"}, spec.Args...)
	c := &specs.Spec{
		Version:  "1.0.2",
		Hostname: "flint",
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Process: &specs.Process{
			Args: args, Env: spec.Env, Cwd: spec.Dir, NoNewPrivileges: true,
			User:         specs.User{UID: sandbox.InsideID, GID: sandbox.InsideID},
			Capabilities: &specs.LinuxCapabilities{},
			Rlimits:      s.rlimits(),
		},
		Mounts: s.mounts(mounts),
		Linux: &specs.Linux{
			UIDMappings: s.user.mappings(), GIDMappings: s.user.mappings(),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.UserNamespace},
				{Type: specs.CgroupNamespace},
			},
			RootfsPropagation: "rslave", // else crun cuts off what is shared with the stage
			MaskedPaths:       sandbox.MaskedPaths(),
			ReadonlyPaths:     sandbox.ReadonlyPaths(),
			Seccomp:           s.driver.profile,
		},
	}
	if spec.Network == sandbox.NetworkNone {
		c.Linux.Namespaces = append(c.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	if s.driver.runtime.joinsGroups() {
		c.Linux.CgroupsPath, c.Linux.Resources = s.driver.Groups.RuntimePath(spec.ID), s.resources()
	}
	if weaken := s.driver.weak.Spec; weaken != nil {
		weaken(c)
	}
	return c
}

func (u *user) mappings() []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{
		{ContainerID: 0, HostID: uint32(u.root), Size: 1},
		{ContainerID: sandbox.InsideID, HostID: uint32(u.id), Size: 1},
	}
}

func (s *running) rlimits() []specs.POSIXRlimit {
	limit := func(kind string, most uint64) specs.POSIXRlimit {
		return specs.POSIXRlimit{Type: kind, Hard: most, Soft: most}
	}
	l := s.Spec.Limits
	out := []specs.POSIXRlimit{limit("RLIMIT_NOFILE", uint64(max(0, l.Files))), limit("RLIMIT_CORE", 0)}
	if l.FileSize > 0 {
		out = append(out, limit("RLIMIT_FSIZE", uint64(l.FileSize)))
	}
	return out
}

// resources are the limits that the runtime is to set. The one on processes is for Flint to lower when the runtime, which
// needs some itself, is done.
func (s *running) resources() *specs.LinuxResources {
	processes := int64(s.Spec.Limits.Processes + startProcesses)
	r := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &processes}}
	if memory := s.Spec.Limits.Memory; memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &memory}
	}
	if cpus := s.Spec.Limits.CPUs; cpus > 0 {
		period, quota := uint64(cpuPeriod), max(cpuLeast, int64(cpus*cpuPeriod))
		r.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
	}
	no, numbers := false, func(n int64) *int64 { return &n }
	r.Devices = []specs.LinuxDeviceCgroup{{Allow: no, Access: "rwm"}}
	for _, minor := range []int64{3, 5, 7, 8, 9} { // null, zero, full, random, urandom
		r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: numbers(1), Minor: numbers(minor), Access: "rw"})
	}
	r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: numbers(5), Minor: numbers(0), Access: "rw"}) // tty
	return r
}

func (s *running) mounts(mounts []mount) []specs.Mount {
	out := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "nosuid", "noexec", "mode=755", "size=65536"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{
			"nosuid", "nodev", "noexec", "mode=1777", "size=" + strconv.Itoa(sandbox.SharedMemory),
		}},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{
			"nosuid", "nodev", "mode=1777", "size=" + strconv.FormatInt(s.Spec.Limits.Tmp, 10),
		}},
	}
	for _, m := range mounts {
		how := "rprivate"
		if m.shared {
			how = "rslave" // what Bind mounts on the stage shows in the sandbox
		}
		// Whether it may be written to is settled on the stage: the sandbox cannot undo that.
		out = append(out, specs.Mount{Destination: m.target, Type: "bind", Source: m.source, Options: []string{"rbind", how}})
	}
	return out
}

// etcLinks says what the names in /etc lead to.
func (s *running) etcLinks(files []string) map[string]string {
	links := map[string]string{}
	for _, name := range files {
		to := name
		if s.Network != nil && name == rootfs.ResolvConf {
			to = rootfs.OwnResolvConf
		}
		links[path.Join("/etc", name)] = path.Join(rootfs.Inside, to)
	}
	return links
}

// skeleton makes the root directory of a sandbox: what is mounted on, and links. The runtime could not: it is not the
// owner by then.
func skeleton(root string, system rootfs.System, etc map[string]string, mounts []mount) error {
	for _, d := range []string{"", "/usr", "/usr/local", "/etc", "/dev", "/run", "/run/flint", "/var", "/proc", "/tmp"} {
		if err := os.Mkdir(root+d, 0o755); err != nil {
			return err
		}
	}
	// Some runtimes give what they mount there the mode of what was there.
	if err := os.Chmod(root+"/tmp", 0o777|os.ModeSticky); err != nil {
		return err
	}
	covered := []string{"/proc", "/dev", "/tmp"}
	for _, m := range mounts {
		if slices.ContainsFunc(covered, func(above string) bool { return stage.Within(m.target, above) }) {
			continue
		}
		covered = append(covered, m.target)
		if err := os.MkdirAll(root+path.Dir(m.target), 0o755); err != nil {
			return err
		}
		if err := mountpoint(root+m.target, m.dir); err != nil {
			return err
		}
	}
	links := maps.Clone(system.Links)
	maps.Copy(links, etc)
	links["/var/tmp"] = "/tmp"
	for name, to := range links {
		if err := os.MkdirAll(root+path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(to, root+name); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

func mountpoint(name string, dir bool) error {
	if dir {
		return os.MkdirAll(name, 0o755)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// profile renders the system call rules for the runtime; nil when there are none for this machine.
func profile() (*specs.LinuxSeccomp, error) {
	rules, err := seccomp.Rules()
	if err != nil || rules == nil {
		return nil, err
	}
	errno := func(e unix.Errno) *uint { n := uint(e); return &n }
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: errno(seccomp.Otherwise)}
	switch runtime.GOARCH {
	case "amd64":
		p.Architectures = []specs.Arch{specs.ArchX86_64}
	case "arm64":
		p.Architectures = []specs.Arch{specs.ArchAARCH64}
	default:
		return nil, fmt.Errorf("no name of %s in runtime configurations is known", runtime.GOARCH)
	}
	for _, r := range rules {
		if len(r.Names) == 0 || r.Errno == seccomp.Otherwise && len(r.Args) == 0 {
			continue // that is the default
		}
		call := specs.LinuxSyscall{Names: r.Names, Action: specs.ActAllow}
		if r.Errno != 0 {
			call.Action, call.ErrnoRet = specs.ActErrno, errno(r.Errno)
		}
		for _, a := range r.Args {
			call.Args = append(call.Args, specs.LinuxSeccompArg{Index: a.Index, Value: uint64(a.Mask), ValueTwo: uint64(a.Value), Op: specs.OpMaskedEqual})
		}
		p.Syscalls = append(p.Syscalls, call)
	}
	return p, nil
}
