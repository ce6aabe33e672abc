package functions

import (
	"context"
	"strings"

	"flint"
	"flint/api"
	"flint/build"
	"flint/upload"
	"flint/wire"
)

// uploadHeader names the deployment that a part of a file belongs to. Without a range it says nothing.
const uploadHeader = "X-Appwrite-Id"

type uploadIn struct {
	oneFunction
	Entrypoint *string `param:"entrypoint" rule:"text 1 1028" doc:"Entrypoint file; absent: the function's."`
	Commands   *string `param:"commands" rule:"text 0 8192" doc:"Build commands; absent: the function's."`
	Activate   bool    `param:"activate,required" rule:"loose" doc:"Activate the deployment when it is built."`

	source *build.Source      // a whole file
	part   *upload.Part       // or a part of one
	bytes  flint.ContentRange // which
	begun  *flint.Deployment  // of an upload that was begun earlier
}

// upload is the endpoint that takes a function's code. The archive goes to the builder while it arrives, parts of one go
// to the disk.
func (s *Service) upload() api.Handler {
	return api.Receive(202, api.Upload[uploadIn, *wire.Deployment]{
		Field: "code", Receive: s.receive, Finish: s.createDeployment,
		Discard: func(ctx context.Context, in *uploadIn) {
			if in.source != nil {
				s.collect(ctx, in.source.Digest)
			}
			if in.part != nil {
				s.config.Uploads.Discard(in.part)
			}
		},
	})
}

func (s *Service) receive(ctx context.Context, in *uploadIn, file *api.File) (err error) {
	if _, err := s.function(ctx, &in.oneFunction); err != nil {
		return err
	}
	if !strings.HasSuffix(strings.ToLower(file.Name), ".gz") {
		return flint.ErrFileTypeUnsupported
	}
	header := in.Header.Get("Content-Range")
	if header == "" {
		return s.receiveWhole(ctx, in, file)
	}
	if in.bytes, err = flint.ParseContentRange(header); err != nil {
		return err
	}
	switch id := in.Header.Get(uploadHeader); {
	case id == "" && in.bytes.Whole():
		return s.receiveWhole(ctx, in, file)
	case id != "":
		if in.begun, err = s.config.Store.Deployment(ctx, in.project(), in.id(), flint.DeploymentID(id)); err != nil {
			return err
		}
		if complete(in.begun) {
			return nil
		}
	}
	in.part, err = s.config.Uploads.Save(ctx, file, in.bytes)
	return err
}

// complete reports whether a deployment needs no more parts of its source.
func complete(d *flint.Deployment) bool {
	return d.Status != flint.DeploymentWaiting || d.SourceDigest != ""
}

func (s *Service) receiveWhole(ctx context.Context, in *uploadIn, file *api.File) error {
	source, err := s.config.Builder.Receive(ctx, file)
	if err != nil {
		return err
	}
	if total := in.bytes.Total; total > 0 && source.Size != total {
		s.collect(ctx, source.Digest)
		return flint.ErrInvalidContentRange
	}
	in.source = &source
	return nil
}

func (s *Service) createDeployment(ctx context.Context, in *uploadIn) (*wire.Deployment, error) {
	f, err := s.function(ctx, &in.oneFunction)
	if err != nil {
		return nil, err
	}
	d := newDeployment(f)
	d.Activate = in.Activate
	if strings.EqualFold(in.Header.Get("X-SDK-Language"), "cli") {
		d.Type = "cli"
	}
	if in.Entrypoint != nil {
		d.Entrypoint = *in.Entrypoint
	}
	if in.Commands != nil {
		d.Commands = *in.Commands
	}
	switch {
	case d.Entrypoint == "":
		return nil, flint.ErrEntrypointMissing
	case in.begun != nil && in.part == nil:
		d = in.begun
	case in.begun != nil:
		d.ID = in.begun.ID
		d, err = s.config.Uploads.Add(ctx, d, in.bytes, in.part)
	case in.part != nil:
		d, err = s.config.Uploads.Begin(ctx, d, in.bytes, in.part)
	case in.source == nil:
		return nil, flint.ErrFileEmpty
	default:
		d.SourceDigest, d.SourceSize = in.source.Digest, in.source.Size
		err = s.config.Builder.Submit(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	return wire.NewDeployment(d), nil
}

// newDeployment returns a deployment of a function as it is now, without a source.
func newDeployment(f *flint.Function) *flint.Deployment {
	return &flint.Deployment{
		Project: f.Project, ID: flint.DeploymentID(flint.NewID()), Function: f.ID,
		Type: "manual", Runtime: f.Runtime, Entrypoint: f.Entrypoint, Commands: f.Commands, Status: flint.DeploymentWaiting,
	}
}
