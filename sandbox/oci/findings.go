package oci

import (
	"context"
	"fmt"
	"strconv"

	"flint/internal/cgroup"
	"flint/sandbox"
)

// Findings tries a sandbox and says which layers of isolation this host offers.
func (d *Driver) Findings(ctx context.Context) []sandbox.Finding {
	found := []sandbox.Finding{
		{Layer: "OCI runtime", OK: true, Detail: fmt.Sprintf("%s: %s %s", d.runtime.path, d.runtime.kind, d.runtime.version)},
		d.try(ctx),
		{Layer: "user namespaces", OK: true, Detail: d.hostUsers()},
		{Layer: "mount propagation", OK: !d.runtime.gVisor(), Detail: "packages are mounted into sandboxes that run"},
		{Layer: "seccomp", OK: d.profile != nil, Detail: "a filter refuses the system calls that functions do not need"},
		d.limit("memory limit", cgroup.Memory),
		d.limit("process limit", cgroup.Processes),
		d.limit("processor limit", cgroup.CPU),
		d.network(),
	}
	if d.runtime.gVisor() {
		found[3].Detail = "gVisor sees no mounts that are made later, so that cold starts are slower"
		found[4].OK, found[4].Detail = true, "gVisor answers system calls with a kernel of its own"
	} else if d.profile == nil {
		found[4].Detail = "the kernel has no seccomp filters, or Flint none for this architecture"
	}
	return found
}

// try runs a sandbox, which tells more than all guesses.
func (d *Driver) try(ctx context.Context) sandbox.Finding {
	f := sandbox.Finding{Layer: "sandbox"}
	s, err := d.Start(ctx, sandbox.Spec{
		ID: "try-" + strconv.FormatUint(d.tries.Add(1), 10), Args: []string{"true"}, Env: []string{"PATH=/usr/bin:/bin"},
	})
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
	if err := s.Close(); err != nil {
		f.Detail = err.Error()
		return f
	}
	if e := s.Exit(); e != (sandbox.Exit{}) {
		f.Detail = "a sandbox that only runs true ended with " + e.String()
		return f
	}
	f.OK, f.Detail = true, "a process was started and ended in one"
	return f
}

func (d *Driver) limit(layer string, c cgroup.Controller) sandbox.Finding {
	if d.groups.Has(c) {
		return sandbox.Finding{Layer: layer, OK: true, Detail: "control groups " + d.groups.Version()}
	}
	detail := "no control group: " + d.groups.Why(c)
	if c == cgroup.Processes {
		detail += "; the limit of processes per user stands in"
	}
	return sandbox.Finding{Layer: layer, Detail: detail}
}
