package runtimes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"flint/runtimes"
)

// host is a machine with programs that answer to probes.
type host struct {
	config runtimes.Config
	bin    string
}

func newHost(t *testing.T) host {
	t.Helper()
	dir := t.TempDir()
	h := host{bin: filepath.Join(dir, "bin")}
	h.config = runtimes.Config{Path: h.bin, Toolchains: filepath.Join(dir, "toolchains"), Memory: filepath.Join(dir, "probes.json"), Allow: []string{"node-20.0", "node-22"}}
	if err := os.Mkdir(h.bin, 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

// install puts a node there, changed some minutes ago.
func (h host) install(t *testing.T, script string, ago time.Duration) {
	t.Helper()
	file := filepath.Join(h.bin, "node")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-ago)
	if err := os.Chtimes(file, then, then); err != nil {
		t.Fatal(err)
	}
}

// start returns a catalog as a node has it, with its Run if run is true.
func (h host) start(t *testing.T, run bool) *runtimes.Catalog {
	t.Helper()
	k, err := runtimes.Recall(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if run {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := k.Run(ctx); err != nil {
				t.Errorf("Run() = %v", err)
			}
		})
		t.Cleanup(func() { cancel(); wg.Wait() })
	}
	return k
}

// learn starts a node that asks, until a program answers with a version: one that was just written may still be open for
// writing in a child that another test has forked.
func (h host) learn(t *testing.T, id, version string) {
	t.Helper()
	var rt *runtimes.Runtime
	for range 100 {
		var err error
		if rt, _, err = h.start(t, true).Lookup(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if rt.Toolchain != nil && rt.Toolchain.Version == version {
			return
		}
	}
	t.Fatalf("Lookup(%s) = %v, want version %s", id, rt.Toolchain, version)
}

// known returns the version that a node knows without asking: "" if it would have to ask.
func (h host) known(t *testing.T, id string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rt, _, err := h.start(t, false).Lookup(ctx, id)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err != nil {
		return ""
	}
	return rt.Toolchain.Version
}

func TestAStartRemembersToolchains(t *testing.T) {
	h := newHost(t)
	h.install(t, "echo 22.9.0", time.Hour)
	if got := h.known(t, "node-22"); got != "" {
		t.Errorf("the first start knows version %q without asking", got)
	}
	h.learn(t, "node-22", "22.9.0")
	if got := h.known(t, "node-22"); got != "22.9.0" {
		t.Errorf("the second start knows version %q, want 22.9.0", got)
	}
}

func TestAStartSeesWhatChanged(t *testing.T) {
	file := func(h host) string { return filepath.Join(h.bin, "node") }
	for name, change := range map[string]func(*testing.T, host) error{
		"time":    func(_ *testing.T, h host) error { return os.Chtimes(file(h), time.Unix(1, 0), time.Unix(1, 0)) },
		"removed": func(_ *testing.T, h host) error { return os.Remove(file(h)) },
		"damaged": func(_ *testing.T, h host) error { return os.WriteFile(h.config.Memory, []byte("{"), 0o600) },
		"size":    func(t *testing.T, h host) error { h.install(t, "echo 22.10.0", time.Hour); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.install(t, "echo 22.9.0", time.Hour)
			h.learn(t, "node-22", "22.9.0")
			if err := change(t, h); err != nil {
				t.Fatal(err)
			}
			if got := h.known(t, "node-22"); got != "" {
				t.Errorf("version %q is known without asking", got)
			}
		})
	}
	t.Run("upgrade", func(t *testing.T) {
		h := newHost(t)
		h.install(t, "echo 20.1.0", 2*time.Hour)
		h.learn(t, "node-20.0", "20.1.0")
		h.install(t, "echo 22.9.0", time.Hour)
		h.learn(t, "node-22", "22.9.0")
		if got := h.known(t, "node-20.0"); got != "" {
			t.Errorf("version %q is still known", got)
		}
	})
}

// What a program needs may be installed without the program being touched: that it failed once is no answer for ever.
func TestAMissingRuntimeIsLookedForAgain(t *testing.T) {
	h := newHost(t)
	ready := filepath.Join(h.bin, "module")
	h.install(t, fmt.Sprintf("[ -e '%s' ] && echo 22.9.0", ready), time.Hour)
	offered, err := h.start(t, true).Offered(t.Context())
	if err != nil || len(offered) != 0 {
		t.Fatalf("Offered() = %v, %v, want none", offered, err)
	}
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.learn(t, "node-22", "22.9.0")
}

func TestAProgramThatWasJustWrittenIsAskedAgain(t *testing.T) {
	h := newHost(t)
	h.install(t, "echo 22.9.0", -time.Hour) // however long this test takes
	h.learn(t, "node-22", "22.9.0")
	if got := h.known(t, "node-22"); got != "" {
		t.Errorf("version %q of a program that may still be written to is remembered", got)
	}
}
