package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"flint/client"
)

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain ID", Short: "Say why an execution, a deployment or a function is in its state", Args: cobra.ExactArgs(1),
		Long:    "Say in plain words why an execution, a deployment or a function is in its state, what it waits for, what happens next by itself and\nwhat you could do.",
		Example: "  flint explain 68c1f2aa0003f1b2c3d4\n  flint explain hello\n  flint explain hello -o json",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			words, how := completeFunctions(cmd, args, typed)
			more, _ := completeExecutions(cmd, args, typed)
			return append(words, more...), how
		},
	}
	return inProject(cmd, func(cmd *cobra.Command, args []string, c *client.Client, id, format string) error {
		e, err := c.Explain(cmd.Context(), id, args[0])
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), e)
		}
		return writeExplanation(cmd.OutOrStdout(), e)
	})
}

// explainWidth is where lines of prose are broken.
const explainWidth = 100

func writeExplanation(w io.Writer, e client.Explanation) error {
	head := fmt.Sprintf("%s %s is %s", e.Kind, e.ID, e.State)
	if e.Since != "" {
		head += " since " + died(e.Since)
	}
	if e.Kind != "function" {
		head += " (function " + e.FunctionID + ")"
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", clean(head)); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, part := range []struct {
		name  string
		texts []string
	}{{"WHY", []string{e.Summary}}, {"WAITS FOR", []string{e.WaitingFor}}, {"NEXT", []string{e.Next}}, {"TO DO", e.Advice}} {
		name := part.name
		for _, text := range part.texts {
			for _, line := range wrap(clean(text), explainWidth) {
				fmt.Fprintf(t, "%s\t%s\n", name, line)
				name = ""
			}
		}
	}
	if len(e.History) == 0 {
		return t.Flush()
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	for _, m := range e.History {
		at := died(m.At)
		for _, line := range wrap(clean(m.What), explainWidth) {
			fmt.Fprintf(t, "%s\t%s\n", at, line)
			at = ""
		}
	}
	return t.Flush()
}

// wrap breaks a text into lines of about a width, between words.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
