package stage

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is where the launcher's mount namespace, and only that, has a small file system with the sources of the
// sandboxes that are being started. The sources need it because runtimes look for them as the sandbox's user, who
// cannot pass the directories that lead to them on the host. Bubblewrap itself works in /tmp: it always exists.
const Root = "/tmp"

// Rooms are the two mount namespaces of the launcher's thread. Sandboxes start in the first: bubblewrap copies that and reads
// its list of mounts again and again, so that it is kept short. In the second lie, for as long as the sandboxes live,
// the mounts that reach into them.
type Rooms struct {
	start, keep *os.File
}

// NewRooms makes both, with a stage, and leaves the calling thread, which must be locked, in the first. It fails without
// the capability to do so, which is how an unprivileged host is found out. Of the host's mounts it keeps those of the
// system and those at, above and below needed.
func NewRooms(needed ...string) (_ *Rooms, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("flint", Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return nil, fmt.Errorf("mount the stage: %w", err)
	}
	dropForeignMounts(needed)
	r := &Rooms{}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.keep, err = os.Open(ownMounts); err != nil {
		return nil, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make a mount namespace: %w", err)
	}
	r.start, err = os.Open(ownMounts)
	return r, err
}

const ownMounts = "/proc/thread-self/ns/mnt"

// InKeep runs f in the second namespace.
func (r *Rooms) InKeep(f func() error) (err error) {
	if err := unix.Setns(int(r.keep.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter a mount namespace: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Setns(int(r.start.Fd()), unix.CLONE_NEWNS)) }()
	return f()
}

// Close gives both up.
func (r *Rooms) Close() {
	for _, f := range []*os.File{r.start, r.keep} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// dropForeignMounts takes the mounts out of the calling thread's namespace that no sandbox needs. Bubblewrap reads the
// list of mounts once for every path that it shows, so that a host with hundreds of them would start sandboxes slowly.
func dropForeignMounts(needed []string) {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return
	}
	keep := []string{Root, "/proc", "/dev", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/nix", "/gnu"}
	keep = append(keep, needed...)
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && !strings.Contains(f[4], `\`) {
			points = append(points, f[4])
		}
	}
	for _, point := range slices.Backward(points) { // later mounts lie on earlier ones
		wanted := false
		for _, k := range keep {
			wanted = wanted || Within(point, k) || Within(k, point)
		}
		if !wanted {
			_ = unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
}

// Within says whether name is dir or lies below it.
func Within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// Tree is a detached copy of a mount: a file descriptor that keeps a piece of the host's file system at hand.
type Tree struct {
	file *os.File
	dir  bool
}

// OpenTree copies the mount at source. Nothing that is mounted into the copy later shows on the host.
func OpenTree(source string, recursive bool, attr uint64) (*Tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	deep := uint(0)
	if recursive {
		flags |= unix.AT_RECURSIVE
		deep = unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, flags)
	if err != nil {
		return nil, fmt.Errorf("open %s for mounting: %w", source, err)
	}
	t := &Tree{file: os.NewFile(uintptr(fd), source)}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		t.dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|deep,
			&unix.MountAttr{Attr_set: attr, Propagation: unix.MS_PRIVATE})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s for mounting: %w", source, err), t.file.Close())
	}
	return t, nil
}

// at mounts the tree on the file or directory that target is open on. It acts on the calling thread's namespace.
func (t *Tree) at(target *os.File) error {
	return unix.MoveMount(int(t.file.Fd()), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// on mounts the tree on the file or directory name, which is no link.
func (t *Tree) on(name string) error {
	at, err := os.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(t.at(at), at.Close())
}

// Remove takes the mount away, if it got anywhere, and gives the copy up.
func (t *Tree) Remove() error {
	err := t.detach()
	if errors.Is(err, unix.EINVAL) {
		err = nil
	}
	return errors.Join(err, t.Close())
}

// detach takes the mount away again. The path goes through the descriptor, so that nobody can put another thing there.
func (t *Tree) detach() error {
	return unix.Unmount("/proc/thread-self/fd/"+strconv.Itoa(int(t.file.Fd())), unix.MNT_DETACH)
}

// Close gives the copy up. What is mounted stays mounted.
func (t *Tree) Close() error { return t.file.Close() }

// Stage is the sources of one sandbox in the launcher's namespaces. Its methods run on the launcher's thread.
type Stage struct {
	rooms   *Rooms
	dir     string
	sources []*Source // one for each mount of the spec
}

// Source is a tree that a sandbox is to see.
type Source struct {
	tree   *Tree
	shared bool  // stays until the end, in the second namespace
	guest  *Tree // the twin of a shared one in the first
	attr   uint64
}

// NewSource makes a source of a tree, which belongs to it from now on. One that is shared stays on the stage until Clear,
// and Bind may mount into it.
func NewSource(t *Tree, shared bool) *Source { return &Source{tree: t, shared: shared} }

// ReadOnly makes what the sandbox sees of the source read-only, also when it is shared and Bind makes directories in it.
func (src *Source) ReadOnly() { src.attr |= unix.MOUNT_ATTR_RDONLY }

// Close gives up a source that is on no stage.
func (src *Source) Close() error { return src.tree.Close() }

// New makes the stage of one sandbox, whose id is a name that no other has. It is empty until Set.
func New(rooms *Rooms, id string, sources []*Source) *Stage {
	return &Stage{rooms: rooms, dir: path.Join(Root, id), sources: sources}
}

// Path is where the i-th source is.
func (s *Stage) Path(i int) string { return path.Join(s.dir, strconv.Itoa(i)) }

// Set mounts the sources on the stage. What it has set when it fails, Clear takes away.
func (s *Stage) Set() error {
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return err
	}
	for i, src := range s.sources {
		if err := mountpoint(s.Path(i), src.tree.dir); err != nil {
			return err
		}
		mount := src.tree
		if src.shared {
			if err := s.rooms.InKeep(func() error { return src.share(s.Path(i)) }); err != nil {
				return fmt.Errorf("share %s: %w", src.tree.file.Name(), err)
			}
			mount = src.guest
		}
		if err := mount.on(s.Path(i)); err != nil {
			return fmt.Errorf("stage %s: %w", src.tree.file.Name(), err)
		}
	}
	return nil
}

// share mounts the source in the second namespace, where it stays, and takes a twin of it for the first. The sandbox
// gets a mount that follows both; what Bind mounts on one of them shows there.
func (src *Source) share(at string) error {
	if err := src.tree.on(at); err != nil {
		return err
	}
	if err := unix.Mount("", at, "", unix.MS_SHARED, ""); err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, at, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	src.guest = &Tree{file: os.NewFile(uintptr(fd), at), dir: src.tree.dir}
	if src.attr == 0 {
		return nil
	}
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: src.attr})
}

func mountpoint(name string, dir bool) error {
	if dir {
		return os.Mkdir(name, 0o755)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// Strike takes off the stage what the sandbox, once it is there, holds itself.
func (s *Stage) Strike() error {
	var errs []error
	for _, src := range s.sources {
		if !src.shared && src.tree != nil {
			errs = append(errs, src.tree.Remove())
			src.tree = nil
		}
		if src.guest != nil {
			errs = append(errs, src.guest.Remove())
			src.guest = nil
		}
	}
	return errors.Join(errs...)
}

// Clear takes everything away.
func (s *Stage) Clear() error {
	errs := []error{s.Strike()}
	errs = append(errs, s.rooms.InKeep(func() error {
		var errs []error
		for _, src := range s.sources {
			if src.tree != nil {
				errs = append(errs, src.tree.Remove())
				src.tree = nil
			}
		}
		return errors.Join(errs...)
	}))
	for i := range s.sources {
		if err := os.Remove(s.Path(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.Remove(s.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Bound is one tree that Bind mounted.
type Bound struct {
	tree *Tree
	root *os.Root // the staged source it was mounted below
	rel  string
	made bool // the directory at rel is ours
}

// Bind mounts t at rel below the i-th source, in the second namespace. The way there is walked inside of that source: the sandbox may be able to
// write it, and a link in it must not lead the mount to another place of the host.
func (s *Stage) Bind(i int, rel string, t *Tree) (b *Bound, err error) {
	err = s.rooms.InKeep(func() error {
		b, err = bind(s.Path(i), rel, t)
		return err
	})
	return b, err
}

func bind(dir, rel string, t *Tree) (_ *Bound, err error) {
	b := &Bound{tree: t, rel: rel}
	if b.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.root.Close())
		}
	}()
	if rel != "." {
		if err := b.root.MkdirAll(path.Dir(rel), 0o755); err != nil {
			return nil, err
		}
		err := b.root.Mkdir(rel, 0o755)
		b.made = err == nil
		if err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	at, err := b.root.Open(rel)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(t.at(at), at.Close()); err != nil {
		return nil, fmt.Errorf("mount %s: %w", t.file.Name(), err)
	}
	return b, nil
}

// Unbind takes away what Bind mounted.
func (s *Stage) Unbind(bounds []*Bound) error {
	return s.rooms.InKeep(func() error {
		var errs []error
		for _, b := range slices.Backward(bounds) {
			errs = append(errs, b.undo())
		}
		return errors.Join(errs...)
	})
}

// undo runs in the second namespace.
func (b *Bound) undo() error {
	errs := []error{b.tree.Remove()}
	if b.made {
		_ = b.root.Remove(b.rel) // the process may have filled it, if it could; then it belongs to the caller
	}
	return errors.Join(append(errs, b.root.Close())...)
}
