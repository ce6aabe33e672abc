package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory reads a size of a process from /proc, in MB.
func memory(pid int, field string) (float64, error) {
	value, _, _ := strings.Cut(fieldOf(fmt.Sprintf("/proc/%d/status", pid), field), " ")
	kb, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, fmt.Errorf("%s of the node: %w", field, err)
	}
	return kb / 1024, nil
}

// share is the memory of a process in MB in which a page that n processes have counts as an n-th (PSS).
func share(pid int) (float64, error) {
	file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	kb, err := strconv.ParseFloat(strings.TrimSuffix(fieldOf(file, "Pss"), " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("memory (Pss) of process %d: %w", pid, err)
	}
	return kb / 1024, nil
}

// workers are the processes below a server: its sandboxes with all that runs in them.
func workers(server int) []int {
	all, parents := readProcesses()
	var found []int
	for _, p := range all {
		if below(parents, p.pid, server) {
			found = append(found, p.pid)
		}
	}
	return found
}

// leaves is how many of some processes have no children: each sandbox has one at least.
func leaves(pids []int) int {
	_, parents := readProcesses()
	above := map[int]bool{}
	for _, parent := range parents {
		above[parent] = true
	}
	n := 0
	for _, pid := range pids {
		if !above[pid] {
			n++
		}
	}
	return n
}

// shareOf is the memory of processes together, in MB. One that has ended meanwhile has none.
func shareOf(pids []int) float64 {
	sum := 0.0
	for _, pid := range pids {
		if mb, err := share(pid); err == nil {
			sum += mb
		}
	}
	return sum
}

// titled returns the process that has given itself a name of at most 15 bytes.
func titled(name string) (pid int, ok bool) {
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		if strings.TrimSpace(string(b)) == name {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid, err == nil
		}
	}
	return 0, false
}
