package build_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/build"
	"flint/runtimes"
	"flint/sandbox"
)

// TestCachesGoWithTheirFunction has one function inherit nothing of another one's caches: neither of one that had its name
// before, nor of one whose name together with its project's reads the same.
func TestCachesGoWithTheirFunction(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	found := make(chan bool, 1)
	b.script = func(_ context.Context, _ string, spec sandbox.Spec) sandbox.Exit {
		mark := filepath.Join(mount(spec, runtimes.CacheDir), "mark")
		_, err := os.Stat(mark)
		found <- err == nil
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			t.Error(err)
		}
		return sandbox.Exit{}
	}
	now := time.Now()
	function := func(project flint.ProjectID, id flint.FunctionID) {
		f := &flint.Function{Project: project, ID: id, Name: "f", Runtime: b.runtime, Timeout: time.Second, Enabled: true, CreatedAt: now, UpdatedAt: now}
		if err := b.store.CreateFunction(t.Context(), f, nil); err != nil {
			t.Fatal(err)
		}
	}
	raw := source(t, "index.js")
	builds := func(project flint.ProjectID, id flint.FunctionID) (warm bool) {
		t.Helper()
		s, err := b.builder.Receive(t.Context(), bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		d := &flint.Deployment{
			Project: project, ID: flint.DeploymentID(flint.NewID()), Function: id, Type: "manual", Runtime: b.runtime, Entrypoint: "index.js",
			Status: flint.DeploymentWaiting, SourceDigest: s.Digest, SourceSize: s.Size, CreatedAt: now, UpdatedAt: now,
		}
		if err := b.builder.Submit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		warm = <-found
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ; d.Status != flint.DeploymentReady; <-tick.C {
			if d, err = b.store.Deployment(t.Context(), project, id, d.ID); err != nil || d.Status == flint.DeploymentFailed {
				t.Fatal(d, err)
			}
		}
		return warm
	}
	if err := b.store.CreateProject(t.Context(), &flint.Project{ID: "p_f", Name: "p_f", CreatedAt: now, UpdatedAt: now}); err != nil {
		t.Fatal(err)
	}
	function("p", "f_g")
	function("p_f", "g")
	stop := b.work(t)
	for i, x := range []struct {
		project flint.ProjectID
		id      flint.FunctionID
		warm    bool
	}{{"p", "f", false}, {"p", "f", true}, {"p", "f_g", false}, {"p_f", "g", false}, {"p_f", "g", true}} {
		if warm := builds(x.project, x.id); warm != x.warm {
			t.Errorf("build %d, of %s in %s: finds a cache: %t", i, x.id, x.project, warm)
		}
	}
	remove := func(id flint.FunctionID) {
		if err := b.store.DeleteFunction(t.Context(), "p", id); err != nil {
			t.Fatal(err)
		}
	}
	remove("f")
	if err := b.builder.Forget("p", "f"); err != nil {
		t.Fatal(err)
	}
	function("p", "f")
	if builds("p", "f") {
		t.Error("a new function has the caches of one that is gone")
	}
	stop()
	remove("f_g") // while no node runs
	b.restart(t)
	if err := b.builder.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.work(t)
	function("p", "f_g")
	if builds("p", "f_g") {
		t.Error("a new function has the caches of one that went while no node ran")
	}
}

// restart has another life of the node build.
func (b *bundle) restart(t *testing.T) {
	t.Helper()
	var err error
	b.config.Registry = prometheus.NewRegistry()
	if b.builder, err = build.New(b.config); err != nil {
		t.Fatal(err)
	}
}
