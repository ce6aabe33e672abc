package admin

import (
	"errors"
	"net/http"
	"strconv"

	"flint"
	"flint/client"
	"flint/wire"
)

func deliveryModel(d flint.Delivery) client.Delivery {
	on := make([]string, len(d.RetryOn))
	for i, o := range d.RetryOn {
		on[i] = string(o)
	}
	return client.Delivery{
		MaxAttempts: &d.MaxAttempts, RetryOn: &on, MinBackoff: &d.MinBackoff, MaxBackoff: &d.MaxBackoff, MaxAge: &d.MaxAge, DeadLetters: &d.DeadLetters,
		MaxConcurrent: &d.MaxConcurrent,
	}
}

func (a *admin) delivery(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	f, err := a.config.Store.Function(r.Context(), project, flint.FunctionID(r.PathValue("function")))
	if err != nil {
		return nil, function(r, err)
	}
	return deliveryModel(f.Delivery), nil
}

// updateDelivery changes what the request names and leaves the rest.
func (a *admin) updateDelivery(r *http.Request) (any, error) {
	var in client.Delivery
	if err := read(r, &in); err != nil {
		return nil, err
	}
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	f, err := a.config.Store.UpdateFunction(r.Context(), project, flint.FunctionID(r.PathValue("function")), func(f *flint.Function) error {
		d := f.Delivery
		for to, from := range map[*int]*int{
			&d.MaxAttempts: in.MaxAttempts, &d.MinBackoff: in.MinBackoff, &d.MaxBackoff: in.MaxBackoff, &d.MaxAge: in.MaxAge, &d.MaxConcurrent: in.MaxConcurrent,
		} {
			if from != nil {
				*to = *from
			}
		}
		if in.DeadLetters != nil {
			d.DeadLetters = *in.DeadLetters
		}
		if in.RetryOn != nil {
			d.RetryOn = nil
			for _, o := range *in.RetryOn {
				d.RetryOn = append(d.RetryOn, flint.Outcome(o))
			}
		}
		if field, why := d.Check(); field != "" {
			return flint.ErrInvalidArgument.Saying("%s: %s.", field, why)
		}
		f.Delivery = d
		return nil
	})
	if err != nil {
		return nil, function(r, err)
	}
	return deliveryModel(f.Delivery), nil
}

// errNoNode is of what only a running node can do.
func errNoNode(what string) error {
	return flint.ErrBadRequest.Saying("No node runs on this data directory: %s.", what)
}

// cancel ends an execution, whose function need not be said.
func (a *admin) cancel(r *http.Request) (any, error) {
	if a.config.Cancel == nil {
		return nil, errNoNode("start it to cancel executions")
	}
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	id := flint.ExecutionID(r.PathValue("execution"))
	e, err := a.config.Store.ExecutionByID(r.Context(), project, id)
	if err == nil {
		e, err = a.config.Cancel(r.Context(), project, e.Function, id)
	}
	if errors.Is(err, flint.ErrExecutionNotFound) {
		return nil, flint.ErrExecutionNotFound.Saying("There is no execution %s in project %s.", id, project)
	}
	if err != nil {
		return nil, err
	}
	return executionModel(e), nil
}

// letters finds the function that a request about dead letters names.
func (a *admin) letters(r *http.Request) (flint.ProjectID, flint.FunctionID, flint.ExecutionID, error) {
	project, err := a.project(r)
	if err != nil {
		return "", "", "", err
	}
	f, err := a.config.Store.Function(r.Context(), project, flint.FunctionID(r.PathValue("function")))
	if err != nil {
		return "", "", "", function(r, err)
	}
	return project, f.ID, flint.ExecutionID(r.PathValue("execution")), nil
}

func (a *admin) deadLetters(r *http.Request) (any, error) {
	project, f, _, err := a.letters(r)
	if err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > batch {
		return nil, flint.ErrInvalidArgument.Saying("The limit must be between 1 and %d.", batch)
	}
	found, total, err := a.config.Store.DeadLetters(r.Context(), project, f, flint.ExecutionID(r.URL.Query().Get("after")), limit)
	if err != nil {
		return nil, err
	}
	return wire.NewDeadLetterList(found, total), nil
}

// letter reads one dead letter.
func (a *admin) letter(r *http.Request) (*flint.DeadLetter, error) {
	project, f, id, err := a.letters(r)
	if err != nil {
		return nil, err
	}
	d, err := a.config.Store.DeadLetter(r.Context(), project, f, id)
	if errors.Is(err, flint.ErrDeadLetterNotFound) {
		return nil, flint.ErrDeadLetterNotFound.Saying("Function %s has no dead letter %s.", f, id)
	}
	return d, err
}

func (a *admin) deadLetter(r *http.Request) (any, error) {
	d, err := a.letter(r)
	if err != nil {
		return nil, err
	}
	return wire.NewDeadLetter(d), nil
}

func (a *admin) deleteDeadLetter(r *http.Request) (any, error) {
	d, err := a.letter(r)
	if err != nil {
		return nil, err
	}
	return struct{}{}, a.config.Store.DeleteDeadLetter(r.Context(), d.Project, d.Function, d.ID)
}

func (a *admin) purgeDeadLetters(r *http.Request) (any, error) {
	project, f, _, err := a.letters(r)
	if err != nil {
		return nil, err
	}
	n, err := a.config.Store.PurgeDeadLetters(r.Context(), project, f)
	return wire.DeadLettersPurged{Purged: n}, err
}

func (a *admin) redrive(r *http.Request) (any, error) {
	if a.config.Redrive == nil {
		return nil, errNoNode("start it to redrive dead letters")
	}
	d, err := a.letter(r)
	if err != nil {
		return nil, err
	}
	e, err := a.config.Redrive(r.Context(), d)
	if err != nil {
		return nil, err
	}
	return executionModel(e), nil
}
