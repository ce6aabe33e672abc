package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"flint"
	"flint/internal/archive"
	"flint/runtimes"
	"flint/sandbox"
)

// minBuildMemory is what a build has at least, in MB, as in the reference.
const minBuildMemory = 1024

// environment is what the user's commands see: their own variables, the platform's, and where things are.
func (j *job) environment(variables []*flint.Variable) map[string]string {
	c := j.builder.config
	size := j.size()
	env := flint.Environment(flint.EnvironmentConfig{
		Function: j.function, Deployment: j.deployment, RuntimeName: j.runtime.Name, RuntimeVersion: j.runtime.Version,
		Variables: variables, Size: size, Endpoint: c.Endpoint, Region: c.Region,
	})
	env["APPWRITE_FUNCTION_API_KEY"] = c.Signer.EphemeralKey(j.function.Project, j.function.Scopes, c.Timeout)
	return env
}

func (j *job) size() flint.Specification {
	size := flint.SpecificationBySlug(j.function.BuildSpec)
	size.Memory = max(size.Memory, minBuildMemory)
	return size
}

// execute runs the build script in a sandbox.
func (j *job) execute(ctx context.Context, work string, env map[string]string) error {
	b := j.builder
	cache, release, err := b.useCache(j)
	if err != nil {
		return err
	}
	defer release()
	seed, err := b.seed(ctx, j)
	if err != nil {
		return err
	}
	spec := j.spec("build-"+strings.ToLower(string(j.deployment.ID)), j.size())
	spec.Args = []string{"/bin/bash", runtimes.ServerDir + "/build.sh"}
	spec.Dir = runtimes.BuildDir
	spec.Mounts = append(spec.Mounts,
		sandbox.Mount{Source: b.config.Files.BuildScript(), Target: runtimes.ServerDir + "/build.sh"},
		sandbox.Mount{Source: work, Target: runtimes.BuildDir, Writable: true},
		sandbox.Mount{Source: cache, Target: runtimes.CacheDir, Writable: true},
	)
	if seed != "" {
		spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: seed, Target: runtimes.SeedDir})
		spec.Env = append(spec.Env, "FLINT_SEED="+runtimes.SeedDir)
	}
	for name, value := range env {
		spec.Env = setVariable(spec.Env, name, value)
	}
	spec.Env = setVariable(spec.Env, "FLINT_COMMANDS", j.deployment.Commands)
	spec.Env = setVariable(spec.Env, "FLINT_CACHE", runtimes.CacheDir)
	exit, err := b.runSandbox(ctx, spec)
	if err != nil {
		return err
	}
	switch {
	case exit.OutOfMemory:
		return &failure{fmt.Sprintf("Build failed: it needed more than the %d MB of memory that its specification allows.", j.size().Memory)}
	case exit.Signal != 0:
		return &failure{fmt.Sprintf("Build failed: it was ended by %s.", exit)}
	case exit.Code != 0:
		return &failure{fmt.Sprintf("Build failed with exit code %d.", exit.Code)}
	}
	return nil
}

// spec is what every sandbox of a build has in common.
func (j *job) spec(id string, size flint.Specification) sandbox.Spec {
	c := j.builder.config
	t := j.runtime.Toolchain
	spec := sandbox.Spec{
		ID:  id,
		Env: slices.Clone(c.Environ),
		Mounts: []sandbox.Mount{
			{Source: c.Files.Hooks(j.runtime.Language), Target: runtimes.HooksDir},
			{Source: c.Files.Adapter(j.runtime.Language), Target: runtimes.AdapterDir},
		},
		Stdout: j.log, Stderr: j.log,
		Limits:  sandbox.Limits{CPUs: size.CPUs, Memory: int64(size.Memory) << 20, Processes: 2048, Files: 16384, Tmp: 4 << 30},
		Network: c.Network,
	}
	for _, tree := range t.Trees {
		spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: tree.Source, Target: tree.Target})
	}
	for _, v := range [][2]string{
		{"PATH", strings.Join(append(slices.Clone(t.Path), "/usr/local/bin", "/usr/bin", "/bin"), ":")},
		{"HOME", "/tmp"},
		{"LANG", "C.UTF-8"},
		{"FLINT_HOOKS", runtimes.HooksDir},
		{"FLINT_ADAPTER", runtimes.AdapterDir},
		{"FLINT_EXECUTABLE", t.Executable},
	} {
		spec.Env = setVariable(spec.Env, v[0], v[1])
	}
	return spec
}

// runSandbox runs a sandbox to its end, or to the end of ctx.
func (b *Builder) runSandbox(ctx context.Context, spec sandbox.Spec) (sandbox.Exit, error) {
	box, err := b.config.Driver.Start(ctx, spec)
	if err != nil {
		return sandbox.Exit{}, err
	}
	select {
	case <-box.Done():
	case <-ctx.Done():
		box.Kill()
		<-box.Done()
	}
	exit := box.Exit()
	if err := box.Close(); err != nil {
		b.config.Logger.ErrorContext(ctx, "sandbox left something behind", errAttr(err))
	}
	if ctx.Err() != nil {
		return exit, context.Cause(ctx)
	}
	return exit, nil
}

func setVariable(env []string, name, value string) []string {
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	return append(env, name+"="+value)
}

// seed returns the directory of what Flint has built ahead for a runtime, and makes it for the first build that wants
// it. Languages without seed.sh have none.
func (b *Builder) seed(ctx context.Context, j *job) (string, error) {
	hooks := b.config.Files.Hooks(j.runtime.Language)
	if _, err := os.Stat(filepath.Join(hooks, "seed.sh")); err != nil {
		return "", nil // most have none
	}
	b.seeds.Lock()
	defer b.seeds.Unlock()
	// The folder of the hooks is named by their content: new ones make a new seed.
	name := j.runtime.ID + "-" + j.runtime.Toolchain.Version + "-" + path.Base(filepath.Dir(filepath.Dir(hooks)))
	dir := filepath.Join(b.config.SeedDir, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(j.log, "Preparing %s for builds on this node. This happens once.\n", j.runtime.ID)
	scratch, err := os.MkdirTemp(b.config.SeedDir, ".seed-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	size := j.size()
	size.CPUs = 0 // the node's own work
	spec := j.spec("seed-"+flint.NewID(), size)
	spec.Args = []string{"/bin/bash", runtimes.HooksDir + "/seed.sh", runtimes.SeedDir}
	spec.Dir = "/tmp"
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: scratch, Target: runtimes.SeedDir, Writable: true})
	exit, err := b.runSandbox(ctx, spec)
	if err != nil {
		return "", err
	}
	if exit != (sandbox.Exit{}) {
		return "", fmt.Errorf("preparing %s ended with %s", j.runtime.ID, exit)
	}
	if err := os.Chmod(scratch, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(scratch, dir)
}

// useCache returns the directory with the dependency caches of a function in a runtime. No other function has it: what
// one build leaves there only the same function's builds see.
func (b *Builder) useCache(j *job) (dir string, release func(), err error) {
	name := cacheOwner(j.deployment.Project, j.deployment.Function) + j.deployment.Runtime
	dir = filepath.Join(b.config.CacheDir, name)
	b.mu.Lock()
	b.caches[name]++
	b.mu.Unlock()
	release = func() {
		b.mu.Lock()
		if b.caches[name]--; b.caches[name] == 0 {
			delete(b.caches, name)
		}
		b.mu.Unlock()
		if err := b.pruneCaches(); err != nil {
			b.config.Logger.Warn("dependency caches not pruned", errAttr(err))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		release()
		return "", nil, err
	}
	now := time.Now()
	return dir, release, os.Chtimes(dir, now, now)
}

// pruneCaches removes the caches that were used least recently, until the rest fits.
func (b *Builder) pruneCaches() error {
	entries, err := os.ReadDir(b.config.CacheDir)
	if err != nil {
		return err
	}
	type cache struct {
		name string
		used time.Time
		size int64
	}
	var all []cache
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		size, err := archive.Size(filepath.Join(b.config.CacheDir, e.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		total += size
		all = append(all, cache{e.Name(), info.ModTime(), size})
	}
	slices.SortFunc(all, func(x, y cache) int { return x.used.Compare(y.used) })
	for _, c := range all {
		if total <= b.config.CacheBytes {
			return nil
		}
		b.mu.Lock()
		used := b.caches[c.name] > 0
		b.mu.Unlock()
		if used {
			continue
		}
		if err := os.RemoveAll(filepath.Join(b.config.CacheDir, c.name)); err != nil {
			return err
		}
		total -= c.size
	}
	return nil
}
