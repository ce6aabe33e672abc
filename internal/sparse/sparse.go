// Package sparse keeps what goes wrong again and again from filling the log: it is said at once, and then now and then.
package sparse

import (
	"sync"
	"time"
)

// Every is how long nothing more is said after something was.
const Every = 30 * time.Second

// Gate lets through one message in a while. Its zero value lets the first one through.
type Gate struct {
	mu   sync.Mutex
	last time.Time
	held int
}

// Pass reports whether something may be said now, and how often it was not since the last time.
func (g *Gate) Pass() (held int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.last.IsZero() && now.Sub(g.last) < Every {
		g.held++
		return 0, false
	}
	held, g.last, g.held = g.held, now, 0
	return held, true
}
