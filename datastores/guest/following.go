package guest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

const (
	followingTimeout = 3 * time.Second // for the server's answer
	stumble          = 10 * time.Second
	standing         = time.Minute
	unheard          = time.Minute
	retell           = 30 * time.Second
)

// least is the lag of each unit below which it is told as none.
var least = datastores.Lag{datastores.Seconds: 10, datastores.Bytes: 16 << 20, datastores.Transactions: 1000}

// followed is what is told of how the server follows another. What a busy server says of that differs at each look, and whatever is
// told is a write to etcd, so:
//
//   - that a server has become a replica, or is none any more, or follows again, is told at once;
//   - that it does not follow, when that has lasted for 10 s: a restart of the source need not be told of;
//   - a replica that says that it follows, but has not applied anything for a minute of what it has received, stands still: it does
//     not follow either;
//   - a server that cannot be asked for a minute does not follow, when it did before;
//   - another reason, or another lag, is told 30 s after the last telling or later. A lag counts as another one when it is twice or
//     half of what was told; below 10 s, 16 MB, or 1000 transactions it is none.
//
// Nothing is told until it is known.
type followed struct {
	mu    sync.Mutex
	told  *datastores.Following
	at    time.Time // when that was told
	last  string    // At of the last look
	moved time.Time // when At was another one, or the replica had all
	fails time.Time // since when it does not follow; zero: it does
	heard time.Time // when the server could be asked
}

// forget is called before the server is made something else.
func (f *followed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told, f.fails, f.moved, f.last, f.heard = nil, time.Time{}, time.Time{}, "", time.Time{}
}

// keep returns what was told last.
func (f *followed) keep() *datastores.Following {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// look takes what the server says at a time, or err when it could not be asked, and returns what is to be told.
func (f *followed) look(now time.Time, is datastores.Following, err error) *datastores.Following {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if f.told == nil || !f.told.Follows || now.Sub(f.heard) < unheard {
			return f.told
		}
		is = datastores.Following{Role: f.told.Role, Why: "it could not be asked whether it follows: " + datastores.Told(err).Message}
	} else {
		f.heard = now
		if f.moved.IsZero() || is.At != f.last || !is.Waits {
			f.last, f.moved = is.At, now
		}
		if is.Follows && now.Sub(f.moved) >= standing {
			is.Follows, is.Why = false, "it has applied nothing for a minute, although there is something to apply"
		}
	}
	if is.Why != "" {
		is.Why = datastores.Told(errors.New(is.Why)).Message
	}
	since := now
	switch {
	case is.Role == datastores.RoleSource || is.Follows:
		f.fails = time.Time{}
	case f.fails.IsZero():
		f.fails = now
		fallthrough
	default:
		since = f.fails
		if now.Sub(f.fails) < stumble && err == nil && (f.told == nil || f.told.Role == is.Role && f.told.Follows) {
			return f.told
		}
	}
	is.Lag = told(is.Lag)
	switch was := f.told; {
	case was == nil, was.Role != is.Role, was.Follows != is.Follows:
		is.Since = since
	case now.Sub(f.at) < retell, was.Why == is.Why && alike(was.Lag, is.Lag):
		return was
	default:
		is.Since = was.Since
	}
	is.At, is.Waits = "", false
	f.told, f.at = &is, now
	return f.told
}

// told is a lag as it is told.
func told(lag datastores.Lag) datastores.Lag {
	lag = maps.Clone(lag)
	for unit, n := range lag {
		if n < least[unit] {
			lag[unit] = 0
		}
	}
	return lag
}

// alike reports whether neither lag is twice the other.
func alike(a, b datastores.Lag) bool {
	return maps.EqualFunc(a, b, func(m, n int64) bool { return m == n || min(m, n) > 0 && max(m, n) < 2*min(m, n) })
}

// following asks the server how it follows another. While a command changes what the server is, what was told stays.
func (g *Guest) following(ctx context.Context, st datastores.Status) *datastores.Following {
	m, ok := g.served.Load().manager.(datastores.Replication)
	if !ok || st.Service != datastores.StatusHealthy {
		return nil
	}
	operation := g.operations.Load()
	ctx, cancel := context.WithTimeout(ctx, followingTimeout)
	defer cancel()
	was := g.followed.keep()
	is, err := m.Following(ctx)
	if operation%2 != 0 || operation != g.operations.Load() || g.state.get().between() {
		return was
	}
	tell := g.followed.look(time.Now(), is, err)
	switch {
	case tell == was || tell == nil || tell.Role != datastores.RoleReplica:
	case !tell.Follows:
		g.log.Warn("the server does not follow its source", "err", cmp.Or(tell.Why, "it does not say why"), "since", tell.Since)
	case was != nil && !was.Follows:
		g.log.Info("the server follows its source again")
	}
	return tell
}
