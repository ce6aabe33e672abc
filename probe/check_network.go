package probe

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unreached is what whoever connects hears of what cannot be reached.
func unreached() []string {
	return []string{
		"ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "EACCES", "EPERM", "ENETDOWN", "EADDRNOTAVAIL", "EAFNOSUPPORT", "timeout",
	}
}

func networkChecks() []Check {
	checks := []Check{
		{
			Name: "host-ports", Tries: "connects to ports of the host, on its loopback and its other addresses", Why: "databases and the like trust who comes from there", Grave: Grave,
			network: true, want: unreached(), attempt: func(a *attacker) string { return connectsToAny(a.plan.HostAddrs...) },
		},
		{
			Name: "host-abstract-socket", Tries: "connects to an abstract socket of the host", Why: "D-Bus and desktops listen on such", Grave: Grave,
			network: true, want: unreached(), attempt: func(a *attacker) string { return connects("unix", a.plan.HostAbstract) },
		},
		{
			Name: "cloud-metadata", Tries: "connects to the metadata services of clouds", Why: "they hand out the machine's credentials", Grave: Grave,
			network: true, want: unreached(),
			attempt: func(*attacker) string {
				return connectsToAny("169.254.169.254:80", "100.100.100.200:80", "[fd00:ec2::254]:80")
			},
		},
		{
			Name: "raw-sockets", Tries: "makes raw and packet sockets", Why: "it would read and forge what others send", Grave: Serious,
			want: append(refusals(), "EAFNOSUPPORT", "ENOSYS"), attempt: func(*attacker) string {
				return reach(append(refusals(), "EAFNOSUPPORT", "ENOSYS"), with("SOCK_RAW", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
					with("AF_PACKET", unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0))
			},
		},
		{
			Name: "change-network", Tries: "sets the flags of the loopback interface", Why: "it would change addresses, routes and filters", Grave: Serious,
			want: refusals(), attempt: func(*attacker) string { return configures() },
		},
		{
			Name: "trusted-ports", Tries: "listens on port 81", Why: "programs believe whoever answers at such a port", Grave: Minor,
			want: refusals(), attempt: func(*attacker) string {
				l, err := net.Listen("tcp4", "127.0.0.1:81") //nolint:noctx // it does not wait
				if err != nil {
					return result(err)
				}
				_ = l.Close()
				return "listened"
			},
		},
	}
	return in(areaNetwork, checks)
}

// configures sets the flags of the loopback interface to what they are, for which one needs the right to change them.
func configures() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return result(err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return result(err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return result(err)
	}
	return result(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}

func connectsToAny(addrs ...string) string {
	return anyOf(func(addr string) string { return connects("tcp", addr) }, addrs...)
}

func otherChecks() []Check {
	checks := []Check{
		{
			Name: "other-process", Tries: "looks for another sandbox's process by the number that the host gives it", Why: "what it sees it may disturb", Grave: Serious,
			want: []string{"not there"}, attempt: func(a *attacker) string {
				if sees(a.plan.Victim.Pid, modeVictim) {
					return "sees it"
				}
				return "not there"
			},
		},
		{
			Name: "host-process", Tries: "looks for the node's process by the number that the host gives it", Why: "its memory holds every key", Grave: Grave,
			want: []string{"not there"}, attempt: func(a *attacker) string {
				if command, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(a.plan.HostPid), "cmdline")); err == nil && string(command) == a.plan.HostCommand {
					return "sees it"
				}
				return "not there"
			},
		},
		{
			Name: "other-secrets", Tries: "reads arguments and variables of all processes that it sees, for a secret of another sandbox", Why: "functions get their keys as variables", Grave: Grave,
			want: []string{"nothing"}, attempt: func(*attacker) string { return searches() },
		},
		{
			Name: "other-kill", Tries: "ends another sandbox's process by the number that the host gives it", Why: "it would stop functions of others", Grave: Grave,
			want: []string{"alive"}, // it shows from outside, for what this does
			attempt: func(a *attacker) string {
				if sees(a.plan.Victim.Pid, modeVictim) { // the number may be another process's here
					return result(unix.Kill(a.plan.Victim.Pid, unix.SIGKILL))
				}
				return "alive"
			},
		},
		{
			Name: "other-files", Tries: "opens a file in another sandbox's /tmp", Why: "functions keep there what they work on", Grave: Grave,
			want: absences(), attempt: func(a *attacker) string {
				return anyOf(opens, a.plan.Victim.File, "/var/tmp/"+filepath.Base(a.plan.Victim.File))
			},
		},
		{
			Name: "other-package", Tries: "opens another sandbox's directories by the paths that they have on the host", Why: "the code of functions lies there", Grave: Grave,
			want: absences(), attempt: func(a *attacker) string {
				dir := filepath.Dir(a.plan.HostFile)
				return anyOf(opens, dir+"/victim", dir+"/package")
			},
		},
		{
			Name: "other-shared-memory", Tries: "opens the shared memory of another sandbox", Why: "it would read and change what others work on", Grave: Serious,
			want: absences(), attempt: func(a *attacker) string {
				_, err := unix.SysvShmGet(a.plan.Victim.Key, 0, 0)
				return result(err)
			},
		},
		{
			Name: "other-ports", Tries: "connects to a port on which another sandbox listens, on its loopback and at its other addresses", Why: "functions trust who is inside with them", Grave: Serious,
			network: true, want: unreached(), attempt: func(a *attacker) string { return connectsToAny(a.plan.Victim.Addrs...) },
		},
		{
			Name: "other-abstract-socket", Tries: "connects to an abstract socket of another sandbox", Why: "as with its ports, and it passes descriptors", Grave: Serious,
			network: true, want: []string{"ECONNREFUSED"}, attempt: func(a *attacker) string { return connects("unix", a.plan.Victim.Abstract) },
		},
	}
	return in(areaOthers, checks)
}

// sees says whether a process with a number is there and is the one that is meant, with mode in its arguments.
func sees(pid int, mode string) bool {
	if pid <= 0 {
		return false
	}
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && strings.Contains(string(b), "\x00"+mode+"\x00")
}

// searches looks for the mark of a secret in all processes but its own.
func searches() string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return result(err)
	}
	for _, e := range entries {
		if e.Name() == strconv.Itoa(os.Getpid()) {
			continue
		}
		for _, file := range []string{"environ", "cmdline"} {
			b, err := os.ReadFile(filepath.Join("/proc", e.Name(), file))
			if err == nil && strings.Contains(string(b), secretMark) {
				return "found one in " + file + " of process " + e.Name()
			}
		}
	}
	return "nothing"
}
