package api

import (
	"sync"
	"time"
)

// limiter counts the calls of a route in windows of a fixed length that all projects share. It holds one number per
// project that called in the current window, and projects are rows: the map is bounded by them.
type limiter struct {
	limit Limit

	mu     sync.Mutex
	window int64
	counts map[string]int
}

func newLimiter(l Limit) *limiter {
	if l.Max <= 0 || l.Per <= 0 {
		return nil
	}
	return &limiter{limit: l, counts: map[string]int{}}
}

// take counts one call and returns how many are left until reset.
func (l *limiter) take(key string, now time.Time) (left int, reset time.Time, ok bool) {
	window := now.UnixNano() / int64(l.limit.Per)
	reset = time.Unix(0, (window+1)*int64(l.limit.Per))
	l.mu.Lock()
	defer l.mu.Unlock()
	if window != l.window {
		l.window = window
		clear(l.counts)
	}
	if l.counts[key] >= l.limit.Max {
		return 0, reset, false
	}
	l.counts[key]++
	return l.limit.Max - l.counts[key], reset, true
}
