package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"flint/client"
	"flint/config"
	"flint/server"
)

// operate makes a command that speaks to a node: over its socket while one runs, else to its data directory itself.
func operate(cmd *cobra.Command, run func(cmd *cobra.Command, args []string, c *client.Client) error) *cobra.Command {
	own := nodeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		settings, err := settings(own)
		if err != nil {
			return err
		}
		c, err := client.Dial(cmd.Context(), settings.Data)
		closeAll := func() error { return nil }
		if errors.Is(err, client.ErrNoNode) {
			logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			handler, closeStore, err := server.Operate(cmd.Context(), settings, logger)
			if err != nil {
				return err
			}
			c, closeAll = client.Local(handler), closeStore
		} else if err != nil {
			return err
		}
		defer func() {
			c.Close()
			err = errors.Join(err, closeAll())
		}()
		return run(cmd, args, c)
	}
	return cmd
}

// inProject makes such a command about one project, with -o. run gets the project's id and the format.
func inProject(cmd *cobra.Command, run func(cmd *cobra.Command, args []string, c *client.Client, id, format string) error) *cobra.Command {
	project, format := projectFlag(cmd), outputFlag(cmd)
	return operate(cmd, func(cmd *cobra.Command, args []string, c *client.Client) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		id, err := chooseProject(cmd.Context(), c, *project)
		if err != nil {
			return err
		}
		return run(cmd, args, c, id, *format)
	})
}

// nodeFlags adds the settings to a command, shows those that say which node is meant, and returns them. A flag of the
// command's own that is called like a setting is not one.
func nodeFlags(cmd *cobra.Command) *pflag.FlagSet {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Flags(own)
	own.VisitAll(func(f *pflag.Flag) {
		f.Hidden = f.Name != "data" && f.Name != "env-file"
		if cmd.Flags().Lookup(f.Name) == nil {
			cmd.Flags().AddFlag(f)
		}
	})
	return own
}

// projectFlag adds --project, which need not be said where there is only one.
func projectFlag(cmd *cobra.Command) *string {
	project := cmd.Flags().StringP("project", "p", "", "project; may be left out where there is only one")
	_ = cmd.RegisterFlagCompletionFunc("project", completeProjects)
	return project
}

func chooseProject(ctx context.Context, c *client.Client, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	all, err := c.Projects(ctx)
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return "", errors.New("there is no project yet: make one with flint project create")
	case len(all) > 1:
		ids := make([]string, len(all))
		for i, p := range all {
			ids[i] = p.ID
		}
		return "", fmt.Errorf("say which project is meant with --project: %s", strings.Join(ids, ", "))
	}
	return all[0].ID, nil
}

// completeTime bounds what the shell waits for.
const completeTime = time.Second

// complete asks a running node for words; without one there are none.
func complete(cmd *cobra.Command, words func(context.Context, *client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completeTime)
	defer cancel()
	settings, err := settings(cmd.Flags())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := client.Dial(ctx, settings.Data)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	all, err := words(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func completeProjects(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return complete(cmd, func(ctx context.Context, c *client.Client) (words []string, err error) {
		all, err := c.Projects(ctx)
		for _, p := range all {
			words = append(words, p.ID+"\t"+p.Name)
		}
		return words, err
	})
}

func completeFunctions(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return complete(cmd, func(ctx context.Context, c *client.Client) (words []string, err error) {
		given, _ := cmd.Flags().GetString("project")
		project, err := chooseProject(ctx, c, given)
		if err != nil {
			return nil, err
		}
		all, err := c.Functions(ctx, project)
		for _, f := range all {
			words = append(words, f.ID+"\t"+f.Name)
		}
		return words, err
	})
}

func completeKeys(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return complete(cmd, func(ctx context.Context, c *client.Client) (words []string, err error) {
		given, _ := cmd.Flags().GetString("project")
		project, err := chooseProject(ctx, c, given)
		if err != nil {
			return nil, err
		}
		all, err := c.Keys(ctx, project)
		for _, k := range all {
			words = append(words, k.ID+"\t"+k.Name)
		}
		return words, err
	})
}

// table writes rows under a head, for people.
func table(w io.Writer, head string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(head, " ", "\t"))
	for _, r := range rows {
		for i, cell := range r {
			if r[i] = clean(cell); r[i] == "" {
				r[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// clean keeps what others wrote from steering the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
