// Package upload puts together the sources of deployments that come in several requests, in any order and several at
// once.
//
// Invariants:
//   - A part counts when its file is on the disk and its row is committed; until then the client has no answer. A node
//     that dies in between forgets the part and nothing else.
//   - The deployment of an upload waits without a source, so that no builder takes it, and ends: it gets its source with
//     the last part, it fails with a reason, or it is removed when nobody has continued it for MaxAge.
//   - A part is in memory for as long as its bytes take from the connection to its file.
//
// Goroutines: none but the caller's; [Keeper.Work] runs on its owner's.
package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"flint"
	"flint/build"
	"flint/internal/pull"
	"flint/store"
)

// Config is what a Keeper needs. Zero values are the defaults in brackets.
type Config struct {
	Store   *store.Store
	Receive func(context.Context, io.Reader) (build.Source, error) // checks and stores an archive
	Collect func(ctx context.Context, digests ...string) error     // removes what Receive stored, unless it is used
	Queued  func()                                                 // called when a deployment waits for its build
	Logger  *slog.Logger
	Dir     string // of the parts

	MaxSize  int64         // bytes of a file [30,000,000]
	MaxAge   time.Duration // how long an upload may rest [24 h]
	Patience time.Duration // how long a request waits for others of its upload [10 s]
}

// maxParts bounds how many requests bring parts at once. Each of them holds a file of at most flint.ChunkSize.
const maxParts = 256

// Keeper keeps uploads that are not complete. It is safe for concurrent use.
type Keeper struct {
	config Config
	parts  chan struct{} // one per part between the start of its request and the end
	bell   pull.Bell     // deployments are gone

	mu    sync.Mutex
	locks map[flint.DeploymentID]*lock
}

// lock is held by the one request that changes an upload.
type lock struct {
	held  chan struct{}
	users int // under the Keeper's mu
}

// Part is a part that is on the disk but does not count yet.
type Part struct {
	file string
	once sync.Once
}

// New makes a Keeper and removes the parts that an earlier life was still receiving.
func New(c Config) (*Keeper, error) {
	if c.MaxSize == 0 {
		c.MaxSize = 30_000_000
	}
	if c.MaxAge == 0 {
		c.MaxAge = 24 * time.Hour
	}
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	k := &Keeper{config: c, parts: make(chan struct{}, maxParts), bell: pull.NewBell(), locks: map[flint.DeploymentID]*lock{}}
	if err := os.RemoveAll(k.incoming()); err != nil {
		return nil, err
	}
	return k, os.MkdirAll(k.incoming(), 0o700)
}

func (k *Keeper) incoming() string { return filepath.Join(k.config.Dir, "incoming") }

func (k *Keeper) dir(id flint.DeploymentID) string {
	return filepath.Join(k.config.Dir, "parts", string(id))
}

func (k *Keeper) file(id flint.DeploymentID, chunk int) string {
	return filepath.Join(k.dir(id), strconv.Itoa(chunk))
}

// errContention is for clients that send more at once than can be taken.
var errContention = flint.ErrRateLimited.Saying("Too many requests for this upload at once. Try again after the time in the Retry-After header.")

// Save writes a part to the disk. The caller hands it to Add or to Discard. ErrInvalidContentRange when it has another
// size than its range says.
func (k *Keeper) Save(ctx context.Context, r io.Reader, in flint.ContentRange) (*Part, error) {
	_, size, err := in.Chunk()
	if err != nil {
		return nil, err
	}
	if in.Total > k.config.MaxSize {
		return nil, flint.ErrDeploymentSize.Saying("The archive is larger than %d bytes.", k.config.MaxSize)
	}
	if err := k.acquire(ctx, k.parts); err != nil {
		return nil, err
	}
	part, err := k.save(r, size)
	if err != nil {
		<-k.parts
		return nil, err
	}
	return part, nil
}

func (k *Keeper) save(r io.Reader, size int64) (*Part, error) {
	f, err := os.CreateTemp(k.incoming(), "part-")
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(r, size+1))
	switch {
	case err != nil:
	case n != size:
		err = flint.ErrInvalidContentRange.Saying("The part has another size than its range: this one must have %d bytes.", size)
	default:
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name()) // what stays is removed at the next start
		return nil, err
	}
	return &Part{file: f.Name()}, nil
}

// Discard removes a part that came to nothing. Discarding twice, or after Add, does nothing.
func (k *Keeper) Discard(p *Part) {
	p.once.Do(func() {
		_ = os.Remove(p.file) // what stays is removed at the next start
		<-k.parts
	})
}

// acquire takes a place in a channel, for which it waits a bounded time.
func (k *Keeper) acquire(ctx context.Context, places chan struct{}) error {
	patience := time.NewTimer(k.config.Patience)
	defer patience.Stop()
	select {
	case places <- struct{}{}:
		return nil
	case <-patience.C:
		return errContention
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lock keeps others away from an upload until the returned function is called.
func (k *Keeper) lock(ctx context.Context, id flint.DeploymentID) (unlock func(), err error) {
	k.mu.Lock()
	l := k.locks[id]
	if l == nil {
		l = &lock{held: make(chan struct{}, 1)}
		k.locks[id] = l
	}
	l.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, id)
		}
	}
	if err := k.acquire(ctx, l.held); err != nil {
		leave()
		return nil, err
	}
	return func() { <-l.held; leave() }, nil
}

// Begin makes the deployment of a new upload and adds its first part.
func (k *Keeper) Begin(ctx context.Context, d *flint.Deployment, in flint.ContentRange, p *Part) (*flint.Deployment, error) {
	if err := k.config.Store.BeginUpload(ctx, d, in.Total, in.Chunks()); err != nil {
		return nil, err
	}
	u := &store.Upload{Deployment: d.ID, Project: d.Project, Function: d.Function, Total: in.Total, Chunks: in.Chunks()}
	after, err := k.Add(ctx, d, in, p)
	var known *flint.Error
	if err != nil && !(errors.As(err, &known) && known.Kind == flint.Invalid) { // nobody knows of it, or why it failed
		ctx = context.WithoutCancel(ctx)
		err = errors.Join(err, k.config.Store.DropUpload(ctx, u), os.RemoveAll(k.dir(d.ID)))
	}
	return after, err
}

// Add adds a part, once or again, to the upload of d and returns the deployment as it is then. What d says of type,
// entrypoint, commands and activate counts from now on. With the last part the deployment gets its source: an error is
// what is wrong with it then, and the deployment has failed. For an upload that is over Add changes nothing.
func (k *Keeper) Add(ctx context.Context, d *flint.Deployment, in flint.ContentRange, p *Part) (*flint.Deployment, error) {
	defer k.Discard(p)
	chunk, _, err := in.Chunk()
	if err != nil {
		return nil, err
	}
	unlock, err := k.lock(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u, err := k.config.Store.Upload(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	if u == nil || u.Status != flint.DeploymentWaiting {
		return k.config.Store.Deployment(ctx, d.Project, d.Function, d.ID)
	}
	if u.Total != in.Total {
		return nil, flint.ErrInvalidContentRange.Saying("The upload was begun as one of %d bytes.", u.Total)
	}
	if err := k.place(p, d.ID, chunk); err != nil {
		return nil, err
	}
	if u, err = k.config.Store.AddChunk(ctx, d, chunk); err != nil {
		return nil, err
	}
	if !u.Complete() {
		return k.config.Store.Deployment(ctx, d.Project, d.Function, d.ID)
	}
	return k.finish(context.WithoutCancel(ctx), u)
}

// place gives a part its name.
func (k *Keeper) place(p *Part, id flint.DeploymentID, chunk int) error {
	if err := os.MkdirAll(k.dir(id), 0o700); err != nil {
		return err
	}
	if err := os.Rename(p.file, k.file(id, chunk)); err != nil {
		return err
	}
	return errors.Join(syncDir(k.dir(id)), syncDir(filepath.Dir(k.dir(id))))
}

func syncDir(name string) error {
	d, err := os.Open(name) // a folder of ours
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // read only
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return nil
}

// finishTime bounds how long a source is put together and checked.
const finishTime = 10 * time.Minute

// finish makes the source out of the parts. The caller holds the upload's lock.
func (k *Keeper) finish(ctx context.Context, u *store.Upload) (*flint.Deployment, error) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	parts := &parts{next: func(chunk int) (io.ReadCloser, error) {
		if chunk == u.Chunks {
			return nil, io.EOF
		}
		return os.Open(k.file(u.Deployment, chunk))
	}}
	source, err := k.config.Receive(ctx, parts)
	if closeErr := parts.close(); err == nil {
		err = closeErr
	}
	if err == nil && source.Size != u.Total {
		err = errors.Join(flint.ErrInvalidFile.Saying("Parts of the upload are damaged. Upload the file again."), k.config.Collect(ctx, source.Digest))
	}
	if errors.Is(err, os.ErrNotExist) {
		err = flint.ErrInvalidFile.Saying("Parts of the upload are missing. Upload the file again.").Because(err)
	}
	if err != nil {
		return nil, k.refuse(ctx, u, err)
	}
	d, err := k.config.Store.CompleteUpload(ctx, u, source.Digest, source.Size)
	if err != nil {
		return nil, errors.Join(err, k.config.Collect(ctx, source.Digest))
	}
	k.config.Queued()
	if err := os.RemoveAll(k.dir(u.Deployment)); err != nil {
		k.config.Logger.WarnContext(ctx, "parts of a complete upload stay", slog.String("deployment_id", string(u.Deployment)), slog.Any("err", err))
	}
	return d, nil
}

// refuse ends an upload whose source will never be right. What may be otherwise the next time leaves it as it is.
func (k *Keeper) refuse(ctx context.Context, u *store.Upload, err error) error {
	var known *flint.Error
	if !errors.As(err, &known) || known.Kind != flint.Invalid && known.Kind != flint.Forbidden {
		return err
	}
	if _, failErr := k.config.Store.FailUpload(ctx, u, known.Message+"\n"); failErr != nil {
		return errors.Join(err, failErr)
	}
	return errors.Join(err, os.RemoveAll(k.dir(u.Deployment)))
}

// parts reads one part after the other, of which one is open at a time.
type parts struct {
	next  func(chunk int) (io.ReadCloser, error)
	chunk int
	open  io.ReadCloser
}

func (p *parts) Read(b []byte) (int, error) {
	for {
		if p.open == nil {
			f, err := p.next(p.chunk)
			if err != nil {
				return 0, err
			}
			p.open = f
			p.chunk++
		}
		n, err := p.open.Read(b)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if err := p.close(); err != nil || n > 0 {
			return n, err
		}
	}
}

func (p *parts) close() error {
	if p.open == nil {
		return nil
	}
	f := p.open
	p.open = nil
	return f.Close()
}
