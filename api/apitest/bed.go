// Package apitest is a bed for tests of REST services: a real store, real authentication, and stand-ins for what runs and
// builds functions.
package apitest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/blob"
	blobfs "flint/blob/fs"
	"flint/build"
	"flint/invoke"
	"flint/runtimes"
	"flint/store"
	"flint/upload"
)

// Project is the project of a Bed.
const Project flint.ProjectID = "demo"

// Bed holds the parts that services need.
type Bed struct {
	Store    *store.Store
	Auth     *auth.Authenticator
	Signer   *auth.Signer
	Invoker  *Invoker
	Builder  *Builder
	Blobs    blob.Store
	Uploads  *upload.Keeper
	Runtimes *runtimes.Catalog // with node-22 only
	Logs     *bytes.Buffer
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// New returns a Bed with the project demo and its keys standard_full, which holds every scope, and standard_none, which
// holds none.
func New(t testing.TB) *Bed {
	t.Helper()
	ctx := t.Context()
	b := &Bed{Signer: auth.NewSigner(bytes.Repeat([]byte{1}, 32)), Logs: &bytes.Buffer{}, Registry: prometheus.NewRegistry()}
	b.Logger = slog.New(slog.NewJSONHandler(&locked{w: b.Logs}, nil))
	var err error
	b.Store, err = store.Open(ctx, store.Config{
		Path: filepath.Join(t.TempDir(), "flint.db"), Logger: b.Logger, Secret: bytes.Repeat([]byte{2}, 32),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	b.Auth = auth.New(auth.Config{Project: b.Store.Project, Key: b.Store.KeyBySecret, Signer: b.Signer})
	if err := b.Store.CreateProject(ctx, &flint.Project{ID: Project, Name: "Demo"}); err != nil {
		t.Fatal(err)
	}
	for secret, scopes := range map[string][]string{"standard_full": flint.Scopes(), "standard_none": {}} {
		if err := b.Store.CreateKey(ctx, &flint.Key{ID: flint.NewID(), Project: Project, Name: secret, Secret: secret, Scopes: scopes}); err != nil {
			t.Fatal(err)
		}
	}
	b.Runtimes = catalog(t)
	b.Invoker = &Invoker{Store: b.Store}
	if b.Blobs, err = blobfs.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	b.Builder = &Builder{Store: b.Store, Blobs: b.Blobs, Limit: MaxSource}
	b.Uploads, err = upload.New(upload.Config{
		Store: b.Store, Receive: b.Builder.Receive, Collect: b.Builder.Collect, Queued: func() {}, Logger: b.Logger, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Serve returns an API of services.
func (b *Bed) Serve(services ...[]api.Route) *api.API {
	return api.New(api.Config{Auth: b.Auth, Logger: b.Logger, Registry: b.Registry, MaxUpload: 16 << 20}, services...)
}

// catalog knows one toolchain: a script that says what node would say.
func catalog(t testing.TB) *runtimes.Catalog {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node"), []byte("#!/bin/sh\necho 22.9.0\n"), 0o700); err != nil { // it is to be executed
		t.Fatal(err)
	}
	for range 100 { // a program that was just written is busy while another test's child still has it open
		c, err := runtimes.Open(t.Context(), runtimes.Config{Path: dir, Toolchains: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if rt, ok, _ := c.Lookup(t.Context(), "node-22"); ok && rt.Toolchain != nil {
			return c
		}
	}
	t.Fatal("the toolchain was not found")
	return nil
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Invoker stands in for the one that runs functions: it makes the checks of a call and answers with Answer.
type Invoker struct {
	Store  *store.Store
	Answer func(*invoke.Call) (*invoke.Result, error)

	mu      sync.Mutex
	Calls   []*invoke.Call
	Deleted []flint.FunctionID
}

func (i *Invoker) admit(ctx context.Context, c *invoke.Call) (*flint.Execution, error) {
	i.mu.Lock()
	i.Calls = append(i.Calls, c)
	i.mu.Unlock()
	f, err := i.Store.Function(ctx, c.Project, c.Function)
	switch {
	case err != nil:
		return nil, err
	case !f.Enabled && !c.Caller.Privileged:
		return nil, flint.ErrFunctionNotFound
	case f.DeploymentID == "":
		return nil, flint.ErrDeploymentToExecute
	}
	if !c.Caller.Privileged {
		if err := f.MayExecute(c.Caller.Roles); err != nil {
			return nil, err
		}
	}
	return &flint.Execution{
		Project: c.Project, ID: flint.ExecutionID(flint.NewID()), Function: c.Function, Deployment: f.DeploymentID,
		CreatedAt: time.Now(), UpdatedAt: time.Now(), Trigger: c.Trigger, RequestMethod: c.Method, RequestPath: c.Path,
	}, nil
}

// Run answers a call.
func (i *Invoker) Run(ctx context.Context, c *invoke.Call) (*invoke.Result, error) {
	e, err := i.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	e.Status, e.StatusCode, e.Logs, e.Duration = flint.ExecutionCompleted, http.StatusOK, "logged", 0.25
	r := &invoke.Result{Execution: e, Body: c.Body, Headers: []flint.Header{{Name: "content-type", Value: "text/plain"}}}
	if i.Answer != nil {
		if r, err = i.Answer(c); err != nil {
			return nil, err
		}
		r.Execution = e
	}
	r.Headers = append(r.Headers, flint.Header{Name: "x-appwrite-execution-id", Value: string(e.ID)})
	return r, i.Store.AppendExecution(ctx, e)
}

// Enqueue accepts a call that nobody runs.
func (i *Invoker) Enqueue(ctx context.Context, c *invoke.Call) (*flint.Execution, error) {
	e, err := i.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	e.Status = flint.ExecutionWaiting
	if !c.At.IsZero() {
		e.Status, e.ScheduledAt = flint.ExecutionScheduled, c.At
	}
	return e, i.Store.EnqueueExecution(ctx, e, &store.QueuedCall{Method: c.Method, Path: c.Path, Body: c.Body})
}

// Delete notes what it was told.
func (i *Invoker) Delete(_ flint.ProjectID, f flint.FunctionID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.Deleted = append(i.Deleted, f)
}

// MaxSource is the largest archive that a Builder takes.
const MaxSource = 100_000

// Builder stands in for the one that builds deployments: it keeps bytes and makes rows.
type Builder struct {
	Store *store.Store
	Blobs blob.Store
	Limit int64 // bytes of an archive

	mu        sync.Mutex
	Received  []build.Source
	Collected []string
	Forgotten []flint.FunctionID
}

// Receive keeps an archive.
func (b *Builder) Receive(ctx context.Context, r io.Reader) (build.Source, error) {
	digest, n, err := b.Blobs.Put(ctx, io.LimitReader(r, b.Limit+1))
	if err != nil {
		return build.Source{}, err
	}
	if n > b.Limit {
		return build.Source{}, flint.ErrDeploymentSize
	}
	s := build.Source{Digest: digest, Size: n}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Received = append(b.Received, s)
	return s, nil
}

// Submit makes the row.
func (b *Builder) Submit(ctx context.Context, d *flint.Deployment) error {
	return b.Store.CreateDeployment(ctx, d)
}

// Duplicate makes the row.
func (b *Builder) Duplicate(ctx context.Context, d *flint.Deployment, of flint.DeploymentID) error {
	return b.Store.DuplicateDeployment(ctx, d, of)
}

// Cancel ends a build.
func (b *Builder) Cancel(ctx context.Context, project flint.ProjectID, function flint.FunctionID, id flint.DeploymentID) (*flint.Deployment, error) {
	return b.Store.CancelBuild(ctx, project, function, id, "Build has been canceled.\n")
}

// Collect notes what it was told.
func (b *Builder) Collect(_ context.Context, digests ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Collected = append(b.Collected, digests...)
	return nil
}

// Forget notes what it was told.
func (b *Builder) Forget(_ flint.ProjectID, f flint.FunctionID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Forgotten = append(b.Forgotten, f)
	return nil
}
