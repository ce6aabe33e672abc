package explain

import (
	"context"
	"fmt"

	"flint"
)

// deadLetter says what is left of an execution that is not kept any more.
func (x *Explainer) deadLetter(ctx context.Context, project flint.ProjectID, id string) (*flint.Explanation, error) {
	d, err := x.config.Store.DeadLetterByID(ctx, project, flint.ExecutionID(id))
	if err != nil {
		return nil, err
	}
	return &flint.Explanation{
		Kind: "deadletter", ID: id, Function: d.Function, State: "dead", Since: d.DiedAt,
		Summary: fmt.Sprintf("The call failed for good after %s, the last of which ended with %s %d: %s", count(d.Tries, "attempt"), d.Outcome, d.StatusCode, lastLine(orNone(d.Error))),
		Advice:  []string{fmt.Sprintf("Make it again when the cause is gone: flint deadletter redrive %s %s.", d.Function, id), fmt.Sprintf("Or remove it: flint deadletter delete %s %s.", d.Function, id)},
		History: []flint.Moment{
			{At: d.AcceptedAt, What: fmt.Sprintf("The call came in (%s %s, trigger %s).", d.Method, d.Path, d.Trigger)},
			{At: d.DiedAt, What: "It was kept as a dead letter. Its execution is not kept any more."},
		},
	}, nil
}
