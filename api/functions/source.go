package functions

import (
	"context"
	"errors"

	"flint"
	"flint/api"
	"flint/blob"
	"flint/wire"
)

type duplicateIn struct {
	oneFunction
	DeploymentID string `param:"deploymentId,required" rule:"id" doc:"Deployment ID."`
	BuildID      string `param:"buildId" rule:"text 0 36" doc:"Of older clients; without effect."`
}

// duplicateDeployment builds the source of a deployment again, with the function's settings of today.
func (s *Service) duplicateDeployment(ctx context.Context, in *duplicateIn) (*wire.Deployment, error) {
	f, err := s.function(ctx, &in.oneFunction)
	if err != nil {
		return nil, err
	}
	d := newDeployment(f)
	d.Activate = true
	if err := s.config.Builder.Duplicate(ctx, d, flint.DeploymentID(in.DeploymentID)); err != nil {
		return nil, err
	}
	return wire.NewDeployment(d), nil
}

type templateDeploymentIn struct {
	oneFunction
	Repository    string `param:"repository,required" rule:"text 0 128" doc:"Repository of the template."`
	Owner         string `param:"owner,required" rule:"text 0 128" doc:"Owner of the repository."`
	RootDirectory string `param:"rootDirectory,required" rule:"text 0 128" doc:"Directory of the template in the repository."`
	Type          string `param:"type,required" rule:"enum commit branch tag" doc:"What the reference is."`
	Reference     string `param:"reference,required" rule:"text 0 128" doc:"Commit, branch or tag."`
	Activate      bool   `param:"activate" default:"false" doc:"Activate the deployment when it is built."`
}

// Older reads the one version of clients before 1.9.0 as a tag.
func (in *templateDeploymentIn) Older(f wire.Format, p api.Params) {
	if f.Before(1, 9, 0) {
		p.Copy("version", "reference")
		p.Default("type", "tag")
	}
}

// templateDeployment answers like a platform that is connected to no version control system: this version cannot be.
func (s *Service) templateDeployment(ctx context.Context, in *templateDeploymentIn) (*wire.Deployment, error) {
	return s.noInstallation(ctx, &in.oneFunction)
}

type repositoryDeploymentIn struct {
	oneFunction
	Type      string `param:"type,required" rule:"enum branch commit" doc:"What the reference is."`
	Reference string `param:"reference,required" rule:"text 1 255" doc:"Commit or branch."`
	Activate  bool   `param:"activate" default:"false" doc:"Activate the deployment when it is built."`
}

func (s *Service) repositoryDeployment(ctx context.Context, in *repositoryDeploymentIn) (*wire.Deployment, error) {
	return s.noInstallation(ctx, &in.oneFunction)
}

func (s *Service) noInstallation(ctx context.Context, in *oneFunction) (*wire.Deployment, error) {
	if _, err := s.function(ctx, in); err != nil {
		return nil, err
	}
	return nil, flint.ErrInstallationNotFound
}

type downloadIn struct {
	oneDeployment
	Type  string `param:"type" default:"source" rule:"enum source output" doc:"What to download: the uploaded source, or the package that was built of it."`
	Token string `param:"token" rule:"text 0 2048" doc:"What opens the download to those without a key."`
}

// Older gives clients before 1.7.0 the one file that they know.
func (in *downloadIn) Older(f wire.Format, p api.Params) {
	if f.Before(1, 7, 0) {
		p.Set("type", "output")
	}
}

// downloadDeployment is for keys that may read functions, and for the bearers of tokens.
func (s *Service) downloadDeployment(ctx context.Context, in *downloadIn) (*api.Download, error) {
	p := in.Principal
	if !(p.Privileged() && p.Holds("functions.read")) && !s.config.Signer.MayDownload(in.Token, flint.DeploymentID(in.DeploymentID), in.Type) {
		return nil, flint.ErrUserUnauthorized
	}
	d, err := s.deployment(ctx, &in.oneDeployment)
	if err != nil {
		return nil, err
	}
	file := &api.Download{Type: "application/gzip", Name: in.DeploymentID + "-source.tar.gz"}
	digest := d.SourceDigest
	if in.Type == "output" {
		file.Type, file.Name, digest = "application/octet-stream", in.DeploymentID+"-output-code.tar.gz", d.BuildDigest
	}
	file.Content, file.Size, err = s.config.Blobs.Get(ctx, digest)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, flint.ErrDeploymentFileMissing
	}
	if err != nil {
		return nil, err
	}
	return file, nil
}
