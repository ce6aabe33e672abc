package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flint/internal/archive"
)

type entry struct {
	name, content, link string
	kind                byte
}

func makeArchive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.content)), Mode: 0o600}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchivesAreRefused(t *testing.T) {
	limits := archive.Limits{Entries: 10, Bytes: 1 << 20, Ratio: 100}
	many := make([]entry, 11)
	for i := range many {
		many[i].name = strings.Repeat("x", i+1)
	}
	for name, c := range map[string]struct {
		entries   []entry
		onlyDeep  bool // seen only when unpacked
		wantInMsg string
	}{
		"parent":                {[]entry{{name: "../x"}}, false, ".."},
		"parent inside":         {[]entry{{name: "a/../../x"}}, false, ".."},
		"absolute":              {[]entry{{name: "/etc/x"}}, false, "absolute"},
		"absolute link":         {[]entry{{name: "l", link: "/etc", kind: tar.TypeSymlink}}, false, "leaves"},
		"link to parent":        {[]entry{{name: "a/l", link: "../../x", kind: tar.TypeSymlink}}, false, "leaves"},
		"hard link to parent":   {[]entry{{name: "l", link: "../x", kind: tar.TypeLink}}, false, "leaves"},
		"device":                {[]entry{{name: "d", kind: tar.TypeBlock}}, false, "neither"},
		"fifo":                  {[]entry{{name: "d", kind: tar.TypeFifo}}, false, "neither"},
		"too many":              {many, false, "entries"},
		"too big":               {[]entry{{name: "x", content: strings.Repeat("y", 2<<20)}}, false, "bytes"},
		"through a link of two": {[]entry{{name: "x", link: ".", kind: tar.TypeSymlink}, {name: "l", link: "x/../q", kind: tar.TypeSymlink}}, true, "leaves"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := makeArchive(t, c.entries...)
			var refused *archive.Refused
			if err := archive.Check(t.Context(), bytes.NewReader(raw), limits); !c.onlyDeep && (!errors.As(err, &refused) || !strings.Contains(err.Error(), c.wantInMsg)) {
				t.Errorf("Check() = %v, want it refused for %q", err, c.wantInMsg)
			}
			parent := t.TempDir()
			dir := filepath.Join(parent, "a", "in")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if _, err := archive.Unpack(t.Context(), bytes.NewReader(raw), dir, limits); !errors.As(err, &refused) || !strings.Contains(err.Error(), c.wantInMsg) {
				t.Errorf("Unpack() = %v, want it refused for %q", err, c.wantInMsg)
			}
			if outside, _ := filepath.Glob(filepath.Join(parent, "*", "*")); len(outside) != 1 {
				t.Errorf("written outside: %v", outside)
			}
		})
	}
}

func TestNothingIsWrittenThroughALink(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	raw := makeArchive(t, entry{name: "l", link: "/" + parent, kind: tar.TypeSymlink}, entry{name: "l/x", content: "x"})
	if _, err := archive.Unpack(t.Context(), bytes.NewReader(raw), dir, archive.Limits{AnyLinks: true}); err == nil {
		t.Error("Unpack() wrote through a link")
	}
	if _, err := os.Stat(filepath.Join(parent, "x")); err == nil {
		t.Error("a file was written outside")
	}
}

func TestBombIsRefused(t *testing.T) {
	raw := makeArchive(t, entry{name: "zeros", content: strings.Repeat("\x00", 100<<20)})
	var refused *archive.Refused
	if err := archive.Check(t.Context(), bytes.NewReader(raw), archive.Limits{Ratio: 100}); !errors.As(err, &refused) {
		t.Errorf("Check() = %v, want it refused", err)
	}
}

func TestGarbageIsMalformed(t *testing.T) {
	good := makeArchive(t, entry{name: "a", content: strings.Repeat("abc", 1000)})
	for name, raw := range map[string][]byte{"empty": {}, "text": []byte("hello"), "cut": good[:len(good)-30]} {
		if err := archive.Check(t.Context(), bytes.NewReader(raw), archive.Limits{}); !errors.Is(err, archive.ErrMalformed) {
			t.Errorf("%s: Check() = %v, want ErrMalformed", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := archive.Check(ctx, bytes.NewReader(good), archive.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Check() under a cancelled context = %v", err)
	}
}

func TestPackAndUnpack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, mode := range map[string]os.FileMode{"a.txt": 0o600, "bin/run": 0o700, "deep/er/file": 0o644} {
		file := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/usr/bin/python3", filepath.Join(from, "python")); err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if n, err := archive.Pack(t.Context(), b, from); err != nil || n != int64(len("a.txtbin/rundeep/er/file")) {
			t.Fatalf("Pack() = %d, %v", n, err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same tree gave different bytes")
	}
	if _, err := archive.Unpack(t.Context(), &first, to, archive.Limits{AnyLinks: true}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"a.txt": 0o644, "bin/run": 0o755, "deep/er/file": 0o644} {
		info, err := os.Stat(filepath.Join(to, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, info, err, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(to, "python")); err != nil || target != "/usr/bin/python3" {
		t.Errorf("link = %q, %v", target, err)
	}
}

// FuzzTar packs what the fuzzer makes, which would hardly get beyond the checksums of gzip.
func FuzzTar(f *testing.F) {
	for _, entries := range [][]entry{
		{{name: "a/b", content: "x"}, {name: "l", link: "a", kind: tar.TypeSymlink}},
		{{name: "../x"}},
		{{name: "h", link: "a", kind: tar.TypeLink}},
		{{name: "d/", kind: tar.TypeDir}, {name: "d", content: "y"}},
	} {
		zr, err := gzip.NewReader(bytes.NewReader(makeArchive(f, entries...)))
		if err != nil {
			f.Fatal(err)
		}
		raw, err := io.ReadAll(zr)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	limits := archive.Limits{Entries: 100, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var packed bytes.Buffer
		zw, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := zw.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		unpackInside(t, packed.Bytes(), limits)
	})
}

// unpackInside unpacks an archive, and fails if anything of it is or leads outside.
func unpackInside(t *testing.T, packed []byte, limits archive.Limits) {
	t.Helper()
	parent := t.TempDir()
	dir := filepath.Join(parent, "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	size, err := archive.Unpack(t.Context(), bytes.NewReader(packed), dir, limits)
	if err == nil && limits.Bytes > 0 && size > limits.Bytes {
		t.Errorf("%d bytes were unpacked", size)
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 1 {
		t.Fatalf("written outside: %v", entries)
	}
	if err != nil {
		return
	}
	if err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.Type()&os.ModeSymlink == 0 {
			return err
		}
		if at, err := filepath.EvalSymlinks(name); err == nil && at != dir && !strings.HasPrefix(at, dir+"/") {
			t.Errorf("%s leads to %s", name, at)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(makeArchive(f, entry{name: "a/b", content: "x"}, entry{name: "l", link: "a", kind: tar.TypeSymlink}))
	f.Add([]byte("not an archive"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		unpackInside(t, raw, archive.Limits{Entries: 100, Bytes: 1 << 20, Ratio: 100})
	})
}
