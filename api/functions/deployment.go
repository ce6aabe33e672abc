package functions

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"flint"
	"flint/api"
	"flint/build"
	"flint/wire"
)

// chunkSize is what clients send at once: larger files come in parts, which this version does not put together.
const chunkSize = 5 << 20

type listDeploymentsIn struct {
	oneFunction
	page
	Search string `param:"search" doc:"Deployments cannot be searched."`
}

func (s *Service) listDeployments(ctx context.Context, in *listDeploymentsIn) (*wire.DeploymentList, error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return nil, err
	}
	l, err := in.list(flint.DeploymentAttributes())
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

type uploadIn struct {
	oneFunction
	Entrypoint *string `param:"entrypoint" rule:"text 1 1028" doc:"Entrypoint file; absent: the function's."`
	Commands   *string `param:"commands" rule:"text 0 8192" doc:"Build commands; absent: the function's."`
	Activate   bool    `param:"activate,required" rule:"loose" doc:"Activate the deployment when it is built."`

	source *build.Source
}

// upload is the endpoint that takes a function's code. The archive goes to the builder while it arrives.
func (s *Service) upload() api.Handler {
	return api.Receive(202, api.Upload[uploadIn, *wire.Deployment]{
		Field: "code", Receive: s.receive, Finish: s.createDeployment,
		Discard: func(ctx context.Context, in *uploadIn) { s.collect(ctx, in.source.Digest) },
	})
}

func (s *Service) receive(ctx context.Context, in *uploadIn, file *api.File) error {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return err
	}
	if !strings.HasSuffix(strings.ToLower(file.Name), ".gz") {
		return flint.ErrFileTypeUnsupported
	}
	total, err := wholeFile(in.Header.Get("Content-Range"))
	if err != nil {
		return err
	}
	source, err := s.config.Builder.Receive(ctx, file)
	if err != nil {
		return err
	}
	if total >= 0 && source.Size != total {
		s.collect(ctx, source.Digest)
		return flint.ErrInvalidContentRange
	}
	in.source = &source
	return nil
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,15})-(\d{1,15})/(\d{1,15})$`)

// wholeFile returns the size that a Content-Range announces, or -1 without one. It must cover the file.
func wholeFile(header string) (int64, error) {
	if header == "" {
		return -1, nil
	}
	match := contentRange.FindStringSubmatch(header)
	if match == nil {
		return 0, flint.ErrInvalidContentRange
	}
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(match[i+1], 10, 64) // fifteen digits always fit
	}
	start, end, total := n[0], n[1], n[2]
	switch {
	case total == 0 || end > total || start > end: // an end that equals the total is tolerated, as the reference does
		return 0, flint.ErrInvalidContentRange
	case start > 0 || end < total-1:
		return 0, flint.ErrInvalidContentRange.Saying("Uploading a file in chunks is not available in this version. Send the file in one request, without a Content-Range header; clients do so up to %d bytes.", chunkSize)
	}
	return total, nil
}

func (s *Service) createDeployment(ctx context.Context, in *uploadIn) (*wire.Deployment, error) {
	f, err := s.function(ctx, &in.oneFunction)
	if err != nil {
		return nil, err
	}
	d := &flint.Deployment{
		Project: f.Project, ID: flint.DeploymentID(flint.NewID()), Function: f.ID,
		Type: "manual", Runtime: f.Runtime, Entrypoint: f.Entrypoint, Commands: f.Commands,
		Activate: in.Activate, Status: flint.DeploymentWaiting,
	}
	if strings.EqualFold(in.Header.Get("X-SDK-Language"), "cli") {
		d.Type = "cli"
	}
	if in.Entrypoint != nil {
		d.Entrypoint = *in.Entrypoint
	}
	if in.Commands != nil {
		d.Commands = *in.Commands
	}
	if d.Entrypoint == "" {
		return nil, flint.ErrEntrypointMissing
	}
	if in.source == nil {
		return nil, flint.ErrFileEmpty
	}
	d.SourceDigest, d.SourceSize = in.source.Digest, in.source.Size
	if err := s.config.Builder.Submit(ctx, d); err != nil {
		return nil, err
	}
	return wire.NewDeployment(d), nil
}
