// Package runner starts the parts of a process in order and stops them in the reverse order, each only when those above
// it have ended.
package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Service is a part that runs until its context ends, and returns when everything that it started has ended.
type Service struct {
	Name string
	Run  func(ctx context.Context) error
}

// Run runs the tiers, the lowest first, until ctx ends or a service fails. Then it stops them, the highest first: a tier
// is told to stop when the one above it has ended. It returns what failed.
func Run(ctx context.Context, tiers ...[]Service) error {
	var failed []error
	var mu sync.Mutex
	over, stop := context.WithCancel(ctx)
	defer stop()
	type running struct {
		cancel context.CancelFunc
		done   sync.WaitGroup
	}
	started := make([]*running, len(tiers))
	for i, tier := range tiers {
		tierCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{cancel: cancel}
		started[i] = r
		for _, s := range tier {
			r.done.Go(func() {
				err := s.Run(tierCtx)
				if err == nil && tierCtx.Err() == nil {
					err = errors.New("ended although it was not told to")
				}
				if err != nil {
					mu.Lock()
					failed = append(failed, fmt.Errorf("%s: %w", s.Name, err))
					mu.Unlock()
				}
				stop()
			})
		}
	}
	<-over.Done()
	for _, s := range slices.Backward(started) {
		s.cancel()
		s.done.Wait()
	}
	return errors.Join(failed...)
}
