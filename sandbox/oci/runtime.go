package oci

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"flint/sandbox"
)

// runtimeNames are looked for on PATH, in this order, when none is configured.
const runtimeNames = "runc crun runsc"

// runtimePath is the environment of runtimes: some look for programs.
const runtimePath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// ociRuntime is the program that makes containers.
type ociRuntime struct {
	path    string
	kind    string // runc, crun or runsc; what is unknown is treated like runc
	version string
}

// findRuntime looks for the program and asks for its version.
func findRuntime(name string) (ociRuntime, error) {
	names := strings.Fields(cmp.Or(name, runtimeNames))
	var r ociRuntime
	var err error
	for _, n := range names {
		if r.path, err = exec.LookPath(n); err == nil {
			break
		}
	}
	if err != nil {
		return r, fmt.Errorf("find an OCI runtime, one of %s (on Debian: apt-get install runc): %w", strings.Join(names, ", "), err)
	}
	if r.path, err = filepath.Abs(r.path); err != nil {
		return r, err
	}
	text, err := sandbox.Ask(r.path)
	if err != nil {
		return r, err
	}
	r.kind, r.version = parseVersion(text)
	if r.kind == "" {
		return r, fmt.Errorf("%s --version says %q, which is no OCI runtime", r.path, text)
	}
	return r, nil
}

// parseVersion reads the first line: "runc version 1.1.5".
func parseVersion(text string) (kind, version string) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 3 || f[1] != "version" {
		return "", ""
	}
	return f[0], f[2]
}

// gVisor says whether the runtime is one with a kernel of its own, which sees no mounts that are made later, enforces its
// own system call filter and keeps no process of the sandbox on the host.
func (r ociRuntime) gVisor() bool { return r.kind == "runsc" }

// joinsGroups says whether the runtime puts containers into control groups. The others are started in theirs: crun does not
// work with both versions of control groups on one host, and of gVisor only a part would be in the group.
func (r ociRuntime) joinsGroups() bool { return r.kind != "crun" && !r.gVisor() }

// global returns the options before the command.
func (r ociRuntime) global(state, log string) []string {
	args := []string{"--root", state, "--log", log, "--log-format", "json"}
	if r.kind == "crun" {
		args = append(args, "--cgroup-manager=disabled")
	}
	if r.gVisor() {
		// The socket to the node lies in a mount, which gVisor opens only when told.
		args = append(args, "--host-uds=open", "--ignore-cgroups", "--overlay2=none")
	}
	return args
}

// run returns the arguments that make and start the container id of a bundle, which gets so many descriptors beside the
// standard ones.
func (r ociRuntime) run(state, bundle, id string, files int, network sandbox.Network) []string {
	args := r.global(state, bundle+"/log")
	if r.gVisor() {
		// gVisor's own network would take over the interfaces of the host.
		args = append(args, "--network="+map[bool]string{true: "none", false: "host"}[network == sandbox.NetworkNone])
	}
	args = append(args, "run", "--detach", "--bundle", bundle, "--pid-file", bundle+"/pid")
	if r.gVisor() {
		args = append(args, "--pass-fd", "3:3")
	} else {
		args = append(args, "--preserve-fds", strconv.Itoa(files))
	}
	return append(args, id)
}

// remove returns the arguments that remove what the runtime keeps of a container, dead or alive.
func (r ociRuntime) remove(state, log, id string) []string {
	return append(r.global(state, log), "delete", "--force", id)
}

// complaint finds the last message among the lines that a runtime logged.
func complaint(log string) error {
	var last string
	for line := range strings.Lines(log) {
		var entry struct {
			Text string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Text != "" {
			last = entry.Text
		} else if line = strings.TrimSpace(line); line != "" {
			last = line
		}
	}
	if last == "" {
		return errors.New("it ended without a word")
	}
	return errors.New(last)
}
