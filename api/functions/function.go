package functions

import (
	"cmp"
	"context"
	"errors"
	"time"

	"flint"
	"flint/api"
	"flint/wire"
)

// settings are what creating and updating have in common. Lists and specifications that are absent stay nil: an update
// keeps what was.
type settings struct {
	Name                  string   `param:"name,required" rule:"text 1 128" doc:"Function name."`
	Execute               []string `param:"execute" rule:"role" max:"100" doc:"Roles that may execute the function."`
	Events                []string `param:"events" rule:"event" max:"100" doc:"Events that trigger the function."`
	Schedule              string   `param:"schedule" rule:"cron" doc:"Schedule as a cron expression."`
	Timeout               int      `param:"timeout" default:"15" rule:"timeout" doc:"Longest execution, in seconds."`
	Enabled               bool     `param:"enabled" default:"true" doc:"Whether clients may call the function."`
	Logging               bool     `param:"logging" default:"true" doc:"Whether logs and errors are kept."`
	Entrypoint            string   `param:"entrypoint" rule:"text 0 1028" doc:"Entrypoint file."`
	Commands              string   `param:"commands" rule:"text 0 8192" doc:"Build commands."`
	Scopes                []string `param:"scopes" rule:"scope" max:"200" doc:"Scopes of the key that each execution gets."`
	InstallationID        string   `param:"installationId" rule:"text 0 128" doc:"Installation of the version control system."`
	ProviderRepositoryID  string   `param:"providerRepositoryId" rule:"text 0 128" doc:"Repository."`
	ProviderBranch        string   `param:"providerBranch" rule:"text 0 128" doc:"Production branch."`
	ProviderSilentMode    bool     `param:"providerSilentMode" default:"false" doc:"Do not comment on commits."`
	ProviderRootDirectory string   `param:"providerRootDirectory" rule:"text 0 128" doc:"Directory of the function in the repository."`
	ProviderBranches      []string `param:"providerBranches" rule:"text 1 128" max:"100" doc:"Branch patterns that deploy."`
	ProviderPaths         []string `param:"providerPaths" rule:"text 1 128" max:"100" doc:"Path patterns that deploy."`
	BuildSpecification    *string  `param:"buildSpecification" rule:"specification" doc:"Size of builds."`
	RuntimeSpecification  *string  `param:"runtimeSpecification" rule:"specification" doc:"Size of executions."`
	DeploymentRetention   int      `param:"deploymentRetention" default:"0" rule:"range 0 36500" doc:"Days to keep inactive deployments; 0 keeps them."`
}

// Older reads the one specification of clients before 1.9.0 as both, and gives those before 1.4.0 their build commands.
func (in *settings) Older(f wire.Format, p api.Params) {
	if f.Before(1, 4, 0) {
		p.Default("commands", olderCommands(p.Text("runtime")))
	}
	if f.Before(1, 9, 0) {
		p.Copy("specification", "buildSpecification")
		p.Copy("specification", "runtimeSpecification")
	}
}

// repository refuses what needs a connection to a version control system: there is none.
func (in *settings) repository() error {
	if in.InstallationID != "" {
		return flint.ErrInstallationNotFound
	}
	if in.ProviderRepositoryID != "" {
		return flint.ErrInvalidArgument.Saying("When connecting to VCS (Version Control System), you need to provide \"installationId\" and \"providerBranch\".")
	}
	return nil
}

// apply sets what is the same in both.
func (in *settings) apply(f *flint.Function) {
	f.Name, f.Execute, f.Events, f.Scopes, f.Schedule = in.Name, in.Execute, in.Events, in.Scopes, in.Schedule
	f.Timeout = time.Duration(in.Timeout) * time.Second
	f.Enabled, f.Logging, f.Commands, f.Retention = in.Enabled, in.Logging, in.Commands, in.DeploymentRetention
	f.Entrypoint = cmp.Or(in.Entrypoint, f.Entrypoint)
	f.ProviderBranch, f.ProviderRootDirectory, f.ProviderSilentMode = in.ProviderBranch, in.ProviderRootDirectory, in.ProviderSilentMode
	if in.ProviderBranches != nil {
		f.ProviderBranches = in.ProviderBranches
	}
	if in.ProviderPaths != nil {
		f.ProviderPaths = in.ProviderPaths
	}
	if in.BuildSpecification != nil {
		f.BuildSpec = *in.BuildSpecification
	}
	if in.RuntimeSpecification != nil {
		f.RuntimeSpec = *in.RuntimeSpecification
	}
}

type createIn struct {
	api.Request
	FunctionID string `param:"functionId,required" rule:"customId" doc:"Function ID, or unique()."`
	settings
	Runtime string `param:"runtime,required" rule:"runtime" doc:"Runtime."`
}

func (s *Service) create(ctx context.Context, in *createIn) (*wire.Function, error) {
	r, ok, err := s.config.Runtimes.Lookup(ctx, in.Runtime)
	if err != nil {
		return nil, err
	}
	if ok && r.Toolchain == nil {
		return nil, flint.ErrRuntimeUnsupported.Saying(`Runtime "%s" is not supported: %s`, in.Runtime, r.Hint)
	}
	if err := in.repository(); err != nil {
		return nil, err
	}
	f := &flint.Function{
		Project: in.Principal.ProjectID(), ID: flint.FunctionID(api.ID(in.FunctionID)), Runtime: in.Runtime, Live: true,
		BuildSpec: s.largest(), RuntimeSpec: s.largest(),
	}
	in.apply(f)
	if err := s.createWithDomain(ctx, f); err != nil {
		return nil, err
	}
	return wire.NewFunction(f, nil, in.Format), nil
}

// createWithDomain stores a function and the rule of its generated domain in one go. The domain is named after the
// function where that name is free; names are made of less than identifiers are, and shared by all projects.
func (s *Service) createWithDomain(ctx context.Context, f *flint.Function) error {
	if s.config.Domain == "" {
		return s.config.Store.CreateFunction(ctx, f, nil)
	}
	label := flint.DomainLabel(f.ID)
	if label == "" {
		label = suffix()
	}
	var err error
	for range 3 {
		rule := &flint.Rule{ID: flint.RuleID(flint.NewID()), Project: f.Project, Domain: label + "." + s.config.Domain, Function: f.ID}
		if err = s.config.Store.CreateFunction(ctx, f, rule); !errors.Is(err, flint.ErrRuleExists) {
			return err
		}
		label = flint.DomainLabel(f.ID) + "-" + suffix()
	}
	return err
}

// suffix returns a few random characters.
func suffix() string {
	id := flint.NewID()
	return id[len(id)-7:]
}

// largest returns the size that functions get whose creator did not choose: the last of those on offer.
func (s *Service) largest() string {
	if len(s.sizes) == 0 {
		return flint.DefaultSpecification
	}
	return s.sizes[len(s.sizes)-1].Slug
}

type listIn struct {
	api.Request
	page
	Search string `param:"search" rule:"text 0 256" doc:"Words to look for in id, name and runtime."`
}

func (s *Service) list(ctx context.Context, in *listIn) (*wire.FunctionList, error) {
	l, err := in.list(flint.FunctionAttributes(), map[string]string{"deployment": "deploymentId"})
	if err != nil {
		return nil, err
	}
	l.Search = in.Search
	found, total, err := s.config.Store.Functions(ctx, in.Principal.ProjectID(), l)
	if err != nil {
		return nil, err
	}
	m := &wire.FunctionList{Total: total, Functions: make([]*wire.Function, 0, len(found))}
	for _, f := range found {
		row, err := s.model(ctx, f, in.Format)
		if err != nil {
			return nil, err
		}
		m.Functions = append(m.Functions, row)
	}
	return m, nil
}

// model returns what clients see of a function, with its variables.
func (s *Service) model(ctx context.Context, f *flint.Function, format wire.Format) (*wire.Function, error) {
	vars, _, err := s.config.Store.Variables(ctx, f.Project, f.ID, flint.List{Limit: flint.MaxVariablesInjected, NoTotal: true})
	if err != nil {
		return nil, err
	}
	return wire.NewFunction(f, vars, format), nil
}

func (s *Service) get(ctx context.Context, in *oneFunction) (*wire.Function, error) {
	f, err := s.function(ctx, in)
	if err != nil {
		return nil, err
	}
	return s.model(ctx, f, in.Format)
}

type updateIn struct {
	oneFunction
	settings
	Runtime string `param:"runtime" rule:"runtime" doc:"Runtime; absent: as it is."`
}

// update replaces all settings but those that cannot be cleared.
func (s *Service) update(ctx context.Context, in *updateIn) (*wire.Function, error) {
	f, err := s.config.Store.UpdateFunction(ctx, in.project(), in.id(), func(f *flint.Function) error {
		if err := in.repository(); err != nil {
			return err
		}
		before := *f
		in.apply(f)
		f.Runtime = cmp.Or(in.Runtime, f.Runtime)
		f.InstallationID, f.ProviderRepositoryID = "", ""
		f.Live = f.Name == before.Name && f.Entrypoint == before.Entrypoint && f.Commands == before.Commands &&
			f.ProviderRootDirectory == before.ProviderRootDirectory && f.Runtime == before.Runtime
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.model(ctx, f, in.Format)
}

func (s *Service) delete(ctx context.Context, in *oneFunction) (api.NoContent, error) {
	blobs, err := s.blobs(ctx, in)
	if err != nil {
		return api.NoContent{}, err
	}
	if err := s.config.Store.DeleteFunction(ctx, in.project(), in.id()); err != nil {
		return api.NoContent{}, err
	}
	s.config.Invoker.Delete(in.project(), in.id())
	err = s.config.Builder.Forget(in.project(), in.id())
	s.garbage(ctx, "dependency caches", err)
	s.config.Uploads.Ring()
	s.collect(ctx, blobs...)
	return api.NoContent{}, nil
}

// blobs returns the digests that a function's deployments name.
func (s *Service) blobs(ctx context.Context, in *oneFunction) ([]string, error) {
	const batch = 500
	var digests []string
	for offset := 0; ; offset += batch {
		found, _, err := s.config.Store.Deployments(ctx, in.project(), in.id(), flint.List{Limit: batch, Offset: offset, NoTotal: true})
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			digests = append(digests, digestsOf(d)...)
		}
		if len(found) < batch {
			return digests, nil
		}
	}
}

func digestsOf(d *flint.Deployment) []string {
	var digests []string
	for _, digest := range []string{d.SourceDigest, d.BuildDigest} {
		if digest != "" {
			digests = append(digests, digest)
		}
	}
	return digests
}

type activateIn struct {
	oneFunction
	DeploymentID string `param:"deploymentId,required" rule:"id" doc:"Deployment ID."`
}

func (s *Service) activate(ctx context.Context, in *activateIn) (*wire.Function, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	f, err := s.config.Store.ActivateDeployment(ctx, in.project(), in.id(), flint.DeploymentID(in.DeploymentID))
	if err != nil {
		return nil, err
	}
	return s.model(ctx, f, in.Format)
}
