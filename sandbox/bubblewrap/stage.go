package bubblewrap

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"flint/sandbox"
)

// stageRoot is where the launcher's mount namespace, and only that, has a small file system with the sources of the
// sandboxes that are being started. The sources need it because bubblewrap looks for them as the sandbox's user, who
// cannot pass the directories that lead to them on the host. Bubblewrap itself works in /tmp: it always exists.
const stageRoot = "/tmp"

// rooms are the two mount namespaces of the launcher's thread. Bubblewrap starts in the first: it copies that and reads
// its list of mounts again and again, so that it is kept short. In the second lie, for as long as the sandboxes live,
// the mounts that reach into them.
type rooms struct {
	start, keep *os.File
}

// newRooms makes both, with a stage, and leaves the calling thread, which must be locked, in the first. It fails without
// the capability to do so, which is how an unprivileged host is found out.
func newRooms(bubblewrap string) (_ *rooms, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("flint", stageRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return nil, fmt.Errorf("mount the stage: %w", err)
	}
	dropForeignMounts(bubblewrap)
	r := &rooms{}
	defer func() {
		if err != nil {
			r.close()
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

// inKeep runs f in the second namespace.
func (r *rooms) inKeep(f func() error) (err error) {
	if err := unix.Setns(int(r.keep.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter a mount namespace: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Setns(int(r.start.Fd()), unix.CLONE_NEWNS)) }()
	return f()
}

func (r *rooms) close() {
	for _, f := range []*os.File{r.start, r.keep} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// dropForeignMounts takes the mounts out of the calling thread's namespace that no sandbox needs. Bubblewrap reads the
// list of mounts once for every path that it shows, so that a host with hundreds of them would start sandboxes slowly.
func dropForeignMounts(bubblewrap string) {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return
	}
	keep := []string{stageRoot, "/proc", "/dev", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/nix", "/gnu", bubblewrap}
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && !strings.Contains(f[4], `\`) {
			points = append(points, f[4])
		}
	}
	for _, point := range slices.Backward(points) { // later mounts lie on earlier ones
		needed := false
		for _, k := range keep {
			needed = needed || within(point, k) || within(k, point)
		}
		if !needed {
			_ = unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
}

// within says whether name is dir or lies below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// tree is a detached copy of a mount: a file descriptor that keeps a piece of the host's file system at hand.
type tree struct {
	file *os.File
	dir  bool
}

// openTree copies the mount at source. Nothing that is mounted into the copy later shows on the host.
func openTree(source string, recursive bool, attr uint64) (*tree, error) {
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
	t := &tree{file: os.NewFile(uintptr(fd), source)}
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
func (t *tree) at(target *os.File) error {
	return unix.MoveMount(int(t.file.Fd()), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// on mounts the tree on the file or directory name, which is no link.
func (t *tree) on(name string) error {
	at, err := os.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(t.at(at), at.Close())
}

// remove takes the mount away, if it got anywhere, and gives the copy up.
func (t *tree) remove() error {
	err := t.detach()
	if errors.Is(err, unix.EINVAL) {
		err = nil
	}
	return errors.Join(err, t.close())
}

// detach takes the mount away again. The path goes through the descriptor, so that nobody can put another thing there.
func (t *tree) detach() error {
	return unix.Unmount("/proc/thread-self/fd/"+strconv.Itoa(int(t.file.Fd())), unix.MNT_DETACH)
}

// close gives the copy up. What is mounted stays mounted.
func (t *tree) close() error { return t.file.Close() }

// stage is the sources of one sandbox in the launcher's namespaces. Its methods run on the launcher's thread.
type stage struct {
	rooms   *rooms
	dir     string
	sources []*source // one for each mount of the spec
}

type source struct {
	tree   *tree
	shared bool  // stays until the end, in the second namespace
	guest  *tree // the twin of a shared one in the first
}

// openSources copies the mounts at the sources, as the host shows them.
func openSources(mounts []sandbox.Mount) ([]*source, error) {
	var out []*source
	for _, m := range mounts {
		t, err := openTree(m.Source, true, 0)
		if err != nil {
			for _, s := range out {
				err = errors.Join(err, s.tree.close())
			}
			return nil, err
		}
		out = append(out, &source{tree: t, shared: m.Propagate})
	}
	return out, nil
}

func (s *stage) path(i int) string { return path.Join(s.dir, strconv.Itoa(i)) }

// set mounts the sources on the stage. What it has set when it fails, clear takes away.
func (s *stage) set() error {
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return err
	}
	for i, src := range s.sources {
		if err := mountpoint(s.path(i), src.tree.dir); err != nil {
			return err
		}
		mount := src.tree
		if src.shared {
			if err := s.rooms.inKeep(func() error { return src.share(s.path(i)) }); err != nil {
				return fmt.Errorf("share %s: %w", src.tree.file.Name(), err)
			}
			mount = src.guest
		}
		if err := mount.on(s.path(i)); err != nil {
			return fmt.Errorf("stage %s: %w", src.tree.file.Name(), err)
		}
	}
	return nil
}

// share mounts the source in the second namespace, where it stays, and takes a twin of it for the first. The sandbox
// gets a mount that follows both; what Bind mounts on one of them shows there.
func (src *source) share(at string) error {
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
	src.guest = &tree{file: os.NewFile(uintptr(fd), at), dir: src.tree.dir}
	return nil
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

// strike takes off the stage what the sandbox, once it is there, holds itself.
func (s *stage) strike() error {
	var errs []error
	for _, src := range s.sources {
		if !src.shared && src.tree != nil {
			errs = append(errs, src.tree.remove())
			src.tree = nil
		}
		if src.guest != nil {
			errs = append(errs, src.guest.remove())
			src.guest = nil
		}
	}
	return errors.Join(errs...)
}

// clear takes everything away.
func (s *stage) clear() error {
	errs := []error{s.strike()}
	errs = append(errs, s.rooms.inKeep(func() error {
		var errs []error
		for _, src := range s.sources {
			if src.tree != nil {
				errs = append(errs, src.tree.remove())
				src.tree = nil
			}
		}
		return errors.Join(errs...)
	}))
	for i := range s.sources {
		if err := os.Remove(s.path(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.Remove(s.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// bound is one tree that Bind mounted.
type bound struct {
	tree *tree
	root *os.Root // the staged source it was mounted below
	rel  string
	made bool // the directory at rel is ours
}

// bind mounts t at rel below the i-th source, in the second namespace. The way there is walked inside of that source: the sandbox may be able to
// write it, and a link in it must not lead the mount to another place of the host.
func (s *stage) bind(i int, rel string, t *tree) (b *bound, err error) {
	err = s.rooms.inKeep(func() error {
		b, err = bind(s.path(i), rel, t)
		return err
	})
	return b, err
}

func bind(dir, rel string, t *tree) (_ *bound, err error) {
	b := &bound{tree: t, rel: rel}
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

// unbind takes away what bind mounted.
func (s *stage) unbind(bounds []*bound) error {
	return s.rooms.inKeep(func() error {
		var errs []error
		for _, b := range slices.Backward(bounds) {
			errs = append(errs, b.undo())
		}
		return errors.Join(errs...)
	})
}

// undo runs in the second namespace.
func (b *bound) undo() error {
	errs := []error{b.tree.remove()}
	if b.made {
		_ = b.root.Remove(b.rel) // the process may have filled it, if it could; then it belongs to the caller
	}
	return errors.Join(append(errs, b.root.Close())...)
}
