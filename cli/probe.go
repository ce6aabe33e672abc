package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"flint/config"
	"flint/probe"
	"flint/server"
)

func newProbe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "probe", Short: "Attack the sandbox from inside and say what holds", Args: cobra.NoArgs,
		Long: "Run hostile programs in sandboxes like those of functions: each attempt should be refused. The grade is A when all are,\n" +
			"B when the rest is open by choice, C, D or F when something else is open, from minor to grave. The exit status is 1 when\n" +
			"something is open or the grade is below --sandbox-floor. A node may run at the same time; nothing of it is touched.",
		Example: "  flint probe\n  flint probe --driver oci -o json",
	}
	format := outputFlag(cmd)
	driver := cmd.Flags().String("driver", "", "sandbox driver to attack, like --sandbox")
	config.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		if *driver != "" {
			if err := cmd.Flags().Set("sandbox", *driver); err != nil {
				return err
			}
		}
		c, err := settings(cmd.Flags())
		if err != nil {
			return err
		}
		r, err := server.Probe(cmd.Context(), c, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		if err != nil {
			return err
		}
		if *format == "json" {
			err = writeJSON(cmd.OutOrStdout(), r)
		} else {
			err = writeReport(cmd.OutOrStdout(), r)
		}
		switch {
		case err != nil:
			return err
		case r.Grade.Below(c.SandboxFloor):
			return fmt.Errorf("the grade is %s, below --sandbox-floor=%s", r.Grade, c.SandboxFloor)
		case r.Open > 0:
			return errors.New("the sandbox does not hold")
		}
		return nil
	}
	cmd.AddCommand(newProbeAttack())
	return cmd
}

// newProbeAttack is what runs inside.
func newProbeAttack() *cobra.Command {
	return &cobra.Command{
		Use: "attack", Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return probe.Attack(server.ProbeCommand(), args, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

func writeReport(out io.Writer, r *probe.Report) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	area := ""
	for _, c := range r.Checks {
		if c.Area != area {
			area = c.Area
			fmt.Fprintf(w, "%s\t\t\n", area)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", c.Verdict, c.Name, c.Tries)
		switch c.Verdict {
		case probe.Open:
			fmt.Fprintf(w, "  \t\tgot %q %s: %s\n", c.Got, c.Detail, c.Why)
		case probe.Unprotected:
			fmt.Fprintf(w, "  \t\t%s: %s\n", c.Detail, c.Why)
		case probe.Held:
		}
	}
	fmt.Fprintln(w, r.Summary())
	return w.Flush()
}
