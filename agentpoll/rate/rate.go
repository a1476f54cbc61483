// Package rate holds token buckets: how much of something each of many callers may do.
package rate

import (
	"maps"
	"math"
	"sync"
	"time"
)

// most bounds how many callers a limiter remembers. Beyond it the one forgotten begins with a full bucket.
const most = 8192

// Limiter is a token bucket for each caller. The nil Limiter refuses nobody. Its methods may be called concurrently.
type Limiter struct {
	rate, burst float64 // tokens a second, tokens at most

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// New returns a limiter that gives each caller perSecond tokens a second, and at least one and at most burst at once.
func New(perSecond, burst float64) *Limiter {
	return &Limiter{rate: perSecond, burst: max(burst, 1), buckets: map[string]bucket{}}
}

// Take spends n tokens of the caller and returns 0; or it spends nothing and returns after how long there will be as many. What
// is more than a full bucket costs a full one.
func (l *Limiter) Take(caller string, n float64) (wait time.Duration) {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.level(caller, now)
	if n = min(n, l.burst); b.tokens < n {
		return l.until(n - b.tokens)
	}
	l.makeRoom(now)
	l.buckets[caller] = bucket{tokens: b.tokens - n, at: now}
	return 0
}

// Left is how many tokens the caller has.
func (l *Limiter) Left(caller string) float64 {
	if l == nil {
		return math.Inf(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level(caller, time.Now()).tokens
}

// until is how long it takes until there are so many tokens more.
func (l *Limiter) until(tokens float64) time.Duration {
	if l.rate <= 0 {
		return time.Hour
	}
	return max(time.Duration(tokens/l.rate*float64(time.Second)), 1)
}

func (l *Limiter) level(caller string, now time.Time) bucket {
	b, known := l.buckets[caller]
	if !known {
		return bucket{tokens: l.burst, at: now}
	}
	return bucket{tokens: min(l.burst, b.tokens+l.rate*now.Sub(b.at).Seconds()), at: now}
}

// makeRoom forgets those whose bucket is full again, and anybody when most are active. A quarter is freed at least, so
// that a storm of callers does not look through all of them each time.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.buckets) < most {
		return
	}
	maps.DeleteFunc(l.buckets, func(caller string, _ bucket) bool { return l.level(caller, now).tokens >= l.burst })
	for caller := range l.buckets {
		if len(l.buckets) < most/4*3 {
			return
		}
		delete(l.buckets, caller)
	}
}
