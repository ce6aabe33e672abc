package probe

import (
	"os"
	"os/exec"
	"testing"

	"flint/sandbox"
	"flint/sandbox/bubblewrap"
	"flint/sandbox/oci"
)

// attackArg makes this test program the attacker.
const attackArg = "probe-attack"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == attackArg {
		if err := Attack(os.Args[1:2], os.Args[2:], os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// run probes a driver.
func run(t *testing.T, d sandbox.Driver, n sandbox.Network) *Report {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), Config{Driver: d, Network: n, Program: program, Args: []string{attackArg}, Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type driver interface {
	sandbox.Driver
	Close() error
}

func closing[D driver](t *testing.T) func(D, error) D {
	return func(d D, err error) D {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		})
		return d
	}
}

func openOCI(t *testing.T, weak oci.Weakness) *oci.Driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run OCI runtimes")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("runc is not installed (on Debian: apt-get install runc)")
	}
	return closing[*oci.Driver](t)(oci.New(oci.Config{Runtime: "runc", RunDir: t.TempDir(), Weak: weak}))
}

func openBubblewrap(t *testing.T) *bubblewrap.Driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("what an ordinary user's sandboxes lack, flint probe tells")
	}
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap is not installed (on Debian: apt-get install bubblewrap)")
	}
	return closing[*bubblewrap.Driver](t)(bubblewrap.New(bubblewrap.Config{RunDir: t.TempDir()}))
}

// TestEverythingHolds probes both drivers with a network that is nobody else's, and with the host's.
func TestEverythingHolds(t *testing.T) {
	for name, d := range map[string]func() sandbox.Driver{
		"bubblewrap": func() sandbox.Driver { return openBubblewrap(t) },
		"oci":        func() sandbox.Driver { return openOCI(t, oci.Weakness{}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := d()
			for n, want := range map[sandbox.Network]Grade{sandbox.NetworkNone: "A", sandbox.NetworkHost: "B"} {
				r := run(t, d, n)
				t.Log(r.Summary())
				if r.Grade != want {
					for _, c := range r.Checks {
						if c.Verdict == Open || c.Verdict == Unprotected && want == "A" {
							t.Errorf("%s: %s: %s: got %q: %s", c.Name, c.Verdict, c.Tries, c.Got, c.Detail)
						}
					}
					t.Errorf("with network %d the grade is %s, want %s", n, r.Grade, want)
				}
			}
		})
	}
}
