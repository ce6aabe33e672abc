package functions

import (
	"context"

	"flint"
	"flint/api"
	"flint/wire"
)

type listDeploymentsIn struct {
	oneFunction
	page
	Search string `param:"search" doc:"Deployments cannot be searched."`
}

func (s *Service) listDeployments(ctx context.Context, in *listDeploymentsIn) (*wire.DeploymentList, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	l, err := in.list(flint.DeploymentAttributes(), map[string]string{"size": "sourceSize", "buildTime": "buildDuration"})
	if err != nil {
		return nil, err
	}
	if in.Search != "" {
		return nil, flint.ErrInvalidQuery.Saying("Searching by attribute \"search\" requires a fulltext index.")
	}
	found, total, err := s.config.Store.Deployments(ctx, in.project(), in.id(), l)
	if err != nil {
		return nil, err
	}
	return wire.NewDeploymentList(found, total, l.Select), nil
}

type oneDeployment struct {
	oneFunction
	DeploymentID string `param:"deploymentId" rule:"id" doc:"Deployment ID."`
}

// deployment reads the deployment that the input names. A missing function is told before a missing deployment.
func (s *Service) deployment(ctx context.Context, in *oneDeployment) (*flint.Deployment, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	return s.config.Store.Deployment(ctx, in.project(), in.id(), flint.DeploymentID(in.DeploymentID))
}

func (s *Service) getDeployment(ctx context.Context, in *oneDeployment) (*wire.Deployment, error) {
	d, err := s.deployment(ctx, in)
	if err != nil {
		return nil, err
	}
	return wire.NewDeployment(d), nil
}

func (s *Service) deleteDeployment(ctx context.Context, in *oneDeployment) (api.NoContent, error) {
	d, err := s.deployment(ctx, in)
	if err != nil {
		return api.NoContent{}, err
	}
	if err := s.config.Store.DeleteDeployment(ctx, d.Project, d.Function, d.ID); err != nil {
		return api.NoContent{}, err
	}
	s.config.Uploads.Ring()
	s.collect(ctx, digestsOf(d)...)
	return api.NoContent{}, nil
}

func (s *Service) cancelDeployment(ctx context.Context, in *oneDeployment) (*wire.Deployment, error) {
	d, err := s.deployment(ctx, in)
	if err != nil {
		return nil, err
	}
	if d, err = s.config.Builder.Cancel(ctx, d.Project, d.Function, d.ID); err != nil {
		return nil, err
	}
	return wire.NewDeployment(d), nil
}
