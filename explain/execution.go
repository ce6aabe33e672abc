package explain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"flint"
	"flint/store"
)

// execution says why an execution waits, runs, or ended as it did.
func (x *Explainer) execution(ctx context.Context, project flint.ProjectID, id string) (*flint.Explanation, error) {
	run, err := x.config.Store.ExecutionByID(ctx, project, flint.ExecutionID(id))
	if err != nil {
		return nil, err
	}
	f, err := x.config.Store.Function(ctx, project, run.Function)
	if err != nil {
		return nil, err
	}
	e := &flint.Explanation{Kind: "execution", ID: id, Function: run.Function, State: string(run.Status), Since: run.UpdatedAt}
	e.History = append(e.History, flint.Moment{At: run.CreatedAt, What: fmt.Sprintf("The call came in (%s %s, trigger %s).", run.RequestMethod, run.RequestPath, run.Trigger)})
	attempts, err := x.config.Store.Attempts(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range attempts {
		e.History = append(e.History, flint.Moment{At: a.EndedAt, What: fmt.Sprintf("Attempt %d, which began %s, ended with %s after %s: %s",
			a.Number, a.BegunAt.Format(time.RFC3339), a.Outcome, round(a.EndedAt.Sub(a.BegunAt)), lastLine(orNone(a.Error)))})
	}
	if run.Status.Final() {
		return e, x.ended(ctx, f, run, attempts, e)
	}
	w, err := x.config.Store.Waiting(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	if w == nil { // it has ended since it was read
		if run, err = x.config.Store.Execution(ctx, project, run.Function, run.ID); err != nil {
			return nil, err
		}
		e.State, e.Since = string(run.Status), run.UpdatedAt
		return e, x.ended(ctx, f, run, attempts, e)
	}
	if run.Status == flint.ExecutionProcessing {
		x.running(f, run, w, e)
		return e, nil
	}
	return e, x.waiting(ctx, f, w, e)
}

// running explains an execution that runs.
func (x *Explainer) running(f *flint.Function, run *flint.Execution, w *store.Waiting, e *flint.Explanation) {
	s := x.standing(f)
	limit := run.UpdatedAt.Add(f.Timeout + flint.AsynchronousGrace)
	e.Summary = fmt.Sprintf("Node %s has had it for %s, as attempt %d.", w.Node, round(time.Since(run.UpdatedAt)), w.Tries+1)
	if x.config.Said != nil {
		if last := strings.TrimSpace(x.config.Said(run.ID)); last != "" {
			e.Summary += fmt.Sprintf(" The last that it logged: %q.", lastLine(last))
		} else {
			e.Summary += " It has logged nothing yet."
		}
	}
	e.WaitingFor = "the function's answer"
	switch {
	case s.Workers == 0 && s.Starting > 0:
		e.WaitingFor = "the start of a worker"
	case s.Waiting > 0 && s.Workers > 0:
		e.WaitingFor = fmt.Sprintf("the function's answer, or before that a place in one of its %s, for which %d calls wait on this node", count(s.Workers, "worker"), s.Waiting)
	case s.Workers == 0 && s.Waiting > 0:
		e.WaitingFor = "a place for a worker: other functions have those of the node"
	}
	e.Next = fmt.Sprintf("It ends with the answer, or %s as timed out (the function's timeout is %s). If the node dies, its lease runs out %s and the execution is settled by another.",
		in(limit), f.Timeout, in(w.LeaseUntil))
	e.Advice = []string{
		"See what it logs while it runs: flint tail --function " + string(f.ID) + ".",
		"End it: flint executions cancel " + string(run.ID) + ".",
	}
}

// waiting explains an execution that nobody runs at the moment.
func (x *Explainer) waiting(ctx context.Context, f *flint.Function, w *store.Waiting, e *flint.Explanation) error {
	blocked, err := x.blocked(ctx, f)
	if err != nil {
		return err
	}
	e.Advice = []string{"Cancel it: flint executions cancel " + e.ID + "."}
	switch {
	case w.Parked == "order":
		e.Summary = fmt.Sprintf("It waits for its turn: calls with the ordering key %q are made one at a time.", w.OrderKey)
		e.WaitingFor = "the end of execution " + string(w.Behind)
		e.Next = "It is taken when those before it have ended, in whatever way."
		e.Advice = append(e.Advice, "flint explain "+string(w.Behind)+" says what that one does.")
	case w.Parked == "limit":
		e.Summary = fmt.Sprintf("The function has %s running, as many as its delivery settings allow (maxConcurrent %d).", count(w.Running, "asynchronous call"), f.Delivery.MaxConcurrent)
		e.WaitingFor = "the end of one of them"
		e.Next = "It is taken then, the oldest first."
		e.Advice = append(e.Advice, "Raise the limit: flint function delivery "+string(f.ID)+" --max-concurrent N.")
	case w.DueAt.After(time.Now()) && w.Tries > 0:
		e.Summary = w.Reason
		e.WaitingFor = "the pause before attempt " + fmt.Sprint(w.Tries+1)
		e.Next = fmt.Sprintf("Attempt %d of %d begins %s.", w.Tries+1, f.Delivery.MaxAttempts, in(w.DueAt))
	case w.DueAt.After(time.Now()) && w.Reason != "":
		e.Summary = "There was no room for it. " + w.Reason
		e.WaitingFor = "room in a worker of the function"
		e.Next = "It is tried again " + in(w.DueAt) + ", without counting as an attempt."
		e.Advice = append(e.Advice, "flint explain "+string(f.ID)+" says how busy the function is.")
	case w.DueAt.After(time.Now()):
		e.Summary = "It is to run at " + w.DueAt.UTC().Format(time.RFC3339) + "."
		e.WaitingFor = "its time"
		e.Next = "It is taken " + in(w.DueAt) + "."
	default:
		e.Summary = fmt.Sprintf("It has been due for %s, with %s before it in the queue.", round(time.Since(w.DueAt)), count(w.Ahead, "call"))
		e.WaitingFor = "a free slot for asynchronous calls"
		if x.config.Concurrency > 0 {
			e.WaitingFor += fmt.Sprintf(" (this node makes %d at once)", x.config.Concurrency)
		}
		e.Next = "It is taken as soon as those before it have been."
		if w.Reason != "" {
			e.Summary += " " + w.Reason
		}
	}
	if blocked != nil {
		e.Summary += " When it is taken it will fail: " + blocked.why
		e.Advice = append(blocked.advice, e.Advice...)
	}
	if !w.Expires.IsZero() {
		e.Next += " If nobody has begun it by " + w.Expires.UTC().Format(time.RFC3339) + " it is given up."
	}
	return nil
}

// ended explains an execution that has ended.
func (x *Explainer) ended(ctx context.Context, f *flint.Function, run *flint.Execution, attempts []flint.Attempt, e *flint.Explanation) error {
	outcome := flint.Outcome("")
	if run.Receipt != nil {
		outcome = run.Receipt.Outcome
	}
	if n := len(attempts); n > 0 {
		outcome = attempts[n-1].Outcome
	}
	if outcome == "" {
		outcome = flint.OutcomeOf(run.StatusCode)
	}
	e.Summary, e.Advice = verdict(f, run, outcome)
	if r := run.Receipt; r != nil && r.Run > 0 {
		e.Summary += fmt.Sprintf(" It waited %s for a worker%s and ran for %s.", round(r.Queue+r.ColdStart), coldly(r), round(r.Run))
	}
	e.History = append(e.History, flint.Moment{At: run.UpdatedAt, What: fmt.Sprintf("It ended as %s with status code %d.", run.Status, run.StatusCode)})
	switch d, err := x.config.Store.DeadLetter(ctx, f.Project, f.ID, run.ID); {
	case err == nil:
		e.History = append(e.History, flint.Moment{At: d.DiedAt, What: "It was kept as a dead letter."})
		e.Advice = append(e.Advice, fmt.Sprintf("Make it again when the cause is gone: flint deadletter redrive %s %s.", f.ID, run.ID))
	case !errors.Is(err, flint.ErrDeadLetterNotFound):
		return err
	}
	if run.Logs == "" && run.Errors == "" && !f.Logging {
		e.Advice = append(e.Advice, "Nothing was kept of what it logged, because the function's logging is off: turn it on to see more.")
	}
	return nil
}

func coldly(r *flint.Receipt) string {
	if r.Cold() {
		return " (a cold start of " + round(r.ColdStart) + ")"
	}
	return ""
}

// verdict says whose fault the end of an execution was, and what to do.
func verdict(f *flint.Function, run *flint.Execution, o flint.Outcome) (why string, advice []string) {
	said := lastLine(run.Errors)
	logs := "Read what it logged: flint executions show " + string(run.ID) + "."
	switch o {
	case flint.OutcomeAnswered:
		if run.StatusCode >= 400 {
			return fmt.Sprintf("The function itself answered with %d: nothing went wrong around it.", run.StatusCode), []string{logs}
		}
		return fmt.Sprintf("The function answered with %d.", run.StatusCode), nil
	case flint.OutcomeThrottled:
		return fmt.Sprintf("The function itself answered with %d, which asks to try again later.", run.StatusCode), []string{logs}
	case flint.OutcomeTimeout:
		return fmt.Sprintf("The function did not answer in time: %s Its timeout is %s; callers who wait get at most %s.", said, f.Timeout, flint.SynchronousTimeout), []string{
			logs, "Look at what it waits for: services that it calls, and their own timeouts.", "Give it more time (timeout, up to 900 seconds), and call it asynchronously when it needs more than 30.",
		}
	case flint.OutcomeCrash:
		return "The function's process ended before it answered: " + crash(run.Errors), append(crashAdvice(f, run.Errors), logs)
	case flint.OutcomeLost:
		return "The node that ran it stopped, or was silent for longer than its lease: " + said, []string{
			"It may have had effects. If it may run twice, let such calls be made again: flint function delivery " + string(f.ID) + " --max-attempts 3 --retry-on lost.",
			"See why the node stopped: its own log, and the host's.",
		}
	case flint.OutcomeUnrunnable:
		return "There was nothing to run: " + said, []string{"flint explain " + string(f.ID) + " says what the function lacks."}
	case flint.OutcomeExpired:
		return said, []string{"The node had no room for it for too long, or was down: flint explain " + string(f.ID) + ". The age is a setting: flint function delivery " + string(f.ID) + " --max-age."}
	case flint.OutcomeCanceled:
		return "Somebody canceled it.", nil
	case flint.OutcomeError:
	}
	if run.Errors == "" {
		return fmt.Sprintf("The function itself answered with %d: nothing went wrong around it.", run.StatusCode), []string{logs}
	}
	if run.StatusCode == http.StatusServiceUnavailable {
		return "The function's code could not be loaded: " + said, []string{logs, "Check the entrypoint, and that the build installs what the code imports."}
	}
	return fmt.Sprintf("The function failed with status code %d: %s", run.StatusCode, orNone(said)), []string{logs, "The cause is in the function's own code: its errors name the place."}
}

// crash is the line of the errors that says how the process ended.
func crash(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.Contains(line, "worker") {
			return line
		}
	}
	return lastLine(text)
}

func crashAdvice(f *flint.Function, text string) []string {
	if strings.Contains(text, "memory") {
		size := flint.SpecificationBySlug(f.RuntimeSpec)
		return []string{fmt.Sprintf("It had %d MB: give it a larger runtime specification, or use less memory.", size.Memory)}
	}
	if strings.Contains(text, "no worker could be started") {
		return []string{"See whether the host can start sandboxes: flint doctor."}
	}
	return []string{"Look for what ends the process: an exit call, an uncaught error outside of the handler, native code."}
}
