package admin

import (
	"sync"

	"flint"
)

// Feed passes executions on to those who follow them. The zero value is ready. It is safe for concurrent use.
type Feed struct {
	mu        sync.RWMutex
	followers map[chan *flint.Execution]struct{}
}

// behind is how many executions a follower may be behind before it misses some.
const behind = 1024

// Publish passes on an execution that has ended. Who is too slow misses it.
func (f *Feed) Publish(e *flint.Execution) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for c := range f.followers {
		select {
		case c <- e:
		default:
		}
	}
}

// follow returns a channel of what is published from now on, and what ends it.
func (f *Feed) follow() (<-chan *flint.Execution, func()) {
	c := make(chan *flint.Execution, behind)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == nil {
		f.followers = map[chan *flint.Execution]struct{}{}
	}
	f.followers[c] = struct{}{}
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.followers, c)
	}
}
