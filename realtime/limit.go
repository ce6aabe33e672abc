package realtime

import (
	"sync"
	"time"
)

// Limits, those of the reference where it has them.
const (
	connectsPerMinute = 128 // of one address
	messagesPerMinute = 32  // of one connection
	maxAddresses      = 100_000
	maxMessage        = 64 << 10  // bytes that a client sends at once
	maxSubscriptions  = 200       // of one connection
	maxChannels       = 100       // of one subscription
	subscribedBytes   = 256 << 10 // of the channels and queries of one connection
	maxName           = 256       // bytes of a channel or an identifier
	queuedMessages    = 512       // of one connection
	queuedBytes       = 4 << 20   // of one connection; a single message may be larger
)

// addresses counts connections in windows of a minute.
type addresses struct {
	mu     sync.Mutex
	window int64
	counts map[string]int
}

func (a *addresses) take(address string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if window := now.Unix() / 60; window != a.window || len(a.counts) >= maxAddresses {
		a.window, a.counts = window, map[string]int{} // somebody is let through rather than everybody kept out
	}
	if a.counts[address] >= connectsPerMinute {
		return false
	}
	a.counts[address]++
	return true
}

// messages counts those of one connection. One goroutine uses it.
type messages struct {
	window int64
	count  int
}

func (m *messages) take(now time.Time) bool {
	if window := now.Unix() / 60; window != m.window {
		m.window, m.count = window, 0
	}
	m.count++
	return m.count <= messagesPerMinute
}
