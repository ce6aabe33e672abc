package bubblewrap

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"flint/internal/stage"
	"flint/sandbox"
	"flint/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	sandboxtest.Join()
	os.Exit(m.Run())
}

// unprivileged is set for the copy of this test that runs as nobody.
const unprivileged = "FLINT_TEST_UNPRIVILEGED"

// open returns a driver, or skips the test when the host lets nobody make sandboxes.
func open(t testing.TB) *Driver {
	t.Helper()
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap is not installed (on Debian: apt-get install bubblewrap)")
	}
	d, err := New(Config{RunDir: t.TempDir(), Network: sandboxtest.Networks(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	if f := d.Try(t.Context(), d); !f.OK {
		t.Skipf("this host cannot run sandboxes: %s", f.Detail)
	}
	return d
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
	err := d.Launcher.Do(t.Context(), func() error {
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
