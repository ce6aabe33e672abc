// Package server assembles a node from its settings and runs it. It is the only place where all parts meet.
package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"flint"
	"flint/admin"
	"flint/api"
	"flint/api/delivery"
	"flint/api/domains"
	apiexplain "flint/api/explain"
	"flint/api/functions"
	"flint/api/health"
	"flint/api/project"
	"flint/api/scaling"
	"flint/api/schedules"
	"flint/api/tail"
	"flint/api/webhooks"
	"flint/auth"
	blobfs "flint/blob/fs"
	"flint/build"
	"flint/config"
	"flint/explain"
	"flint/feed"
	"flint/geo"
	"flint/internal/cgroup"
	"flint/internal/network"
	"flint/internal/runner"
	"flint/invoke"
	"flint/proxy"
	"flint/realtime"
	"flint/runtimes"
	"flint/schedule"
	"flint/store"
	"flint/upload"
	"flint/wire"
	"flint/worker"
)

// Node is what a caller of Run may want to know of a node that takes calls.
type Node struct {
	Addr    net.Addr // of the API and the domains
	Workers int      // that there may be at once
}

// Run runs a node until ctx ends, then lets what runs finish and returns. ready is called once the node takes calls.
func Run(ctx context.Context, c config.Config, logger *slog.Logger, ready func(Node)) (err error) {
	unlock, err := lockData(c.Data)
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	if c.Endpoint == "" {
		c.Endpoint = endpoint(listener.Addr())
	}
	secret, node, err := identity(c)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	var changes changes // filled in below; nothing changes before
	dead := newNotices(logger)
	db, err := store.Open(ctx, store.Config{
		Path: filepath.Join(c.Data, "flint.db"), Logger: logger, Secret: secret, Model: eventModel, Changed: changes.publish, Changing: changes.announce, Died: dead.add,
		ScheduleSpread: time.Duration(c.ScheduleSpread) * time.Second,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	messages, err := openBus(ctx, c, logger, registry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, messages.Close()) }()
	dead.bus = messages
	blobs, err := blobfs.Open(filepath.Join(c.Data, "blobs"))
	if err != nil {
		return err
	}
	inside := newInbound(listener.Addr())
	driver, err := OpenSandbox(ctx, c, logger, inside)
	if err != nil {
		return err
	}
	defer driver.Close()
	if err := askFloor(ctx, c, driver, logger); err != nil {
		return err
	}
	files, err := runtimes.Unpack(filepath.Join(c.Data, "runtimes"))
	if err != nil {
		return err
	}
	catalog, err := runtimes.Recall(catalogConfig(c))
	if err != nil {
		return err
	}
	places, err := geo.Open(c.GeoDatabase)
	if err != nil {
		return err
	}
	defer places.Close()
	signer := auth.NewSigner(secret)
	authenticator := auth.New(auth.Config{Project: db.Project, Key: db.KeyBySecret, Signer: signer})

	supply := cgroup.FindSupply()
	if c.MaxWorkers == 0 {
		c.MaxWorkers = workersFor(supply.Total(), network.Room(c.NetworkRange))
	}
	activity := &feed.Feed{} // of this node
	pool, err := worker.NewPool(worker.Config{
		Driver: driver, Network: driver.Functions, Files: files, Blobs: blobs, Logger: logger, Registry: registry,
		RunDir: filepath.Join(c.Data, "run"), CacheDir: filepath.Join(c.Data, "packages"),
		MaxWorkers: c.MaxWorkers, Free: supply.Free, Least: leastMemory(supply.Total()), KeepAlive: c.KeepAlive, Logged: activity.Log,
	})
	if err != nil {
		return err
	}
	defer pool.Close()
	invoker := invoke.New(invoke.Config{
		Store: db, Pool: pool, Runtimes: catalog, Signer: signer, Logger: logger, Registry: registry, Locate: places.Locate, Observe: activity.Publish,
		Bell: messages.Bell(callBell), Ring: func() { messages.Ring(callBell) },
		Node: node, Endpoint: c.Endpoint, Region: c.Region, Domain: c.Domain, Concurrency: c.CallConcurrency, Lease: c.CallLease, StopTimeout: c.StopTimeout,
	})
	builder, err := build.New(build.Config{
		Store: db, Blobs: blobs, Driver: driver, Files: files, Runtimes: catalog, Signer: signer, Logger: logger, Registry: registry, Built: pool.Warm, Grown: growth(messages), Removed: pool.Discard,
		Bell: messages.Bell(buildBell), Ring: func() { messages.Ring(buildBell) },
		WorkDir: filepath.Join(c.Data, "builds"), CacheDir: filepath.Join(c.Data, "build-cache"), SeedDir: filepath.Join(c.Data, "seeds"),
		Node: node, Endpoint: c.Endpoint, Region: c.Region, Network: driver.Builds, Environ: config.Environ(c.BuildEnvironment),
		MaxSource: c.MaxSource, MaxOutput: c.MaxOutput, Timeout: c.BuildTimeout, Concurrency: c.BuildConcurrency,
	})
	if err != nil {
		return err
	}
	uploads, err := upload.New(upload.Config{
		Store: db, Receive: builder.Receive, Collect: builder.Collect, Queued: builder.Ring, Logger: logger,
		Dir: filepath.Join(c.Data, "uploads"), MaxSize: c.MaxSource,
	})
	if err != nil {
		return err
	}
	explainer := explain.New(explain.Config{Store: db, Pool: pool, Said: invoker.Said, Concurrency: c.CallConcurrency})
	relay, deliverer := triggers(c, db, invoker, activity, messages, logger, registry, node)
	rules := ruleService(c, db, logger)
	rest := api.New(
		api.Config{
			Auth: authenticator, Logger: logger, Registry: registry, MaxUpload: c.MaxSource + 16<<20, Forwarded: proxies(c), Unlimited: !c.RateLimits,
			Hosts: hosts(c), Secure: c.ForceAPIHTTPS, PlainHost: plainHost(c), Format: wire.ParseFormat(c.ResponseFormat), Development: c.Environment == "development",
		},
		functions.New(functions.Config{
			Store: db, Invoker: invoker, Builder: builder, Uploads: uploads, Blobs: blobs, Signer: signer, Runtimes: catalog, Logger: logger, Domain: c.Domain,
			MaxCPUs: c.MaxCPUs, MaxMemory: c.MaxMemory, MaxTimeout: c.MaxTimeout, CreationLimit: c.CreationLimit,
		}).Routes(),
		project.New(db).Routes(),
		rules.Routes(),
		domains.New(domains.Config{Store: db}).Routes(),
		scaling.New(scaling.Config{Store: db, MaxWorkers: c.MaxWorkers}).Routes(),
		apiexplain.New(explainer).Routes(),
		delivery.New(delivery.Config{Store: db, Cancel: invoker.Cancel, Redrive: invoker.Redrive}).Routes(),
		schedules.New(schedules.Config{Store: db}).Routes(),
		webhooks.New(webhooks.Config{Store: db, Check: receivers(c)}).Routes(),
		tail.New(tail.Config{Store: db, Feed: activity}).Routes(),
		health.New(health.Config{Check: func(ctx context.Context) error { _, err := db.Projects(ctx); return err }}).Routes(),
	)
	hub := realtime.New(realtime.Config{
		Store: db, Bus: messages, Auth: authenticator, Logger: logger, Registry: registry, Forwarded: proxies(c), Hosts: hosts(c),
		Max: c.RealtimeConnections, Unlimited: !c.RateLimits,
	})
	front := proxy.New(proxy.Config{
		Rule: db.RuleByDomain, Invoker: invoker, Auth: authenticator, Domain: c.Domain, Forwarded: proxies(c), Logger: logger, Next: withRealtime(hub, rest), Limit: time.Minute,
		Protected: c.ProtectRouter, Hosts: hosts(c), Secure: c.ForceHTTPS,
	})
	scheduler := schedule.New(schedule.Config{Store: db, Invoker: invoker, Logger: logger, Registry: registry})
	changes.connect(authenticator, invoker, front, scheduler, messages, logger)

	if err := bootstrap(ctx, db, c, logger); err != nil {
		return err
	}
	if err := errors.Join(invoker.Settle(ctx), builder.Settle(ctx), deliverer.Settle(ctx)); err != nil {
		return err
	}
	services := []runner.Service{
		{Name: "http", Run: serveHTTP(listener, newFront(front, logger), c.StopTimeout)},
		{Name: "realtime", Run: hub.Run}, // this and the next end what goes on, so that http can stop
		{Name: "feed", Run: activity.Run},
		{Name: "http of sandboxes", Run: serveHTTP(inside, newHTTP(front), c.StopTimeout)},
	}
	deleted := func(p flint.ProjectID, f flint.FunctionID) error {
		invoker.Delete(p, f)
		uploads.Ring()
		return builder.Forget(p, f)
	}
	operator, err := listenAdmin(c.Data)
	if err != nil {
		return err
	}
	services = append(services, runner.Service{Name: "operator", Run: serveAdmin(operator, admin.New(admin.Config{
		Store: db, Logger: logger, Explainer: explainer, Feed: activity, Cancel: invoker.Cancel, Redrive: invoker.Redrive, Deleted: deleted, Collect: builder.Collect, MaxWorkers: c.MaxWorkers,
	}), c.Data)})
	if c.MetricsAddr != "" {
		metrics, err := serveMetrics(ctx, c.MetricsAddr, registry)
		if err != nil {
			return err
		}
		services = append(services, metrics)
	}
	if ready != nil {
		ready(Node{Addr: listener.Addr(), Workers: c.MaxWorkers})
	}
	return runner.Run(ctx,
		[]runner.Service{
			{Name: "workers", Run: pool.Run},
			{Name: "runtimes", Run: catalog.Run},
			{Name: "stems", Run: warm(db, catalog, pool, invoker)},
			{Name: "retention", Run: retain(db, c.Retention, logger)},
			{Name: "maintenance", Run: maintain(db, c.ExecutionLimit, builder.Collect, logger)},
			{Name: "events", Run: retainEvents(db, logger)},
			{Name: "dead letters", Run: dead.run},
		},
		[]runner.Service{
			{Name: "queued calls", Run: invoker.Work},
			{Name: "changes", Run: invoker.Follow},
			{Name: "builds", Run: builder.Work},
			{Name: "uploads", Run: uploads.Work},
			{Name: "domains", Run: rules.Watch},
			{Name: "triggers", Run: relay.Run},
			{Name: "webhooks", Run: deliverer.Run},
		},
		[]runner.Service{
			{Name: "schedules", Run: scheduler.Run},
		},
		services)
}

// lockData makes the data directory and keeps other nodes out of it.
func lockData(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another node uses %s: stop it, or give this one another --data", dir)
	}
	return func() { f.Close() }, nil
}

// identity returns what the node encrypts with and the name under which it holds leases. Both stay the same for the life
// of the data directory.
func identity(c config.Config) (secret []byte, node string, err error) {
	if c.Secret != "" {
		sum := sha256.Sum256([]byte(c.Secret))
		secret = sum[:]
	} else {
		secret, err = keep(filepath.Join(c.Data, "secret"), func() []byte {
			b := make([]byte, 32)
			_, _ = rand.Read(b) // never fails since Go 1.24
			return b
		})
		if err != nil {
			return nil, "", err
		}
		if len(secret) != 32 {
			return nil, "", fmt.Errorf("%s is damaged: it must hold 32 bytes", filepath.Join(c.Data, "secret"))
		}
	}
	name, err := keep(filepath.Join(c.Data, "node"), func() []byte { return []byte(flint.NewID()) })
	return secret, string(name), err
}

// keep returns the content of a file, which it makes when it is missing.
func keep(file string, create func() []byte) ([]byte, error) {
	b, err := os.ReadFile(file)
	if !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	b = create()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	return b, errors.Join(err, f.Sync(), f.Close())
}

// endpoint is the URL of the API on an address that it listens on.
func endpoint(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String() + "/v1"
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/v1"
}

// bootstrap makes the project and the key that the settings name, when they are missing.
func bootstrap(ctx context.Context, db *store.Store, c config.Config, logger *slog.Logger) error {
	if c.BootstrapProject == "" {
		return nil
	}
	if !flint.ValidID(c.BootstrapProject) {
		return fmt.Errorf("FLINT_BOOTSTRAP_PROJECT: %q cannot be the id of a project", c.BootstrapProject)
	}
	now := time.Now()
	p := &flint.Project{ID: flint.ProjectID(c.BootstrapProject), Name: c.BootstrapProject, CreatedAt: now, UpdatedAt: now}
	if err := db.CreateProject(ctx, p); err != nil && !errors.Is(err, flint.ErrProjectExists) {
		return err
	}
	known, err := db.KeyBySecret(ctx, string(c.BootstrapKey))
	if err != nil {
		return err
	}
	if known != nil {
		if known.Project != p.ID {
			return fmt.Errorf("FLINT_BOOTSTRAP_KEY is a key of project %s already", known.Project)
		}
		return nil
	}
	logger.InfoContext(ctx, "bootstrap key made", slog.String("project_id", string(p.ID)))
	return db.CreateKey(ctx, &flint.Key{
		ID: flint.NewID(), Project: p.ID, Name: "bootstrap", Secret: string(c.BootstrapKey), Scopes: flint.Scopes(), CreatedAt: now, UpdatedAt: now,
	})
}

// warm makes stems for the runtimes of functions that can be called, so that the first call after a restart is quick, and
// workers of those that are always to have some.
func warm(db *store.Store, catalog *runtimes.Catalog, pool *worker.Pool, invoker *invoke.Invoker) func(context.Context) error {
	return func(ctx context.Context) error {
		used := map[string]bool{}
		err := eachFunction(ctx, db, func(f *flint.Function) {
			if f.DeploymentID != "" {
				used[f.Runtime] = true
			}
			if f.Scaling.MinWarm > 0 {
				invoker.Refresh(f.Project, f.ID)
			}
		})
		for _, id := range slices.Sorted(maps.Keys(used)) {
			rt, ok, missing := catalog.Lookup(ctx, id)
			if missing == nil && ok && rt.Toolchain != nil {
				pool.Warm(rt)
			}
		}
		if err == nil || ctx.Err() != nil {
			<-ctx.Done()
			return nil //nolint:nilerr // it was told to stop
		}
		return err
	}
}

// eachFunction reads all functions, a page at a time.
func eachFunction(ctx context.Context, db *store.Store, visit func(*flint.Function)) error {
	const page = 1000
	projects, err := db.Projects(ctx)
	if err != nil {
		return err
	}
	for _, p := range projects {
		l := flint.List{Limit: page, NoTotal: true}
		for more := true; more; {
			all, _, err := db.Functions(ctx, p.ID, l)
			if err != nil {
				return err
			}
			for _, f := range all {
				visit(f)
				l.Cursor = string(f.ID)
			}
			more = len(all) == page
		}
	}
	return nil
}

// retain deletes executions that are older than they are kept.
func retain(db *store.Store, keep time.Duration, logger *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				for {
					n, err := db.PruneExecutions(ctx, now.Add(-keep), 1000)
					if err != nil && ctx.Err() == nil {
						logger.ErrorContext(ctx, "old executions not deleted", slog.String("err", err.Error()))
					}
					if err != nil || n == 0 {
						break
					}
				}
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// OpenCatalog finds the runtimes of this host.
func OpenCatalog(ctx context.Context, c config.Config) (*runtimes.Catalog, error) {
	return runtimes.Open(ctx, catalogConfig(c))
}

func catalogConfig(c config.Config) runtimes.Config {
	return runtimes.Config{
		Toolchains: filepath.Join(c.Data, "toolchains"), Path: config.Path(), Environ: config.All(), Allow: c.Runtimes,
		Memory: filepath.Join(c.Data, "probes.json"),
	}
}

// logLevel reads the setting.
func logLevel(name string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(name))); err != nil {
		return 0, fmt.Errorf("--log-level=%s: debug, info, warn and error are possible", name)
	}
	return level, nil
}
