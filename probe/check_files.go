package probe

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func fileChecks() []Check {
	checks := []Check{
		{
			Name: "host-file", Tries: "opens a file of the host that everybody there may read", Why: "so it would read all others like it", Grave: Grave,
			want: absences(), attempt: func(a *attacker) string { return opens(a.plan.HostFile) },
		},
		{
			Name: "host-file-by-dots", Tries: "opens the same file from above the root directory", Why: "it would leave its view of files", Grave: Grave,
			want: absences(), attempt: func(a *attacker) string { return opens("/../../../../../.." + a.plan.HostFile) },
		},
		{
			Name: "host-file-by-process", Tries: "opens it through the root directories of all processes that it sees", Why: "a process of the host would lead out", Grave: Grave,
			want: absences(), attempt: func(a *attacker) string { return throughProcesses(a.plan.HostFile) },
		},
		{
			Name: "accounts", Tries: "opens /etc/shadow", Why: "it holds the passwords of the host's users", Grave: Grave,
			want: absences(), attempt: func(*attacker) string { return opens("/etc/shadow") },
		},
		{
			Name: "homes", Tries: "lists /root and /home", Why: "keys and settings of people lie there", Grave: Grave,
			want: absences(), attempt: func(*attacker) string { return anyOf(opens, "/root", "/home") },
		},
		{
			Name: "platform-data", Tries: "opens the node's data directory", Why: "the database, the secret and the code of all functions are in it", Grave: Grave,
			want: absences(), attempt: func(a *attacker) string { return opens(a.plan.Data) },
		},
		{
			Name: "platform-socket", Tries: "connects to a socket in a directory of the host", Why: "whoever reaches the node's socket commands it", Grave: Grave,
			want: absences(), attempt: func(a *attacker) string { return connects("unix", a.plan.HostSocket) },
		},
		{
			Name: "container-sockets", Tries: "looks for the sockets of Docker, containerd, podman, systemd and D-Bus", Why: "each gives whoever reaches it the host", Grave: Grave,
			want: absences(), attempt: func(*attacker) string {
				return anyOf(exists, "/run/docker.sock", "/var/run/docker.sock", "/run/containerd", "/run/podman", "/run/systemd", "/run/dbus", "/run/user", "/run/lock")
			},
		},
		{
			Name: "devices", Tries: "opens memory, disks, consoles and other devices of the host", Why: "they are the host, without its file permissions", Grave: Grave,
			want: absences(), attempt: func(*attacker) string {
				return anyOf(opens, "/dev/mem", "/dev/kmsg", "/dev/port", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/console")
			},
		},
		{
			Name: "make-device", Tries: "mknod of a device in /tmp, and opens it", Why: "it would make the devices that it lacks", Grave: Grave,
			want: refusals(), attempt: func(a *attacker) string { return makesDevice("/tmp/flint-probe-device-" + a.token) },
		},
		{
			Name: "sysfs", Tries: "opens /sys/kernel and /sys/fs/cgroup", Why: "it tells of the hardware and holds the limits", Grave: Serious,
			want: absences(), attempt: func(*attacker) string { return anyOf(opens, "/sys/kernel", "/sys/fs/cgroup") },
		},
		{
			Name: "write-root", Tries: "makes a file in the root directory", Why: "it would stay or fill memory beyond the limit", Grave: Minor,
			want: unwritable(), attempt: func(a *attacker) string { return creates("/", a.token) },
		},
		{
			Name: "write-system", Tries: "makes files in /usr/bin, /usr/lib and /etc/ssl/certs", Why: "the host, and every sandbox, would run them", Grave: Grave,
			want: unwritable(), attempt: func(a *attacker) string {
				return anyOf(func(dir string) string { return creates(dir, a.token) }, "/usr/bin", "/usr/lib", "/etc/ssl/certs")
			},
		},
		{
			Name: "write-devices", Tries: "makes a file in /dev", Why: "it would fill memory beyond the limit", Grave: Minor,
			want: unwritable(), attempt: func(a *attacker) string { return creates("/dev", a.token) },
		},
		{
			Name: "write-package", Tries: "makes a file beside the function's code", Why: "it would change what other workers of the function run", Grave: Serious,
			want: unwritable(), attempt: func(a *attacker) string { return creates(a.plan.Package, a.token) },
		},
		{
			Name: "write-exchange", Tries: "makes a file where the node's socket is", Why: "it could take the node's place or fill its disk", Grave: Serious,
			want: unwritable(), attempt: func(a *attacker) string { return creates(a.exchange, a.token) },
		},
		{
			Name: "leaked-descriptors", Tries: "lists the descriptors that it was born with", Why: "each leads past every wall to what it is open on", Grave: Grave,
			want: []string{"none"}, attempt: func(a *attacker) string { return a.leaked },
		},
	}
	return in(areaFiles, checks)
}

// opens tries to open a file or directory for reading.
func opens(name string) string {
	if name == "" {
		return "ENOENT"
	}
	f, err := os.Open(name)
	if err != nil {
		return result(err)
	}
	_ = f.Close()
	return "opened " + name
}

func exists(name string) string {
	if _, err := os.Lstat(name); err != nil {
		return result(err)
	}
	return "is there: " + name
}

// connectTimeout bounds an attempt to connect. What answers nobody holds as well as what refuses.
const connectTimeout = time.Second

func connects(network, addr string) string {
	conn, err := net.DialTimeout(network, addr, connectTimeout) //nolint:noctx // it has a deadline
	if err == nil {
		_ = conn.Close()
		return "connected to " + addr
	}
	if t, ok := err.(net.Error); ok && t.Timeout() { //nolint:errorlint // dialing returns it as it is
		return "timeout"
	}
	return result(err)
}

// anyOf makes attempts until one succeeds, which is one whose result is no error's name.
func anyOf(attempt func(string) string, names ...string) string {
	got := "ENOENT"
	for _, name := range names {
		if got = attempt(name); strings.ContainsRune(got, ' ') {
			return got
		}
	}
	return got
}

// creates tries to make a file in a directory, and removes it again.
func creates(dir, token string) string {
	name := filepath.Join(dir, "flint-probe-"+token)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return result(err)
	}
	_ = f.Close()
	_ = os.Remove(name)
	return "made " + name
}

func makesDevice(name string) string {
	const null = 1<<8 | 3
	if err := unix.Mknod(name, unix.S_IFCHR|0o666, null); err != nil {
		return result(err)
	}
	got := opens(name)
	_ = os.Remove(name)
	return got
}

func throughProcesses(name string) string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return result(err)
	}
	var roots []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			roots = append(roots, "/proc/"+e.Name()+"/root"+name, "/proc/"+e.Name()+"/cwd/../../../../../.."+name)
		}
	}
	return anyOf(opens, roots...)
}

func procChecks() []Check {
	empty := func(_ *host, got string) bool {
		return got == "empty" || got == "ENOENT" || got == "EACCES" || got == "EPERM"
	}
	checks := []Check{
		{
			Name: "kernel-memory", Tries: "reads /proc/kcore, /proc/vmallocinfo and /proc/slabinfo", Why: "they are the memory of the host, and a map of it", Grave: Grave,
			judge: empty, attempt: func(*attacker) string { return anyOf(reads, "/proc/kcore", "/proc/vmallocinfo", "/proc/slabinfo") },
		},
		{
			Name: "kernel-keys", Tries: "reads /proc/keys and /proc/key-users", Why: "they list keys that the kernel keeps for users", Grave: Minor,
			judge: empty, attempt: func(*attacker) string { return anyOf(reads, "/proc/keys", "/proc/key-users") },
		},
		{
			Name: "kernel-symbols", Tries: "reads /proc/kallsyms and /proc/modules", Why: "attacks on the kernel aim by them", Grave: Minor,
			judge: empty, attempt: func(*attacker) string { return anyOf(reads, "/proc/kallsyms", "/proc/modules") },
		},
		{
			Name: "kernel-settings", Tries: "reads /proc/config.gz and /proc/interrupts", Why: "they tell of the host, and by their rhythm of its users", Grave: Minor,
			judge: empty, attempt: func(*attacker) string { return anyOf(reads, "/proc/config.gz", "/proc/interrupts") },
		},
		{
			Name: "kernel-timers", Tries: "reads /proc/timer_list and /proc/sched_debug", Why: "they name processes of the host", Grave: Minor,
			judge: empty, attempt: func(*attacker) string { return anyOf(reads, "/proc/timer_list", "/proc/sched_debug") },
		},
		{
			Name: "write-settings", Tries: "opens settings of the kernel for writing", Why: "one of them names a program that the host runs as root", Grave: Grave,
			want: unwritable(), attempt: func(*attacker) string {
				return anyOf(opensForWriting, "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger")
			},
		},
		{
			Name: "spare-me", Tries: "writes -900 to /proc/self/oom_score_adj", Why: "the kernel would end others in its place", Grave: Serious,
			want: refusals(), attempt: func(*attacker) string { return sparesItself() },
		},
	}
	return in(areaProc, checks)
}

func reads(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return result(err)
	}
	defer f.Close()
	n, err := f.Read(make([]byte, 64))
	if n == 0 {
		if err == nil || err.Error() == "EOF" {
			return "empty"
		}
		return result(err)
	}
	return "read " + name
}

func opensForWriting(name string) string {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return result(err)
	}
	_ = f.Close()
	return "opened " + name
}

func sparesItself() string {
	before, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return result(err)
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0); err != nil {
		return result(err)
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", before, 0)
	return "written"
}
