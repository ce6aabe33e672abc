package bubblewrap

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"flint/internal/seccomp"
	"flint/sandbox"
)

// Findings tries a sandbox and says which layers of isolation this host offers.
func (d *Driver) Findings(ctx context.Context) []sandbox.Finding {
	found := []sandbox.Finding{
		{Layer: "bubblewrap", OK: true, Detail: fmt.Sprintf("%s %s", d.program, d.version)},
		d.Try(ctx, d),
		d.spaces(),
		{Layer: "mount propagation", OK: d.rooms != nil, Detail: "packages are mounted into sandboxes that run"},
		{Layer: "seccomp", OK: d.filter != nil, Detail: "a filter refuses the system calls that functions do not need"},
	}
	if d.rooms == nil {
		found[3].Detail = "packages cannot be mounted into sandboxes that run, so that cold starts are slower: " + d.noRooms
	}
	if d.filter == nil {
		found[4].Detail = "the kernel has no seccomp filters with kill_process"
		if !seccomp.Known() {
			found[4].Detail = "Flint has no filter for " + runtime.GOARCH
		}
	}
	return append(found, d.Limits()...)
}

func (d *Driver) spaces() sandbox.Finding {
	f := sandbox.Finding{Layer: "user namespaces", OK: true}
	switch {
	case d.users != nil:
		f.Detail = fmt.Sprintf("each sandbox is a user of its own on the host, from %d to %d", d.users.first, d.users.first+d.users.count-1)
	case d.refused != nil:
		f.OK, f.Detail = false, d.refused.Error()
	case os.Geteuid() == 0:
		f.Detail = "sandboxes are the user that is root here: " + d.noUsers
	default:
		f.Detail = "sandboxes are the user that Flint runs as; as root Flint gives each a user of its own"
	}
	if b, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil && strings.TrimSpace(string(b)) == "0" {
		f.OK, f.Detail = false, "user namespaces are switched off: set the kernel parameter user.max_user_namespaces"
	}
	return f
}
