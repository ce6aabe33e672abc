package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"runtime"
)

// What scripts/setup --for bench installs below the directory of -tools.
const (
	peersDir  = "peers"
	setupHint = "scripts/setup --for bench installs it, -only leaves it out"
)

// installed returns the path of a file of a peer that setup has installed.
func (b *bed) installed(name ...string) (string, error) {
	file := filepath.Join(append([]string{b.tools, peersDir}, name...)...)
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("%s is missing: %s", file, setupHint)
	}
	return file, nil
}

// lay writes sources of a bare server into a directory of its own and returns that.
func (b *bed) lay(name string, files ...string) (string, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for _, file := range files {
		source, err := sources.ReadFile(path.Join("testdata", "bare", file))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, file), source, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // of an address that we made
	return port
}

func nodeHTTP(ctx context.Context, b *bed) (endpoint, error) {
	t, err := b.toolchain(ctx, "node")
	if err != nil {
		return endpoint{}, err
	}
	dir, err := b.lay("node-http", "server.cjs")
	if err != nil {
		return endpoint{}, err
	}
	return b.serve(ctx, "node-http", t.Path, func(addr string) []string {
		return []string{filepath.Join(dir, "server.cjs"), portOf(addr)}
	})
}

// framework is Google's Functions Framework on the node that Flint uses.
func framework(ctx context.Context, b *bed) (endpoint, error) {
	t, err := b.toolchain(ctx, "node")
	if err != nil {
		return endpoint{}, err
	}
	modules, err := b.installed("node_modules")
	if err != nil {
		return endpoint{}, err
	}
	dir, err := b.lay("framework", "framework.cjs")
	if err != nil {
		return endpoint{}, err
	}
	return b.serve(ctx, "framework", t.Path, func(addr string) []string {
		return []string{filepath.Join(dir, "framework.cjs"), portOf(addr), filepath.Dir(modules)}
	})
}

func workerd(ctx context.Context, b *bed) (endpoint, error) {
	arch := map[string]string{"amd64": "64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	program, err := b.installed("node_modules", "@cloudflare", "workerd-linux-"+arch, "bin", "workerd")
	if err != nil {
		return endpoint{}, err
	}
	dir, err := b.lay("workerd", "workerd.capnp", "worker.js")
	if err != nil {
		return endpoint{}, err
	}
	return b.serve(ctx, "workerd", program, func(addr string) []string {
		return []string{"serve", filepath.Join(dir, "workerd.capnp"), "--socket-addr", "http=" + addr}
	})
}

func uvicorn(ctx context.Context, b *bed) (endpoint, error) {
	python, err := b.installed("python", "bin", "python")
	if err != nil {
		return endpoint{}, err
	}
	dir, err := b.lay("uvicorn", "asgi.py")
	if err != nil {
		return endpoint{}, err
	}
	return b.serve(ctx, "uvicorn", python, func(addr string) []string {
		return []string{
			"-m", "uvicorn", "--app-dir", dir, "--host", "127.0.0.1", "--port", portOf(addr), "--loop", "uvloop", "--http", "httptools",
			"--no-access-log", "--log-level", "warning", "asgi:app",
		}
	})
}
