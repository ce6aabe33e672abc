package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"flint/client"
)

func newWebhook() *cobra.Command {
	cmd := &cobra.Command{Use: "webhook", Short: "List webhooks and show what became of their deliveries", Args: cobra.NoArgs, Aliases: []string{"webhooks"}}
	cmd.AddCommand(newWebhookList(), newWebhookShow())
	return cmd
}

func newWebhookList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the webhooks of a project", Args: cobra.NoArgs,
		Example: "  flint webhook list --project demo\n  flint webhook list -o json",
	}
	return inProject(cmd, func(cmd *cobra.Command, _ []string, c *client.Client, id, format string) error {
		all, err := c.Webhooks(cmd.Context(), id)
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), all)
		}
		var rows [][]string
		for _, w := range all {
			rows = append(rows, []string{w.ID, w.Name, webhookState(w), w.URL, strings.Join(w.Events, " "), fmt.Sprint(w.Waiting), when(w.CreatedAt)})
		}
		return table(cmd.OutOrStdout(), "ID NAME STATE URL EVENTS WAITING CREATED", rows)
	})
}

// webhookState says whether something is delivered, and what speaks against it.
func webhookState(w client.Webhook) string {
	switch {
	case !w.Enabled && w.Failures > 0:
		return fmt.Sprintf("disabled after %d failures", w.Failures)
	case !w.Enabled:
		return "disabled"
	case w.Failures > 0:
		return fmt.Sprintf("%d failures in a row", w.Failures)
	}
	return "enabled"
}

func newWebhookShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one webhook with its last deliveries", Args: cobra.ExactArgs(1),
		Example: "  flint webhook show orders\n  flint webhook show orders -n 100 -o json",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeWebhooks(cmd, args, typed)
		},
	}
	limit := cmd.Flags().IntP("limit", "n", 25, "how many of the newest deliveries to show")
	return inProject(cmd, func(cmd *cobra.Command, args []string, c *client.Client, id, format string) error {
		w, err := c.Webhook(cmd.Context(), id, args[0], *limit)
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), w)
		}
		return writeWebhook(cmd.OutOrStdout(), w)
	})
}

func writeWebhook(w io.Writer, hook client.Webhook) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, line := range [][2]string{
		{"id", hook.ID},
		{"name", hook.Name},
		{"state", webhookState(hook)},
		{"url", hook.URL},
		{"events", strings.Join(hook.Events, " ")},
		{"created", when(hook.CreatedAt)},
		{"waiting", fmt.Sprint(hook.Waiting)},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], clean(line[1]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if hook.Logs != "" {
		if _, err := fmt.Fprintln(w, "last failure"); err != nil {
			return err
		}
		for line := range strings.Lines(hook.Logs) {
			if _, err := fmt.Fprintf(w, "    %s\n", clean(strings.TrimRight(line, "\r\n"))); err != nil {
				return err
			}
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	var rows [][]string
	for _, d := range hook.Deliveries {
		state := "delivered"
		switch {
		case !d.DueAt.IsZero() && d.Attempts == 0:
			state = "waits"
		case !d.DueAt.IsZero():
			state = "tries again " + when(d.DueAt)
		case d.Error != "":
			state = "given up"
		}
		status := ""
		if d.Status > 0 {
			status = fmt.Sprint(d.Status)
		}
		rows = append(rows, []string{when(d.CreatedAt), d.Event, state, fmt.Sprint(d.Attempts), status, d.Error})
	}
	return table(w, "CREATED EVENT STATE ATTEMPTS STATUS ERROR", rows)
}

func completeWebhooks(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return complete(cmd, func(ctx context.Context, c *client.Client) (words []string, err error) {
		given, _ := cmd.Flags().GetString("project")
		project, err := chooseProject(ctx, c, given)
		if err != nil {
			return nil, err
		}
		all, err := c.Webhooks(ctx, project)
		for _, w := range all {
			words = append(words, w.ID+"\t"+clean(w.Name))
		}
		return words, err
	})
}
