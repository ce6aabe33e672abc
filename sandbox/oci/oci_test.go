package oci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flint/internal/stage"
	"flint/sandbox"
	"flint/sandbox/sandboxtest"
)

// open returns a driver, or skips the test where there is no runtime or no root.
func open(t testing.TB, name string) *Driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run OCI runtimes")
	}
	if _, err := findRuntime(name); err != nil {
		t.Skip(err)
	}
	d, err := New(Config{Runtime: name, RunDir: t.TempDir(), Network: sandboxtest.Networks(t)})
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
	for name := range strings.FieldsSeq(runtimeNames) {
		t.Run(name, func(t *testing.T) {
			d := open(t, name)
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
		})
	}
}

// leftovers looks for a sandbox where only the driver can look: in the mount namespaces of its launcher.
func leftovers(t *testing.T, d *Driver, id string) []string {
	var left []string
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
		for _, dir := range []string{stage.Root, stateDir} {
			if _, err := os.Stat(filepath.Join(dir, id)); err == nil {
				left = append(left, filepath.Join(dir, id))
			}
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
