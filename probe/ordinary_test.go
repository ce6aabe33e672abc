package probe

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"flint/sandbox"
	"flint/sandbox/bubblewrap"
	"flint/sandbox/sandboxtest"
)

// ordinary is set for the copy of this test that runs as nobody.
const ordinary = "FLINT_TEST_ORDINARY"

// TestOrdinaryUser probes the sandboxes of a node that is not root. Of these only limits may lack.
func TestOrdinaryUser(t *testing.T) {
	if os.Getenv(ordinary) != "" || os.Geteuid() != 0 {
		probeAsIs(t)
		return
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "flint-ordinary-") //nolint:usetesting // t.TempDir's parents are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "probe.test")
	if err := copyProgram(program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestOrdinaryUser$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, ordinary + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("as nobody: %v", err)
	}
	if _, why, skipped := strings.Cut(string(out), "skipped: "); skipped {
		t.Skip(why)
	}
}

func probeAsIs(t *testing.T) {
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("skipped: bubblewrap is not installed (on Debian: apt-get install bubblewrap)")
	}
	d := closing[*bubblewrap.Driver](t)(bubblewrap.New(bubblewrap.Config{RunDir: t.TempDir(), Network: sandboxtest.Networks(t)}))
	if err := d.Networks(); err != nil {
		t.Skipf("skipped: %v", err)
	}
	r := run(t, d, sandbox.NetworkInternet)
	t.Log(r.Summary())
	for _, c := range r.Checks {
		if c.Verdict != Held && c.Area != areaLimits {
			t.Errorf("%s: %s: %s: got %q: %s", c.Name, c.Verdict, c.Tries, c.Got, c.Detail)
		}
	}
}

func copyProgram(to string) error {
	r, err := os.Open("/proc/self/exe")
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
