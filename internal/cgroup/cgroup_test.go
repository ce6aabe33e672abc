package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	mountsV1 = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
`
	groupsV1 = "9:name=systemd:/\n8:pids:/user\n4:memory:/docker/abc\n1:cpu,cpuacct:/\n"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	unified := t.TempDir()
	if err := os.WriteFile(filepath.Join(unified, "cgroup.controllers"), []byte("cpuset cpu io memory pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mountV2 := "41 31 0:38 / " + unified + " rw,relatime - cgroup2 cgroup2 rw\n"
	memory := strings.Split(mountsV1, "\n")[2] + "\n"
	for _, tt := range []struct {
		name, mounts, groups string
		want                 []hierarchy
		missing              []Controller
	}{
		{"version 1", mountsV1, groupsV1, []hierarchy{
			{version: 1, home: "/sys/fs/cgroup/pids/user", controllers: []Controller{Processes}},
			{version: 1, home: "/sys/fs/cgroup/memory", controllers: []Controller{Memory}},
			{version: 1, home: "/sys/fs/cgroup/cpu,cpuacct", controllers: []Controller{CPU, CPUTime}},
		}, nil},
		{"version 2", mountV2, "0::/\n", []hierarchy{
			{version: 2, home: unified, controllers: []Controller{CPU, Memory, Processes, CPUTime}},
		}, nil},
		{"both", memory + mountV2, "4:memory:/docker/abc\n0::/\n", []hierarchy{
			{version: 1, home: "/sys/fs/cgroup/memory", controllers: []Controller{Memory}},
			{version: 2, home: unified, controllers: []Controller{CPU, Processes, CPUTime}},
		}, nil},
		{"some", memory, "4:memory:/docker/abc\n8:pids:/\n", []hierarchy{
			{version: 1, home: "/sys/fs/cgroup/memory", controllers: []Controller{Memory}},
		}, []Controller{Processes, CPU, CPUTime}},
		{"none", "", "", nil, []Controller{Memory, Processes, CPU, CPUTime}},
	} {
		found, missing := detect(tt.mounts, tt.groups)
		if diff := cmp.Diff(tt.want, found, cmp.AllowUnexported(hierarchy{})); diff != "" {
			t.Errorf("%s: detect() (-want +got):\n%s", tt.name, diff)
		}
		var not []Controller
		for c := range missing {
			not = append(not, c)
		}
		if diff := cmp.Diff(tt.missing, not, cmpopts.SortSlices(func(a, b Controller) bool { return a < b })); diff != "" {
			t.Errorf("%s: missing controllers (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ root, group, want string }{
		{"/", "/", "/m"},
		{"/", "/a/b", "/m/a/b"},
		{"/docker/x", "/docker/x", "/m"},
		{"/docker/x", "/docker/x/y", "/m/y"},
		{"/docker/x", "/docker/xy", "/m"},
		{"/docker/x", "/", "/m"},
		{"/", "/../other", "/m"},
	} {
		if got := home(mount{root: tt.root, point: "/m"}, tt.group); got != tt.want {
			t.Errorf("home(%q, %q) = %q, want %q", tt.root, tt.group, got, tt.want)
		}
	}
}

// TestUnified checks what is written for version 2 on plain files, since hosts with both versions give it nothing.
func TestUnified(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max"} {
		file(name, "")
	}
	file("cpu.stat", "usage_usec 1500\nuser_usec 1000\n")
	file("memory.peak", "4096\n")
	file("memory.events", "low 0\noom 3\noom_kill 2\n")
	g := &Group{parts: []part{{
		hierarchy: hierarchy{version: 2, controllers: []Controller{Memory, Processes, CPU, CPUTime}}, dir: dir,
	}}}
	g.count(g.parts[0])
	if err := g.SetLimits(Limits{Memory: 1 << 20, Processes: 7, CPUs: 0.5}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{"memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(b)
	}
	want := map[string]string{
		"memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "7", "cpu.max": "50000 100000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("SetLimits() wrote (-want +got):\n%s", diff)
	}
	if g.CPUTime() != 1500*time.Microsecond || g.PeakMemory() != 4096 || g.OutOfMemory() != 2 {
		t.Errorf("counted %v, %d bytes, %d kills", g.CPUTime(), g.PeakMemory(), g.OutOfMemory())
	}
}

func open(t *testing.T) *Manager {
	t.Helper()
	m := Open()
	if m.Version() == "none" {
		t.Skipf("this process may make no control groups: %s", m.Why(Memory))
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return m
}

func TestGroup(t *testing.T) {
	m := open(t)
	g, err := m.Create("group", Limits{Memory: 64 << 20, Processes: 20, CPUs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Create("group", Limits{}); err == nil {
		t.Error("Create() of a group that is there = nil")
	}
	for _, id := range []string{"", "a/b", ".", ".."} {
		if _, err := m.Create(id, Limits{}); err == nil {
			t.Errorf("Create(%q) = nil", id)
		}
	}
	runtime.LockOSThread()
	before, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "read x; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Spawn(cmd.SysProcAttr, cmd.Start); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile("/proc/thread-self/cgroup")
	runtime.UnlockOSThread()
	if err != nil || string(before) != string(after) {
		t.Errorf("the thread was in %s and is in %s (%v)", before, after, err)
	}
	if diff := cmp.Diff([]int{cmd.Process.Pid}, g.Pids()); diff != "" {
		t.Errorf("Pids() (-want +got):\n%s", diff)
	}
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cgroup")
	if err != nil || strings.Count(string(groups), "/group\n") != len(m.hierarchies) {
		t.Errorf("the process is in\n%s (%v), want the group in %d hierarchies", groups, err, len(m.hierarchies))
	}
	for _, l := range []Limits{{Memory: 128 << 20, Processes: 5, CPUs: 2}, {Memory: 32 << 20}, {}} {
		if err := g.SetLimits(l); err != nil {
			t.Errorf("SetLimits(%+v) = %v", l, err)
		}
	}
	if _, err := stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(); err == nil {
		t.Error("Remove() of a group with a process = nil")
	}
	g.Kill()
	_ = cmd.Wait() // it was killed
	if m.Has(Memory) && g.PeakMemory() == 0 {
		t.Error("PeakMemory() = 0")
	}
	if before := g.PeakMemory(); g.ResetPeak() && g.PeakMemory() >= before {
		t.Errorf("PeakMemory() = %d after ResetPeak of a dead group, and %d before", g.PeakMemory(), before)
	}
	if g.OutOfMemory() != 0 {
		t.Errorf("OutOfMemory() = %d for a process that was killed", g.OutOfMemory())
	}
	if m.Has(CPUTime) && g.CPUTime() == 0 {
		t.Error("CPUTime() = 0")
	}
	if err := g.Remove(); err != nil {
		t.Errorf("Remove() = %v", err)
	}
}

func TestClean(t *testing.T) {
	m := open(t)
	var stale, living []string
	for _, h := range m.hierarchies {
		stale = append(stale, filepath.Join(h.root, "999999999-1", "left"), filepath.Join(h.root, strconv.Itoa(os.Getpid())+"-1", "left"))
		living = append(living, h.node)
	}
	for _, dir := range stale {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Clean(); err != nil {
		t.Errorf("Clean() = %v", err)
	}
	for _, dir := range stale {
		if _, err := os.Stat(filepath.Dir(dir)); err == nil {
			t.Errorf("%s of a dead node is still there", dir)
		}
	}
	for _, dir := range living {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the node's own directory is gone: %v", err)
		}
	}
}
