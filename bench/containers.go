package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// containers start the function of testdata/work by runc, each for one call: what a platform on containers does when
// nothing waits.
type containers struct {
	runc   string
	bundle string
	state  string
}

// openContainers makes the bundle of a language. An error says why there can be no containers here.
func openContainers(ctx context.Context, b *bed, language string) (*containers, error) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return nil, errors.New("runc is not on the path (Debian: runc)")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can start containers as they are measured here")
	}
	dir, err := b.lay("runc-"+language, "once.mjs")
	if err != nil {
		return nil, err
	}
	c := &containers{runc: runc, bundle: filepath.Join(dir, "bundle"), state: filepath.Join(dir, "state")}
	if language == "node" {
		t, err := b.toolchain(ctx, language)
		if err != nil {
			return nil, err
		}
		source, err := sources.ReadFile("testdata/work/main.js")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "main.mjs"), source, 0o644) // nothing in it is secret
		}
		if err != nil {
			return nil, err
		}
		err = c.lay(dir, t.Path, "/program", "/app/once.mjs", "/app/main.mjs")
		if err != nil {
			return nil, err
		}
	} else {
		program, err := b.compile(ctx, "once")
		if err == nil {
			err = c.lay(dir, program, "/program")
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.start(ctx, "probe"); err != nil {
		return nil, fmt.Errorf("runc does not work here: %w", err)
	}
	return c, nil
}

// lay writes the bundle, whose program is at /program: the host's /usr, read-only, and the namespaces and limits that Flint's
// sandboxes have too.
func (c *containers) lay(app, program string, args ...string) error {
	type object = map[string]any
	bind := func(source, target string) object {
		return object{"source": source, "destination": target, "type": "bind", "options": []string{"rbind", "ro", "nosuid", "nodev"}}
	}
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=65536k"}},
		{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "nodev", "size=65536k"}},
		bind("/usr", "/usr"), bind(app, "/app"), bind(program, "/program"),
	}
	root := filepath.Join(c.bundle, "rootfs")
	for _, name := range []string{"proc", "dev", "tmp", "usr", "app"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil { // like any root directory
			return err
		}
	}
	for _, name := range []string{"lib", "lib64"} { // links into /usr, or directories where they are not
		target, err := os.Readlink("/" + name)
		switch {
		case err == nil:
			err = os.Symlink(target, filepath.Join(root, name))
		case errors.Is(err, os.ErrNotExist):
			err = nil
		default:
			mounts = append(mounts, bind("/"+name, "/"+name))
			err = os.Mkdir(filepath.Join(root, name), 0o755) // the same
		}
		if err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "program"), nil, 0o644); err != nil { // a place to mount on
		return err
	}
	namespaces := []object{}
	for _, name := range []string{"pid", "ipc", "uts", "mount"} {
		namespaces = append(namespaces, object{"type": name})
	}
	config := object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 65534, "gid": 65534}, "cwd": "/", "env": []string{"PATH=/usr/bin"}, "noNewPrivileges": true,
			"args": args,
		},
		"root": object{"path": "rootfs", "readonly": true}, "mounts": mounts,
		"linux": object{"namespaces": namespaces, "resources": object{"memory": object{"limit": 512 << 20}, "pids": object{"limit": 256}}},
	}
	b, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.bundle, "config.json"), b, 0o600)
}

// start runs one container to its end.
func (c *containers) start(ctx context.Context, id string) error {
	cmd := exec.CommandContext(ctx, c.runc, "--root", c.state, "run", "--bundle", c.bundle, fmt.Sprintf("flint-bench-%d-%s", os.Getpid(), id))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %.500s", err, out)
	}
	if string(out) != `{"served":0}` {
		return fmt.Errorf("wrong answer of a container: %.200q", out)
	}
	return nil
}

// burst starts as many containers as a burst has calls, as many at once as there are processors: more only slow each other
// down. A container's time counts from the beginning of the burst.
func (c *containers) burst(ctx context.Context, round int) ([]time.Duration, error) {
	took := make([]time.Duration, burstFunctions)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	begin := time.Now()
	for i := range burstFunctions {
		g.Go(func() error {
			err := c.start(ctx, fmt.Sprintf("%d-%d", round, i))
			took[i] = time.Since(begin)
			return err
		})
	}
	return took, g.Wait()
}
