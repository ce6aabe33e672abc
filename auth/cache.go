package auth

import (
	"sync"
	"time"
)

// cache remembers what was found, never what was not: a key that is made later must work at once.
type cache[K comparable, V any] struct {
	limit  int
	maxAge time.Duration

	mu      sync.RWMutex
	entries map[K]entry[V]
	epoch   uint64 // grows with every drop; a look-up that began before one must not store its answer
}

type entry[V any] struct {
	value V
	until time.Time
}

func newCache[K comparable, V any](limit int, maxAge time.Duration) *cache[K, V] {
	return &cache[K, V]{limit: limit, maxAge: maxAge, entries: map[K]entry[V]{}}
}

// get returns what is remembered or else what look finds. look reports whether it found anything.
func (c *cache[K, V]) get(key K, look func() (V, bool, error)) (V, error) {
	now := time.Now()
	c.mu.RLock()
	e, ok := c.entries[key]
	epoch := c.epoch
	c.mu.RUnlock()
	if ok && now.Before(e.until) {
		return e.value, nil
	}
	value, found, err := look()
	if err != nil || !found {
		return value, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch {
		return value, nil
	}
	if _, known := c.entries[key]; !known && len(c.entries) >= c.limit {
		for victim := range c.entries { // any: map order is as good as random
			delete(c.entries, victim)
			break
		}
	}
	c.entries[key] = entry[V]{value: value, until: now.Add(c.maxAge)}
	return value, nil
}

func (c *cache[K, V]) drop(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
	c.epoch++
}

func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.epoch++
}
