package runtimes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Runtime is one language in one version, named by its key, such as node-22.
type Runtime struct {
	ID       string
	Name     string // of the language
	Version  string
	Base     string
	Supports []string
	Language *Language
	// Toolchain is nil when this host has none for it; Hint then says how to get one.
	Toolchain *Toolchain
	Hint      string
}

// Image is the name of the reference's image; the API shows it.
func (r *Runtime) Image() string { return "openruntimes/" + r.Language.Key + ":v5-" + r.Version }

// Logo is the file name of the language's logo; the API shows it.
func (r *Runtime) Logo() string { return r.Language.Key + ".png" }

// Toolchain is where a language's programs are.
type Toolchain struct {
	Version    string
	Executable string // as a sandbox sees it
	Host       string // the same on the host
	Trees      []Tree // to be mounted read-only beside the host's /usr
	Path       []string
	Installed  bool // by Install, not found on the host
}

// Tree is a directory or file of the host and where a sandbox sees it.
type Tree struct{ Source, Target string }

// Config is what a Catalog needs.
type Config struct {
	Toolchains string   // directory of installed toolchains
	Path       string   // where toolchains are looked for; the value of PATH
	Environ    []string // environment of probes and of npm
	Allow      []string // runtime keys on offer; empty: all
	Memory     string   // file that keeps what toolchains said of themselves; empty: they are always asked
}

// surveyTimeout bounds how long all toolchains together are asked. Those that did not answer by then are none.
const surveyTimeout = 30 * time.Second

// Catalog is the table of runtimes with what this host has of each. It is safe for concurrent use.
//
// A catalog from Open has asked every toolchain. One from Recall knows what the last one learned; its Run asks all of them
// when there are some that it does not know, or when somebody wants a runtime whose toolchain it does not have: that one
// is missing is never said from memory, because what a program needs beside itself may have been installed since.
type Catalog struct {
	config    Config
	languages []*Language
	memory    *memory
	wanted    chan struct{} // holds one: somebody waits for asked
	asked     chan struct{} // closed when every toolchain was asked

	mu       sync.RWMutex
	runtimes []*Runtime
}

// Open reads the table and asks all toolchains.
func Open(ctx context.Context, c Config) (*Catalog, error) {
	k, err := read(c)
	if err != nil {
		return nil, err
	}
	close(k.asked)
	return k, k.Refresh(ctx)
}

// Recall reads the table and what is remembered of the toolchains, and asks none. Run must run beside its use.
func Recall(c Config) (*Catalog, error) {
	k, err := read(c)
	if err != nil {
		return nil, err
	}
	ctx := context.Background() //nolint:forbidigo // nothing here waits
	for _, l := range k.languages {
		k.runtimes = append(k.runtimes, k.survey(ctx, l, func(_ context.Context, l *Language, file string) *Toolchain {
			t, known := k.memory.recall(file, l.Toolchain.Probe)
			if !known {
				k.want()
			}
			return t
		})...)
	}
	return k, nil
}

func read(c Config) (*Catalog, error) {
	languages, err := Languages()
	return &Catalog{config: c, languages: languages, memory: loadMemory(c.Memory), wanted: make(chan struct{}, 1), asked: make(chan struct{})}, err
}

// Run asks the toolchains of a catalog from Recall once that is necessary, and returns when ctx ends.
func (k *Catalog) Run(ctx context.Context) error {
	select {
	case <-k.wanted:
	case <-ctx.Done():
		return nil
	}
	err := k.Refresh(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to end
	}
	if err == nil {
		close(k.asked)
		<-ctx.Done()
	}
	return err
}

func (k *Catalog) want() {
	select {
	case k.wanted <- struct{}{}:
	default: // Run was told already
	}
}

// await waits until every toolchain was asked.
func (k *Catalog) await(ctx context.Context) error {
	k.want()
	select {
	case <-k.asked:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the toolchains of this host: %w", context.Cause(ctx))
	}
}

// Refresh asks all toolchains again.
func (k *Catalog) Refresh(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	found := make([][]*Runtime, len(k.languages))
	var g errgroup.Group
	for i, l := range k.languages {
		g.Go(func() error {
			found[i] = k.survey(limited, l, k.probe)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	k.memory.save()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runtimes = slices.Concat(found...)
	return nil
}

// All returns every runtime of the table that may be offered, with or without a toolchain.
func (k *Catalog) All() []*Runtime {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.runtimes)
}

// Offered returns the runtimes that functions can use here. It may wait until all toolchains were asked; the error is that
// ctx ended before.
func (k *Catalog) Offered(ctx context.Context) ([]*Runtime, error) {
	if err := k.await(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(k.All(), func(r *Runtime) bool { return r.Toolchain == nil }), nil
}

// Lookup returns the runtime called id. Its Toolchain is nil when it cannot be used here; before it says so it may wait
// until all toolchains were asked. The error is that ctx ended before.
func (k *Catalog) Lookup(ctx context.Context, id string) (rt *Runtime, ok bool, err error) {
	rt, ok = k.find(id)
	if !ok || rt.Toolchain != nil {
		return rt, ok, nil
	}
	if err := k.await(ctx); err != nil {
		return nil, false, err
	}
	rt, ok = k.find(id)
	return rt, ok, nil
}

func (k *Catalog) find(id string) (*Runtime, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, r := range k.runtimes {
		if r.ID == id {
			return r, true
		}
	}
	return nil, false
}

// survey finds the toolchains of one language, by what ask knows of a program. Installed ones win over those on the path.
func (k *Catalog) survey(ctx context.Context, l *Language, ask asker) []*Runtime {
	arch := map[string]string{"amd64": "x86", "arm64": "arm64", "arm": "armv7"}[runtime.GOARCH]
	var all []*Runtime
	probed := map[string]*Toolchain{}
	for _, v := range l.Versions {
		r := &Runtime{ID: l.Key + "-" + v.Version, Name: l.Name, Version: v.Version, Base: v.Base, Supports: v.Supports, Language: l}
		if !slices.Contains(v.Supports, arch) || len(k.config.Allow) > 0 && !slices.Contains(k.config.Allow, r.ID) {
			continue
		}
		expand := strings.NewReplacer("{version}", v.Version, "{match}", v.Match, "{id}", r.ID)
		r.Hint = expand.Replace(l.Toolchain.Hint)
		if t := k.installed(ctx, l, r.ID, ask); t != nil && strings.HasPrefix(t.Version, v.Match) {
			r.Toolchain = t
		}
		for _, name := range l.Toolchain.Executables {
			if r.Toolchain != nil {
				break
			}
			for _, file := range k.lookPath(expand.Replace(name)) {
				t, done := probed[file]
				if !done {
					t = ask(ctx, l, file)
					probed[file] = t
				}
				if t != nil && strings.HasPrefix(t.Version+".", v.Match) {
					r.Toolchain = t
					break
				}
			}
		}
		all = append(all, r)
	}
	return all
}

func (k *Catalog) lookPath(name string) []string {
	var found []string
	for _, dir := range filepath.SplitList(k.config.Path) {
		file := filepath.Join(dir, name)
		if s, err := os.Stat(file); err == nil && s.Mode().IsRegular() && s.Mode()&0o111 != 0 {
			found = append(found, file)
		}
	}
	return found
}

// asker returns what a program on the host is as a toolchain of a language, nil if it is none.
type asker func(ctx context.Context, l *Language, file string) *Toolchain

// probe asks a program, and remembers what it said.
func (k *Catalog) probe(ctx context.Context, l *Language, file string) *Toolchain {
	a, ok := marked(file, l.Toolchain.Probe)
	if !ok {
		return nil
	}
	t := k.run(ctx, l, file)
	if t != nil || ctx.Err() == nil {
		k.memory.keep(file, a, t)
	}
	return t
}

// run asks a program for its version and for the paths it needs. A program that does not answer is none.
func (k *Catalog) run(ctx context.Context, l *Language, file string) *Toolchain {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, l.Toolchain.Probe...)
	cmd.Env = k.config.Environ
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t := &Toolchain{Version: strings.TrimPrefix(lines[0], l.Key), Executable: file}
	for _, needed := range lines[1:] {
		if s, err := os.Stat(needed); err == nil && s.Mode().IsRegular() {
			t.Executable = needed
		} else if err == nil && !inBase(needed) {
			t.Trees = append(t.Trees, Tree{needed, needed})
		}
	}
	t.Host = t.Executable
	t.Path = []string{filepath.Dir(t.Executable)}
	if !inBase(t.Executable) {
		t.Trees = append(t.Trees, Tree{t.Executable, t.Executable})
	}
	t.Trees = withoutNested(t.Trees)
	return t
}

// installed looks for what Install made.
func (k *Catalog) installed(ctx context.Context, l *Language, id string, ask asker) *Toolchain {
	dir := filepath.Join(k.config.Toolchains, id)
	bin := filepath.Join("node_modules", ".bin")
	for _, name := range l.Toolchain.Executables {
		file := filepath.Join(dir, bin, name)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		t := ask(ctx, l, file)
		if t == nil {
			continue
		}
		return &Toolchain{
			Version:    t.Version,
			Executable: filepath.Join(ToolchainDir, bin, name),
			Host:       file,
			Trees:      []Tree{{dir, ToolchainDir}},
			Path:       []string{filepath.Join(ToolchainDir, bin)},
			Installed:  true,
		}
	}
	return nil
}

// inBase reports whether a sandbox sees the host's path anyway.
func inBase(file string) bool {
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/include"} {
		if file == dir || strings.HasPrefix(file, dir+"/") {
			return true
		}
	}
	return file == "/usr" || file == "/"
}

func withoutNested(trees []Tree) []Tree {
	return slices.DeleteFunc(slices.Clone(trees), func(t Tree) bool {
		return slices.ContainsFunc(trees, func(o Tree) bool {
			return t != o && strings.HasPrefix(t.Source+"/", o.Source+"/")
		})
	})
}

// String describes where the toolchain is, for people.
func (t *Toolchain) String() string {
	if t.Installed {
		return fmt.Sprintf("%s, installed: %s", t.Version, t.Host)
	}
	return fmt.Sprintf("%s, on the path: %s", t.Version, t.Host)
}
