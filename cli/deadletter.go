package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"flint/client"
)

func newDeadLetter() *cobra.Command {
	cmd := &cobra.Command{
		Use: "deadletter", Short: "Calls that failed for good: look at them, make them again, remove them", Args: cobra.NoArgs, Aliases: []string{"deadletters"},
		Long:    "Asynchronous calls that failed for good are kept as dead letters where a function's delivery settings say so\n(flint function delivery ID --dead-letters): for 30 days, and 10,000 of each function.",
		Example: "  flint deadletter list mailer\n  flint deadletter show mailer 68c1f2aa0003f1b2c3d4\n  flint deadletter redrive mailer 68c1f2aa0003f1b2c3d4\n  flint deadletter redrive mailer --all\n  flint deadletter purge mailer",
	}
	cmd.AddCommand(newDeadLetterList(), newDeadLetterShow(), newDeadLetterRedrive(), newDeadLetterDelete(), newDeadLetterPurge())
	return cmd
}

// functionAndLetter completes a function and then one of its dead letters.
func functionAndLetter(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return completeFunctions(cmd, args, typed)
	case 1:
		return complete(cmd, func(ctx context.Context, c *client.Client) (words []string, err error) {
			given, _ := cmd.Flags().GetString("project")
			project, err := chooseProject(ctx, c, given)
			if err != nil {
				return nil, err
			}
			l, err := c.DeadLetters(ctx, project, args[0], "", completedExecutions)
			for _, d := range l.DeadLetters {
				words = append(words, d.ExecutionID+"\t"+clean(d.RequestMethod+" "+d.RequestPath+" "+d.Outcome))
			}
			return words, err
		})
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// letterVerb is a command about the dead letters of a function, which its first argument names.
func letterVerb(cmd *cobra.Command, run func(ctx context.Context, c *client.Client, project string, args []string, format string) error) *cobra.Command {
	cmd.ValidArgsFunction = functionAndLetter
	return inProject(cmd, func(cmd *cobra.Command, args []string, c *client.Client, id, format string) error {
		return run(cmd.Context(), c, id, args, format)
	})
}

func newDeadLetterList() *cobra.Command {
	cmd := &cobra.Command{Use: "list FUNCTION", Short: "List a function's dead letters, newest first", Args: cobra.ExactArgs(1), Example: "  flint deadletter list mailer -n 100"}
	limit := cmd.Flags().IntP("limit", "n", 25, "how many to show")
	return letterVerb(cmd, func(ctx context.Context, c *client.Client, project string, args []string, format string) error {
		l, err := c.DeadLetters(ctx, project, args[0], "", *limit)
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), l)
		}
		var rows [][]string
		for _, d := range l.DeadLetters {
			rows = append(rows, []string{died(d.DiedAt), d.Outcome, strconv.Itoa(d.StatusCode), strconv.Itoa(d.Attempts), d.Trigger, d.RequestMethod + " " + d.RequestPath, d.ExecutionID})
		}
		if err := table(cmd.OutOrStdout(), "DIED OUTCOME CODE ATTEMPTS TRIGGER REQUEST ID", rows); err != nil {
			return err
		}
		if l.Total > len(rows) {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d of %d: more with -n\n", len(rows), l.Total)
		}
		return err
	})
}

// died shows the time of a model as a local one.
func died(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return when(t)
}

func newDeadLetterShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show FUNCTION ID", Short: "Show a dead letter: the call, and what its last attempt left", Args: cobra.ExactArgs(2), Example: "  flint deadletter show mailer 68c1f2aa0003f1b2c3d4"}
	return letterVerb(cmd, func(ctx context.Context, c *client.Client, project string, args []string, format string) error {
		d, err := c.DeadLetter(ctx, project, args[0], args[1])
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if format == "json" {
			return writeJSON(out, d)
		}
		t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		for _, line := range [][2]string{
			{"EXECUTION", d.ExecutionID},
			{"FUNCTION", d.FunctionID},
			{"ACCEPTED", died(d.AcceptedAt)},
			{"DIED", died(d.DiedAt)},
			{"OUTCOME", fmt.Sprintf("%s %d after %d attempts", d.Outcome, d.StatusCode, d.Attempts)},
			{"TRIGGER", d.Trigger},
			{"REQUEST", d.RequestMethod + " " + d.RequestPath},
			{"ORDERING KEY", d.OrderingKey},
			{"BODY", fmt.Sprintf("%d characters (%s)", len(d.RequestBody), d.BodyEncoding)},
		} {
			fmt.Fprintf(t, "%s\t%s\n", line[0], clean(line[1]))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, part := range []struct{ mark, text string }{{">", d.RequestBody}, {"!", d.Error}} {
			for line := range strings.Lines(part.text) {
				if _, err := fmt.Fprintf(out, "    %s %s\n", part.mark, clean(strings.TrimRight(line, "\r\n"))); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// redrivePage is how many dead letters are read at a time to be made again.
const redrivePage = 100

func newDeadLetterRedrive() *cobra.Command {
	cmd := &cobra.Command{
		Use: "redrive FUNCTION [ID]", Short: "Make dead letters again, as new executions", Args: cobra.RangeArgs(1, 2),
		Long:    "Make a dead letter, or with --all every one that a function has now, again: as a new execution, in whose place the dead letter goes.",
		Example: "  flint deadletter redrive mailer 68c1f2aa0003f1b2c3d4\n  flint deadletter redrive mailer --all",
	}
	all := cmd.Flags().Bool("all", false, "all that the function has now")
	return letterVerb(cmd, func(ctx context.Context, c *client.Client, project string, args []string, format string) error {
		if *all == (len(args) == 2) {
			return fmt.Errorf("name a dead letter, or say --all")
		}
		ids := args[1:]
		for after := ""; *all; {
			l, err := c.DeadLetters(ctx, project, args[0], after, redrivePage)
			if err != nil {
				return err
			}
			for _, d := range l.DeadLetters {
				ids, after = append(ids, d.ExecutionID), d.ExecutionID
			}
			if len(l.DeadLetters) < redrivePage {
				break
			}
		}
		slices.Reverse(ids) // they come newest first, and are to be made in the order in which they died
		made := []client.Execution{}
		for _, id := range ids {
			e, err := c.Redrive(ctx, project, args[0], id)
			if err != nil {
				return fmt.Errorf("%s: %w (%d were made again before)", id, err, len(made))
			}
			if made = append(made, e); format == "table" {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is execution %s now\n", id, e.ID); err != nil {
					return err
				}
			}
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), made)
		}
		return nil
	})
}

func newDeadLetterDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete FUNCTION ID", Short: "Remove a dead letter", Args: cobra.ExactArgs(2), Example: "  flint deadletter delete mailer 68c1f2aa0003f1b2c3d4"}
	return letterVerb(cmd, func(ctx context.Context, c *client.Client, project string, args []string, _ string) error {
		return c.DeleteDeadLetter(ctx, project, args[0], args[1])
	})
}

func newDeadLetterPurge() *cobra.Command {
	cmd := &cobra.Command{Use: "purge FUNCTION", Short: "Remove all dead letters of a function", Args: cobra.ExactArgs(1), Example: "  flint deadletter purge mailer"}
	return letterVerb(cmd, func(ctx context.Context, c *client.Client, project string, args []string, format string) error {
		n, err := c.PurgeDeadLetters(ctx, project, args[0])
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), map[string]int{"purged": n})
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d removed\n", n)
		return err
	})
}
