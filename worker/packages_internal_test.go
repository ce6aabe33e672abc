package worker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"testing"

	blobfs "flint/blob/fs"
)

// TestDiscardedPackages has a package go with its blob: at once when nobody uses it, else after its last user, also one who
// comes later. What is uploaded again is unpacked again.
func TestDiscardedPackages(t *testing.T) {
	t.Parallel()
	blobs, err := blobfs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "index.js", Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	z.Close()
	digest, _, err := blobs.Put(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPackages(t.TempDir(), blobs, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	use := func() (dir string, release func()) {
		t.Helper()
		dir, release, err := p.use(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		return dir, release
	}
	is := func(dir string, there bool) {
		t.Helper()
		if _, err := os.Stat(dir); (err == nil) != there {
			t.Errorf("%s is there: %t, want %t", dir, err == nil, there)
		}
	}
	p.discard(digest) // nobody knows it

	dir, release := use()
	release()
	is(dir, true)
	p.discard(digest)
	is(dir, false)

	dir, release = use()
	_, second := use()
	p.discard(digest)
	release()
	is(dir, true)
	second()
	is(dir, false)

	dir, release = use()
	p.discard(digest)
	_, second = use() // a start that was on its way
	release()
	is(dir, true)
	second()
	is(dir, false)

	dir, release = use() // the blob is here again
	release()
	is(dir, true)
	if len(p.have) != 1 || p.total < 0 {
		t.Errorf("%d packages, %d bytes", len(p.have), p.total)
	}
}
