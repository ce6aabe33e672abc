package oci

import (
	"context"
	"fmt"

	"flint/sandbox"
)

// Findings tries a sandbox and says which layers of isolation this host offers.
func (d *Driver) Findings(ctx context.Context) []sandbox.Finding {
	found := []sandbox.Finding{
		{Layer: "OCI runtime", OK: true, Detail: fmt.Sprintf("%s: %s %s", d.runtime.path, d.runtime.kind, d.runtime.version)},
		d.Try(ctx, d),
		{Layer: "user namespaces", OK: true, Detail: d.hostUsers()},
		{Layer: "mount propagation", OK: !d.runtime.gVisor(), Detail: "packages are mounted into sandboxes that run"},
		{Layer: "seccomp", OK: d.profile != nil, Detail: "a filter refuses the system calls that functions do not need"},
	}
	if d.runtime.gVisor() {
		found[3].Detail = "gVisor sees no mounts that are made later, so that cold starts are slower"
		found[4].OK, found[4].Detail = true, "gVisor answers system calls with a kernel of its own"
	} else if d.profile == nil {
		found[4].Detail = "the kernel has no seccomp filters, or Flint none for this architecture"
	}
	return append(found, d.Limits()...)
}
