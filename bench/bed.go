package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// bed is what a run needs, made when it is first asked for and taken down in the end.
type bed struct {
	dir     string // scratch, with the node's data
	program string // flint
	tools   string // where scripts/setup has installed the other servers
	log     io.Writer

	node       *node
	toolchains map[string]toolchain
	deployed   map[string]bool
	processes  []*process
}

// toolchain is what Flint runs a language with.
type toolchain struct {
	Runtime    string `json:"id"`
	Available  bool   `json:"available"`
	Version    string `json:"version"`
	Path       string `json:"path"`
	entrypoint string
}

// openBed makes the scratch directory and the program.
func openBed(ctx context.Context, o options, log io.Writer) (*bed, error) {
	parent, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	tools, err := filepath.Abs(o.tools)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "run-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	b := &bed{dir: dir, program: o.program, tools: tools, log: log, deployed: map[string]bool{}}
	if o.program == "" {
		b.program = filepath.Join(dir, "flint")
		return b, b.build(ctx, "flint/cmd/flint", b.program)
	}
	b.program, err = filepath.Abs(o.program)
	return b, err
}

// build compiles a program: a package of this module, or a file.
func (b *bed) build(ctx context.Context, pkg, output string) error {
	b.say("building %s", filepath.Base(output))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", output, pkg)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

func (b *bed) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// stopAll stops what was started.
func (b *bed) stopAll() {
	for _, p := range b.processes {
		p.stop()
	}
	b.processes, b.node, b.deployed = nil, nil, map[string]bool{}
}

// close stops what was started and removes the scratch directory.
func (b *bed) close() error {
	b.stopAll()
	return os.RemoveAll(b.dir)
}

// toolchain asks Flint what it would run a language with: the newest version that it has.
func (b *bed) toolchain(ctx context.Context, language string) (toolchain, error) {
	if b.toolchains == nil {
		out, err := exec.CommandContext(ctx, b.program, "runtimes", "--output", "json", "--data", filepath.Join(b.dir, "data")).Output()
		if err != nil {
			return toolchain{}, fmt.Errorf("flint runtimes: %w", err)
		}
		var rows []toolchain
		if err := json.Unmarshal(out, &rows); err != nil {
			return toolchain{}, fmt.Errorf("flint runtimes: %w", err)
		}
		b.toolchains = map[string]toolchain{}
		for _, row := range rows { // in the order of versions
			if key, _, ok := strings.Cut(row.Runtime, "-"); ok && row.Available {
				row.entrypoint = map[string]string{"node": "main.js", "python": "main.py", "go": "main.go"}[key]
				b.toolchains[key] = row
			}
		}
	}
	t, ok := b.toolchains[language]
	if !ok {
		return t, fmt.Errorf("this machine has no toolchain for %s: flint runtimes says what is missing", language)
	}
	return t, nil
}

// function returns the node with the function of a language in it.
func (b *bed) function(ctx context.Context, language string) (*node, error) {
	t, err := b.toolchain(ctx, language)
	if err != nil {
		return nil, err
	}
	if b.node == nil {
		b.say("starting flint")
		if b.node, err = startNode(ctx, b.program, b.dir); err != nil {
			return nil, err
		}
		b.processes = append(b.processes, b.node.process)
	}
	if b.deployed[language] {
		return b.node, nil
	}
	b.say("deploying the function in %s (%s)", language, t.Runtime)
	if err := b.node.deploy(ctx, language, t); err != nil {
		return nil, err
	}
	b.deployed[language] = true
	return b.node, nil
}
