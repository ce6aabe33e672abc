package api

import (
	"sync"
	"time"
)

// limiter counts the calls of a route in windows of a fixed length that all projects share. It holds one number per
// project, or per user and address, that called in the current window, and at most maxLimited of them.
type limiter struct {
	limit Limit

	mu     sync.Mutex
	window int64
	counts map[string]int
}

const maxLimited = 100_000

func newLimiter(l Limit) *limiter {
	if l.Max <= 0 || l.Per <= 0 {
		return nil
	}
	return &limiter{limit: l, counts: map[string]int{}}
}

// take counts one call, unless it is exempt, and returns how many are left until reset.
func (l *limiter) take(key string, now time.Time, exempt bool) (left int, reset time.Time, ok bool) {
	window := now.UnixNano() / int64(l.limit.Per)
	reset = time.Unix(0, (window+1)*int64(l.limit.Per))
	if exempt {
		return l.limit.Max, reset, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if window != l.window {
		l.window = window
		clear(l.counts)
	}
	if len(l.counts) >= maxLimited {
		clear(l.counts) // somebody is let through rather than everybody kept out
	}
	if l.counts[key] >= l.limit.Max {
		return 0, reset, false
	}
	l.counts[key]++
	return l.limit.Max - l.counts[key], reset, true
}
