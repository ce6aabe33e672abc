package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flint/sandbox"
)

func (s *suite) isolation(t *testing.T) {
	if !s.caps.Isolation {
		t.Skip("this driver isolates nothing")
	}
	secret := "a secret of the host"
	hidden := public(t, map[string]string{"secret": secret})
	neighbour := s.spec("echo theirs >/tmp/theirs; exec sleep 987654", secret)
	neighbour.Env = append(neighbour.Env, "SECRET="+secret)
	theirs := public(t, map[string]string{"secret": secret})
	neighbour.Mounts = []sandbox.Mount{{Source: theirs, Target: "/theirs"}}
	s.start(t, neighbour)

	t.Run("Processes", func(t *testing.T) {
		got := s.shell(t, `for p in /proc/[0-9]*; do cat $p/cmdline $p/environ; done 2>/dev/null | tr "\0" " "; echo; ls -d /proc/[0-9]* | wc -l`)
		if strings.Contains(got, "987654") || strings.Contains(got, secret) {
			t.Errorf("another sandbox shows in /proc: %s", got)
		}
		if strings.Contains(got, os.Args[0]) {
			t.Errorf("the host's processes show in /proc: %s", got)
		}
		if n := got[strings.LastIndexByte(got, '\n')+1:]; len(strings.TrimSpace(n)) > 1 {
			t.Errorf("%s processes show in /proc, want a handful", n)
		}
	})
	t.Run("Files", func(t *testing.T) {
		for _, name := range []string{
			filepath.Join(hidden, "secret"), filepath.Join(theirs, "secret"), "/theirs/secret", "/tmp/theirs",
			"/etc/shadow", "/root", "/home", "/sys/kernel", "/boot", "/var/lib", "/etc/ssh", "/dev/kmsg", "/dev/mem",
			"/run/docker.sock", "/proc/1/root/etc/shadow",
		} {
			if r := s.run(t, s.spec(`ls -d "$1" && cat "$1"`, name)); r.out != "" {
				t.Errorf("%s of the host is there: %s", name, r.out)
			}
		}
		if got := s.shell(t, "cat /proc/self/mountinfo /proc/mounts; ls /tmp"); strings.Contains(got, hidden) {
			t.Errorf("a path of the host shows: %s", got)
		}
	})
	t.Run("Writing", func(t *testing.T) {
		for _, name := range []string{
			"/x", "/etc/x", "/etc/passwd", "/usr/x", "/usr/bin/x", "/usr/local/x", "/usr/share/x", "/dev/x", "/run/x", "/var/x",
			"/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
		} {
			if r := s.run(t, s.spec(`echo x >"$1"`, name)); r.exit == (sandbox.Exit{}) {
				t.Errorf("%s can be written", name)
			}
		}
		if got := s.shell(t, "echo a >/tmp/a; mkdir -p $(dirname /var/tmp/b); echo b >/var/tmp/b; cat /tmp/a /tmp/b; echo c >/dev/shm/c; stat -c %a /tmp"); got != "a\nb\n1777" {
			t.Errorf("/tmp gave %q", got)
		}
	})
	t.Run("Privileges", func(t *testing.T) {
		got := s.shell(t, "grep -E '^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs):' /proc/self/status; id -u; id -g; id -G")
		for line := range strings.Lines(got) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":\t"); ok && strings.HasPrefix(name, "Cap") && strings.Trim(value, "0") != "" {
				t.Errorf("the process has capabilities: %s", line)
			}
		}
		if !strings.Contains(got, "NoNewPrivs:\t1") || !strings.HasSuffix(got, "\n1000\n1000\n1000") {
			t.Errorf("who the process is: %s", got)
		}
		for _, try := range []string{
			"mount -t tmpfs none /tmp", "mount --bind /usr /tmp", "umount /proc", "unshare --user true", "unshare --mount true",
			"hostname other", "chroot / true", "mknod /tmp/null c 1 3 && cat /tmp/null",
		} {
			if r := s.run(t, s.spec("("+try+") && echo could")); strings.Contains(r.out, "could") {
				t.Errorf("%q was allowed", try)
			}
		}
	})
	t.Run("Network", func(t *testing.T) {
		count := "grep -c : /proc/net/dev"
		if got := s.shell(t, count); got != "1" {
			t.Errorf("%s interfaces without a network, want the loopback alone", got)
		}
		spec := s.spec("ls -l /proc/self/ns/net")
		spec.Network = sandbox.NetworkHost
		host, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		if r := s.run(t, spec); !strings.Contains(r.out, host) {
			t.Errorf("the host's network is %s, the sandbox has %s", host, r.out)
		}
		if got := s.shell(t, "ls -l /proc/self/ns/net"); strings.Contains(got, host) {
			t.Errorf("a sandbox without network has the host's: %s", got)
		}
	})
	t.Run("Hostname", func(t *testing.T) {
		if host, err := os.Hostname(); err == nil && s.shell(t, "uname -n") == host {
			t.Errorf("the sandbox knows the host's name %s", host)
		}
	})
}
