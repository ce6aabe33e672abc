package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unifiedMount is where programs look for the unified hierarchy.
const unifiedMount = "/sys/fs/cgroup"

// RuntimePath names the group id for a container runtime that goes into groups by itself: of version 2 the path from the
// root of the hierarchy, of version 1, where it may differ between hierarchies, that from the group of the calling
// process. It is empty when there are no groups.
func (m *Manager) RuntimePath(id string) string {
	for _, h := range m.hierarchies {
		if h.version == 1 {
			return filepath.Join(rootName, filepath.Base(h.node), id)
		}
	}
	for _, h := range m.hierarchies {
		if below, ok := strings.CutPrefix(h.node, unifiedMount); ok {
			return filepath.Join(below, id)
		}
	}
	return ""
}

// Others returns the directories, one in each further hierarchy of this host, into which runtimes that join all of them put
// what RuntimePath names.
func (m *Manager) Others() []string {
	mounts, groups, err := readOwn()
	if err != nil {
		return nil
	}
	known := map[string]bool{}
	for _, h := range m.hierarchies {
		known[h.root] = true
	}
	var out []string
	points := parseMounts(mounts)
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, p := range points {
			unified := p.version == 2 && parts[0] == "0"
			if !unified && !(p.version == 1 && slices.Contains(p.controllers, strings.Split(parts[1], ",")[0])) {
				continue
			}
			if root := filepath.Join(home(p, parts[2]), rootName); !known[root] {
				known[root] = true
				out = append(out, root)
			}
		}
	}
	return out
}

// CleanOthers removes what dead nodes left in the directories of Others.
func CleanOthers(roots []string) {
	for _, root := range roots {
		entries, err := os.ReadDir(root)
		if err != nil {
			continue // nobody was there
		}
		for _, e := range entries {
			if e.IsDir() && !alive(e.Name()) {
				_ = bury(filepath.Join(root, e.Name())) // its processes are in groups that Clean reports
			}
		}
	}
}

// CloseOthers removes the calling node's directory from those of Others.
func CloseOthers(roots []string) {
	for _, root := range roots {
		_ = os.Remove(filepath.Join(root, nodeName(os.Getpid()))) // it is there if a runtime joined this hierarchy
		_ = os.Remove(root)                                       // fails while another node uses it
	}
}
