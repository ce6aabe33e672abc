package functions

import (
	"context"

	"flint/wire"
)

// listRuntimes returns the runtimes that functions can use here.
func (s *Service) listRuntimes(ctx context.Context, _ *struct{}) (*wire.RuntimeList, error) {
	offered, err := s.config.Runtimes.Offered(ctx)
	if err != nil {
		return nil, err
	}
	m := &wire.RuntimeList{Total: len(offered), Runtimes: make([]*wire.Runtime, 0, len(offered))}
	for _, r := range offered {
		m.Runtimes = append(m.Runtimes, &wire.Runtime{
			ID: r.ID, Key: r.Language.Key, Name: r.Name, Version: r.Version, Base: r.Base,
			Image: r.Image(), Logo: r.Logo(), Supports: append([]string{}, r.Supports...),
		})
	}
	return m, nil
}

type listSpecificationsIn struct {
	Type string `param:"type" default:"runtimes" rule:"enum runtimes builds" doc:"What the sizes are for."`
}

// listSpecifications returns the sizes on offer. Builds and executions have the same.
func (s *Service) listSpecifications(context.Context, *listSpecificationsIn) (*wire.SpecificationList, error) {
	return wire.NewSpecificationList(s.sizes), nil
}
