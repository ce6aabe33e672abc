package runtimes_test

import (
	"os"
	"strings"
	"testing"

	"flint/runtimes"
)

func TestLanguagesAreComplete(t *testing.T) {
	languages, err := runtimes.Languages()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]string{}
	for _, l := range languages {
		if other, ok := seen[l.Order]; ok {
			t.Errorf("%s and %s have the same order %d", l.Key, other, l.Order)
		}
		seen[l.Order] = l.Key
		for _, v := range l.Versions {
			if v.Version == "" || !strings.HasSuffix(v.Match, ".") || v.Base == "" || len(v.Supports) == 0 {
				t.Errorf("%s: version %+v is incomplete", l.Key, v)
			}
		}
		if l.Toolchain.Hint == "" || len(l.Toolchain.Executables) == 0 || len(l.Toolchain.Probe) == 0 {
			t.Errorf("%s: toolchain is incomplete", l.Key)
		}
	}
}

func TestCatalogFindsWhatIsOnThePath(t *testing.T) {
	k, err := runtimes.Open(t.Context(), runtimes.Config{Toolchains: t.TempDir(), Path: os.Getenv("PATH"), Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, r := range k.All() {
		if r.Toolchain == nil {
			if r.Hint == "" || strings.Contains(r.Hint, "{") {
				t.Errorf("%s has no toolchain and the hint %q", r.ID, r.Hint)
			}
			continue
		}
		t.Logf("%s: %s %v", r.ID, r.Toolchain, r.Toolchain.Trees)
		if r.Language.Key == "go" { // this test runs, so there is a Go
			found = true
		}
	}
	if !found {
		t.Error("no Go toolchain found although go runs this test")
	}
}

func TestCatalogOffersOnlyWhatIsAllowed(t *testing.T) {
	k, err := runtimes.Open(t.Context(), runtimes.Config{Toolchains: t.TempDir(), Allow: []string{"node-22"}})
	if err != nil {
		t.Fatal(err)
	}
	if all := k.All(); len(all) != 1 || all[0].ID != "node-22" || all[0].Toolchain != nil {
		t.Errorf("All() = %v, want node-22 without a toolchain", all)
	}
	if offered, err := k.Offered(t.Context()); err != nil || len(offered) != 0 {
		t.Errorf("Offered() = %v, %v: a runtime without a toolchain is offered", offered, err)
	}
	if _, ok, err := k.Lookup(t.Context(), "go-1.26"); ok || err != nil {
		t.Errorf("Lookup() = %v, %v: a runtime that is not allowed was found", ok, err)
	}
}

func TestNeedsDedicated(t *testing.T) {
	w := runtimes.Worker{Dedicated: []string{"NODE_*", "TZ"}}
	for _, c := range []struct {
		name string
		want bool
	}{{"NODE_OPTIONS", true}, {"TZ", true}, {"TZX", false}, {"KEY", false}} {
		if got := w.NeedsDedicated(map[string]string{c.name: "x"}); got != c.want {
			t.Errorf("NeedsDedicated(%s) = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestUnpackIsDoneOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := runtimes.Unpack(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := runtimes.Unpack(dir)
	if err != nil || first != second {
		t.Fatalf("second Unpack = %v, %v; want %v", second, err, first)
	}
	if _, err := os.Stat(first.BuildScript()); err != nil {
		t.Error(err)
	}
}
