package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"flint/bus"
	"flint/config"
	"flint/sandbox"
	"flint/server"
)

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say what this machine offers and what it lacks", Args: cobra.NoArgs,
		Long: "Look at everything a node needs of its machine: the sandbox, limits, the data directory, the bus, toolchains. The exit\nstatus is 1 when a node could not run here.",
	}
	format := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		c, err := settings(cmd.Flags())
		if err != nil {
			return err
		}
		return diagnose(cmd, c, *format)
	}
	config.Flags(cmd.Flags())
	return cmd
}

type finding struct {
	Layer  string `json:"layer"`
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"` // a node cannot run without it
	Detail string `json:"detail"`
}

func diagnose(cmd *cobra.Command, c config.Config, format string) error {
	findings := []finding{dataFinding(c.Data), busFinding(cmd.Context(), c)}
	// A directory of its own: the node that runs keeps its own.
	scratch, err := os.MkdirTemp("", "flint-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	inScratch := c
	inScratch.Data = scratch
	driver, err := server.OpenSandbox(cmd.Context(), inScratch, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		findings = append(findings, finding{"sandbox", false, true, err.Error()})
	} else {
		for _, f := range driver.Findings(cmd.Context()) {
			findings = append(findings, fromSandbox(f))
		}
		defer driver.Close()
	}
	catalog, err := server.OpenCatalog(cmd.Context(), c)
	if err != nil {
		return err
	}
	offered, err := catalog.Offered(cmd.Context())
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range offered {
		ids = append(ids, r.ID)
	}
	findings = append(findings, finding{"runtimes", len(ids) > 0, false, "with a toolchain: " + strings.Join(ids, ", ") + " (flint runtimes lists all)"})

	if format == "json" {
		err = writeJSON(cmd.OutOrStdout(), findings)
	} else {
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
		for _, f := range findings {
			mark := "ok"
			if !f.OK {
				mark = "missing"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", mark, f.Layer, f.Detail)
		}
		err = w.Flush()
	}
	for _, f := range findings {
		if f.Needed && !f.OK {
			err = errors.Join(err, fmt.Errorf("a node cannot run here: %s: %s", f.Layer, f.Detail))
		}
	}
	return err
}

func fromSandbox(f sandbox.Finding) finding { return finding{f.Layer, f.OK, false, f.Detail} }

// busFinding asks the cluster, or looks at what the embedded bus has on disk. A node runs without the first, alone.
func busFinding(ctx context.Context, c config.Config) finding {
	if c.NATS != "" {
		what, err := bus.Probe(ctx, string(c.NATS))
		if err != nil {
			return finding{"bus", false, false, "the NATS of --nats cannot be used: " + err.Error()}
		}
		return finding{"bus", true, false, what}
	}
	size, err := bus.Size(server.BusDir(c))
	if err != nil {
		return finding{"bus", false, false, err.Error()}
	}
	return finding{"bus", true, false, fmt.Sprintf("inside the node, %.1f MB on disk", float64(size)/(1<<20))}
}

// dataFinding looks at the data directory, or at where it would be made.
func dataFinding(dir string) finding {
	at := dir
	for {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(at, &disk); err != nil {
		return finding{"data directory", false, true, err.Error()}
	}
	free := disk.Bavail * uint64(disk.Bsize) >> 30 // a block size is positive
	if err := syscall.Access(at, 2); err != nil {
		return finding{"data directory", false, true, at + " cannot be written"}
	}
	return finding{"data directory", free > 0, true, fmt.Sprintf("%s, %d GB free", dir, free)}
}
