package identity

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// The limits on wrong passwords that all gateways share. What a try costs is a [limiter]'s period; the records keep the moment at
// which everything is there again.
const (
	knownFor    = 30 * 24 * time.Hour // how long a network counts as known after a login from there
	knownMost   = 16                  // networks of a user that are known
	knownAgain  = 24 * time.Hour      // how often a login is written down
	strangerTry = time.Hour           // one try of each network, when the others have used up a user's
)

// suspect is who logs in, from where.
type suspect struct {
	user    string // the id, or what was said to be one: whatever way a user is named, it is the same one here
	network string
}

func (w suspect) keys() (user, address, both etcdschema.Key[etcdschema.IdentityAttempts]) {
	return etcdschema.IdentityAttemptsKey("user", w.user), etcdschema.IdentityAttemptsKey("address", w.network),
		etcdschema.IdentityAttemptsKey("user and address", w.user+" "+w.network)
}

// verdict is what is known of a suspect before its password is looked at.
type verdict struct {
	wait  time.Duration // until it may try; 0: now
	known bool          // the user has logged in from there before
	last  bool          // it is the one try that each network has when the user's are used up
}

// judge reads what gateways have written down of a suspect. It writes nothing.
func (s *Service) judge(ctx context.Context, w suspect) (v verdict, err error) {
	user, address, both := w.keys()
	_, err = s.store.Update(ctx, []etcdschema.Ref{user, address, both}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		v = verdict{}
		now := time.Now().UTC()
		of, err := etcdschema.Read(snap, user)
		if err != nil {
			return nil, err
		}
		from, err := etcdschema.Read(snap, address)
		if err != nil {
			return nil, err
		}
		pair, err := etcdschema.Read(snap, both)
		if err != nil {
			return nil, err
		}
		network, known := of.Value.Known[w.network]
		v.known = known && now.Before(network.Last.Add(knownFor))
		v.wait = s.attempts.remotes.waitOf(from.Value.FullAt, now)
		switch spent := s.attempts.users.waitOf(of.Value.FullAt, now); {
		case v.known:
			v.wait = max(v.wait, s.attempts.users.waitOf(network.FullAt, now))
		case spent > 0 && pair.Found:
			v.wait = max(v.wait, spent)
		case spent > 0:
			v.last = true
		}
		return nil, nil
	})
	return v, err
}

// waitOf is how long to wait for a try of a bucket.
func (l *limiter) waitOf(fullAt, now time.Time) time.Duration {
	if fullAt.Before(now) {
		fullAt = now
	}
	return max(0, fullAt.Add(l.period).Sub(now)-time.Duration(l.burst)*l.period)
}

// wrong writes down that a suspect's password was wrong.
func (s *Service) wrong(ctx context.Context, w suspect, v verdict) error {
	user, address, both := w.keys()
	_, err := s.store.Update(ctx, []etcdschema.Ref{user, address}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		now := time.Now().UTC()
		spend := func(fullAt time.Time, period time.Duration) time.Time {
			if fullAt.Before(now) {
				fullAt = now
			}
			return fullAt.Add(period)
		}
		of, err := etcdschema.Read(snap, user)
		if err != nil {
			return nil, err
		}
		from, err := etcdschema.Read(snap, address)
		if err != nil {
			return nil, err
		}
		ops := []etcdschema.Op{}
		switch {
		case v.known:
			network := of.Value.Known[w.network]
			network.FullAt = spend(network.FullAt, s.attempts.users.period)
			next := map[string]etcdschema.KnownNetwork{w.network: network} // the record may have ended since it was judged
			for other, was := range of.Value.Known {
				if other != w.network {
					next[other] = was
				}
			}
			of.Value.Known = next
		case v.last:
			ops = append(ops, etcdschema.Put(both, etcdschema.IdentityAttempts{FullAt: now.Add(strangerTry)}).For(strangerTry))
		default:
			of.Value.FullAt = spend(of.Value.FullAt, s.attempts.users.period)
		}
		from.Value.FullAt = spend(from.Value.FullAt, s.attempts.remotes.period)
		keep := strangerTry
		if len(of.Value.Known) > 0 {
			keep = knownFor
		}
		return append(ops, etcdschema.Put(user, of.Value).For(keep), etcdschema.Put(address, from.Value).For(strangerTry)), nil
	})
	return err
}

// right writes down, once a day, from where a user has logged in.
func (s *Service) right(ctx context.Context, w suspect) error {
	user, _, _ := w.keys()
	_, err := s.store.Update(ctx, []etcdschema.Ref{user}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		now := time.Now().UTC()
		of, err := etcdschema.Read(snap, user)
		if err != nil {
			return nil, err
		}
		network, known := of.Value.Known[w.network]
		if known && now.Before(network.Last.Add(knownAgain)) {
			return nil, nil
		}
		network.Last = now
		next := map[string]etcdschema.KnownNetwork{w.network: network}
		others := slices.SortedFunc(maps.Keys(of.Value.Known), func(a, b string) int { return of.Value.Known[b].Last.Compare(of.Value.Known[a].Last) })
		for _, other := range others {
			if len(next) < knownMost {
				next[other] = of.Value.Known[other]
			}
		}
		next[w.network] = network
		of.Value.Known = next
		return []etcdschema.Op{etcdschema.Put(user, of.Value).For(knownFor)}, nil
	})
	return err
}
