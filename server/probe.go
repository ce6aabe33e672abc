package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"flint/config"
	"flint/probe"
)

// ProbeCommand is how the program is started to be the attacker in a sandbox.
func ProbeCommand() []string { return []string{"probe", "attack"} }

// Probe attacks sandboxes of the driver that the settings name, like those of workers. A node may run at the same time.
func Probe(ctx context.Context, c config.Config, logger *slog.Logger) (_ *probe.Report, err error) {
	if c.Sandbox == "none" {
		return nil, errors.New("--sandbox=none is no sandbox: there is nothing to probe")
	}
	scratch, err := os.MkdirTemp("", "flint-probe-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	inScratch := c
	inScratch.Data = scratch // a node that runs keeps its own directories
	driver, err := OpenSandbox(ctx, inScratch, logger, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	return attack(ctx, c, driver)
}

func attack(ctx context.Context, c config.Config, driver *Sandbox) (*probe.Report, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return nil, err
	}
	return probe.Run(ctx, probe.Config{Driver: driver, Network: driver.Functions, Program: program, Args: ProbeCommand(), Data: data})
}

// askFloor probes the sandbox when a floor is set, and refuses what is below it.
func askFloor(ctx context.Context, c config.Config, driver *Sandbox, logger *slog.Logger) error {
	if c.SandboxFloor == "" {
		return nil
	}
	r, err := attack(ctx, c, driver)
	if err != nil {
		return fmt.Errorf("probe the sandbox: %w", err)
	}
	if r.Grade.Below(c.SandboxFloor) {
		return fmt.Errorf("--sandbox-floor=%s: the sandbox is below it, %s (flint probe tells more)", c.SandboxFloor, r.Summary())
	}
	logger.InfoContext(ctx, "sandbox probed", slog.String("grade", string(r.Grade)), slog.Int("held", r.Held), slog.Int("not_protected", r.Unprotected), slog.Int("open", r.Open))
	return nil
}
