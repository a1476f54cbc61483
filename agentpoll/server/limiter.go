package server

import (
	"maps"
	"sync"
	"time"
)

// limiterMax bounds how many callers a limiter remembers. Beyond it the one forgotten begins with a full bucket.
const limiterMax = 8192

// limiter is a token bucket for each caller.
type limiter struct {
	rate, burst float64 // tokens a second, tokens at most

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rate, burst float64) *limiter {
	return &limiter{rate: rate, burst: max(burst, 1), buckets: map[string]bucket{}}
}

// take spends a token of the caller and tells whether there was one.
func (l *limiter) take(caller string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.level(caller, now)
	if b.tokens < 1 {
		return false
	}
	l.makeRoom(now)
	l.buckets[caller] = bucket{tokens: b.tokens - 1, at: now}
	return true
}

// empty tells whether the caller has no token left.
func (l *limiter) empty(caller string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level(caller, time.Now()).tokens < 1
}

func (l *limiter) level(caller string, now time.Time) bucket {
	b, known := l.buckets[caller]
	if !known {
		return bucket{tokens: l.burst, at: now}
	}
	return bucket{tokens: min(l.burst, b.tokens+l.rate*now.Sub(b.at).Seconds()), at: now}
}

// makeRoom forgets those whose bucket is full again, and anybody when most are active. A quarter is freed at least, so
// that a storm of callers does not look through all of them each time.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.buckets) < limiterMax {
		return
	}
	maps.DeleteFunc(l.buckets, func(caller string, _ bucket) bool { return l.level(caller, now).tokens >= l.burst })
	for caller := range l.buckets {
		if len(l.buckets) < limiterMax/4*3 {
			return
		}
		delete(l.buckets, caller)
	}
}
