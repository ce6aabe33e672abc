package functions

import (
	"context"

	"flint"
	"flint/api"
	"flint/wire"
)

type listVariablesIn struct {
	oneFunction
	page
}

func (s *Service) listVariables(ctx context.Context, in *listVariablesIn) (*wire.VariableList, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	l, err := in.list(flint.VariableAttributes(), nil)
	if err != nil {
		return nil, err
	}
	found, total, err := s.config.Store.Variables(ctx, in.project(), in.id(), l)
	if err != nil {
		return nil, err
	}
	return wire.NewVariableList(found, total), nil
}

type createVariableIn struct {
	oneFunction
	VariableID string `param:"variableId,required" rule:"customId" doc:"Variable ID, or unique()."`
	Key        string `param:"key,required" rule:"text 1 255" doc:"Name of the variable."`
	Value      string `param:"value,required" rule:"text 0 8192" doc:"Value of the variable."`
	Secret     bool   `param:"secret" default:"true" doc:"Never show the value again."`
}

// Older gives an identifier to variables of clients that could not choose one.
func (in *createVariableIn) Older(f wire.Format, p api.Params) {
	if f.Before(1, 9, 4) {
		p.Default("variableId", "unique()")
	}
	if f.Before(1, 7, 0) {
		p.DefaultJSON("secret", "false") // there were none
	}
}

func (s *Service) createVariable(ctx context.Context, in *createVariableIn) (*wire.Variable, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	v := &flint.Variable{
		Project: in.project(), ID: flint.VariableID(api.ID(in.VariableID)), Function: in.id(),
		Key: in.Key, Value: in.Value, Secret: in.Secret,
	}
	if err := s.config.Store.CreateVariable(ctx, v); err != nil {
		return nil, err
	}
	return wire.NewVariable(v), nil
}

type oneVariable struct {
	oneFunction
	VariableID string `param:"variableId" rule:"id" doc:"Variable ID."`
}

func (in *oneVariable) variable() flint.VariableID { return flint.VariableID(in.VariableID) }

func (s *Service) getVariable(ctx context.Context, in *oneVariable) (*wire.Variable, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	v, err := s.config.Store.Variable(ctx, in.project(), in.id(), in.variable())
	if err != nil {
		return nil, err
	}
	return wire.NewVariable(v), nil
}

type updateVariableIn struct {
	oneVariable
	Key    *string `param:"key" rule:"text 0 255" doc:"Name of the variable; absent: as it is."`
	Value  *string `param:"value" rule:"text 0 8192" doc:"Value of the variable; absent: as it is."`
	Secret *bool   `param:"secret" doc:"Never show the value again; absent: as it is."`
}

func (s *Service) updateVariable(ctx context.Context, in *updateVariableIn) (*wire.Variable, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	v, err := s.config.Store.UpdateVariable(ctx, in.project(), in.id(), in.variable(), func(v *flint.Variable) error {
		return v.Change(in.Key, in.Value, in.Secret)
	})
	if err != nil {
		return nil, err
	}
	return wire.NewVariable(v), nil
}

func (s *Service) deleteVariable(ctx context.Context, in *oneVariable) (api.NoContent, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return api.NoContent{}, err
	}
	return api.NoContent{}, s.config.Store.DeleteVariable(ctx, in.project(), in.id(), in.variable())
}
