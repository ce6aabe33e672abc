package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"flint/blob"
	"flint/internal/archive"
)

// packages keeps unpacked packages on this node's disk, by digest, so that a cold start need not unpack. It is bounded:
// what has not been used for longest goes first, and what workers use stays.
type packages struct {
	dir   string
	blobs blob.Store
	max   int64 // bytes

	mu    sync.Mutex
	have  map[string]*unpacked
	total int64
}

type unpacked struct {
	dir   string
	bytes int64
	users int
	gone  bool // it goes with its last user, also when it is used again before: by a start that was on its way, as a rule
	used  time.Time
	ready chan struct{} // closed when dir is there or err is set
	err   error
}

// openPackages takes over what an earlier run left in dir.
func openPackages(dir string, blobs blob.Store, maxBytes int64) (*packages, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &packages{dir: dir, blobs: blobs, max: maxBytes, have: map[string]*unpacked{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if !blob.ValidDigest(e.Name()) { // half-unpacked
			if err := os.RemoveAll(file); err != nil {
				return nil, err
			}
			continue
		}
		size, err := archive.Size(file)
		if err != nil {
			return nil, err
		}
		u := &unpacked{dir: file, bytes: size, ready: make(chan struct{})}
		close(u.ready)
		p.have[e.Name()] = u
		p.total += size
	}
	return p, nil
}

// use returns the directory of the package, unpacked; release is called when nobody reads it any longer. Callers of one
// digest share one unpacking.
func (p *packages) use(ctx context.Context, digest string) (dir string, release func(), err error) {
	if !blob.ValidDigest(digest) {
		return "", nil, blob.ErrNotFound
	}
	p.mu.Lock()
	u, ok := p.have[digest]
	if !ok {
		u = &unpacked{dir: filepath.Join(p.dir, digest), ready: make(chan struct{})}
		p.have[digest] = u
	}
	u.users++
	u.used = time.Now()
	p.mu.Unlock()
	release = sync.OnceFunc(func() {
		p.mu.Lock()
		u.users--
		u.used = time.Now()
		if u.gone && u.users == 0 && p.have[digest] == u {
			_ = p.remove(digest, u) // what stays is found again at the next start
			return
		}
		p.mu.Unlock()
	})
	if !ok {
		u.bytes, u.err = p.unpack(ctx, digest, u.dir)
		p.mu.Lock()
		if u.err != nil {
			delete(p.have, digest)
		} else {
			p.total += u.bytes
		}
		p.mu.Unlock()
		close(u.ready)
		p.evict()
	}
	select {
	case <-u.ready:
	case <-ctx.Done():
		release()
		return "", nil, context.Cause(ctx)
	}
	if u.err != nil {
		release()
		return "", nil, u.err
	}
	return u.dir, release, nil
}

func (p *packages) unpack(ctx context.Context, digest, dir string) (int64, error) {
	r, _, err := p.blobs.Get(ctx, digest)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	scratch, err := os.MkdirTemp(p.dir, "unpack-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		return 0, err
	}
	size, err := archive.Unpack(ctx, r, scratch, archive.Limits{AnyLinks: true})
	if err != nil {
		return 0, err
	}
	return size, os.Rename(scratch, dir)
}

// discard removes a package that no deployment has any longer: now, or when its last worker has ended.
func (p *packages) discard(digest string) {
	p.mu.Lock()
	u := p.have[digest]
	if u != nil {
		u.gone = true
	}
	if u == nil || u.users > 0 {
		p.mu.Unlock()
		return
	}
	_ = p.remove(digest, u) // as above
}

// evict removes what is least recently used until the rest fits.
func (p *packages) evict() {
	for {
		p.mu.Lock()
		var digest string
		var oldest *unpacked
		for d, u := range p.have {
			if u.users == 0 && u.bytes > 0 && (oldest == nil || u.used.Before(oldest.used)) {
				digest, oldest = d, u
			}
		}
		if p.total <= p.max || oldest == nil {
			p.mu.Unlock()
			return
		}
		if err := p.remove(digest, oldest); err != nil {
			return // it is found again at the next start
		}
	}
}

// remove removes a package that nobody uses. It is called with the lock, and returns without it.
func (p *packages) remove(digest string, u *unpacked) error {
	delete(p.have, digest)
	p.total -= u.bytes
	gone := u.dir + ".gone"
	err := os.Rename(u.dir, gone) // before anyone may unpack it anew
	p.mu.Unlock()
	if err == nil {
		err = os.RemoveAll(gone)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Discard removes what the pool has unpacked of a package that no deployment has any longer.
func (p *Pool) Discard(digest string) { p.packages.discard(digest) }
