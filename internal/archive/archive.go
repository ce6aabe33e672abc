// Package archive reads and writes the gzip-compressed tar files that sources and packages of deployments are. Archives
// come from strangers: what would leave its tree, is no file, directory or link, or grows beyond its bounds is refused.
package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Limits bound an archive. Zero is no limit.
type Limits struct {
	Entries  int
	Bytes    int64 // of all files, unpacked
	Ratio    int64 // unpacked bytes per packed byte, looked at once RatioFrom bytes are unpacked
	AnyLinks bool  // symbolic links may point anywhere: for trees that only a sandbox follows
}

// ratioFrom is how many unpacked bytes are nothing to worry about, whatever the ratio.
const ratioFrom = 64 << 20

// Refused says that an archive is hostile: it is well formed, but holds what no upload may hold.
type Refused struct {
	Entry  string
	Reason string
}

func (e *Refused) Error() string {
	if e.Entry == "" {
		return e.Reason
	}
	return fmt.Sprintf("entry %q %s", e.Entry, e.Reason)
}

// ErrMalformed is wrapped by errors about bytes that are no gzip-compressed tar file.
var ErrMalformed = errors.New("not a gzip-compressed tar archive")

// Check reads an archive to its end and says what is wrong with it, if anything: *Refused or ErrMalformed.
func Check(ctx context.Context, r io.Reader, l Limits) error {
	return walk(ctx, r, l, func(*tar.Header, string, io.Reader) error { return nil })
}

// Unpack writes the entries of an archive below dir, which exists. Nothing is ever written outside of it, links
// included. Everything written is readable by everybody, because workers run under user ids of their own.
func Unpack(ctx context.Context, r io.Reader, dir string, l Limits) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	u := unpacker{root: root, buf: make([]byte, 128<<10)}
	if err := walk(ctx, r, l, u.entry); err != nil {
		return 0, err
	}
	return u.bytes, u.checkLinks(l)
}

// walk calls each with every entry that passes the checks, its clean name, and its content.
func walk(ctx context.Context, r io.Reader, l Limits, each func(*tar.Header, string, io.Reader) error) error {
	packed := &counter{r: r}
	zr, err := gzip.NewReader(packed)
	if err != nil {
		return malformed(err)
	}
	defer zr.Close()
	unpacked := &counter{r: zr, check: func(n int64) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case l.Bytes > 0 && n > l.Bytes+l.Bytes/4+1<<20: // headers and padding count here too
			return &Refused{Reason: fmt.Sprintf("the archive unpacks to more than %d bytes", l.Bytes)}
		case l.Ratio > 0 && n > ratioFrom && n > l.Ratio*packed.n:
			return &Refused{Reason: "the archive unpacks to far more than its size: it looks like a decompression bomb"}
		}
		return nil
	}}
	tr := tar.NewReader(unpacked)
	var bytes int64
	for entries := 1; ; entries++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return malformed(err)
		}
		if l.Entries > 0 && entries > l.Entries {
			return &Refused{Reason: fmt.Sprintf("the archive has more than %d entries", l.Entries)}
		}
		name, err := cleanName(h)
		if err != nil {
			return err
		}
		if bytes += h.Size; l.Bytes > 0 && bytes > l.Bytes {
			return &Refused{Reason: fmt.Sprintf("the archive unpacks to more than %d bytes", l.Bytes)}
		}
		if err := checkKind(h, name, l); err != nil {
			return err
		}
		if name == "." || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := each(h, name, tr); err != nil {
			return malformed(err)
		}
	}
}

// malformed says that an error which is not about the content of entries is about the archive's form.
func malformed(err error) error {
	var refused *Refused
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &refused), errors.As(err, &pathErr), errors.As(err, &linkErr),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

func cleanName(h *tar.Header) (string, error) {
	name := h.Name
	switch {
	case strings.HasPrefix(name, "/"):
		return "", &Refused{name, "has an absolute path"}
	case strings.ContainsRune(name, 0):
		return "", &Refused{strings.ReplaceAll(name, "\x00", "\\0"), "has a name with a NUL byte"}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", &Refused{name, "leaves the archive with \"..\""}
		}
	}
	return path.Clean(name), nil
}

func checkKind(h *tar.Header, name string, l Limits) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeSymlink:
		target := path.Join(path.Dir(name), h.Linkname) //nolint:gosec // it is what is checked here
		if !l.AnyLinks && (path.IsAbs(h.Linkname) || target == ".." || strings.HasPrefix(target, "../")) {
			return &Refused{name, fmt.Sprintf("is a link that leaves the archive: %q", h.Linkname)}
		}
		return nil
	case tar.TypeLink:
		target := path.Clean(h.Linkname)
		if path.IsAbs(target) || target == ".." || strings.HasPrefix(target, "../") {
			return &Refused{name, fmt.Sprintf("is a link that leaves the archive: %q", h.Linkname)}
		}
		return nil
	}
	return &Refused{name, "is neither a file, a directory nor a link"}
}

type unpacker struct {
	root  *os.Root
	links []string
	bytes int64
	buf   []byte
}

func (u *unpacker) entry(h *tar.Header, name string, content io.Reader) error {
	if dir := path.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		return u.root.Chmod(name, 0o755)
	case tar.TypeSymlink:
		u.links = append(u.links, name)
		return u.replace(name, func() error { return u.root.Symlink(h.Linkname, name) })
	case tar.TypeLink:
		return u.replace(name, func() error { return u.root.Link(path.Clean(h.Linkname), name) })
	}
	return u.replace(name, func() error { return u.file(h, name, content) })
}

func (u *unpacker) file(h *tar.Header, name string, content io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, content, u.buf)
	u.bytes += n
	if err == nil && h.Mode&0o111 != 0 {
		err = f.Chmod(0o755)
	} else if err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// replace makes an entry; a later entry of the same name replaces an earlier one, as tar has it.
func (u *unpacker) replace(name string, make func() error) error {
	err := make()
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := u.root.Remove(name); err != nil {
		return err
	}
	return make()
}

// checkLinks finds links that leave the tree only together with other links, which no look at one name can see.
func (u *unpacker) checkLinks(l Limits) error {
	if l.AnyLinks {
		return nil
	}
	for _, name := range u.links {
		_, err := u.root.Stat(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			target, _ := u.root.Readlink(name)
			return &Refused{name, fmt.Sprintf("is a link that leaves the archive: %q", target)}
		}
	}
	return nil
}

// Pack writes the tree at dir as an archive and returns how many bytes its files have. The same tree gives the same
// bytes: entries are sorted, times and owners left out.
func Pack(ctx context.Context, w io.Writer, dir string) (int64, error) {
	zw, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return 0, err
	}
	tw := tar.NewWriter(zw)
	var bytes int64
	buf := make([]byte, 128<<10)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil || file == dir {
			return err
		}
		n, err := packEntry(tw, dir, file, d, buf)
		bytes += n
		return err
	})
	return bytes, errors.Join(err, tw.Close(), zw.Close())
}

func packEntry(tw *tar.Writer, dir, file string, d fs.DirEntry, buf []byte) (int64, error) {
	info, err := d.Info()
	if err != nil {
		return 0, err
	}
	name, err := filepath.Rel(dir, file)
	if err != nil {
		return 0, err
	}
	h := &tar.Header{
		Name: filepath.ToSlash(name), Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		ModTime: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	switch {
	case d.IsDir():
		h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, h.Name+"/"
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = os.Readlink(file); err != nil {
			return 0, err
		}
	case info.Mode().IsRegular():
		h.Size = info.Size()
		if info.Mode()&0o111 != 0 {
			h.Mode = 0o755
		}
	default:
		return 0, nil // sockets, pipes and devices that a build left behind are no part of a package
	}
	if err := tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return 0, err
	}
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.CopyBuffer(struct{ io.Writer }{tw}, f, buf)
}

// Size returns how many bytes the files of the tree at dir have.
func Size(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// counter counts what is read, and may refuse to go on.
type counter struct {
	r     io.Reader
	n     int64
	check func(n int64) error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.check != nil {
		if err := c.check(c.n); err != nil {
			return n, err
		}
	}
	return n, err
}
