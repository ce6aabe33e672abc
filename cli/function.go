package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"flint/client"
)

func newFunction() *cobra.Command {
	cmd := &cobra.Command{Use: "function", Short: "List functions and say how they scale", Args: cobra.NoArgs, Aliases: []string{"functions"}}
	list := &cobra.Command{Use: "list", Short: "List the functions of a project", Args: cobra.NoArgs}
	cmd.AddCommand(inProject(list, func(cmd *cobra.Command, _ []string, c *client.Client, id, format string) error {
		all, err := c.Functions(cmd.Context(), id)
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), all)
		}
		var rows [][]string
		for _, f := range all {
			state := "ready"
			switch {
			case !f.Enabled:
				state = "disabled"
			case f.DeploymentID == "" && f.Latest != "":
				state = "latest build " + f.Latest
			case f.DeploymentID == "":
				state = "nothing deployed"
			}
			rows = append(rows, []string{f.ID, f.Name, f.Runtime, state, strings.Join(f.Domains, " "), when(f.CreatedAt)})
		}
		return table(cmd.OutOrStdout(), "ID NAME RUNTIME STATE DOMAINS CREATED", rows)
	}))
	cmd.AddCommand(newFunctionScaling(), newFunctionDelivery())
	return cmd
}

func newExecutions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "executions", Short: "Show what runs: the newest executions, or each that ends", Args: cobra.NoArgs, Aliases: []string{"execution"},
		Example: "  flint executions --function hello --logs\n  flint executions --follow\n  flint executions show 68c1f2aa0003f1b2c3d4",
	}
	function := cmd.Flags().StringP("function", "f", "", "of this function only")
	_ = cmd.RegisterFlagCompletionFunc("function", completeFunctions)
	follow := cmd.Flags().Bool("follow", false, "go on with every execution that ends, until interrupted")
	limit := cmd.Flags().IntP("limit", "n", 25, "how many of the newest to show")
	logs := cmd.Flags().Bool("logs", false, "show logs and errors under each")
	cmd.AddCommand(newExecutionsShow(), newExecutionsCancel())
	return inProject(cmd, func(cmd *cobra.Command, _ []string, c *client.Client, id, format string) error {
		out := cmd.OutOrStdout()
		if !*follow {
			all, err := c.Executions(cmd.Context(), id, *function, *limit)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(out, all)
			}
			return writeExecutions(out, all, *logs)
		}
		show := func(e client.Execution) error { return writeExecution(out, e, *logs) }
		if format == "json" {
			lines := json.NewEncoder(out)
			show = func(e client.Execution) error { return lines.Encode(e) }
		} else if _, err := fmt.Fprintf(out, executionLine, "CREATED", "STATUS", "CODE", "TOOK", "TRIGGER", "FUNCTION", "REQUEST", "ID"); err != nil {
			return err
		}
		return c.Follow(cmd.Context(), id, *function, *limit, show)
	})
}

// executionLine has fixed widths: what is followed is not known beforehand.
const executionLine = "%-19s  %-10s  %-4s  %-8s  %-8s  %-20s  %-32s  %s\n"

func writeExecutions(w io.Writer, all []client.Execution, logs bool) error {
	if _, err := fmt.Fprintf(w, executionLine, "CREATED", "STATUS", "CODE", "TOOK", "TRIGGER", "FUNCTION", "REQUEST", "ID"); err != nil {
		return err
	}
	for _, e := range all {
		if err := writeExecution(w, e, logs); err != nil {
			return err
		}
	}
	return nil
}

func writeExecution(w io.Writer, e client.Execution, logs bool) error {
	code, took := "-", "-"
	if e.StatusCode > 0 {
		code, took = fmt.Sprint(e.StatusCode), fmt.Sprintf("%.3fs", e.Duration)
	}
	_, err := fmt.Fprintf(w, executionLine, when(e.CreatedAt), e.Status, code, took, e.Trigger, e.Function, clean(e.Method+" "+e.Path), e.ID)
	if !logs || err != nil {
		return err
	}
	return writeOutput(w, e)
}

// writeOutput shows what an execution logged.
func writeOutput(w io.Writer, e client.Execution) (err error) {
	for _, part := range []struct{ mark, text string }{{"|", e.Logs}, {"!", e.Errors}} {
		for line := range strings.Lines(part.text) {
			if err == nil {
				_, err = fmt.Fprintf(w, "    %s %s\n", part.mark, clean(strings.TrimRight(line, "\r\n")))
			}
		}
	}
	return err
}
