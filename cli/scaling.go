package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"flint/client"
)

func newFunctionScaling() *cobra.Command {
	cmd := &cobra.Command{
		Use: "scaling ID", Short: "Show or change how a function's workers come and go", Args: cobra.ExactArgs(1),
		Long:    "Show how many workers a function has, how many calls each takes and how long they stay, after changing what the flags name.\nA running node follows at once, without losing a call.",
		Example: "  flint function scaling hello\n  flint function scaling hello --min-warm 1 --keep-alive learned\n  flint function scaling hello --max-workers 0 --keep-alive default",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeFunctions(cmd, args, typed)
		},
	}
	project, format := projectFlag(cmd), outputFlag(cmd)
	numbers := map[string]*int{}
	for name, help := range map[string]string{
		"min-warm":         "workers that are kept ready although nobody calls",
		"max-workers":      "most workers at once; 0: what the node gives to one function",
		"calls-per-worker": "most calls at once in one worker; 0: what the language can, and never more than that",
	} {
		numbers[name] = cmd.Flags().Int(name, 0, help)
	}
	keep := cmd.Flags().String("keep-alive", "default", "how long a worker without calls stays: 90s, 10m, default for the node's setting, or learned from the times of the calls")
	return operate(cmd, func(cmd *cobra.Command, args []string, c *client.Client) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		var change client.Scaling
		changed := false
		for name, to := range map[string]**int{"min-warm": &change.MinWarm, "max-workers": &change.MaxWorkers, "calls-per-worker": &change.CallsPerWorker} {
			if cmd.Flags().Changed(name) {
				*to, changed = numbers[name], true
			}
		}
		if cmd.Flags().Changed("keep-alive") {
			text := keepAlive(*keep)
			change.KeepAlive, changed = &text, true
		}
		id, err := chooseProject(cmd.Context(), c, *project)
		if err != nil {
			return err
		}
		var s client.Scaling
		if changed {
			s, err = c.UpdateScaling(cmd.Context(), id, args[0], change)
		} else {
			s, err = c.Scaling(cmd.Context(), id, args[0])
		}
		if err != nil {
			return err
		}
		if *format == "json" {
			return writeJSON(cmd.OutOrStdout(), s)
		}
		return writeScaling(cmd, s)
	})
}

// keepAlive turns a duration into the seconds that a node understands; everything else is the node's to judge.
func keepAlive(text string) string {
	if d, err := time.ParseDuration(text); err == nil && d == d.Truncate(time.Second) {
		return strconv.Itoa(int(d / time.Second))
	}
	return text
}

func writeScaling(cmd *cobra.Command, s client.Scaling) error {
	number := func(n *int, zero string) string {
		if n == nil || *n == 0 {
			return zero
		}
		return strconv.Itoa(*n)
	}
	keep := "default"
	if s.KeepAlive != nil {
		keep = *s.KeepAlive
	}
	if _, err := strconv.Atoi(keep); err == nil {
		keep += "s"
	}
	return table(cmd.OutOrStdout(), "MIN-WARM MAX-WORKERS CALLS-PER-WORKER KEEP-ALIVE", [][]string{{
		number(s.MinWarm, "0"), number(s.MaxWorkers, "default"), number(s.CallsPerWorker, "default"), fmt.Sprint(keep),
	}})
}
