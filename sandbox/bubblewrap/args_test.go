package bubblewrap

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint/internal/rootfs"
	"flint/sandbox"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	good := func() sandbox.Spec {
		return sandbox.Spec{
			ID: "w-1", Args: []string{"true"}, Env: []string{"A=b"},
			Mounts: []sandbox.Mount{{Source: "/a", Target: "/x/y/"}, {Source: "/b", Target: "/x"}},
		}
	}
	got, err := check(good())
	if err != nil {
		t.Fatal(err)
	}
	want := good()
	want.Dir = "/"
	want.Mounts = []sandbox.Mount{{Source: "/b", Target: "/x"}, {Source: "/a", Target: "/x/y"}}
	want.Limits = sandbox.Limits{Processes: sandbox.DefaultProcesses, Files: sandbox.DefaultFiles, Tmp: sandbox.DefaultTmp}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("check() (-want +got):\n%s", diff)
	}
	for name, spoil := range map[string]func(*sandbox.Spec){
		"no id":           func(s *sandbox.Spec) { s.ID = "" },
		"id with a path":  func(s *sandbox.Spec) { s.ID = "../x" },
		"id like a flag":  func(s *sandbox.Spec) { s.ID = "-x" },
		"no program":      func(s *sandbox.Spec) { s.Args = nil },
		"empty program":   func(s *sandbox.Spec) { s.Args = []string{""} },
		"no equals sign":  func(s *sandbox.Spec) { s.Env = []string{"A"} },
		"no name":         func(s *sandbox.Spec) { s.Env = []string{"=a"} },
		"NUL in variable": func(s *sandbox.Spec) { s.Env = []string{"A=\x00--bind"} },
		"NUL in argument": func(s *sandbox.Spec) { s.Args = []string{"a\x00b"} },
		"NUL in dir":      func(s *sandbox.Spec) { s.Dir = "/\x00" },
		"NUL in mount":    func(s *sandbox.Spec) { s.Mounts[0].Source = "/\x00--dev-bind" },
		"relative source": func(s *sandbox.Spec) { s.Mounts[0].Source = "a" },
		"relative target": func(s *sandbox.Spec) { s.Mounts[0].Target = "a" },
		"root":            func(s *sandbox.Spec) { s.Mounts[0].Target = "/x/.." },
		"many variables":  func(s *sandbox.Spec) { s.Env = slices.Repeat([]string{"A=b"}, mostVariables+1) },
	} {
		s := good()
		spoil(&s)
		if _, err := check(s); err == nil {
			t.Errorf("check() of a spec with %s = nil", name)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	spec, err := check(sandbox.Spec{
		ID: "x", Args: []string{"true"}, Env: []string{"A=b=c", "E="}, Dir: "/w",
		Mounts: []sandbox.Mount{{Source: "/a", Target: "/w", Writable: true}, {Source: "/b", Target: "/r"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := view{System: rootfs.System{Dirs: []string{"/usr/bin"}, Links: map[string]string{"/bin": "usr/bin"}}, etc: "/base", files: []string{"passwd"}}
	got := " " + strings.Join(options(spec, v, func(i int) string { return spec.Mounts[i].Source }), " ") + " "
	for _, want := range []string{
		" --unshare-net ", " --clearenv ", " --new-session ", " --die-with-parent ", " --ro-bind /usr/bin /usr/bin ", " --symlink usr/bin /bin ",
		" --ro-bind /base /run/flint/etc ", " --symlink /run/flint/etc/passwd /etc/passwd ", " --bind /a /w ", " --ro-bind /b /r ",
		" --remount-ro / --chdir /w --setenv A b=c --setenv E  ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("options lack %q: %s", want, got)
		}
	}
	spec.Network = sandbox.NetworkHost
	if slices.Contains(options(spec, v, func(int) string { return "" }), "--unshare-net") {
		t.Error("the host's network is taken away from a sandbox that is to have it")
	}
}
