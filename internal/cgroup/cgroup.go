// Package cgroup makes Linux control groups for process trees: limits, accounting, removal. It works with the
// hierarchies of version 1, with the unified one of version 2 and with hosts that have both, and says which limits it
// cannot offer instead of failing.
//
// Groups lie at flint/<pid>-<start time>/<id> below the group of the calling process, so that what a node left behind
// can be told from what a living neighbour uses.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What is killed takes a moment to be gone.
const (
	buryTimeout = 2 * time.Second
	buryPause   = 5 * time.Millisecond
)

// Controller is something that a group can limit or count.
type Controller string

// The controllers that this package knows.
const (
	Memory    Controller = "memory"
	Processes Controller = "pids"
	CPU       Controller = "cpu"
	CPUTime   Controller = "cpuacct" // counts only; part of cpu in version 2
)

// Limits bound a group. Zero is no limit.
type Limits struct {
	Memory    int64   // bytes, without any swap
	Processes int     // processes and threads
	CPUs      float64 // processors
}

// Manager makes groups. Only what Weigh remembers changes between Open and Close.
type Manager struct {
	hierarchies []hierarchy
	missing     map[Controller]string

	all   clock  // of all groups
	allIn string // the directory of its file; empty: nobody counts
	asked time.Time
	used  time.Duration
}

// hierarchy is one tree of groups and the controllers that are used in it.
type hierarchy struct {
	version     int
	home        string // the directory of the group that the calling process was found in
	root        string // <home>/flint
	node        string // <home>/flint/<pid>-<start time>
	controllers []Controller
	back        *os.File // version 1: where a thread leaves a group to
}

const (
	rootName = "flint"
	leafName = "flint-node" // where the node itself moves when version 2 wants its group free of processes
)

// Open finds out which controllers this process may use and makes the directories that its groups go into.
func Open() *Manager {
	mounts, groups, err := readOwn()
	if err != nil {
		return nothing(err.Error())
	}
	found, missing := detect(mounts, groups)
	m := &Manager{missing: missing}
	node := nodeName(os.Getpid())
	for _, h := range found {
		h, refused := h.prepare(node)
		maps.Copy(m.missing, refused)
		if len(h.controllers) > 0 {
			m.hierarchies = append(m.hierarchies, h)
		}
		if h.has(CPUTime) && m.allIn == "" {
			m.allIn = h.node
			m.all.of(h.version)
		}
	}
	return m
}

// readOwn reads what is mounted for this process, and which groups it is in.
func readOwn() (mounts, groups string, err error) {
	m, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	g, err := os.ReadFile("/proc/self/cgroup")
	return string(m), string(g), err
}

func nothing(why string) *Manager {
	m := &Manager{missing: map[Controller]string{}}
	for _, c := range []Controller{Memory, Processes, CPU, CPUTime} {
		m.missing[c] = why
	}
	return m
}

// Has says whether groups limit, or count, what c stands for.
func (m *Manager) Has(c Controller) bool { _, no := m.missing[c]; return !no }

// Why says why Has(c) is false.
func (m *Manager) Why(c Controller) string { return m.missing[c] }

// Version names what is in use: "v1", "v2", "v1 and v2" or "none".
func (m *Manager) Version() string {
	var v1, v2 bool
	for _, h := range m.hierarchies {
		v1 = v1 || h.version == 1
		v2 = v2 || h.version == 2
	}
	switch {
	case v1 && v2:
		return "v1 and v2"
	case v1:
		return "v1"
	case v2:
		return "v2"
	}
	return "none"
}

// Clean ends what is left of nodes that are dead, and removes their groups. A group that still holds processes stays, and
// is named in the error.
func (m *Manager) Clean() error {
	var errs []error
	for _, h := range m.hierarchies {
		entries, err := os.ReadDir(h.root)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range entries {
			if e.IsDir() && !alive(e.Name()) {
				errs = append(errs, bury(filepath.Join(h.root, e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

// Close removes the directories that Open made. Groups that are still there keep theirs.
func (m *Manager) Close() error {
	var errs []error
	m.all.close()
	for _, h := range m.hierarchies {
		if h.back != nil {
			_ = h.back.Close()
		}
		if err := os.Remove(h.node); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		_ = os.Remove(h.root) // fails while another node uses it, and may
	}
	return errors.Join(errs...)
}

// nodeName is the process id with the time that the process started, which together name it for as long as the
// machine runs; control groups do not outlive that either.
func nodeName(pid int) string {
	return strconv.Itoa(pid) + "-" + startTime(pid)
}

func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the name in parentheses and may hold anything; the start time is the 22nd.
	_, rest, _ := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), " ")
	if f := strings.Fields(rest); len(f) > 19 {
		return f[19]
	}
	return ""
}

func alive(node string) bool {
	pid, start, ok := strings.Cut(node, "-")
	n, err := strconv.Atoi(pid)
	return !ok || err != nil || startTime(n) == start // what is not named like a node's is not ours to remove
}

// bury kills the processes below dir, which have lost their node, and removes it.
func bury(dir string) (err error) {
	for deadline := time.Now().Add(buryTimeout); ; time.Sleep(buryPause) { //nolint:forbidigo // the kernel tells nobody when a group may be removed
		killTree(dir)
		if err = removeTree(dir); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func killTree(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			killTree(filepath.Join(dir, e.Name()))
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for field := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (h hierarchy) has(c Controller) bool { return slices.Contains(h.controllers, c) }
