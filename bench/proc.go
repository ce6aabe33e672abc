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
	server, workers time.Duration // of the server's first process, and of all below it
	generator       time.Duration // of this process
	machine         time.Duration // of everything, all processors together
}

func (u usage) since(before usage) usage {
	return usage{
		server: u.server - before.server, workers: u.workers - before.workers,
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
	times, parents := map[int]time.Duration{}, map[int]int{}
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		if p, parent, t, ok := processTime(name); ok {
			times[p], parents[p] = t, parent
		}
	}
	u.server = times[pid]
	for p, t := range times {
		if p != pid && below(parents, p, pid) {
			u.workers += t
		}
	}
	return u
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

// processTime reads /proc/PID/stat: the parent is field 4, times in user and kernel mode are 14 and 15.
func processTime(name string) (pid, parent int, t time.Duration, ok bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, 0, false
	}
	end := bytes.LastIndexByte(b, ')') // the program's name may contain anything
	if end < 0 {
		return 0, 0, 0, false
	}
	fields := strings.Fields(string(b[end+1:])) // from field 3 on
	if len(fields) < 13 {
		return 0, 0, 0, false
	}
	pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(name)))
	parent, _ = strconv.Atoi(fields[1])
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	kernel, _ := strconv.ParseInt(fields[12], 10, 64)
	return pid, parent, time.Duration(user+kernel) * tick, true
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
