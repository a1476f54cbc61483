package datastoretest

import (
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testReplicaIsWatched: a server says whether it follows another, and a replica that has lost its source says why it does not.
func testReplicaIsWatched(t *testing.T, g *stage) {
	f := g.fleet(t)
	r := f.replicas[0]
	if is := asked(t, f.source); is.Role != datastores.RoleSource || is.Follows {
		t.Errorf("the source says of itself %+v", is)
	}
	f.follows(t, r)
	f.settled(t)
	r.eventually(t, func() (bool, string) {
		is := asked(t, r)
		return !is.Waits && is.At != "", "a replica that has everything says that there is something to apply, or not where it is"
	})
	before := asked(t, r).At
	f.source.write(t, someItems)
	f.settled(t)
	if after := asked(t, r).At; after == before {
		t.Errorf("a replica that has applied %d items more is at %q still", someItems, before)
	}
	f.source.stop(t)
	r.eventually(t, func() (bool, string) {
		is := asked(t, r)
		return is.Role == datastores.RoleReplica && !is.Follows && is.Why != "", "a replica whose source was stopped says that it follows, or not why it does not"
	})
	f.source.start(t)
	f.follows(t, r)
	f.settled(t)
}

// follows waits until a replica says that it follows.
func (f *fleet) follows(t *testing.T, r *server) {
	t.Helper()
	r.eventually(t, func() (bool, string) {
		is := asked(t, r)
		return is.Role == datastores.RoleReplica && is.Follows && is.Why == "", "the replica does not say that it follows: " + is.Why
	})
}

// asked asks a server how it follows.
func asked(t *testing.T, s *server) datastores.Following {
	t.Helper()
	is, err := s.manager.(datastores.Replication).Following(s.within(t))
	s.must(t, "following", err)
	return is
}
