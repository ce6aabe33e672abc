package probe

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func identityChecks() []Check {
	checks := []Check{
		{
			Name: "user", Tries: "asks who it is", Why: "a user that the host knows owns files there", Grave: Serious,
			want: []string{"1000 1000"}, attempt: func(*attacker) string { return fmt.Sprint(os.Geteuid(), " ", os.Getegid()) },
		},
		{
			Name: "host-user", Tries: "reads which user of the host it is", Why: "whoever leaves the other namespaces is that user", Grave: Serious,
			judge: func(_ *host, got string) bool { return got != "" && got != "all" && got != "root" },
			attempt: func(*attacker) string {
				b, err := os.ReadFile("/proc/self/uid_map")
				if err != nil {
					return result(err)
				}
				return outside(string(b), os.Geteuid())
			},
		},
		{
			Name: "groups", Tries: "lists its further groups", Why: "they open files of the host's groups", Grave: Serious,
			want: []string{"", "1000"}, attempt: func(*attacker) string { return status("Groups") },
		},
		{
			Name: "capabilities", Tries: "reads its capabilities", Why: "each is a part of root's power", Grave: Grave,
			want: []string{"none"}, attempt: func(*attacker) string { return capabilities() },
		},
		{
			Name: "no-new-privileges", Tries: "asks whether programs may raise its privileges", Why: "a program with the setuid bit would make it root", Grave: Serious,
			want: []string{"1"}, attempt: func(*attacker) string { return status("NoNewPrivs") },
		},
		{
			Name: "become-root", Tries: "setuid(0) and setgid(0)", Why: "root inside can do more to the kernel", Grave: Serious,
			want: []string{"EPERM EPERM", "EINVAL EINVAL"},
			attempt: func(*attacker) string {
				// On one thread only, as the kernel does it: the rest of the program stays who it is.
				keep := ^uintptr(0)
				return call(unix.SYS_SETRESUID, keep, keep, 0) + " " + call(unix.SYS_SETRESGID, keep, keep, 0)
			},
		},
		{
			Name: "set-groups", Tries: "setgroups", Why: "it would join or leave groups that decide on access", Grave: Minor,
			want: refusals(), attempt: func(*attacker) string { return call(unix.SYS_SETGROUPS, 1<<20, 0) },
		},
		{
			Name: "setuid-files", Tries: "looks whether file systems honour the setuid bit", Why: "programs of the host run as their owner there", Grave: Minor,
			want: []string{"none"}, attempt: func(*attacker) string { return honoured("/usr/bin", "/tmp", "/") },
		},
	}
	return in(areaIdentity, checks)
}

func in(area string, checks []Check) []Check {
	for i := range checks {
		checks[i].Area = area
	}
	return checks
}

// outside returns which user of the parent namespace id is.
func outside(uidMap string, id int) string {
	for line := range strings.Lines(uidMap) {
		var inside, out, n int
		if _, err := fmt.Sscan(line, &inside, &out, &n); err != nil || id < inside || id >= inside+n {
			continue
		}
		switch {
		case n > 1<<16:
			return "all" // no namespace of its own
		case out+id-inside == 0:
			return "root"
		}
		return fmt.Sprint(out + id - inside)
	}
	return ""
}

func capabilities() string {
	var some []string
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
		if value := status(set); strings.Trim(value, "0") != "" {
			some = append(some, set+" "+value)
		}
	}
	if len(some) == 0 {
		return "none"
	}
	return strings.Join(some, ", ")
}

// honoured names the directories on file systems that honour the setuid bit.
func honoured(dirs ...string) string {
	var found []string
	for _, d := range dirs {
		var st unix.Statfs_t
		if err := unix.Statfs(d, &st); err != nil || st.Flags&unix.ST_NOSUID == 0 {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return "none"
	}
	return strings.Join(found, " ")
}

func namespaceChecks() []Check {
	why := map[string][2]string{
		"user":   {"privileges in its own namespace", "what it may do would count on the host"},
		"pid":    {"processes of its own", "it sees and signals processes of the host"},
		"mnt":    {"mounts of its own", "it sees the host's files"},
		"ipc":    {"shared memory and message queues of its own", "it reads what others share"},
		"uts":    {"a host name of its own", "it learns and may change the host's name"},
		"cgroup": {"control groups of its own", "it learns where it is among the host's groups"},
		"net":    {"network interfaces of its own", "it reaches what the host reaches, and the host itself"},
	}
	var checks []Check
	for _, n := range namespaceNames() {
		c := Check{
			Name: n + "-namespace", Tries: "compares its " + n + " namespace with the host's: has it " + why[n][0] + "?", Why: why[n][1],
			Grave: Serious, network: n == "net",
			judge: func(h *host, got string) bool { return strings.HasPrefix(got, n+":") && got != h.namespaces[n] },
			attempt: func(*attacker) string {
				link, err := os.Readlink("/proc/self/ns/" + n)
				if err != nil {
					return result(err)
				}
				return link
			},
		}
		checks = append(checks, c)
	}
	checks = append(checks,
		Check{
			Name: "host-name", Tries: "reads the host's name", Why: "it tells where the function runs", Grave: Minor,
			judge: func(h *host, got string) bool { return got != h.name },
			attempt: func(*attacker) string {
				name, err := os.Hostname()
				if err != nil {
					return result(err)
				}
				return name
			},
		},
		Check{
			Name: "set-host-name", Tries: "sethostname", Why: "others would see a name that it chose", Grave: Minor,
			want: refusals(), attempt: func(*attacker) string {
				var b [1]byte
				return call(unix.SYS_SETHOSTNAME, uintptr(unsafe.Pointer(&b[0])), 1<<20) // longer than names are: nothing is set
			},
		},
	)
	return in(areaNamespaces, checks)
}
