package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"flint/client"
)

func newSchedule() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schedule", Short: "Show when functions run by themselves", Args: cobra.NoArgs, Aliases: []string{"schedules"},
		Long:    "Show the schedules of a project's functions: when they run next, and why they do not.\nThe times of a schedule are the function's own setting; the commands below say what it does besides.",
		Example: "  flint schedule\n  flint schedule show report\n  flint schedule pause report\n  flint schedule set report --missed once --overlap skip",
	}
	cmd.AddCommand(newScheduleShow(), newSchedulePause("pause", "Have a function not run by itself until it is resumed", true),
		newSchedulePause("resume", "Have a function run by itself again", false), newScheduleSet())
	return inProject(cmd, func(cmd *cobra.Command, _ []string, c *client.Client, id, format string) error {
		all, err := c.Schedules(cmd.Context(), id)
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), all)
		}
		var rows [][]string
		for _, s := range all {
			rows = append(rows, []string{s.Function, fields(s.Cron), s.Zone, when(s.Next), scheduleState(s)})
		}
		return table(cmd.OutOrStdout(), "FUNCTION SCHEDULE ZONE NEXT STATE", rows)
	})
}

// fields is a schedule without its zone, which is shown on its own.
func fields(cron string) string {
	if first, rest, _ := strings.Cut(cron, " "); strings.Contains(first, "TZ=") {
		return strings.TrimSpace(rest)
	}
	return cron
}

func scheduleState(s client.Schedule) string {
	if s.State == "inactive" {
		return "inactive: " + s.Reason
	}
	return s.State
}

// scheduleCommand makes a command about the schedule of one function. change says what to change, or nothing.
func scheduleCommand(cmd *cobra.Command, change func(*cobra.Command) *client.SchedulePolicy) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.ValidArgsFunction = oneFunctionArg
	return inProject(cmd, func(cmd *cobra.Command, args []string, c *client.Client, id, format string) (err error) {
		var s client.Schedule
		if p := change(cmd); p != nil {
			s, err = c.UpdateSchedule(cmd.Context(), id, args[0], *p)
		} else {
			s, err = c.Schedule(cmd.Context(), id, args[0])
		}
		if err != nil {
			return err
		}
		if format == "json" {
			return writeJSON(cmd.OutOrStdout(), s)
		}
		return writeSchedule(cmd.OutOrStdout(), s)
	})
}

func newScheduleShow() *cobra.Command {
	return scheduleCommand(&cobra.Command{
		Use: "show FUNCTION", Short: "Show a function's schedule: its next runs, what it does besides, and what it has done",
		Example: "  flint schedule show report\n  flint schedule show report -o json",
	}, func(*cobra.Command) *client.SchedulePolicy { return nil })
}

func newSchedulePause(name, short string, paused bool) *cobra.Command {
	return scheduleCommand(&cobra.Command{
		Use: name + " FUNCTION", Short: short, Example: "  flint schedule " + name + " report",
		Long: short + ". Times that come while a schedule is paused do not run later.",
	}, func(*cobra.Command) *client.SchedulePolicy { return &client.SchedulePolicy{Paused: &paused} })
}

func newScheduleSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set FUNCTION", Short: "Say what a function's schedule does besides its times",
		Long: "Say what becomes of times at which the node did not run, and of those at which the run before has not ended, and how runs are\n" +
			"spread. What is not named stays as it is.",
		Example: "  flint schedule set report --missed once --overlap skip\n  flint schedule set report --missed all --missed-limit 10 --missed-age 6h\n  flint schedule set report --jitter 30s",
	}
	missed := cmd.Flags().String("missed", "default", "times at which the node did not run: default runs those of the last five minutes, skip none, once one for all, all the newest ones")
	limit := cmd.Flags().Int("missed-limit", 0, "with --missed=all, how many of them run at most; 0: 100")
	age := cmd.Flags().Duration("missed-age", 0, "with --missed=once and all, how long ago they may be; 0: a day")
	overlap := cmd.Flags().String("overlap", "allow", "a time at which the run before has not ended: allow runs it, skip does not")
	jitter := cmd.Flags().String("jitter", "default", "longest delay of the runs, of which the function gets a part that stays the same: 30s, 5m, none, or default for the node's setting")
	for name, words := range map[string][]string{"missed": {"default", "skip", "once", "all"}, "overlap": {"allow", "skip"}, "jitter": {"default", "none"}} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	return scheduleCommand(cmd, func(cmd *cobra.Command) *client.SchedulePolicy {
		p := &client.SchedulePolicy{}
		for name, set := range map[string]func(){
			"missed": func() { p.Missed = missed }, "missed-limit": func() { p.MissedLimit = limit }, "overlap": func() { p.Overlap = overlap },
			"missed-age": func() { seconds := int(*age / time.Second); p.MissedAge = &seconds },
			"jitter":     func() { text := keepAlive(*jitter); p.Jitter = &text },
		} {
			if cmd.Flags().Changed(name) {
				set()
			}
		}
		return p
	})
}

func writeSchedule(w io.Writer, s client.Schedule) error {
	rows := [][2]string{{"function", s.Function}, {"schedule", fields(s.Cron)}, {"zone", s.Zone}, {"state", s.State}}
	if s.Reason != "" {
		rows = append(rows, [2]string{"reason", s.Reason})
	}
	missed := *s.Missed
	if *s.MissedLimit > 0 && missed == "all" {
		missed += ", at most " + strconv.Itoa(*s.MissedLimit)
	}
	if *s.MissedAge > 0 && (missed == "once" || strings.HasPrefix(missed, "all")) {
		missed += ", at most " + (time.Duration(*s.MissedAge) * time.Second).String() + " ago"
	}
	rows = append(rows, [2]string{"missed", missed}, [2]string{"overlap", *s.Overlap}, [2]string{"jitter", *s.Jitter})
	if s.DelaySeconds > 0 {
		rows = append(rows, [2]string{"delay", fmt.Sprintf("%.3fs", s.DelaySeconds)})
	}
	rows = append(rows, [2]string{"runs", strconv.FormatInt(s.Runs, 10)})
	if !s.LastRun.IsZero() {
		rows = append(rows, [2]string{"last run", strings.TrimSpace(when(s.LastRun) + " " + s.LastID + " " + s.LastStatus)})
	}
	rows = append(rows, [2]string{"skipped", strconv.FormatInt(s.Skipped, 10)})
	if !s.LastSkip.IsZero() {
		rows = append(rows, [2]string{"last skipped", when(s.LastSkip) + ", " + s.SkipReason})
	}
	for i, at := range s.NextRuns {
		name := ""
		if i == 0 {
			name = "next runs"
		}
		rows = append(rows, [2]string{name, when(at)})
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%-13s %s\n", r[0], clean(r[1])); err != nil {
			return err
		}
	}
	return nil
}
