package explain

import (
	"context"
	"fmt"
	"time"

	"flint"
)

// schedule adds what is to be said of a function's schedule, if it has one.
func (x *Explainer) schedule(ctx context.Context, f *flint.Function, e *flint.Explanation) error {
	s, err := x.config.Store.Schedule(ctx, f.Project, f.ID)
	if err != nil || s.Cron == "" {
		return err
	}
	switch state, why := s.State(); state {
	case flint.ScheduleActive:
		e.Next = fmt.Sprintf("Its schedule %q runs it next at %s, %s.", s.Cron, s.Due.UTC().Format(time.RFC3339), in(s.Due))
	case flint.SchedulePaused:
		e.Next = fmt.Sprintf("Its schedule %q is paused: it does not run by itself.", s.Cron)
		e.Advice = append(e.Advice, "Let the schedule go on: flint schedule resume "+string(f.ID)+".")
	case flint.ScheduleInactive:
		e.Next = fmt.Sprintf("Its schedule %q does not run it: %s", s.Cron, why)
	}
	if !s.LastRun.IsZero() {
		e.History = append(e.History, flint.Moment{At: s.LastRun, What: fmt.Sprintf("Its schedule ran it for the last time, as execution %s, of %s.", s.LastExecution, count(int(s.Runs), "run"))})
	}
	if s.Skipped > 0 {
		e.History = append(e.History, flint.Moment{At: s.LastSkip, What: fmt.Sprintf("This time of its schedule did not run, as the last of %d: %s", s.Skipped, skipped(s.SkipReason))})
	}
	return nil
}

// skipped words why a time of a schedule did not run.
func skipped(r flint.SkipReason) string {
	switch r {
	case flint.SkipMissed:
		return "the node was down or its clock had jumped, and the schedule's settings let what was missed go."
	case flint.SkipOverlap:
		return "the run before had not ended, and the schedule's settings do not allow two."
	case flint.SkipChanged:
		return "it was due when the schedule was changed, paused or lost its deployment."
	}
	return string(r)
}
