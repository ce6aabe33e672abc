// Package rootfs is what sandboxes see of the host's system: programs, libraries and the public part of /etc.
package rootfs

import (
	"os"
	"slices"
)

// System is what there is to show beside the files of [Etc].
type System struct {
	Dirs  []string          // read-only
	Links map[string]string // of the root directory: where to, by name
}

// Look finds it.
func Look() System {
	s := System{Links: map[string]string{}}
	for _, dir := range append(slices.Clip(systemDirs), etcDirs...) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			s.Dirs = append(s.Dirs, dir)
		}
	}
	for _, name := range rootLinks {
		info, err := os.Lstat(name)
		if err != nil {
			continue
		}
		if info.IsDir() {
			s.Dirs = append(s.Dirs, name)
		} else if to, err := os.Readlink(name); err == nil {
			s.Links[name] = to
		}
	}
	return s
}
