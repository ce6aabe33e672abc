package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// installTimeout bounds the fetching of one toolchain.
const installTimeout = 10 * time.Minute

// Install fetches the toolchain of the runtime called id with the host's npm, for the languages that npm carries, and
// writes npm's output to out. It is complete or absent: a failure leaves nothing behind. Installing twice does nothing.
func (k *Catalog) Install(ctx context.Context, id string, out io.Writer) error {
	r, ok, err := k.Lookup(ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("no runtime is called %q; flint runtimes lists them", id)
	}
	if r.Toolchain != nil && r.Toolchain.Installed {
		return nil
	}
	if len(r.Language.Toolchain.NPM) == 0 {
		return fmt.Errorf("%s cannot be fetched by Flint: %s", id, r.Hint)
	}
	npm, err := lookNPM(k.config.Path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.config.Toolchains, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(k.config.Toolchains, "."+id+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		return err
	}
	var match string
	for _, v := range r.Language.Versions {
		if v.Version == r.Version {
			match = v.Match
		}
	}
	args := []string{"install", "--prefix", scratch, "--no-audit", "--no-fund", "--no-save", "--no-update-notifier", "--loglevel=error"}
	for _, pkg := range r.Language.Toolchain.NPM {
		args = append(args, strings.NewReplacer("{version}", r.Version, "{match}", match).Replace(pkg))
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = k.config.Environ, out, out, 5*time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm install of %s: %w", id, err)
	}
	target := filepath.Join(k.config.Toolchains, id)
	if err := os.Rename(scratch, target); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := k.Refresh(ctx); err != nil {
		return err
	}
	if r, _ := k.find(id); r.Toolchain == nil {
		os.RemoveAll(target)
		return fmt.Errorf("what npm installed for %s does not run on this machine", id)
	}
	return nil
}

func lookNPM(searchPath string) (string, error) {
	for _, dir := range filepath.SplitList(searchPath) {
		file := filepath.Join(dir, "npm")
		if s, err := os.Stat(file); err == nil && s.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", errors.New("npm is not on the path: install it (Debian: npm) and try again")
}
