package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/blob"
	"flint/internal/frame"
	"flint/runtimes"
	"flint/sandbox"
)

var errRetired = errors.New("the group of workers is gone")

func runtimeAttr(id string) slog.Attr            { return slog.String("runtime", id) }
func functionAttr(id flint.FunctionID) slog.Attr { return slog.String("function_id", string(id)) }

func deploymentAttr(id flint.DeploymentID) slog.Attr { return slog.String("deployment_id", string(id)) }

// Config is what a Pool needs. Zero durations and counts are the defaults in brackets.
type Config struct {
	Driver   sandbox.Driver
	Files    runtimes.Files
	Blobs    blob.Store
	RunDir   string // exchange directories; emptied at start
	CacheDir string // unpacked packages
	Logger   *slog.Logger
	Registry prometheus.Registerer
	Network  sandbox.Network // of workers

	// Logged is told what a call logs, while it runs. It must not block, and must not keep the text. nil: nobody asks
	Logged func(e *flint.Execution, isError bool, text []byte)

	// Free returns how many bytes of memory can be had. When they are fewer than Least, idle workers go. nil: nobody knows
	Free  func() int64
	Least int64

	CacheBytes   int64         // bound of CacheDir [10 GiB]
	MaxWorkers   int           // on this node [64]
	MaxSerial    int           // of one function, for languages that serve one call at a time [4 per processor]
	MaxParallel  int           // of one function, for languages that serve many [2 per processor]
	QueueLength  int           // calls of one function that may wait [2000]
	QueueTotal   int           // calls of all functions that may wait [10000]
	QueueTimeout time.Duration // how long a call waits for a worker of its function that is busy [10 s]
	PlaceTimeout time.Duration // how long it waits when its function has none, because others have all the places, and whether it is served in time [800 ms]
	Linger       time.Duration // how long a worker of a replaced deployment stays for those who roll back [5 s]
	KeepAlive    time.Duration // how long an idle worker stays [5 min]
	StartTimeout time.Duration // from sandbox to ready [2 min]
	CancelGrace  time.Duration // from a call's deadline to the death of its worker [2 s]
	DrainTimeout time.Duration // from drain to the death of a worker [10 s]
}

func (c *Config) setDefaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 10 << 30
	}
	num(&c.MaxWorkers, 64)
	num(&c.MaxSerial, 4*runtime.NumCPU())
	num(&c.MaxParallel, 2*runtime.NumCPU())
	num(&c.QueueLength, 2000)
	num(&c.QueueTotal, 10_000)
	set(&c.PlaceTimeout, 800*time.Millisecond)
	set(&c.Linger, 5*time.Second)
	set(&c.QueueTimeout, 10*time.Second)
	set(&c.KeepAlive, 5*time.Minute)
	set(&c.StartTimeout, 2*time.Minute)
	set(&c.CancelGrace, 2*time.Second)
	set(&c.DrainTimeout, 10*time.Second)
}

// Pool is the workers of this node. It is safe for concurrent use.
type Pool struct {
	config   Config
	packages *packages
	stems    *stems
	metrics  *metrics
	starts   chan struct{} // bounds how many sandboxes start at once
	canLook  bool          // who looks for an answer leaves a processor to the others

	ctx    context.Context //nolint:containedctx // the life of the pool, for what outlives the call that caused it
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex
	functions map[functionKey]*function
	reserved  int                  // workers that live or start
	wants     map[*group]time.Time // who wants a place and since when
	turnover  turnover
	arranging bool // a goroutine gives and takes places
	again     bool // it has to look once more
	closed    bool

	queued   atomic.Int64 // calls that wait for a worker
	inFlight atomic.Int64 // calls in workers
	wanting  atomic.Int64 // how many are in wants
	short    atomic.Bool  // of memory
}

// NewPool makes a pool and takes over its directories from an earlier run.
func NewPool(c Config) (*Pool, error) {
	c.setDefaults()
	if err := emptyRunDir(c.RunDir); err != nil {
		return nil, err
	}
	cache, err := openPackages(c.CacheDir, c.Blobs, c.CacheBytes)
	if err != nil {
		return nil, err
	}
	p := &Pool{config: c, packages: cache, functions: map[functionKey]*function{}, wants: map[*group]time.Time{}, starts: make(chan struct{}, 2*runtime.NumCPU())}
	p.canLook = runtime.GOMAXPROCS(0) > 1
	p.ctx, p.cancel = context.WithCancel(context.Background()) //nolint:forbidigo // ended by Close
	p.stems = &stems{pool: p, kinds: map[string]*stemKind{}}
	p.metrics = newMetrics(c.Registry, p)
	return p, nil
}

// emptyRunDir removes the exchange directories of a node that was killed. Packages that are still mounted below are
// unmounted by the sandbox driver before; what cannot be removed without recursion stays.
func emptyRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		removeExchange(filepath.Join(dir, e.Name()), slog.New(slog.DiscardHandler))
	}
	return nil
}

// Do calls a function and returns when its response has begun, which the caller then reads to its end or closes. The
// error is the cause of ctx, *StartError, *EndedError, *BodyError, or flint.ErrTooBusy when there is no capacity. With
// *EndedError and a context's cause the call may have logged: the second result has it, and with every error what the call
// took until then.
func (p *Pool) Do(ctx context.Context, t *Target, r *Request) (*Response, Output, error) {
	var w *worker
	var c *call
	var wait toll
	var err error
	for c == nil { // a worker that ended between the two was not asked yet: another one may be
		var more toll
		w, more, err = p.acquire(ctx, t, r.Depth)
		wait.queue, wait.start = wait.queue+more.queue, wait.start+more.start
		if err != nil {
			return nil, waited(wait), err
		}
		c = w.begin(wait, r)
	}
	if r.Begun != nil {
		r.Begun()
	}
	err = c.transmit(ctx, r)
	if err == nil && c.alone {
		c.lookOut()
	}
	if err == nil {
		err = c.await(ctx, func() bool { return c.answered })
	}
	if err != nil {
		return nil, c.output(), err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	resp := &c.response
	*resp = Response{Status: c.status, Headers: c.headers, call: c, body: c.body}
	c.body = nil
	if len(resp.body) > 0 && !c.ended {
		// The first piece left the window as it was taken.
		n := len(resp.body)
		w.send(func(b []byte) []byte { return frame.Append(b, frame.Window, 0, c.id, windowPayload(n)) })
	}
	return resp, Output{}, nil
}

func (p *Pool) acquire(ctx context.Context, t *Target, depth int) (*worker, toll, error) {
	for {
		g := t.group.Load()
		if g == nil {
			var err error
			if g, err = p.groupOf(t, true); err != nil {
				return nil, toll{}, err
			}
		}
		w, wait, err := g.acquire(ctx, depth)
		if errors.Is(err, errRetired) {
			t.group.CompareAndSwap(g, nil)
			continue
		}
		return w, wait, err
	}
}

// startBounded starts a worker when not too many others start.
func (p *Pool) startBounded(t *Target) (*worker, error) {
	select {
	case p.starts <- struct{}{}:
		defer func() { <-p.starts }()
	case <-p.ctx.Done():
		return nil, flint.ErrShuttingDown
	}
	return p.start(p.ctx, t)
}

// Run sees to it that every function has the workers that it should have, no less and no more, until ctx ends.
func (p *Pool) Run(ctx context.Context) error {
	cpus := runtime.NumCPU()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			p.reap(now)
			p.yieldMemory()
			p.stems.trim()
			for _, g := range p.snapshot() {
				g.watchLoad(now, cpus)
			}
			if p.wanting.Load() > 0 {
				p.arrange()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Stems returns how many stems wait for a function.
func (p *Pool) Stems() int { return p.stems.count() }

// Waiting returns how many calls wait for a worker.
func (p *Pool) Waiting() int { return int(p.queued.Load()) }

// InFlight returns how many calls are in workers now.
func (p *Pool) InFlight() int { return int(p.inFlight.Load()) }

// Close ends all workers, at once: calls that still run end with the reason. It returns when everything is gone.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.stems.end()
	for key := range p.all() {
		p.Forget(key.project, key.function, "the node is stopping")
	}
	p.tasks.Wait()
}

// drain tells a worker to finish; one that does not is killed.
func (w *worker) drain() {
	w.send(func(b []byte) []byte { return frame.Append(b, frame.Drain, 0, 0, nil) })
	timer := time.NewTimer(w.pool.config.DrainTimeout)
	defer timer.Stop()
	select {
	case <-w.dead:
	case <-timer.C:
		w.kill("it did not exit within " + w.pool.config.DrainTimeout.String() + " of being drained")
	case <-w.pool.ctx.Done():
		w.kill("the node is stopping")
	}
}
