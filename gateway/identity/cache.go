package identity

import (
	"sync"
	"time"
)

// cache remembers answers for a short time, in two halves of at most max entries: when the young half is full it becomes
// the old one, and the old one is forgotten.
type cache[T any] struct {
	ttl time.Duration
	max int

	mu         sync.Mutex
	young, old map[string]cached[T]
	cleared    int // how often
}

type cached[T any] struct {
	value T
	until time.Time
}

func newCache[T any](ttl time.Duration, max int) *cache[T] {
	return &cache[T]{ttl: ttl, max: max, young: map[string]cached[T]{}}
}

// get returns what is remembered of key. When that is nothing, the caller finds the answer out and may give it to
// remember, which ignores it if the cache was cleared since: it may have been found before what clear was called for.
func (c *cache[T]) get(key string) (v T, ok bool, remember func(T)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[key]
	if !ok {
		e, ok = c.old[key]
	}
	if ok && time.Now().Before(e.until) {
		return e.value, true, nil
	}
	cleared := c.cleared
	return v, false, func(v T) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.cleared == cleared {
			c.put(key, v)
		}
	}
}

func (c *cache[T]) put(key string, v T) {
	if len(c.young) >= c.max {
		c.old, c.young = c.young, make(map[string]cached[T])
	}
	c.young[key] = cached[T]{v, time.Now().Add(c.ttl)}
}

// clear forgets everything.
func (c *cache[T]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old = map[string]cached[T]{}, nil
	c.cleared++
}
