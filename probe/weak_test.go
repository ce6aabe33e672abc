package probe

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"flint/sandbox"
	"flint/sandbox/oci"
	"flint/sandbox/process"
)

// without takes a kind of namespace away.
func without(kind specs.LinuxNamespaceType) func(*specs.Spec) {
	return func(c *specs.Spec) {
		c.Linux.Namespaces = slices.DeleteFunc(c.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	}
}

// weaknesses are sandboxes that lack one protection each, with the checks that see it.
func weaknesses(t *testing.T) []weakness {
	all := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",
		"CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_MKNOD", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	}
	leak, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leak.Close() })
	capable := func(c *specs.Spec) {
		c.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all, Inheritable: all, Ambient: all}
	}
	return []weakness{
		{"seccomp", oci.Weakness{Spec: func(c *specs.Spec) { c.Linux.Seccomp = nil }}, []string{"clock", "clone3", "debug", "file-handles", "kernel-programs", "keys", "measure", "mount", "mount-new", "new-namespaces", "odd-sockets", "page-faults", "rings", "terminal"}},
		{"capabilities", oci.Weakness{Spec: capable}, []string{"become-root", "capabilities", "change-network", "raw-sockets", "set-groups", "set-host-name", "trusted-ports"}},
		{"no new privileges", oci.Weakness{Spec: func(c *specs.Spec) { c.Process.NoNewPrivileges = false }}, []string{"no-new-privileges"}},
		{"user", oci.Weakness{Spec: func(c *specs.Spec) { c.Process.User = specs.User{} }}, []string{"become-root", "user"}},
		{"groups", oci.Weakness{Spec: func(c *specs.Spec) { c.Process.User.AdditionalGids = []uint32{0} }}, []string{"groups"}},
		{"user namespace", oci.Weakness{Spec: func(c *specs.Spec) {
			without(specs.UserNamespace)(c)
			c.Linux.UIDMappings, c.Linux.GIDMappings = nil, nil
		}}, []string{"host-user", "setuid-files", "user-namespace"}},
		{"process namespace", oci.Weakness{Spec: func(c *specs.Spec) {
			without(specs.PIDNamespace)(c)
			// The kernel lets only those mount /proc who have such a namespace.
			c.Mounts[0] = specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}}
		}}, []string{"host-process", "other-process", "pid-namespace"}},
		{"ipc namespace", oci.Weakness{Spec: without(specs.IPCNamespace)}, []string{"ipc-namespace", "other-shared-memory"}},
		{"uts namespace", oci.Weakness{Spec: func(c *specs.Spec) {
			without(specs.UTSNamespace)(c)
			c.Hostname = ""
		}}, []string{"host-name", "uts-namespace"}},
		{"cgroup namespace", oci.Weakness{Spec: without(specs.CgroupNamespace)}, []string{"cgroup-namespace"}},
		{"network namespace", oci.Weakness{Spec: without(specs.NetworkNamespace)}, []string{"cloud-metadata", "host-abstract-socket", "host-ports", "net-namespace", "other-abstract-socket", "other-ports"}},
		{"masked paths", oci.Weakness{Spec: func(c *specs.Spec) { c.Linux.MaskedPaths = nil }}, []string{"kernel-keys", "kernel-settings", "kernel-symbols"}},
		{"read-only mounts", oci.Weakness{Writable: true}, []string{"write-exchange", "write-package"}},
		{"limits", oci.Weakness{Limits: true, Spec: func(c *specs.Spec) { c.Linux.Resources = nil }}, []string{"memory", "processes", "processor"}},
		{"limits of files", oci.Weakness{Spec: func(c *specs.Spec) { c.Process.Rlimits = nil }}, []string{"core-dumps", "open-files"}},
		// What lies there is memory, whose limit would hold.
		{"limits of temporary files", oci.Weakness{Limits: true, Spec: func(c *specs.Spec) {
			c.Linux.Resources = nil
			for i, m := range c.Mounts {
				if m.Type == "tmpfs" && m.Destination != "/dev" {
					c.Mounts[i].Options = []string{"nosuid", "nodev", "mode=1777"}
				}
			}
		}}, []string{"memory", "processes", "processor", "shared-memory", "temporary-files"}},
		{"descriptors", oci.Weakness{Leak: leak}, []string{"leaked-descriptors"}},
		// What the kernel of this machine refuses even root, or does not have: the filter says in its place that it is done.
		{"the kernel's refusal of higher limits", oci.Weakness{Spec: func(c *specs.Spec) {
			pretend(c, "prlimit64", specs.LinuxSeccompArg{Index: 2, Op: specs.OpNotEqual}) // without new limits it asks for the old
		}}, []string{"raise-limits"}},
		{"the kernel's refusal of code", oci.Weakness{Spec: func(c *specs.Spec) { pretend(c, "kexec_load") }}, []string{"kernel-code"}},
		{"the kernel's refusal of other victims", oci.Weakness{Spec: openAnyway(t, "/proc/self/oom_score_adj")}, []string{"spare-me"}},
	}
}

type weakness struct {
	name string
	weak oci.Weakness
	want []string
}

func opened(r *Report) []string {
	var found []string
	for _, c := range r.Checks {
		if c.Verdict != Held {
			found = append(found, c.Name)
		}
	}
	slices.Sort(found)
	return found
}

// TestChecksSee takes one protection away after the other, and then all, and wants the checks to see what is missing.
func TestChecksSee(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a hundred sandboxes")
	}
	seen := map[string]bool{}
	for _, w := range weaknesses(t) {
		t.Run(w.name, func(t *testing.T) {
			d := openOCI(t, w.weak)
			got := opened(run(t, d, sandbox.NetworkNone))
			for _, name := range got {
				seen[name] = true
			}
			slices.Sort(w.want)
			if diff := cmp.Diff(w.want, got); diff != "" {
				t.Errorf("open without %s (-want +got):\n%s", w.name, diff)
			}
		})
	}
	t.Run("everything", func(t *testing.T) {
		r := run(t, process.New(), sandbox.NetworkHost)
		if r.Grade != "F" {
			t.Errorf("without a sandbox the grade is %s", r.Grade)
		}
		for _, name := range opened(r) {
			seen[name] = true
		}
	})
	for _, c := range Checks() {
		if !seen[c.Name] {
			t.Errorf("%s was never open, whatever was missing", c.Name)
		}
	}
}
