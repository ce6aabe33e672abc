package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"flint/client"
)

func newExecutionsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one execution: its receipt, logs and errors", Args: cobra.ExactArgs(1),
		Long:    "Show one execution: how long it waited and ran, the processor time and memory of its worker meanwhile, the bytes of its bodies, and what it logged.",
		Example: "  flint executions show 68c1f2aa0003f1b2c3d4\n  flint executions show 68c1f2aa0003f1b2c3d4 -o json",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeExecutions(cmd, args, typed)
		},
	}
	return inProject(cmd, func(cmd *cobra.Command, args []string, c *client.Client, id, format string) error {
		e, err := c.Execution(cmd.Context(), id, args[0])
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), e)
		}
		return writeWholeExecution(cmd.OutOrStdout(), e)
	})
}

// completedExecutions is how many executions the shell offers.
const completedExecutions = 20

func completeExecutions(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return complete(cmd, func(ctx context.Context, c *client.Client) (words []string, err error) {
		given, _ := cmd.Flags().GetString("project")
		project, err := chooseProject(ctx, c, given)
		if err != nil {
			return nil, err
		}
		all, err := c.Executions(ctx, project, "", completedExecutions)
		for _, e := range all {
			words = append(words, e.ID+"\t"+clean(e.Function+" "+e.Method+" "+e.Path))
		}
		return words, err
	})
}

func writeWholeExecution(w io.Writer, e client.Execution) error {
	status := e.Status
	if e.StatusCode > 0 {
		status += " " + strconv.Itoa(e.StatusCode)
	}
	lines := [][2]string{
		{"EXECUTION", e.ID},
		{"FUNCTION", e.Function},
		{"DEPLOYMENT", e.DeploymentID},
		{"CREATED", when(e.CreatedAt)},
		{"TRIGGER", e.Trigger},
		{"REQUEST", e.Method + " " + e.Path},
		{"STATUS", status},
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, line := range append(lines, receiptLines(e.Receipt)...) {
		fmt.Fprintf(t, "%s\t%s\n", line[0], clean(line[1]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeOutput(w, e)
}

// receiptLines are the lines of a receipt, for people.
func receiptLines(r *client.Receipt) [][2]string {
	if r == nil {
		return [][2]string{{"RECEIPT", "none: it has not ended, its node died, or it is older than receipts"}}
	}
	cold := "no"
	if r.ColdStart {
		cold = secondsText(r.ColdStartTime)
	}
	cpu, memory := "not known", "not known"
	if r.CPUTime != nil {
		cpu = secondsText(*r.CPUTime)
	}
	if r.PeakMemory != nil {
		memory = bytesText(*r.PeakMemory)
		if r.PeakMemorySince == "worker" {
			memory += " since the worker began"
		}
	}
	worker := "had this call alone"
	if r.Shared {
		worker = "had other calls too: CPU and MEMORY are of all of them"
	}
	if r.Estimated {
		worker += "; CPU and MEMORY are estimated"
	}
	return [][2]string{
		{"QUEUE", secondsText(r.QueueTime)},
		{"COLD START", cold},
		{"RUN", secondsText(r.RunTime)},
		{"CPU", cpu},
		{"MEMORY", memory},
		{"WORKER", worker},
		{"REQUEST BODY", bytesText(r.RequestBytes)},
		{"RESPONSE BODY", bytesText(r.ResponseBytes)},
	}
}

func secondsText(s float64) string {
	if s < 1 {
		return strconv.FormatFloat(s*1000, 'f', 3, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'f', 3, 64) + " s"
}

func bytesText(n int64) string {
	const mega = 1 << 20
	if n < mega {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	return strconv.FormatFloat(float64(n)/mega, 'f', 1, 64) + " MB"
}
