package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"flint"
	"flint/auth"
	"flint/blob"
	blobfs "flint/blob/fs"
	"flint/build"
	"flint/internal/archive"
	"flint/runtimes"
	"flint/sandbox"
	"flint/sandbox/sandboxtest"
	"flint/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bundle struct {
	builder *build.Builder
	store   *store.Store
	blobs   blob.Store
	driver  *sandboxtest.Fake
	script  func(ctx context.Context, work string, spec sandbox.Spec) sandbox.Exit
	config  build.Config
	runtime string
}

// setup makes a builder whose sandboxes run b.script, with one function.
func setup(t *testing.T, change func(*build.Config)) *bundle {
	t.Helper()
	dir := t.TempDir()
	b := &bundle{}
	var err error
	if b.store, err = store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "db"), Secret: bytes.Repeat([]byte("s"), 32)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	if b.blobs, err = blobfs.Open(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	files, err := runtimes.Unpack(filepath.Join(dir, "rt"))
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := runtimes.Open(t.Context(), runtimes.Config{Toolchains: dir, Path: fakeNode(t)})
	if err != nil {
		t.Fatal(err)
	}
	b.driver = &sandboxtest.Fake{Run: func(ctx context.Context, spec sandbox.Spec, _ io.Reader) sandbox.Exit {
		return b.script(ctx, mount(spec, runtimes.BuildDir), spec)
	}}
	offered, err := catalog.Offered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.runtime = offered[0].ID
	b.config = build.Config{
		Store: b.store, Blobs: b.blobs, Driver: b.driver, Files: files, Runtimes: catalog, Signer: auth.NewSigner(bytes.Repeat([]byte("s"), 32)),
		Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Node: "node-a",
		WorkDir: filepath.Join(dir, "work"), CacheDir: filepath.Join(dir, "cache"), SeedDir: filepath.Join(dir, "seed"),
	}
	if change != nil {
		change(&b.config)
	}
	if b.builder, err = build.New(b.config); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := b.store.CreateProject(t.Context(), &flint.Project{ID: "p", Name: "p", CreatedAt: now, UpdatedAt: now}); err != nil {
		t.Fatal(err)
	}
	f := &flint.Function{Project: "p", ID: "f", Name: "f", Runtime: b.runtime, Timeout: time.Second, Enabled: true, CreatedAt: now, UpdatedAt: now}
	if err := b.store.CreateFunction(t.Context(), f, &flint.Rule{ID: "r", Project: "p", Function: "f", Domain: "f.localhost", CreatedAt: now, UpdatedAt: now}); err != nil {
		t.Fatal(err)
	}
	return b
}

// fakeNode is a directory with a node that answers the catalog's probe.
func fakeNode(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho 22.1.0\necho " + dir + "/node\n"
	if err := os.WriteFile(filepath.Join(dir, "node"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mount(spec sandbox.Spec, target string) string {
	for _, m := range spec.Mounts {
		if m.Target == target {
			return m.Source
		}
	}
	return ""
}

func source(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, name := range names {
		if err := tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 1, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// submit uploads a source and queues its build.
func (b *bundle) submit(t *testing.T, raw []byte) *flint.Deployment {
	t.Helper()
	s, err := b.builder.Receive(t.Context(), bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	d := &flint.Deployment{
		Project: "p", ID: flint.DeploymentID(flint.NewID()), Function: "f", Type: "manual", Runtime: b.runtime, Entrypoint: "index.js", Commands: "make it",
		Activate: true, Status: flint.DeploymentWaiting, SourceDigest: s.Digest, SourceSize: s.Size, CreatedAt: now, UpdatedAt: now,
	}
	if err := b.builder.Submit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return d
}

// work runs the builder until the test ends.
func (b *bundle) work(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.builder.Work(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// await waits until the deployment is in one of the states.
func (b *bundle) await(t *testing.T, id flint.DeploymentID, ok func(*flint.Deployment) bool) *flint.Deployment {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		d, err := b.store.Deployment(t.Context(), "p", "f", id)
		if err != nil {
			t.Fatal(err)
		}
		if ok(d) {
			return d
		}
		if time.Now().After(deadline) {
			t.Fatalf("deployment stays %s: %s", d.Status, d.BuildLogs)
		}
	}
}

func final(d *flint.Deployment) bool { return d.Status.Final() }

func TestABuildBecomesThePackage(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.script = func(_ context.Context, work string, spec sandbox.Spec) sandbox.Exit {
		if !strings.Contains(strings.Join(spec.Env, "\n"), "FLINT_COMMANDS=make it\n") {
			t.Errorf("environment %q", spec.Env)
		}
		fmt.Fprintln(spec.Stdout, "building")
		if err := os.WriteFile(filepath.Join(work, "made"), []byte("y"), 0o600); err != nil {
			t.Error(err)
		}
		return sandbox.Exit{}
	}
	b.work(t)
	d := b.await(t, b.submit(t, source(t, "index.js")).ID, final)
	if d.Status != flint.DeploymentReady || d.BuildDuration < 1 || !strings.Contains(d.BuildLogs, "building\n") || !strings.Contains(d.BuildLogs, "Deployment finished.") {
		t.Fatalf("%+v", d)
	}
	r, _, err := b.blobs.Get(t.Context(), d.BuildDigest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := t.TempDir()
	if _, err := archive.Unpack(t.Context(), r, out, archive.Limits{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"index.js", "made"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	f, err := b.store.Function(t.Context(), "p", "f")
	if err != nil || f.DeploymentID != d.ID || f.LatestDeploymentStatus != flint.DeploymentReady {
		t.Errorf("function %+v, %v", f, err)
	}
	if left, _ := os.ReadDir(b.config.WorkDir); len(left) != 0 {
		t.Errorf("scratch left: %v", left)
	}
}

func TestFailuresSayWhy(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *build.Config) { c.Timeout = 500 * time.Millisecond })
	b.work(t)
	for name, c := range map[string]struct {
		source []byte
		script func(context.Context, string, sandbox.Spec) sandbox.Exit
		want   string
	}{
		"exit code": {source(t, "a"), func(context.Context, string, sandbox.Spec) sandbox.Exit { return sandbox.Exit{Code: 3} }, "Build failed with exit code 3."},
		"memory":    {source(t, "a"), func(context.Context, string, sandbox.Spec) sandbox.Exit { return sandbox.Exit{OutOfMemory: true} }, "memory"},
		"timeout": {source(t, "a"), func(ctx context.Context, _ string, _ sandbox.Spec) sandbox.Exit {
			<-ctx.Done()
			return sandbox.Exit{}
		}, "it took longer than 500ms"},
		"no archive": {[]byte("hello"), nil, "not a gzip-compressed tar archive"},
	} {
		b.script = c.script
		d := b.await(t, b.submit(t, c.source).ID, final)
		if d.Status != flint.DeploymentFailed || !strings.Contains(d.BuildLogs, c.want) {
			t.Errorf("%s: %s with log %q, want %q", name, d.Status, d.BuildLogs, c.want)
		}
	}
}

func TestACancelledBuildIsStopped(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	stopped := make(chan struct{})
	b.script = func(ctx context.Context, _ string, spec sandbox.Spec) sandbox.Exit {
		fmt.Fprintln(spec.Stdout, "long work")
		<-ctx.Done()
		close(stopped)
		return sandbox.Exit{}
	}
	b.work(t)
	d := b.submit(t, source(t, "a"))
	b.await(t, d.ID, func(d *flint.Deployment) bool { return strings.Contains(d.BuildLogs, "long work") })
	got, err := b.builder.Cancel(t.Context(), "p", "f", d.ID)
	if err != nil || got.Status != flint.DeploymentCanceled {
		t.Fatalf("Cancel() = %+v, %v", got, err)
	}
	<-stopped
	if d := b.await(t, d.ID, final); d.Status != flint.DeploymentCanceled || !strings.Contains(d.BuildLogs, "Build has been canceled.") {
		t.Errorf("%s: %s", d.Status, d.BuildLogs)
	}
}

func TestABuildThatLosesItsNodeIsTriedOnceMore(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	d := b.submit(t, source(t, "a"))
	for range 2 { // two nodes claim it and die
		if claimed, _, err := b.store.ClaimBuild(t.Context(), "node-a", time.Hour); err != nil || claimed == nil {
			t.Fatalf("claim: %v, %v", claimed, err)
		}
		if err := b.builder.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if d := b.await(t, d.ID, final); d.Status != flint.DeploymentFailed || d.BuildLogs == "" {
		t.Errorf("%s: %q", d.Status, d.BuildLogs)
	}
}

func TestStoppingHandsABuildBack(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	begun := make(chan struct{}, 2)
	b.script = func(ctx context.Context, _ string, _ sandbox.Spec) sandbox.Exit {
		begun <- struct{}{}
		<-ctx.Done()
		return sandbox.Exit{}
	}
	stop := b.work(t)
	d := b.submit(t, source(t, "a"))
	<-begun
	stop()
	if d := b.await(t, d.ID, func(d *flint.Deployment) bool { return d.Status == flint.DeploymentWaiting }); d.Status.Final() {
		t.Errorf("%s", d.Status)
	}
	b.script = func(context.Context, string, sandbox.Spec) sandbox.Exit { return sandbox.Exit{} }
	b.work(t)
	if d := b.await(t, d.ID, final); d.Status != flint.DeploymentReady {
		t.Errorf("%s: %s", d.Status, d.BuildLogs)
	}
}

func TestReceive(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *build.Config) { c.MaxSource = 2000 })
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"parent":  {source(t, "../x"), flint.ErrFileTypeUnsupported},
		"empty":   {nil, flint.ErrFileEmpty},
		"large":   {bytes.Repeat([]byte("x"), 2001), flint.ErrDeploymentSize},
		"garbage": {[]byte("hello"), nil},
		"good":    {source(t, "a"), nil},
	} {
		_, err := b.builder.Receive(t.Context(), bytes.NewReader(c.raw))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if name == "parent" && !strings.Contains(err.Error(), `"../x"`) {
			t.Errorf("%s: %v does not name the entry", name, err)
		}
	}
	kept := 0
	if err := b.blobs.List(t.Context(), func(string, int64) error { kept++; return nil }); err != nil || kept != 2 {
		t.Errorf("%d blobs kept, %v; want the two that were accepted", kept, err)
	}
}
