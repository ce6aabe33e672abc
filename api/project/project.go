// Package project is the REST service of a project's own settings: the variables that all its functions get.
package project

import (
	"context"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/store"
	"flint/wire"
)

// Service is the REST service.
type Service struct{ store *store.Store }

// New returns the service.
func New(s *store.Store) *Service { return &Service{s} }

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const variables, variable = "/v1/project/variables", "/v1/project/variables/{variableId}"
	read, write := []string{"project.read"}, []string{"project.write"}
	return []api.Route{
		{Method: "GET", Path: variables, Name: "project.listVariables", Summary: "List variables of the project", Scopes: read, Callers: auth.Servers, Handler: api.Handle(200, s.list)},
		{Method: "POST", Path: variables, Name: "project.createVariable", Summary: "Create variable of the project", Scopes: write, Callers: auth.Servers, Handler: api.Handle(201, s.create)},
		{Method: "GET", Path: variable, Name: "project.getVariable", Summary: "Get variable of the project", Scopes: read, Callers: auth.Servers, Handler: api.Handle(200, s.get)},
		{Method: "PUT", Path: variable, Name: "project.updateVariable", Summary: "Update variable of the project", Scopes: write, Callers: auth.Servers, Handler: api.Handle(200, s.update)},
		{Method: "DELETE", Path: variable, Name: "project.deleteVariable", Summary: "Delete variable of the project", Scopes: write, Callers: auth.Servers, Handler: api.Handle(204, s.delete)},
	}
}

type listIn struct {
	api.Request
	Queries []string `param:"queries" doc:"Queries, each a JSON text."`
	Total   bool     `param:"total" default:"true" rule:"loose" doc:"Count all rows. Without it the total is 0."`
}

func (s *Service) list(ctx context.Context, in *listIn) (*wire.VariableList, error) {
	l, err := flint.ParseList(in.Queries, flint.VariableAttributes())
	if err != nil {
		return nil, err
	}
	l.NoTotal = !in.Total
	found, total, err := s.store.Variables(ctx, in.Principal.ProjectID(), "", l)
	if err != nil {
		return nil, err
	}
	return wire.NewVariableList(found, total), nil
}

type createIn struct {
	api.Request
	VariableID string `param:"variableId,required" rule:"customId" doc:"Variable ID, or unique()."`
	Key        string `param:"key,required" rule:"text 1 255" doc:"Name of the variable."`
	Value      string `param:"value,required" rule:"text 0 8192" doc:"Value of the variable."`
	Secret     bool   `param:"secret" default:"true" doc:"Never show the value again."`
}

// Older gives an identifier to variables of clients that could not choose one, and shows those that could not be hidden.
func (in *createIn) Older(f wire.Format, p api.Params) {
	if f.Before(1, 9, 0) {
		p.Default("variableId", "unique()")
	}
	if f.Before(1, 7, 0) {
		p.DefaultJSON("secret", "false")
	}
}

func (s *Service) create(ctx context.Context, in *createIn) (*wire.Variable, error) {
	v := &flint.Variable{
		Project: in.Principal.ProjectID(), ID: flint.VariableID(api.ID(in.VariableID)), Key: in.Key, Value: in.Value, Secret: in.Secret,
	}
	if err := s.store.CreateVariable(ctx, v); err != nil {
		return nil, err
	}
	return wire.NewVariable(v), nil
}

type oneIn struct {
	api.Request
	VariableID string `param:"variableId" rule:"id" doc:"Variable ID."`
}

func (s *Service) get(ctx context.Context, in *oneIn) (*wire.Variable, error) {
	v, err := s.store.Variable(ctx, in.Principal.ProjectID(), "", flint.VariableID(in.VariableID))
	if err != nil {
		return nil, err
	}
	return wire.NewVariable(v), nil
}

type updateIn struct {
	oneIn
	Key    *string `param:"key" rule:"text 0 255" doc:"Name of the variable; absent: as it is."`
	Value  *string `param:"value" rule:"text 0 8192" doc:"Value of the variable; absent: as it is."`
	Secret *bool   `param:"secret" doc:"Never show the value again; absent: as it is."`
}

func (s *Service) update(ctx context.Context, in *updateIn) (*wire.Variable, error) {
	v, err := s.store.UpdateVariable(ctx, in.Principal.ProjectID(), "", flint.VariableID(in.VariableID), func(v *flint.Variable) error {
		return v.Change(in.Key, in.Value, in.Secret)
	})
	if err != nil {
		return nil, err
	}
	return wire.NewVariable(v), nil
}

func (s *Service) delete(ctx context.Context, in *oneIn) (api.NoContent, error) {
	return api.NoContent{}, s.store.DeleteVariable(ctx, in.Principal.ProjectID(), "", flint.VariableID(in.VariableID))
}
