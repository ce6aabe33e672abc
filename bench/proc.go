package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit in which Linux counts processor time for programs, on every architecture that Go has.
const tick = 10 * time.Millisecond

// usage is the processor time that was used up to a moment.
type usage struct {
	server, workers time.Duration // of the server's first process, and of all that run below it
	ended           time.Duration // of processes below it that have ended
	generator       time.Duration // of this process
	machine         time.Duration // of everything, all processors together
}

func (u usage) since(before usage) usage {
	return usage{
		server: u.server - before.server, workers: u.workers - before.workers, ended: u.ended - before.ended,
		generator: u.generator - before.generator, machine: u.machine - before.machine,
	}
}

// others is what the machine did beside the measured server and the generator; the kernel's own work is part of it.
func (u usage) others() time.Duration {
	return max(0, u.machine-u.server-u.workers-u.generator)
}

// readUsage reads the processor time of a process, of those below it, of this one and of the machine. What cannot be read
// counts as nothing: the numbers explain a measurement and are not one.
func readUsage(pid int) usage {
	u := usage{generator: ownTime(), machine: machineTime()}
	all, parents := readProcesses()
	for _, p := range all {
		switch {
		case p.pid == pid:
			u.server = p.own
			u.ended += p.ended
		case below(parents, p.pid, pid):
			u.workers += p.own
			u.ended += p.ended
		}
	}
	return u
}

// readProcesses returns all processes, and the parent of each.
func readProcesses() (all []stat, parents map[int]int) {
	parents = map[int]int{}
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		if p, ok := readProcess(name); ok {
			all, parents[p.pid] = append(all, p), p.parent
		}
	}
	return all, parents
}

// below reports whether process p descends from ancestor.
func below(parents map[int]int, p, ancestor int) bool {
	for range 64 { // deeper than any tree here
		if p = parents[p]; p == ancestor || p <= 1 {
			return p == ancestor
		}
	}
	return false
}

// stat is what is read of a process.
type stat struct {
	pid, parent int
	own         time.Duration // processor time
	ended       time.Duration // of its children that have ended, and of theirs
}

// readProcess reads /proc/PID/stat: the parent is field 4, times in user and kernel mode are 14 and 15, those of children 16
// and 17.
func readProcess(name string) (s stat, ok bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return s, false
	}
	end := bytes.LastIndexByte(b, ')') // the program's name may contain anything
	if end < 0 {
		return s, false
	}
	fields := strings.Fields(string(b[end+1:])) // from field 3 on
	if len(fields) < 15 {
		return s, false
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		return time.Duration(n) * tick
	}
	s.pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(name)))
	s.parent, _ = strconv.Atoi(fields[1])
	s.own, s.ended = ticks(11)+ticks(12), ticks(13)+ticks(14)
	return s, true
}

// machineTime reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
func machineTime() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	var sum int64
	for i, f := range fields[:min(len(fields), 9)] {
		if i == 0 || i == 4 || i == 5 { // its name, idle, waiting for disks
			continue
		}
		n, _ := strconv.ParseInt(f, 10, 64)
		sum += n
	}
	return time.Duration(sum) * tick
}

func ownTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // fails for a wrong argument only
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
