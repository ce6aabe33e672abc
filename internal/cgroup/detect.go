package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// mount is one control group file system.
type mount struct {
	version     int
	root        string // the group that is at the mount point
	point       string
	controllers []string // of version 1, and named hierarchies
}

// detect pairs the mounted hierarchies with the groups of this process. A controller belongs to one hierarchy only; on
// a host with both versions those of version 1 win, because the kernel gives a controller to either.
func detect(mountinfo, groups string) ([]hierarchy, map[Controller]string) {
	mounts := parseMounts(mountinfo)
	missing := map[Controller]string{
		Memory: "no hierarchy with it is mounted", Processes: "no hierarchy with it is mounted",
		CPU: "no hierarchy with it is mounted", CPUTime: "no hierarchy with it is mounted",
	}
	var found []hierarchy
	var unified *hierarchy
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		version, names := 1, strings.Split(parts[1], ",")
		if parts[0] == "0" && parts[1] == "" {
			version = 2
		}
		i := slices.IndexFunc(mounts, func(m mount) bool {
			return m.version == version && (version == 2 || slices.Contains(m.controllers, names[0]))
		})
		if i < 0 {
			continue
		}
		h := hierarchy{version: version, home: home(mounts[i], parts[2])}
		if version == 2 {
			unified = &h
			continue
		}
		for _, n := range names {
			if _, wanted := missing[Controller(n)]; wanted {
				h.controllers = append(h.controllers, Controller(n))
			}
		}
		if len(h.controllers) > 0 {
			found = append(found, h)
		}
	}
	for _, h := range found {
		for _, c := range h.controllers {
			delete(missing, c)
		}
	}
	if unified == nil {
		return found, missing
	}
	for _, n := range controllersOf(unified.home) {
		if _, still := missing[Controller(n)]; still {
			unified.controllers = append(unified.controllers, Controller(n))
			delete(missing, Controller(n))
		}
	}
	if unified.has(CPU) && missing[CPUTime] != "" {
		unified.controllers = append(unified.controllers, CPUTime)
		delete(missing, CPUTime)
	}
	if len(unified.controllers) > 0 {
		found = append(found, *unified)
	}
	return found, missing
}

// home is where the group at path shows in the file system. In a container the mount shows a part of the hierarchy
// only, and the path may be told from another point of view than the mount's.
func home(m mount, group string) string {
	if rel, ok := strings.CutPrefix(group+"/", strings.TrimSuffix(m.root, "/")+"/"); ok && !strings.HasPrefix(group, "/..") {
		return path.Join(m.point, rel)
	}
	return m.point
}

func parseMounts(mountinfo string) []mount {
	var mounts []mount
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		m := mount{root: unescape(l[3]), point: unescape(l[4])}
		switch r[0] {
		case "cgroup":
			m.version, m.controllers = 1, strings.Split(r[2], ",")
		case "cgroup2":
			m.version = 2
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func controllersOf(dir string) []string {
	// The group that this process once moved itself into has no controllers: its parent is asked.
	if filepath.Base(dir) == leafName {
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// prepare makes the directories that groups go into and returns the controllers that turned out to be unusable.
func (h hierarchy) prepare(node string) (hierarchy, map[Controller]string) {
	refuse := func(err error) (hierarchy, map[Controller]string) {
		missing := map[Controller]string{}
		for _, c := range h.controllers {
			missing[c] = err.Error()
		}
		h.controllers = nil
		return h, missing
	}
	if h.version == 2 && filepath.Base(h.home) == leafName {
		h.home = filepath.Dir(h.home)
	}
	h.root = filepath.Join(h.home, rootName)
	h.node = filepath.Join(h.root, node)
	missing := map[Controller]string{}
	if h.version == 2 {
		usable := h.controllers[:0:0]
		for _, c := range h.controllers {
			if c == CPUTime {
				continue
			}
			if err := enable(h.home, c); err != nil {
				missing[c] = err.Error()
				continue
			}
			usable = append(usable, c)
		}
		if h.has(CPUTime) {
			usable = append(usable, CPUTime) // version 2 counts it in every group
		}
		h.controllers = usable
	}
	err := h.mkdirs()
	for range 10 { // another node that closes takes the upper directory away when it finds it empty
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
		err = h.mkdirs()
	}
	if err != nil {
		return refuse(err)
	}
	if h.version == 1 {
		if err := writable(h.node); err != nil {
			return refuse(err)
		}
		back, err := os.OpenFile(filepath.Join(h.home, "tasks"), os.O_WRONLY, 0)
		if err != nil {
			return refuse(err)
		}
		h.back = back
	}
	return h, missing
}

// mkdirs makes the directories of the node and, in version 2, hands the controllers down to them.
func (h hierarchy) mkdirs() error {
	for _, dir := range []string{h.root, h.node} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		for _, c := range h.controllers {
			if h.version == 1 || c == CPUTime {
				continue
			}
			if err := delegate(dir, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// enable gives controller c to the children of dir. The kernel refuses while dir itself holds processes, unless it is
// the root of all; then they are moved into a child of it.
func enable(dir string, c Controller) error {
	err := delegate(dir, c)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	leaf := filepath.Join(dir, leafName)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for range 10 { // processes fork while they are being moved
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return err
		}
		pids := strings.Fields(string(b))
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if n, err := strconv.Atoi(pid); err != nil || n == 0 { // 0 is a process of another pid namespace
				return fmt.Errorf("%s holds processes that this process cannot move", dir)
			}
			err := write(leaf, "cgroup.procs", pid)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
	return delegate(dir, c)
}

func delegate(dir string, c Controller) error {
	return write(dir, "cgroup.subtree_control", "+"+string(c))
}

// writable tries to make a group, which is the only way to know.
func writable(dir string) error {
	try := filepath.Join(dir, "try")
	if err := os.Mkdir(try, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Remove(try)
}

func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
