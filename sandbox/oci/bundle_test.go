package oci

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStart has a shell start env(1), as the first process of a sandbox does, with variables that shells do not know.
func TestStart(t *testing.T) {
	t.Parallel()
	env := []string{"PATH=/usr/bin:/bin", "odd-name=it's $odd", "A=1\n2", "9=x", "a.b="}
	cmd := exec.Command("/bin/sh", "-c", "exec 4>&2; "+start(env), "sh", "env", "-0")
	cmd.Env = append([]string{"HOME=/made"}, env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for e := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if !strings.HasPrefix(e, "PWD=") {
			got[e] = true
		}
	}
	want := map[string]bool{}
	for _, e := range env {
		want[e] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"runc version 1.1.5+ds1\ncommit: x\nspec: 1.0.2-dev": {"runc", "1.1.5+ds1"},
		"crun version 1.8.1\n":                               {"crun", "1.8.1"},
		"runsc version release-20260101.0\nspec: 1.1.0":      {"runsc", "release-20260101.0"},
		"bubblewrap 0.8.0":                                   {},
		"":                                                   {},
	} {
		kind, version := parseVersion(text)
		if got := [2]string{kind, version}; got != want {
			t.Errorf("parseVersion(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestComplaint(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]error{
		"":                                   errors.New("it ended without a word"),
		`{"level":"error","msg":"no \"x\""}`: errors.New(`no "x"`),
		"{\"level\":\"warning\",\"msg\":\"a\"}\n{\"level\":\"error\",\"msg\":\"b\"}\n": errors.New("b"),
		"plain words\n": errors.New("plain words"),
	} {
		if got := complaint(log); got.Error() != want.Error() {
			t.Errorf("complaint(%q) = %v, want %v", log, got, want)
		}
	}
}
