// Package cli is the command line of Flint: the node, and what an operator asks of a machine.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"flint"
	"flint/config"
)

// Main runs the command line and returns the exit status. ctx ends when the process is told to stop.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "flint:", err)
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "flint",
		Short: "Serverless functions on your own machine",
		Long: "Flint runs serverless functions. It speaks the API and the function contract of Appwrite Functions: its SDKs,\n" +
			"its CLI and its functions work unchanged. One program, one data directory, no Docker.",
		SilenceUsage: true, SilenceErrors: true,
		Example: "  flint serve\n  flint runtimes install node-22\n  flint key create --scopes functions.read,functions.write\n  flint executions --follow\n  flint doctor",
	}
	root.AddCommand(
		newServe(), newRuntimes(), newProject(), newKey(), newFunction(), newSchedule(), newWebhook(), newExecutions(), newTail(), newDeadLetter(), newExplain(), newDoctor(),
		newProbe(), newJoinNetwork(), newConfig(), newVersion(),
	)
	return root
}

// settings reads the settings for a command.
func settings(fs *pflag.FlagSet) (config.Config, error) { return config.Load(fs, os.LookupEnv) } //nolint:forbidigo // config reads by it

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "flint %s (speaks %s)\n", flint.Version, flint.ReferenceVersion)
			return err
		},
	}
}

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Print the effective settings", Args: cobra.NoArgs,
		Long: "Print the settings that a node would run with, as lines that --env-file reads. Secrets are masked.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := settings(cmd.Flags())
			if err != nil {
				return err
			}
			return c.Write(cmd.OutOrStdout())
		},
	}
	config.Flags(cmd.Flags())
	return cmd
}

// outputFlag adds -o.
func outputFlag(cmd *cobra.Command) *string {
	format := cmd.Flags().StringP("output", "o", "table", "table, or json for programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return format
}

func checkOutput(format string) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("--output=%s: table and json are possible", format)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
