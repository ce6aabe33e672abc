package probe

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"flint/sandbox"
	"flint/sandbox/bubblewrap"
	"flint/sandbox/oci"
	"flint/sandbox/sandboxtest"
)

// attackArg makes this test program the attacker.
const attackArg = "probe-attack"

func TestMain(m *testing.M) {
	sandboxtest.Join()
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
	return closing[*oci.Driver](t)(oci.New(oci.Config{Runtime: "runc", RunDir: t.TempDir(), Network: sandboxtest.Networks(t), Weak: weak}))
}

func openBubblewrap(t *testing.T) *bubblewrap.Driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("what an ordinary user's sandboxes lack, flint probe tells")
	}
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap is not installed (on Debian: apt-get install bubblewrap)")
	}
	return closing[*bubblewrap.Driver](t)(bubblewrap.New(bubblewrap.Config{RunDir: t.TempDir(), Network: sandboxtest.Networks(t)}))
}

var update = flag.Bool("update", false, "write the table in docs/security.md")

// TestDocumentIsTheTable wants docs/security.md to end with the table of checks.
func TestDocumentIsTheTable(t *testing.T) {
	const file, mark = "../docs/security.md", "<!-- written by go test ./probe -update -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	prose, table, ok := strings.Cut(string(b), mark)
	if !ok {
		t.Fatalf("%s has no line %s", file, mark)
	}
	var want strings.Builder
	area := ""
	for _, c := range Checks() {
		if c.Area != area {
			area = c.Area
			fmt.Fprintf(&want, "\n### %s\n\n| check | attempt | why it matters | if open |\n|---|---|---|---|\n", strings.ToUpper(area[:1])+area[1:])
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", c.Name, c.Tries, c.Why, [...]string{Minor: "C", Serious: "D", Grave: "F"}[c.Grave])
	}
	if *update {
		if err := os.WriteFile(file, []byte(prose+mark+want.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if table != want.String() {
		t.Errorf("%s is not what the table says: run go test ./probe -update", file)
	}
}

// TestChecksAreTold wants each check to have a name of its own and all its words.
func TestChecksAreTold(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Checks() {
		if names[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if c.Area == "" || c.Tries == "" || c.Why == "" || c.Grave == 0 || c.judge == nil && len(c.want) == 0 {
			t.Errorf("%s does not say all: %+v", c.Name, c)
		}
	}
}

func TestGrade(t *testing.T) {
	for _, tt := range []struct {
		results []Result
		want    Grade
	}{
		{nil, "A"},
		{[]Result{{Verdict: Held, grave: Grave}}, "A"},
		{[]Result{{Verdict: Unprotected, grave: Grave}, {Verdict: Held}}, "B"},
		{[]Result{{Verdict: Open, grave: Minor}, {Verdict: Unprotected, grave: Grave}}, "C"},
		{[]Result{{Verdict: Open, grave: Serious}, {Verdict: Open, grave: Minor}}, "D"},
		{[]Result{{Verdict: Open, grave: Grave}, {Verdict: Open, grave: Minor}}, "F"},
	} {
		r := &Report{Grade: "A"}
		for _, res := range tt.results {
			r.count(res)
		}
		if r.Grade != tt.want {
			t.Errorf("grade of %v = %s, want %s", tt.results, r.Grade, tt.want)
		}
	}
	if Grade("B").Below("B") || Grade("A").Below("C") || !Grade("D").Below("C") || Grade("F").Below("") {
		t.Error("Below() is wrong")
	}
}

// TestEverythingHolds probes both drivers with networks that are nobody else's, and with the host's.
func TestEverythingHolds(t *testing.T) {
	for name, d := range map[string]func() sandbox.Driver{
		"bubblewrap": func() sandbox.Driver { return openBubblewrap(t) },
		"oci":        func() sandbox.Driver { return openOCI(t, oci.Weakness{}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := d()
			for n, want := range map[sandbox.Network]Grade{sandbox.NetworkNone: "A", sandbox.NetworkInternet: "A", sandbox.NetworkHost: "B"} {
				r := run(t, d, n)
				t.Log(r.Summary())
				if r.Grade != want {
					for _, c := range r.Checks {
						if c.Verdict == Open || c.Verdict == Unprotected && want == "A" {
							t.Errorf("%s: %s: %s: got %q: %s", c.Name, c.Verdict, c.Tries, c.Got, c.Detail)
						}
					}
					t.Errorf("with network %s the grade is %s, want %s", n, r.Grade, want)
				}
			}
		})
	}
}
