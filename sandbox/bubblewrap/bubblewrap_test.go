package bubblewrap

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"flint/internal/network"
	"flint/internal/stage"
	"flint/sandbox"
	"flint/sandbox/sandboxtest"
)

// unprivileged is set for the copy of this test that runs as nobody.
const unprivileged = "FLINT_TEST_UNPRIVILEGED"

// open returns a driver, or skips the test when the host lets nobody make sandboxes.
func open(t testing.TB) *Driver {
	t.Helper()
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap is not installed (on Debian: apt-get install bubblewrap)")
	}
	d, err := New(Config{RunDir: t.TempDir(), Network: networks(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	if f := d.try(t.Context()); !f.OK {
		t.Skipf("this host cannot run sandboxes: %s", f.Detail)
	}
	return d
}

const (
	nodePort    = 8080
	nameAddr    = "203.0.113.77"
	nameAddress = "127.86.86.53"
)

// networks configures networks whose node answers at a port and whose every name has one address. Only root gets them.
func networks(t testing.TB) *network.Config {
	if os.Geteuid() != 0 {
		return &network.Config{}
	}
	server, err := net.ListenPacket("udp4", nameAddress+":53")
	if err != nil {
		t.Skipf("another test answers for names: %v", err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go answerNames(server) // ends with the server
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+nameAddress+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &network.Config{
		Prepare: network.Internet, Resolv: resolv,
		Ports: []network.Port{{Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), nodePort), Serve: func(_ context.Context, c net.Conn) {
			_, _ = io.WriteString(c, sandboxtest.NodeSays)
			_ = c.Close()
		}}},
	}
}

func answerNames(server net.PacketConn) {
	b := make([]byte, 512)
	for {
		n, who, err := server.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil {
			continue
		}
		m.Response, m.Additionals = true, nil
		for _, q := range m.Questions {
			if q.Type == dnsmessage.TypeA {
				a := netip.MustParseAddr(nameAddr).As4()
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: a},
				})
			}
		}
		if answer, err := m.Pack(); err == nil {
			_, _ = server.WriteTo(answer, who)
		}
	}
}

func TestDriver(t *testing.T) {
	d := open(t)
	found := d.Findings(t.Context())
	for _, f := range found {
		t.Logf("%-18s %-5v %s", f.Layer, f.OK, f.Detail)
	}
	sandboxtest.Run(t, func(*testing.T) sandbox.Driver { return d }, sandboxtest.Caps{
		Isolation: true,
		Bind:      sandboxtest.Offers(found, "mount propagation"),
		Memory:    sandboxtest.Offers(found, "memory limit"),
		Processes: true,
		Usage:     sandboxtest.Offers(found, "processor limit"),
		Network:   d.Networks() == nil,
		NodePort:  nodePort,
		Name:      "name.example", NameAddr: nameAddr,
		Leftovers: func(id string) []string { return leftovers(t, d, id) },
	})
}

// leftovers looks for a sandbox where only the driver can look: in the mount namespaces of its launcher.
func leftovers(t *testing.T, d *Driver, id string) []string {
	left, _ := filepath.Glob(filepath.Join(d.runDir, "*"+id+"*")) // the pattern is well-formed
	if d.rooms == nil {
		return left
	}
	look := func() error {
		b, err := os.ReadFile("/proc/thread-self/mountinfo")
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, id+"/") || strings.Contains(line, id+" ") {
				left = append(left, line)
			}
		}
		return err
	}
	err := d.launcher.Do(t.Context(), func() error {
		if _, err := os.Stat(filepath.Join(stage.Root, id)); err == nil {
			left = append(left, "stage "+id)
		}
		if err := look(); err != nil {
			return err
		}
		return d.rooms.InKeep(look)
	})
	if err != nil {
		t.Error(err)
	}
	return left
}

// TestUnprivileged runs the suite again as a user without any privilege.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 || os.Getenv(unprivileged) != "" {
		t.Skip("only root can become somebody else")
	}
	if testing.Short() {
		t.Skip("the suite takes a while")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "flint-unprivileged-") //nolint:usetesting // t.TempDir's parents are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "driver.test")
	if err := copyFile(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestDriver$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, unprivileged + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("as nobody: %v", err)
	}
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		_ = w.Close()
		return err
	}
	return w.Close()
}
