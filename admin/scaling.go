package admin

import (
	"net/http"

	"flint"
	"flint/client"
)

func scalingModel(s flint.Scaling) client.Scaling {
	keep := s.KeepAlive.String()
	return client.Scaling{MinWarm: &s.MinWarm, MaxWorkers: &s.MaxWorkers, CallsPerWorker: &s.CallsPerWorker, KeepAlive: &keep}
}

// function says which function is unknown, for people.
func function(r *http.Request, err error) error {
	if known := flint.ErrFunctionNotFound; known.Is(err) {
		return known.Saying("There is no function %s in project %s.", r.PathValue("function"), r.PathValue("project"))
	}
	return err
}

func (a *admin) scaling(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	f, err := a.config.Store.Function(r.Context(), project, flint.FunctionID(r.PathValue("function")))
	if err != nil {
		return nil, function(r, err)
	}
	return scalingModel(f.Scaling), nil
}

// updateScaling changes what the request names and leaves the rest.
func (a *admin) updateScaling(r *http.Request) (any, error) {
	var in client.Scaling
	if err := read(r, &in); err != nil {
		return nil, err
	}
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	f, err := a.config.Store.UpdateFunction(r.Context(), project, flint.FunctionID(r.PathValue("function")), func(f *flint.Function) error {
		s := f.Scaling
		for to, from := range map[*int]*int{&s.MinWarm: in.MinWarm, &s.MaxWorkers: in.MaxWorkers, &s.CallsPerWorker: in.CallsPerWorker} {
			if from != nil {
				*to = *from
			}
		}
		if in.KeepAlive != nil {
			keep, ok := flint.ParseKeepAlive(*in.KeepAlive)
			if !ok {
				return flint.ErrInvalidArgument.Saying("keepAlive: %q is neither default nor learned nor a number of seconds from 1 to 86400.", *in.KeepAlive)
			}
			s.KeepAlive = keep
		}
		if field, why := s.Check(a.config.MaxWorkers); field != "" {
			return flint.ErrInvalidArgument.Saying("%s: %s.", field, why)
		}
		f.Scaling = s
		return nil
	})
	if err != nil {
		return nil, function(r, err)
	}
	return scalingModel(f.Scaling), nil
}
