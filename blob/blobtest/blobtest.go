// Package blobtest is the suite that every blob store passes.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"flint/blob"
)

// Run tests the stores that open makes; each call of open makes an empty one.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	t.Helper()
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	sum := sha256.Sum256(content)
	want := hex.EncodeToString(sum[:])

	t.Run("what was put is what is got", func(t *testing.T) {
		s := open(t)
		for range 2 { // the second is the same blob
			digest, size, err := s.Put(t.Context(), bytes.NewReader(content))
			if err != nil || digest != want || size != int64(len(content)) {
				t.Fatalf("Put() = %s, %d, %v", digest, size, err)
			}
		}
		r, size, err := s.Get(t.Context(), want)
		if err != nil || size != int64(len(content)) {
			t.Fatalf("Get() = %d, %v", size, err)
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(content))
		}
		if _, err := r.Seek(16, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, 4)
		if _, err := io.ReadFull(r, piece); err != nil || string(piece) != "0123" {
			t.Errorf("after Seek read %q, %v", piece, err)
		}
		if n := count(t, s); n != 1 {
			t.Errorf("%d blobs listed, want 1", n)
		}
	})
	t.Run("a failed put keeps nothing", func(t *testing.T) {
		s := open(t)
		boom := errors.New("boom")
		if _, _, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("some"), iotest.ErrReader(boom))); !errors.Is(err, boom) {
			t.Errorf("Put() = %v, want boom", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := s.Put(ctx, strings.NewReader("some")); !errors.Is(err, context.Canceled) {
			t.Errorf("Put() under a cancelled context = %v", err)
		}
		if n := count(t, s); n != 0 {
			t.Errorf("%d blobs listed, want 0", n)
		}
	})
	t.Run("what is not there is not found", func(t *testing.T) {
		s := open(t)
		for _, digest := range []string{want, "", "../../etc/passwd", strings.Repeat("A", 64)} {
			if _, _, err := s.Get(t.Context(), digest); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("Get(%q) = %v, want ErrNotFound", digest, err)
			}
			if err := s.Delete(t.Context(), digest); err != nil {
				t.Errorf("Delete(%q) = %v", digest, err)
			}
		}
	})
	t.Run("a deleted blob is gone", func(t *testing.T) {
		s := open(t)
		digest, _, err := s.Put(t.Context(), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), digest); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Get(t.Context(), digest); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Get() = %v, want ErrNotFound", err)
		}
	})
	t.Run("many put at once", func(t *testing.T) {
		s := open(t)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				if _, _, err := s.Put(t.Context(), strings.NewReader(strings.Repeat("y", i%4+1))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := count(t, s); n != 4 {
			t.Errorf("%d blobs listed, want 4", n)
		}
	})
}

func count(t *testing.T, s blob.Store) int {
	t.Helper()
	n := 0
	if err := s.List(t.Context(), func(string, int64) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}
