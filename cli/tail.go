package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"flint/client"
	"flint/feed"
)

func newTail() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tail", Short: "Follow what functions log while they run, and how their executions end", Args: cobra.NoArgs,
		Long: "Follow the functions of a project on this node, until interrupted: every line that is logged, when it is, and every\n" +
			"execution that ends. With --status only executions are shown: what is logged before has no status yet.",
		Example: "  flint tail\n  flint tail --function hello --function orders --grep timeout\n  flint tail --status failed -o json",
	}
	var f client.TailFilter
	cmd.Flags().StringSliceVarP(&f.Functions, "function", "f", nil, "of this function only; may be repeated")
	cmd.Flags().StringSliceVar(&f.Statuses, "status", nil, "executions that ended so only: completed, failed")
	cmd.Flags().StringSliceVar(&f.Triggers, "trigger", nil, "executions caused so only: http, schedule, event")
	cmd.Flags().StringVar(&f.Text, "grep", "", "only lines that hold this text, and executions whose path, output or ID does")
	_ = cmd.RegisterFlagCompletionFunc("function", completeFunctions)
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"completed", "failed"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("trigger", cobra.FixedCompletions([]string{"http", "schedule", "event"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("grep", cobra.NoFileCompletions)
	return inProject(cmd, func(cmd *cobra.Command, _ []string, c *client.Client, id, format string) error {
		out := cmd.OutOrStdout()
		show := func(e feed.Entry) error { return writeEntry(out, e) }
		if format == "json" {
			lines := json.NewEncoder(out)
			show = func(e feed.Entry) error { return lines.Encode(e) }
		}
		return c.Tail(cmd.Context(), id, f, show)
	})
}

// tailLine is when, which function, which execution and what.
const tailLine = "%s  %-20s  %s  %s\n"

func writeEntry(w io.Writer, e feed.Entry) (err error) {
	switch {
	case e.Log != nil:
		mark := "| "
		if e.Log.Stream == "errors" {
			mark = "! "
		}
		for line := range strings.Lines(e.Log.Text) {
			if err == nil {
				_, err = fmt.Fprintf(w, tailLine, e.Log.Time.Local().Format("15:04:05.000"), e.Log.Function, e.Log.Execution, mark+clean(strings.TrimRight(line, "\r\n")))
			}
		}
	case e.Execution != nil:
		x := e.Execution
		what := fmt.Sprintf("%s %s %.3fs %s %s", x.Status, strconv.Itoa(x.StatusCode), x.Duration, x.Trigger, clean(x.Method+" "+x.Path))
		_, err = fmt.Fprintf(w, tailLine, x.CreatedAt.Local().Format("15:04:05.000"), x.Function, x.ID, what)
	default:
		_, err = fmt.Fprintf(w, "too fast to follow: %d not shown\n", e.Dropped)
	}
	return err
}
