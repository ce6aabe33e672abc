package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"flint/client"
)

// oneFunctionArg completes the only argument, a function.
func oneFunctionArg(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeFunctions(cmd, args, typed)
}

func newFunctionDelivery() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delivery ID", Short: "Show or change how a function's asynchronous calls are made", Args: cobra.ExactArgs(1),
		Long: "Show how often calls that nobody waits for are attempted, with which pauses, how many run at once and whether those that fail for\n" +
			"good are kept, after changing what the flags name. Without any of it a call is made once, as in Appwrite.",
		Example:           "  flint function delivery mailer\n  flint function delivery mailer --max-attempts 5 --dead-letters\n  flint function delivery mailer --retry-on timeout,crash --min-backoff 2s --max-backoff 10m --max-concurrent 4",
		ValidArgsFunction: oneFunctionArg,
	}
	project, format := projectFlag(cmd), outputFlag(cmd)
	flags := cmd.Flags()
	attempts := flags.Int("max-attempts", 1, "how often a call is attempted at most")
	concurrent := flags.Int("max-concurrent", 0, "most asynchronous calls at once; 0: no limit")
	letters := flags.Bool("dead-letters", false, "keep calls that failed for good: see flint deadletter")
	on := flags.StringSlice("retry-on", nil, "after which outcomes: throttled, error, timeout, crash, lost; empty: all")
	_ = cmd.RegisterFlagCompletionFunc("retry-on", cobra.FixedCompletions([]string{"throttled", "error", "timeout", "crash", "lost"}, cobra.ShellCompDirectiveNoFileComp))
	times := map[string]*time.Duration{
		"min-backoff": flags.Duration("min-backoff", time.Second, "bound of the first pause between attempts; it doubles with each"),
		"max-backoff": flags.Duration("max-backoff", 5*time.Minute, "longest pause between attempts"),
		"max-age":     flags.Duration("max-age", 24*time.Hour, "how long after it is due a call may still begin"),
	}
	return operate(cmd, func(cmd *cobra.Command, args []string, c *client.Client) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		var change client.Delivery
		changed := false
		set := func(name string, apply func()) {
			if flags.Changed(name) {
				changed = true
				apply()
			}
		}
		set("max-attempts", func() { change.MaxAttempts = attempts })
		set("max-concurrent", func() { change.MaxConcurrent = concurrent })
		set("dead-letters", func() { change.DeadLetters = letters })
		set("retry-on", func() { change.RetryOn = on })
		for name, to := range map[string]**int{"min-backoff": &change.MinBackoff, "max-backoff": &change.MaxBackoff, "max-age": &change.MaxAge} {
			d := *times[name]
			if d != d.Truncate(time.Second) {
				return fmt.Errorf("--%s=%s: whole seconds are possible", name, d)
			}
			n := int(d / time.Second)
			set(name, func() { *to = &n })
		}
		id, err := chooseProject(cmd.Context(), c, *project)
		if err != nil {
			return err
		}
		var d client.Delivery
		if changed {
			d, err = c.UpdateDelivery(cmd.Context(), id, args[0], change)
		} else {
			d, err = c.Delivery(cmd.Context(), id, args[0])
		}
		if err != nil {
			return err
		}
		if *format == "json" {
			return writeJSON(cmd.OutOrStdout(), d)
		}
		return writeDelivery(cmd, d)
	})
}

func writeDelivery(cmd *cobra.Command, d client.Delivery) error {
	seconds := func(n *int, zero string) string {
		if n == nil || *n == 0 {
			return zero
		}
		return (time.Duration(*n) * time.Second).String()
	}
	attempts, concurrent, on, letters := "1", "no limit", "all", "no"
	if d.MaxAttempts != nil && *d.MaxAttempts > 1 {
		attempts = strconv.Itoa(*d.MaxAttempts)
	}
	if d.MaxConcurrent != nil && *d.MaxConcurrent > 0 {
		concurrent = strconv.Itoa(*d.MaxConcurrent)
	}
	if d.RetryOn != nil && len(*d.RetryOn) > 0 {
		on = strings.Join(*d.RetryOn, ",")
	}
	if attempts == "1" {
		on = ""
	}
	if d.DeadLetters != nil && *d.DeadLetters {
		letters = "yes"
	}
	return table(cmd.OutOrStdout(), "ATTEMPTS RETRY-ON BACKOFF MAX-AGE CONCURRENT DEAD-LETTERS", [][]string{{
		attempts, on, seconds(d.MinBackoff, "1s") + " to " + seconds(d.MaxBackoff, "5m0s"), seconds(d.MaxAge, "24h0m0s"), concurrent, letters,
	}})
}

func newExecutionsCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "End an asynchronous execution that waits or runs", Args: cobra.ExactArgs(1),
		Long:    "End an asynchronous execution that waits or runs. One that runs is told to stop, and killed with its worker when it does not; what it has\nlogged is kept. It ends as failed, and is not attempted again.",
		Example: "  flint executions cancel 68c1f2aa0003f1b2c3d4",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeExecutions(cmd, args, typed)
		},
	}
	return inProject(cmd, func(cmd *cobra.Command, args []string, c *client.Client, id, format string) error {
		e, err := c.Cancel(cmd.Context(), id, args[0])
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), e)
		}
		return writeWholeExecution(cmd.OutOrStdout(), e)
	})
}
