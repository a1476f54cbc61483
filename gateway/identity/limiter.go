package identity

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// How often a password may be wrong: so many times at once, then one more each period.
const (
	userBurst    = 10
	userPeriod   = 6 * time.Second
	remoteBurst  = 30
	remotePeriod = time.Second
)

// slots is how many buckets a limiter has. It never grows: keys that hash to the same one share it.
const slots = 1 << 13

// limiter is a token bucket for each key. A bucket is one moment, that at which it will be full again.
type limiter struct {
	burst  int
	period time.Duration
	seed   maphash.Seed // so that nobody can work out whose bucket a key shares

	mu     sync.Mutex
	fullAt [slots]time.Time
}

func newLimiter(burst int, period time.Duration) *limiter {
	return &limiter{burst: burst, period: period, seed: maphash.MakeSeed()}
}

// take uses up one try of key. When there is none left it returns how long to wait for one.
func (l *limiter) take(key string) (wait time.Duration) {
	now := time.Now()
	slot := &l.fullAt[maphash.String(l.seed, key)%slots]
	l.mu.Lock()
	defer l.mu.Unlock()
	if slot.Before(now) {
		*slot = now
	}
	after := slot.Add(l.period)
	if wait := after.Sub(now) - time.Duration(l.burst)*l.period; wait > 0 {
		return wait
	}
	*slot = after
	return 0
}

// giveBack undoes a take.
func (l *limiter) giveBack(key string) {
	slot := &l.fullAt[maphash.String(l.seed, key)%slots]
	l.mu.Lock()
	defer l.mu.Unlock()
	*slot = slot.Add(-l.period)
}

// attempts limits password guessing, for each user and for each remote address.
type attempts struct{ users, remotes *limiter }

func newAttempts() attempts {
	return attempts{users: newLimiter(userBurst, userPeriod), remotes: newLimiter(remoteBurst, remotePeriod)}
}

// begin counts a try as wrong unless uncount is called. A remote that has used up its tries cannot use up a user's.
func (a attempts) begin(user, remote string) (uncount func(), wait time.Duration) {
	remote = network(remote)
	if wait := a.remotes.take(remote); wait > 0 {
		return nil, wait
	}
	if wait := a.users.take(user); wait > 0 {
		return nil, wait
	}
	return func() { a.remotes.giveBack(remote); a.users.giveBack(user) }, 0
}

// network is what one customer has of the address space: an IPv4 address, 64 bits of an IPv6 one.
func network(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return remote
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	p, _ := addr.Prefix(64) // fails for more bits than the address has
	return p.String()
}
