package redis

import (
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// A replica whose account is gone from the source says that it does not follow, and why.
func TestAReplicaThatIsNotLetIn(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		source := started(t, o, datastores.PrepareRequest{})
		replica := replicaOf(t, source, 1)
		is := func() datastores.Following {
			t.Helper()
			is, err := replica.Following(ctx)
			must(t, err)
			return is
		}
		soon(t, "the replica follows", func() bool { return is().Follows })
		if f, err := source.Following(ctx); err != nil || f.Role != datastores.RoleSource {
			t.Errorf("the source: %+v, %v", f, err)
		}
		must(t, source.removeReplica(ctx, accountOf(1)))
		must(t, source.call(ctx, []string{"CLIENT", "KILL", "TYPE", "replica"}))
		soon(t, "the replica says that it does not follow", func() bool { f := is(); return !f.Follows && f.Why != "" })
		t.Log(is().Why)
		must(t, source.addReplica(ctx, accountOf(1)))
		soon(t, "the replica follows again", func() bool { return is().Follows })
		must(t, replica.call(ctx, []string{"REPLICAOF", "NO", "ONE"}))
		if f := is(); f.Role != datastores.RoleSource {
			t.Errorf("a replica that was told to follow nobody: %+v", f)
		}
	})
}

// A replica that somebody has told to be none, and has written to, is attached only when that may be discarded.
func TestAReplicaFollowsAgain(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		source := started(t, o, datastores.PrepareRequest{})
		replica := replicaOf(t, source, 1)
		attach := func(keep, anew bool) error {
			must(t, source.addReplica(ctx, accountOf(2)))
			req := attachTo(source, accountOf(2))
			req.Keep, req.Anew = keep, anew
			return replica.attach(ctx, req)
		}
		must(t, source.removeReplica(ctx, accountOf(1)))
		must(t, attach(true, false))
		must(t, replica.call(ctx, []string{"REPLICAOF", "NO", "ONE"}, []string{"SET", "own", "1"}))
		if err := attach(true, false); err == nil || datastores.Told(err).Kind != datastores.Conflict {
			t.Errorf("a replica with a write of its own: %v", err)
		}
		must(t, attach(false, true))
		if f, err := replica.Following(ctx); err != nil || !f.Follows {
			t.Errorf("%+v, %v", f, err)
		}
	})
}
