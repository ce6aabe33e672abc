package worker

import (
	"time"

	"flint"
)

// Standing is how a function stands in the pool at a moment.
type Standing struct {
	Workers  int // ready ones
	Starting int
	InFlight int // calls in workers
	Waiting  int // calls that wait for a worker

	Failures int       // starts that failed since one succeeded
	Failed   string    // why the last of them did
	Retry    time.Time // no start without a call before
	Full     bool      // all places for workers of the node are taken
}

// Standing returns how a function stands. A function that the pool knows nothing of has the zero value, but for Full.
func (p *Pool) Standing(project flint.ProjectID, id flint.FunctionID) Standing {
	var s Standing
	p.mu.Lock()
	s.Full = p.reserved >= p.places(0)
	p.mu.Unlock()
	f := p.functionOf(functionKey{project, id}, false)
	if f == nil {
		return s
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		g.mu.Lock()
		s.Workers += len(g.workers)
		s.Starting += g.starting
		s.InFlight += g.inFlight
		s.Waiting += g.waiting.n
		if g == f.current {
			s.Failures, s.Failed, s.Retry = g.failures, g.failed, g.retry
		}
		g.mu.Unlock()
	}
	return s
}
