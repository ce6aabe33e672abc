package cgroup

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Throttled returns how often the kernel held back the group of a process because its share of the processors was used
// up. The error is os.ErrNotExist when no group with that controller is there.
func Throttled(pid int) (int64, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return 0, err
	}
	points := parseMounts(string(mounts))
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, m := range points {
			unified := m.version == 2 && parts[0] == "0"
			if !unified && !(m.version == 1 && slices.Contains(strings.Split(parts[1], ","), string(CPU)) && slices.Contains(m.controllers, string(CPU))) {
				continue
			}
			p := part{dir: home(m, parts[2])}
			if _, err := os.Stat(p.dir + "/cpu.stat"); err == nil && (!unified || slices.Contains(controllersOf(p.dir), string(CPU))) {
				return p.field("cpu.stat", "nr_throttled"), nil
			}
		}
	}
	return 0, os.ErrNotExist
}
