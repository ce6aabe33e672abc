package cgroup

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Supply is the memory that this process and those that it starts have together: the machine's, or what the groups leave
// them that the process was found in. It does not change, and is safe for concurrent use.
type Supply struct {
	meminfo string
	groups  []string // directories whose limit is below what the machine has
	total   int64
}

// FindSupply finds out how much memory there is.
func FindSupply() Supply {
	s := Supply{meminfo: "/proc/meminfo"}
	s.total, _ = s.machine()
	mounts, groups, err := readOwn()
	if err != nil {
		return s
	}
	found, _ := detect(mounts, groups)
	if i := slices.IndexFunc(found, func(h hierarchy) bool { return h.has(Memory) }); i >= 0 {
		s.heed(found[i].home)
	}
	return s
}

// heed has the supply be no more than a group may have, and those above it.
func (s *Supply) heed(dir string) {
	for machine := s.total; ; dir = filepath.Dir(dir) {
		if limit := limitOf(dir); limit < machine {
			s.groups, s.total = append(s.groups, dir), min(s.total, limit)
		}
		if dir == filepath.Dir(dir) {
			return
		}
	}
}

// limitOf is how many bytes a group may have in memory.
func limitOf(dir string) int64 {
	for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return math.MaxInt64
}

// Total returns how many bytes there are; 0: it is not known.
func (s Supply) Total() int64 { return s.total }

// Free returns how many bytes of Total could be had now: unused ones, and those with pages of files that the kernel throws
// out when others need the room. Reading them costs tens of microseconds. What cannot be read counts as free: nobody is to give
// anything up because of it.
func (s Supply) Free() int64 {
	total, free := s.machine()
	if total == 0 {
		free = s.total
	}
	for _, dir := range s.groups {
		p, used, pages := part{dir: dir}, number64(dir, "memory.current"), "inactive_file"
		if used == 0 { // version 1
			used, pages = number64(dir, "memory.usage_in_bytes"), "total_inactive_file"
		}
		files := p.field("memory.stat", pages)
		free = min(free, limitOf(dir)-max(0, used-files))
	}
	return max(0, free)
}

// machine is what the kernel says of the machine.
func (s Supply) machine() (total, free int64) {
	b, err := os.ReadFile(s.meminfo)
	if err != nil {
		return 0, 0
	}
	b = bytes.ReplaceAll(b, []byte(" kB"), nil)
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		switch string(key) {
		case "MemTotal":
			total = n << 10
		case "MemAvailable":
			free = n << 10
		}
	}
	return total, free
}

func number64(dir, file string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n
}
