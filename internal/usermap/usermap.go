// Package usermap is about the users of the host that sandboxes run as.
package usermap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// least is the smallest half of a range that is worth giving to sandboxes.
const least = 1000

// Pick returns the most users at first when the map has them, else the upper half of the longest range there is: the
// lower half is where the system's own users are.
func Pick(uidMap string, first, most uint32) (uint32, uint32, error) {
	var start, length uint64
	for line := range strings.Lines(uidMap) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		s, _ := strconv.ParseUint(f[0], 10, 32)
		n, _ := strconv.ParseUint(f[2], 10, 33)
		if s <= uint64(first) && uint64(first)+uint64(most) <= s+n {
			return first, most, nil
		}
		if n > length {
			start, length = s, n
		}
	}
	if half := length / 2; half >= least {
		return uint32(start + length - half), uint32(min(half, uint64(most))), nil
	}
	return 0, 0, errors.New("the user namespace that Flint runs in maps too few users to give each sandbox one")
}

// HostRoot says whether a process that runs as user id is, or may be, root outside of all user namespaces: the map tells
// only what the parent namespace calls it.
func HostRoot(uidMap string, id int) bool {
	for line := range strings.Lines(uidMap) {
		var inside, outside, n int
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err == nil && inside <= id && id < inside+n {
			return outside+id-inside == 0
		}
	}
	return false
}

// Give makes a user the owner of a tree. It stays inside the tree, whatever somebody who can write there does meanwhile.
func Give(dir string, id int) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("give %s to the sandbox: %w", dir, err)
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := root.Lstat(name)
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == id && int(st.Gid) == id {
			return nil
		}
		return root.Lchown(name, id, id)
	})
}
