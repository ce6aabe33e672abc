package admin

import (
	"errors"
	"net/http"

	"flint"
	"flint/wire"
)

// explain says why a thing is in its state. Without a node nothing is known of workers.
func (a *admin) explain(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	e, err := a.config.Explainer.Explain(r.Context(), project, r.PathValue("id"))
	if errors.Is(err, flint.ErrNothingToExplain) {
		return nil, flint.ErrNothingToExplain.Saying("Project %s has no execution, deployment or function %s.", project, r.PathValue("id"))
	}
	if err != nil {
		return nil, err
	}
	return wire.NewExplanation(e), nil
}
