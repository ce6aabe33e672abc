// Package explain says in plain words why an execution, a deployment, a dead letter or a function is in its state, what it
// waits for, what happens next and what somebody could do. It reads what the parts that move them have written down, and
// changes nothing.
package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"flint"
	"flint/store"
	"flint/worker"
)

// Config is what an Explainer needs.
type Config struct {
	Store       *store.Store
	Pool        *worker.Pool                   // nil: no workers are known
	Said        func(flint.ExecutionID) string // the last that a queued call that runs here has logged; nil: not known
	Concurrency int                            // asynchronous calls at once on this node; 0: not known
}

// Explainer explains. It is safe for concurrent use.
type Explainer struct{ config Config }

// New returns an Explainer.
func New(c Config) *Explainer {
	if c.Store == nil {
		panic("explain: Store is required")
	}
	return &Explainer{config: c}
}

// nothing are the errors that say that there is no such thing.
var nothing = [...]*flint.Error{flint.ErrExecutionNotFound, flint.ErrDeploymentNotFound, flint.ErrFunctionNotFound, flint.ErrDeadLetterNotFound} //nolint:gochecknoglobals // read only

// Explain says what is known of the thing with an identifier, or flint.ErrNothingToExplain. It looks for an execution first,
// then a deployment, then a function, and last a dead letter whose execution is not kept any more.
func (x *Explainer) Explain(ctx context.Context, project flint.ProjectID, id string) (*flint.Explanation, error) {
	for _, look := range []func(context.Context, flint.ProjectID, string) (*flint.Explanation, error){x.execution, x.deployment, x.function, x.deadLetter} {
		e, err := look(ctx, project, id)
		switch {
		case err == nil:
			e.Project = project
			return e, nil
		case !slices.ContainsFunc(nothing[:], func(none *flint.Error) bool { return errors.Is(err, none) }):
			return nil, err
		}
	}
	return nil, flint.ErrNothingToExplain
}

// in words a time to come.
func in(t time.Time) string { return "in " + round(time.Until(t)) }

func round(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// lastLine is the last line of a text that says something.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
