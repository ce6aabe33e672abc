package process

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint/sandbox"
	"flint/sandbox/sandboxtest"
)

func TestDriver(t *testing.T) {
	sandboxtest.Run(t, func(*testing.T) sandbox.Driver { return New() }, sandboxtest.Caps{Usage: true})
}

func TestTranslation(t *testing.T) {
	t.Parallel()
	tr := newTranslation([]sandbox.Mount{
		{Source: "/host/code", Target: "/code"}, {Source: "/host/lib", Target: "/code/lib/"}, {Source: "/s", Target: "/opt/s"},
	})
	for in, want := range map[string]string{
		"":                      "",
		"/code":                 "/host/code",
		"/code/main.js":         "/host/code/main.js",
		"/code/lib/x":           "/host/lib/x",
		"/code/library":         "/host/code/library",
		"/codes":                "/codes",
		"/usr/bin:/opt/s:/x":    "/usr/bin:/s:/x",
		"--require=/opt/s/a.js": "--require=/s/a.js",
		"/other/code":           "/other/code",
		"https://a/code":        "https://a/code",
	} {
		if diff := cmp.Diff(want, tr.apply(in)); diff != "" {
			t.Errorf("apply(%q) (-want +got):\n%s", in, diff)
		}
	}
}
