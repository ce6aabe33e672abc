// Package functions is the REST service of functions: their settings, deployments, executions and variables.
package functions

import (
	"context"
	"io"
	"log/slog"
	"time"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/blob"
	"flint/build"
	"flint/invoke"
	"flint/runtimes"
	"flint/store"
	"flint/upload"
	"flint/wire"
)

// Invoker runs functions. *invoke.Invoker is one; tests have another.
type Invoker interface {
	Run(context.Context, *invoke.Call) (*invoke.Result, error)
	Enqueue(context.Context, *invoke.Call) (*flint.Execution, error)
	Delete(flint.ProjectID, flint.FunctionID)
}

// Builder builds deployments. *build.Builder is one; tests have another.
type Builder interface {
	Receive(context.Context, io.Reader) (build.Source, error)
	Submit(context.Context, *flint.Deployment) error
	Duplicate(ctx context.Context, d *flint.Deployment, of flint.DeploymentID) error
	Cancel(context.Context, flint.ProjectID, flint.FunctionID, flint.DeploymentID) (*flint.Deployment, error)
	Collect(ctx context.Context, digests ...string) error
	Forget(flint.ProjectID, flint.FunctionID) error
}

// Config is what the service needs.
type Config struct {
	Store    *store.Store
	Invoker  Invoker
	Builder  Builder
	Uploads  *upload.Keeper
	Blobs    blob.Store
	Signer   *auth.Signer
	Runtimes *runtimes.Catalog
	Logger   *slog.Logger

	Domain        string        // below which functions get their domains; empty: they get none
	MaxCPUs       float64       // of a specification; 0: no limit
	MaxMemory     int           // of a specification, in MB; 0: no limit
	MaxTimeout    time.Duration // of a function; 0: flint.MaxFunctionTimeout
	CreationLimit int           // functions that a project may create in a day; 0: no limit
}

// Service is the REST service.
type Service struct {
	config    Config
	sizes     []flint.Specification
	templates []template
}

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil || c.Invoker == nil || c.Builder == nil || c.Uploads == nil || c.Blobs == nil || c.Signer == nil || c.Runtimes == nil || c.Logger == nil {
		panic("functions: Store, Invoker, Builder, Uploads, Blobs, Signer, Runtimes and Logger are required")
	}
	if c.MaxTimeout <= 0 {
		c.MaxTimeout = flint.MaxFunctionTimeout
	}
	return &Service{config: c, sizes: flint.Specifications(c.MaxCPUs, c.MaxMemory), templates: parseTemplates()}
}

// cleanupTime bounds what is done after the answer is already certain.
const cleanupTime = 30 * time.Second

// Scopes of the routes.
var (
	readFunctions   = []string{"functions.read"}                      //nolint:gochecknoglobals // read only
	writeFunctions  = []string{"functions.write"}                     //nolint:gochecknoglobals // read only
	readExecutions  = []string{"executions.read", "execution.read"}   //nolint:gochecknoglobals // read only
	writeExecutions = []string{"executions.write", "execution.write"} //nolint:gochecknoglobals // read only
	everyone        = []string{auth.Public}                           //nolint:gochecknoglobals // read only
	download        = []string{auth.Public, "functions.read"}         //nolint:gochecknoglobals // read only
)

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const root, one = "/v1/functions", "/v1/functions/{functionId}"
	const deployment, execution, variable = one + "/deployments/{deploymentId}", one + "/executions/{executionId}", one + "/variables/{variableId}"
	const servers, all = auth.Servers, auth.Servers | auth.Clients
	creations := api.Limit{Max: s.config.CreationLimit, Per: 24 * time.Hour}
	routes := []api.Route{
		{Method: "GET", Path: root, Name: "functions.list", Summary: "List functions", Scopes: readFunctions, Callers: servers, Handler: api.Handle(200, s.list)},
		{Method: "POST", Path: root, Name: "functions.create", Summary: "Create function", Scopes: writeFunctions, Callers: servers, Limit: creations, Handler: api.Handle(201, s.create)},
		{Method: "GET", Path: root + "/runtimes", Name: "functions.listRuntimes", Summary: "List runtimes", Scopes: everyone, Callers: all, Handler: api.Handle(200, s.listRuntimes)},
		{Method: "GET", Path: root + "/specifications", Name: "functions.listSpecifications", Summary: "List specifications", Scopes: readFunctions, Callers: servers, Handler: api.Handle(200, s.listSpecifications)},
		{Method: "GET", Path: root + "/templates", Name: "functions.listTemplates", Summary: "List templates", Scopes: everyone, Callers: all, Handler: api.Handle(200, s.listTemplates)},
		{Method: "GET", Path: root + "/templates/{templateId}", Name: "functions.getTemplate", Summary: "Get template", Scopes: everyone, Callers: all, Handler: api.Handle(200, s.getTemplate)},
		{Method: "GET", Path: one, Name: "functions.get", Summary: "Get function", Scopes: readFunctions, Callers: servers, Handler: api.Handle(200, s.get)},
		{Method: "PUT", Path: one, Name: "functions.update", Summary: "Update function", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(200, s.update)},
		{Method: "DELETE", Path: one, Name: "functions.delete", Summary: "Delete function", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(204, s.delete)},
		{Method: "PATCH", Path: one + "/deployment", Aliases: []string{deployment}, Name: "functions.updateFunctionDeployment", Summary: "Activate deployment", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(200, s.activate)},

		{Method: "GET", Path: one + "/deployments", Name: "functions.listDeployments", Summary: "List deployments", Scopes: readFunctions, Callers: servers, Handler: api.Handle(200, s.listDeployments)},
		{Method: "POST", Path: one + "/deployments", Name: "functions.createDeployment", Summary: "Create deployment", Scopes: writeFunctions, Callers: servers, Handler: s.upload()},
		{Method: "POST", Path: one + "/deployments/duplicate", Aliases: []string{deployment + "/build", deployment + "/builds/{buildId}"}, Name: "functions.createDuplicateDeployment", Summary: "Build a deployment again", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(202, s.duplicateDeployment)},
		{Method: "POST", Path: one + "/deployments/template", Name: "functions.createTemplateDeployment", Summary: "Create deployment from a template", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(202, s.templateDeployment)},
		{Method: "POST", Path: one + "/deployments/vcs", Name: "functions.createVcsDeployment", Summary: "Create deployment from the function's repository", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(202, s.repositoryDeployment)},
		{Method: "GET", Path: deployment, Name: "functions.getDeployment", Summary: "Get deployment", Scopes: readFunctions, Callers: servers, Handler: api.Handle(200, s.getDeployment)},
		{Method: "DELETE", Path: deployment, Name: "functions.deleteDeployment", Summary: "Delete deployment", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(204, s.deleteDeployment)},
		{Method: "GET", Path: deployment + "/download", Aliases: []string{deployment + "/build/download"}, Name: "functions.getDeploymentDownload", Summary: "Download the source or the package of a deployment", Scopes: download, Callers: all, Also: []int{206}, Handler: api.Handle(200, s.downloadDeployment)},
		{Method: "PATCH", Path: deployment + "/status", Aliases: []string{deployment + "/build"}, Name: "functions.updateDeploymentStatus", Summary: "Cancel build", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(200, s.cancelDeployment)},

		{Method: "GET", Path: one + "/executions", Name: "functions.listExecutions", Summary: "List executions", Scopes: readExecutions, Callers: servers | auth.Users, Handler: api.Handle(200, s.listExecutions)},
		{Method: "POST", Path: one + "/executions", Name: "functions.createExecution", Summary: "Execute function", Scopes: writeExecutions, Callers: all, Also: []int{202}, Handler: api.Handle(201, s.createExecution)},
		{Method: "GET", Path: execution, Name: "functions.getExecution", Summary: "Get execution", Scopes: readExecutions, Callers: servers | auth.Users, Handler: api.Handle(200, s.getExecution)},
		{Method: "GET", Path: "/v1/flint/functions/{functionId}/executions/{executionId}/receipt", Name: "flint.getExecutionReceipt", Summary: "Get receipt", Scopes: readExecutions, Callers: servers | auth.Users, Handler: api.Handle(200, s.getReceipt)},
		{Method: "DELETE", Path: execution, Name: "functions.deleteExecution", Summary: "Delete execution", Scopes: writeExecutions, Callers: servers, Handler: api.Handle(204, s.deleteExecution)},

		{Method: "GET", Path: one + "/variables", Name: "functions.listVariables", Summary: "List variables", Scopes: readFunctions, Callers: servers, Handler: api.Handle(200, s.listVariables)},
		{Method: "POST", Path: one + "/variables", Name: "functions.createVariable", Summary: "Create variable", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(201, s.createVariable)},
		{Method: "GET", Path: variable, Name: "functions.getVariable", Summary: "Get variable", Scopes: readFunctions, Callers: servers, Handler: api.Handle(200, s.getVariable)},
		{Method: "PUT", Path: variable, Name: "functions.updateVariable", Summary: "Update variable", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(200, s.updateVariable)},
		{Method: "DELETE", Path: variable, Name: "functions.deleteVariable", Summary: "Delete variable", Scopes: writeFunctions, Callers: servers, Handler: api.Handle(204, s.deleteVariable)},
	}
	rules := s.rules()
	for i := range routes {
		routes[i].Rules = rules
	}
	return routes
}

// oneFunction is the input of what concerns a function.
type oneFunction struct {
	api.Request
	FunctionID string `param:"functionId" rule:"id" doc:"Function ID."`
}

func (in *oneFunction) project() flint.ProjectID { return in.Principal.ProjectID() }
func (in *oneFunction) id() flint.FunctionID     { return flint.FunctionID(in.FunctionID) }

// function reads the function that the input names.
func (s *Service) function(ctx context.Context, in *oneFunction) (*flint.Function, error) {
	return s.config.Store.Function(ctx, in.project(), in.id())
}

// page is the input of lists.
type page struct {
	Queries []string `param:"queries" doc:"Queries, each a JSON text."`
	Total   bool     `param:"total" default:"true" rule:"loose" doc:"Count all rows. Without it the total is 0."`

	format wire.Format
}

// list reads the queries. renamed are attributes that clients before 1.7.0 call otherwise.
func (in *page) list(allowed flint.Attributes, renamed map[string]string) (flint.List, error) {
	l, err := flint.ParseList(in.current(renamed), allowed)
	l.NoTotal = !in.Total
	return l, err
}

// collect removes the blobs of deployments that are gone. They are only garbage: the answer does not depend on it.
func (s *Service) collect(ctx context.Context, digests ...string) {
	if len(digests) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	s.garbage(ctx, "blobs", s.config.Builder.Collect(ctx, digests...))
}

// garbage logs that something stays which nobody needs any longer.
func (s *Service) garbage(ctx context.Context, what string, err error) {
	if err != nil {
		s.config.Logger.LogAttrs(ctx, slog.LevelWarn, "something stays that nobody needs", slog.String("what", what), slog.String("request_id", api.RequestID(ctx)), slog.String("err", err.Error()))
	}
}
