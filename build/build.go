// Package build turns uploaded sources into packages that workers run: receive, check, store, queue, build in a sandbox
// with the user's commands, pack, store, activate.
//
// Invariants:
//   - A build is a row with a state, a lease and a fencing number before anyone is told of it. Whoever holds the lease
//     is the only one who may write to it; everybody else's late words are dropped by the store.
//   - Every build ends: ready, failed or canceled, with the reason as the last lines of its log. One whose node dies is
//     tried once more and then failed.
//   - What a build writes stays in its work directory and in the caches of its own function.
//
// Goroutines: [Builder.Work] owns those that build; each build owns its log writer and its lease keeper.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/auth"
	"flint/blob"
	"flint/internal/archive"
	"flint/internal/pull"
	"flint/runtimes"
	"flint/sandbox"
	"flint/store"
)

// Config is what a Builder needs. Zero values are the defaults in brackets.
type Config struct {
	Store    *store.Store
	Blobs    blob.Store
	Driver   sandbox.Driver
	Files    runtimes.Files
	Runtimes *runtimes.Catalog
	Signer   *auth.Signer
	Logger   *slog.Logger
	Registry prometheus.Registerer
	Built    func(*runtimes.Runtime) // called after a successful build, so that stems can be made; nil: nobody asks
	Grown    func(*flint.Deployment) // called at most a few times a second while the log of a build grows; must not block. nil: nobody asks
	Removed  func(digest string)     // called when a blob is removed, so that nothing made of it stays; nil: nobody asks

	WorkDir  string // scratch of builds; emptied at start
	CacheDir string // dependency caches of functions
	SeedDir  string // caches that Flint fills itself, per runtime

	Bell pull.Bell // rung when a build may be waiting, also by others; nil: one of its own
	Ring func()    // rings that bell wherever builders are; nil: only here

	Node     string   // names this node in leases
	Endpoint string   // of the API, as builds reach it
	Region   string   // [default]
	Environ  []string // KEY=value of the node's own environment that builds get: proxies, registries, certificates
	Network  sandbox.Network

	MaxSource   int64         // bytes of an upload [30,000,000]
	MaxOutput   int64         // bytes of a package [2,000,000,000]
	CacheBytes  int64         // bound of CacheDir [10 GiB]
	Timeout     time.Duration // of one build [15 min]
	Concurrency int           // builds at once on this node [2]
	Lease       time.Duration // how long a build may go without a sign of life [30 s]
}

// Source is an uploaded archive in the blob store.
type Source struct {
	Digest string
	Size   int64
}

// Builder receives uploads and builds them. It is safe for concurrent use.
type Builder struct {
	config  Config
	metrics *metrics
	bell    pull.Bell // there may be a build waiting

	mu      sync.Mutex
	running map[flint.DeploymentID]context.CancelCauseFunc
	caches  map[string]int // caches in use, by directory name
	seeds   sync.Mutex     // one seed is made at a time
}

var (
	errCanceled = errors.New("the build was canceled")
	errLost     = errors.New("the build is no longer this node's")
)

// New makes a Builder and empties its scratch directory.
func New(c Config) (*Builder, error) {
	if c.Region == "" {
		c.Region = "default"
	}
	if c.MaxSource == 0 {
		c.MaxSource = 30_000_000
	}
	if c.MaxOutput == 0 {
		c.MaxOutput = 2_000_000_000
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 10 << 30
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Minute
	}
	if c.Concurrency == 0 {
		c.Concurrency = 2
	}
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.Bell == nil {
		c.Bell = pull.NewBell()
	}
	if c.Ring == nil {
		c.Ring = c.Bell.Ring
	}
	if err := os.RemoveAll(c.WorkDir); err != nil {
		return nil, err
	}
	for _, dir := range []string{c.WorkDir, c.CacheDir, c.SeedDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return &Builder{
		config: c, metrics: newMetrics(c.Registry), bell: c.Bell,
		running: map[flint.DeploymentID]context.CancelCauseFunc{}, caches: map[string]int{},
	}, nil
}

// sourceLimits bound what an upload may unpack to.
func (b *Builder) sourceLimits() archive.Limits {
	return archive.Limits{Entries: 200_000, Bytes: b.config.MaxOutput, Ratio: 200}
}

// Receive stores an uploaded archive while it streams and checks its entries: ErrFileTypeUnsupported, with a message
// that names the entry, for an archive that would leave its tree, hold devices or be a bomb; ErrDeploymentSize when it is
// too large; ErrFileEmpty when it is empty. Bytes that are no archive at all are accepted, as the reference does: their
// build fails and says so.
func (b *Builder) Receive(ctx context.Context, r io.Reader) (Source, error) {
	checked, check := io.Pipe()
	verdict := make(chan error, 1)
	go func() { // ends when the upload has been read: the pipe is closed below in every case
		err := archive.Check(ctx, checked, b.sourceLimits())
		if _, ok := errors.AsType[*archive.Refused](err); ok {
			checked.CloseWithError(err)
		}
		_, _ = io.Copy(io.Discard, checked) // what follows the archive; the copy below must not wait
		verdict <- err
	}()
	limited := &io.LimitedReader{R: r, N: b.config.MaxSource + 1}
	digest, size, err := b.config.Blobs.Put(ctx, io.TeeReader(limited, check))
	check.CloseWithError(err) // nil: the end
	why := <-verdict
	var refused *archive.Refused
	switch {
	case errors.As(why, &refused):
		err = flint.ErrFileTypeUnsupported.Saying("The archive was refused: %s", refused)
	case err != nil:
		return Source{}, err
	case size > b.config.MaxSource:
		err = flint.ErrDeploymentSize.Saying("The archive is larger than %d bytes.", b.config.MaxSource)
	case size == 0:
		err = flint.ErrFileEmpty
	}
	if err != nil {
		return Source{}, errors.Join(err, b.Collect(ctx, digest)) // nothing was put when the digest is empty
	}
	return Source{digest, size}, nil
}

// Submit makes the row of a deployment whose source was received, and queues its build.
func (b *Builder) Submit(ctx context.Context, d *flint.Deployment) error {
	if err := b.config.Store.CreateDeployment(ctx, d); err != nil {
		return err
	}
	b.Ring()
	return nil
}

// Duplicate makes the row of a deployment that has the source of another one, and queues its build.
func (b *Builder) Duplicate(ctx context.Context, d *flint.Deployment, of flint.DeploymentID) error {
	if err := b.config.Store.DuplicateDeployment(ctx, d, of); err != nil {
		return err
	}
	b.Ring()
	return nil
}

// Ring says that a deployment waits for its build that did not come through Submit.
func (b *Builder) Ring() { b.config.Ring() }

// Cancel ends a build that is not finished. One that is canceled already is canceled again, as the reference does.
func (b *Builder) Cancel(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.DeploymentID) (*flint.Deployment, error) {
	d, err := b.config.Store.CancelBuild(ctx, project, function, id, trailer("Build has been canceled."))
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if cancel := b.running[id]; cancel != nil {
		cancel(errCanceled)
	}
	return d, nil
}

// Collect removes blobs that no deployment names any longer.
func (b *Builder) Collect(ctx context.Context, digests ...string) error {
	used, err := b.config.Store.DigestsInUse(ctx, digests)
	if err != nil {
		return err
	}
	var failed []error
	for _, digest := range digests {
		if digest != "" && !used[digest] {
			failed = append(failed, b.config.Blobs.Delete(ctx, digest))
			if b.config.Removed != nil {
				b.config.Removed(digest)
			}
		}
	}
	return errors.Join(failed...)
}

// maxAttempts is how often a build is begun when its nodes die.
const maxAttempts = 2

// idlePoll is how often the queue is looked at although nobody rang: for rows of other nodes, and for expired leases.
const idlePoll = 5 * time.Second

// Settle takes care of the builds that this node had in an earlier life, and of what functions left behind that were
// deleted meanwhile. It is called once, before Work.
func (b *Builder) Settle(ctx context.Context) error {
	return errors.Join(b.settle(ctx, b.config.Node), b.forgetOrphans(ctx))
}

func (b *Builder) settle(ctx context.Context, node string) error {
	retried, failed, err := b.config.Store.SettleBuilds(ctx, node, time.Now(), maxAttempts)
	if retried+failed > 0 {
		b.config.Logger.WarnContext(ctx, "builds had lost their node", slog.Int("retried", retried), slog.Int("failed", failed))
	}
	return err
}

// Work builds what waits, until ctx ends; then the builds that run are handed back, to be begun anew.
func (b *Builder) Work(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	loop := pull.Loop{
		Slots: b.config.Concurrency, Bell: b.bell, Every: idlePoll,
		Claim: func(context.Context, int) ([]func(), error) {
			d, attempt, err := b.config.Store.ClaimBuild(ctx, b.config.Node, b.config.Lease)
			if d == nil {
				return nil, err
			}
			return []func(){func() { b.run(ctx, d, attempt) }}, err
		},
		Sweep:  func(ctx context.Context) error { return errors.Join(b.settle(ctx, ""), b.removeForgotten()) },
		Failed: func(err error) { b.config.Logger.ErrorContext(ctx, "queued builds cannot be read", errAttr(err)) },
	}
	loop.Run(ctx, &running)
	return nil
}

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }

// trailer is a line that Flint itself adds to a log, in the form of the reference's.
func trailer(text string) string {
	return fmt.Sprintf("\n\033[90m[%s] \033[0m[\033[35mflint\033[0m] %s\n", time.Now().UTC().Format("15:04:05"), text)
}
