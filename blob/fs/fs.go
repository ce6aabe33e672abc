// Package fs keeps blobs as files in a directory: <dir>/<first two characters of the digest>/<digest>.
package fs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"flint/blob"
)

// Store is a directory of blobs.
type Store struct{ dir string }

// Open uses dir, which it makes when it is not there, and removes what earlier uploads left unfinished. One process
// uses the directory at a time.
func Open(dir string) (*Store, error) {
	scratch := filepath.Join(dir, "tmp")
	if err := os.RemoveAll(scratch); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, err
	}
	return &Store{dir}, nil
}

func (s *Store) path(digest string) string { return filepath.Join(s.dir, digest[:2], digest) }

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "put-")
	if err != nil {
		return "", 0, err
	}
	defer func() {
		f.Close()
		os.Remove(f.Name())
	}()
	sum := sha256.New()
	if size, err = io.Copy(io.MultiWriter(f, sum), reader{ctx, r}); err != nil {
		return "", 0, err
	}
	if err := f.Sync(); err != nil {
		return "", 0, err
	}
	digest = hex.EncodeToString(sum.Sum(nil))
	final := s.path(digest)
	if err := os.MkdirAll(filepath.Dir(final), 0o700); err != nil {
		return "", 0, err
	}
	if err := os.Rename(f.Name(), final); err != nil {
		return "", 0, err
	}
	return digest, size, errors.Join(syncDir(filepath.Dir(final)), syncDir(s.dir))
}

// Get implements [blob.Store].
func (s *Store) Get(_ context.Context, digest string) (io.ReadSeekCloser, int64, error) {
	if !blob.ValidDigest(digest) {
		return nil, 0, blob.ErrNotFound
	}
	f, err := os.Open(s.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, blob.ErrNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(_ context.Context, digest string) error {
	if !blob.ValidDigest(digest) {
		return nil
	}
	if err := os.Remove(s.path(digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, each func(string, int64) error) error {
	return filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil || d.IsDir() || !blob.ValidDigest(d.Name()) {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return each(d.Name(), info.Size())
	})
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// reader ends when the context does.
type reader struct {
	ctx context.Context //nolint:containedctx // lives for one Put
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
