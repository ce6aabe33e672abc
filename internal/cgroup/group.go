package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	cpuPeriod     = 100_000 // microseconds
	cpuLeast      = 1_000   // the smallest quota that the kernel takes
	removeTimeout = 3 * time.Second
)

// Group is one group, which may have a directory in several hierarchies.
type Group struct {
	parts []part

	cpu           clock
	peak          gauge
	cpuIn, peakIn string // the directories of their files; empty: nobody counts
	thrash        thrash
	greed         greed
}

type part struct {
	hierarchy
	dir  string
	door *os.File // how a process gets in: the tasks of version 1, the directory of version 2
}

// Create makes the group id with limits. Limits whose controller is missing are left out.
func (m *Manager) Create(id string, l Limits) (*Group, error) {
	if id == "" || strings.ContainsAny(id, "/\n\x00") || id[0] == '.' {
		return nil, fmt.Errorf("control group id %q is not a name", id)
	}
	g := &Group{thrash: thrash{limit: l.Memory}}
	for _, h := range m.hierarchies {
		p := part{hierarchy: h, dir: filepath.Join(h.node, id)}
		if err := os.Mkdir(p.dir, 0o755); err != nil {
			return nil, errors.Join(err, g.Remove())
		}
		var err error
		if h.version == 2 {
			p.door, err = os.Open(p.dir)
		} else {
			p.door, err = os.OpenFile(filepath.Join(p.dir, "tasks"), os.O_WRONLY, 0)
		}
		g.parts = append(g.parts, p)
		if err != nil {
			return nil, errors.Join(err, g.Remove())
		}
		if err := p.limit(l, false); err != nil {
			return nil, errors.Join(fmt.Errorf("limit control group %s: %w", id, err), g.Remove())
		}
		g.count(p)
	}
	if g.cpuIn != "" {
		g.cpu.read(g.cpuIn) // opens the file now: what a group holds does not depend on when it is looked at
	}
	return g, nil
}

// count notes what the files of a part can tell.
func (g *Group) count(p part) {
	if p.has(CPUTime) && g.cpuIn == "" {
		g.cpuIn = p.dir
		g.cpu.of(p.version)
	}
	if p.has(Memory) && g.peakIn == "" {
		g.peakIn = p.dir
		if g.peak.name = "memory.max_usage_in_bytes"; p.version == 2 {
			g.peak.name = "memory.peak"
		}
		g.thrash.count(p)
	}
}

// SetLimits changes the limits of the group.
func (g *Group) SetLimits(l Limits) error {
	g.thrash.limit = l.Memory
	for _, p := range g.parts {
		if err := p.limit(l, true); err != nil {
			return err
		}
	}
	return nil
}

// limit sets the limits. One that is zero is lifted, or left alone in a group that is new.
func (p part) limit(l Limits, lift bool) error {
	if p.has(Memory) && (l.Memory > 0 || lift) {
		if err := p.limitMemory(l.Memory); err != nil {
			return err
		}
	}
	if p.has(Processes) && (l.Processes > 0 || lift) {
		if err := write(p.dir, "pids.max", number(int64(l.Processes), "max")); err != nil {
			return err
		}
	}
	if !p.has(CPU) || l.CPUs <= 0 && !lift {
		return nil
	}
	var quota int64
	if l.CPUs > 0 {
		quota = max(cpuLeast, int64(l.CPUs*cpuPeriod))
	}
	if p.version == 2 {
		return write(p.dir, "cpu.max", number(quota, "max")+" "+strconv.Itoa(cpuPeriod))
	}
	if err := write(p.dir, "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)); err != nil {
		return err
	}
	return write(p.dir, "cpu.cfs_quota_us", number(quota, "-1"))
}

func number(n int64, none string) string {
	if n <= 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

func (p part) limitMemory(bytes int64) error {
	if p.version == 2 {
		if err := write(p.dir, "memory.max", number(bytes, "max")); err != nil {
			return err
		}
		// Kernels without swap accounting lack the first; the second makes the kernel end the whole tree, not a part.
		return errors.Join(ifThere(write(p.dir, "memory.swap.max", "0")), ifThere(write(p.dir, "memory.oom.group", "1")))
	}
	// The limit of memory and swap together may never be below that of memory alone: which of them goes first depends
	// on the direction.
	limit := number(bytes, "-1")
	first := write(p.dir, "memory.limit_in_bytes", limit)
	err := write(p.dir, "memory.memsw.limit_in_bytes", limit)
	if first != nil {
		first = write(p.dir, "memory.limit_in_bytes", limit)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ifThere(write(p.dir, "memory.swappiness", "0"))
	}
	return errors.Join(first, err)
}

func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Spawn calls start, which starts a process with attr, in such a way that the process is in the group from its first
// instruction. The caller holds its operating system thread: in version 1 that thread visits the group, because moving
// a process that already runs makes the kernel wait for every processor, for many milliseconds at worst. The thread may
// be in a mount namespace that does not show control groups.
func (g *Group) Spawn(attr *syscall.SysProcAttr, start func() error) (err error) {
	for _, p := range g.parts {
		if p.version == 2 {
			attr.UseCgroupFD, attr.CgroupFD = true, int(p.door.Fd())
			continue
		}
		defer func() {
			_, back := p.back.WriteString("0")
			err = errors.Join(err, back)
		}()
		if _, err := p.door.WriteString("0"); err != nil {
			return err
		}
	}
	return start()
}

// Move moves the process pid, with all its threads, into the group.
func (g *Group) Move(pid int) error {
	for _, p := range g.parts {
		if err := write(p.dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Pids returns the processes in the group.
func (g *Group) Pids() []int {
	var pids []int
	for _, p := range g.parts {
		b, err := os.ReadFile(filepath.Join(p.dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(f); err == nil && n > 0 {
				pids = append(pids, n)
			}
		}
		break // the parts hold the same processes
	}
	return pids
}

// Kill sends SIGKILL to every process in the group.
func (g *Group) Kill() {
	for _, p := range g.parts {
		if p.version == 2 && write(p.dir, "cgroup.kill", "1") == nil {
			return
		}
	}
	for _, pid := range g.Pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// CPUTime returns the time that the group's processes have spent on processors; 0 when nobody counts. The kernel adds the
// time of a thread that runs when it stops, or at the next tick.
func (g *Group) CPUTime() time.Duration {
	if g.cpuIn == "" {
		return 0
	}
	return g.cpu.duration(g.cpuIn)
}

// Delay returns how long the group's living threads have waited for a processor while they could have used one; 0 when
// nobody counts. It shrinks when threads end.
func (g *Group) Delay() time.Duration {
	var sum time.Duration
	for _, p := range g.parts {
		threads := "tasks"
		if p.version == 2 {
			threads = "cgroup.threads"
		}
		b, err := os.ReadFile(filepath.Join(p.dir, threads))
		if err != nil {
			continue
		}
		for id := range strings.FieldsSeq(string(b)) {
			stat, err := os.ReadFile("/proc/" + id + "/schedstat")
			if err != nil {
				continue // it has ended, or the kernel does not count
			}
			if f := strings.Fields(string(stat)); len(f) > 1 {
				ns, _ := strconv.ParseInt(f[1], 10, 64)
				sum += time.Duration(ns)
			}
		}
		break // the parts hold the same threads
	}
	return sum
}

// PeakMemory returns the most memory that the group held since ResetPeak, or ever, in bytes; 0 when nobody counts.
func (g *Group) PeakMemory() int64 {
	if g.peakIn == "" {
		return 0
	}
	return g.peak.read(g.peakIn)
}

// ResetPeak lets PeakMemory begin anew with what the group holds now, and reports whether the kernel can: in version 2 it
// does since Linux 6.12.
func (g *Group) ResetPeak() bool { return g.peakIn != "" && g.peak.reset(g.peakIn) }

// OutOfMemory returns how many processes the kernel killed because the group reached its memory limit.
func (g *Group) OutOfMemory() int64 {
	for _, p := range g.parts {
		switch {
		case !p.has(Memory):
		case p.version == 2:
			return p.field("memory.events", "oom_kill")
		default:
			return p.field("memory.oom_control", "oom_kill")
		}
	}
	return 0
}

func (p part) field(file, key string) int64 {
	b, err := os.ReadFile(filepath.Join(p.dir, file))
	if err != nil {
		return 0
	}
	return field(b, key)
}

// Remove removes the group. The kernel holds on to it for a moment after its last process ended: Remove tries again
// until it lets go, for a few seconds at most.
func (g *Group) Remove() error {
	defer func() { // whoever reads meanwhile does not open them again: there is nothing left to open
		g.cpu.close()
		g.peak.close()
		g.thrash.used.close()
	}()
	deadline := time.Now().Add(removeTimeout)
	var errs []error
	for _, p := range g.parts {
		if p.door != nil {
			_ = p.door.Close() // may be closed already: Remove may be called again
		}
		for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
			err := os.Remove(p.dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				errs = append(errs, err)
				break
			}
			time.Sleep(wait) //nolint:forbidigo // the kernel tells nobody when a group may be removed
		}
	}
	return errors.Join(errs...)
}
