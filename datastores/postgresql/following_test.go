package postgresql

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// A replica that has slept for longer than its slot keeps the log says so; so does one that root has paused or promoted.
func TestAReplicaThatCannotGoOn(t *testing.T) {
	ctx := t.Context()
	options := DefaultOptions()
	options.WALKeepMB, options.SlotKeepMB = 1, 1
	source := preparedWith(t, options, quietly())
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, inShop(ctx, source, "CREATE TABLE public.t (n int, padding text)"))
	replica := replicaOf(t, source)
	is := func(m *Manager) datastores.Following {
		t.Helper()
		is, err := m.Following(ctx)
		must(t, err)
		return is
	}
	until.True(t, time.Minute, "the replica follows", func() bool { return is(replica).Follows })

	must(t, admin(t, replica).exec(ctx, "SELECT pg_wal_replay_pause()"))
	must(t, inShop(ctx, source, "INSERT INTO public.t VALUES (1)"))
	until.True(t, time.Minute, "it is paused and behind", func() bool {
		f := is(replica)
		return !f.Follows && f.Waits && strings.Contains(f.Why, "paused") && f.Lag[datastores.Bytes] > 0
	})
	must(t, admin(t, replica).exec(ctx, "SELECT pg_wal_replay_resume()"))
	until.True(t, time.Minute, "the replica follows again", func() bool { f := is(replica); return f.Follows && !f.Waits })

	must(t, replica.service.Signal(syscall.SIGSTOP)) // the postmaster alone: then its receiver cannot be started again
	awake := func() { must(t, replica.service.Signal(syscall.SIGCONT)) }
	t.Cleanup(awake)
	slot := "SELECT active_pid FROM pg_replication_slots"
	pid, err := admin(t, source).one(ctx, slot)
	must(t, err)
	_, err = admin(t, source).query(ctx, "SELECT pg_terminate_backend($1::int)", pid.String())
	must(t, err)
	until.True(t, time.Minute, "the slot is lost", func() bool {
		must(t, inShop(ctx, source, "INSERT INTO public.t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n"))
		must(t, admin(t, source).exec(ctx, "CHECKPOINT"))
		state, err := admin(t, source).one(ctx, "SELECT wal_status FROM pg_replication_slots")
		return err == nil && state.String() == "lost"
	})
	awake()
	var last datastores.Following
	until.True(t, time.Minute, "the replica says why it does not follow", func() bool {
		last = is(replica)
		return !last.Follows && strings.Contains(last.Why, "it does not receive the log of its source: ")
	})
	t.Log(last.Why)

	must(t, admin(t, replica).exec(ctx, "SELECT pg_promote()"))
	if f := is(replica); f.Role != datastores.RoleSource {
		t.Errorf("a replica that root has promoted: %+v", f)
	}
	must(t, source.setReadOnly(ctx, true))
	if f := is(source); f.Role != datastores.RoleSource {
		t.Errorf("a source that was fenced: %+v", f)
	}
}

// A replica that somebody has made a source keeps what was written to it, until it may be discarded; then it follows.
func TestAReplicaFollowsAgain(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, inShop(ctx, source, "CREATE TABLE public.t (n int)"))
	replica := replicaOf(t, source)
	account := datastores.ReplicaAccount{ReplicaID: replica.env.InstanceID, User: "slave_1", Password: datastores.NewSecret("another")}
	attach := func(keep, anew bool) error {
		must(t, source.ReplicationStrategies()[0].Source.AddReplica(ctx, account))
		req := datastores.AttachRequest{SourceID: source.env.InstanceID, Address: source.env.Address, Account: account, Keep: keep, Anew: anew, Progress: func(string) {}}
		if !anew {
			return replica.ReplicationStrategies()[0].Replica.Attach(ctx, req)
		}
		prepare := quietly()
		prepare.Replicate = &datastores.Replicate{Strategy: replica.ReplicationStrategies()[0], Request: req}
		return replica.Prepare(ctx, prepare)
	}
	follows := func() {
		t.Helper()
		must(t, inShop(ctx, source, "INSERT INTO public.t VALUES (1)"))
		comesTo(t, replica, source)
		if f, err := replica.Following(ctx); err != nil || !f.Follows {
			t.Errorf("the replica: %+v, %v", f, err)
		}
	}
	must(t, attach(true, false)) // one that follows
	follows()
	must(t, source.ReplicationStrategies()[0].Source.RemoveReplica(ctx, account))
	must(t, attach(true, false)) // one whose account and slot are gone
	follows()
	must(t, admin(t, replica).exec(ctx, "SELECT pg_promote()"))
	must(t, inShop(ctx, replica, "INSERT INTO public.t VALUES (2)"))
	must(t, inShop(ctx, source, "INSERT INTO public.t VALUES (3)"))
	for range 2 {
		if err := attach(true, false); err == nil || datastores.Told(err).Kind != datastores.Conflict {
			t.Fatalf("a replica with a write of its own: %v", err)
		}
		if n, err := inColumn(ctx, replica, "SELECT n FROM public.t WHERE n = 2"); err != nil || n != "2" {
			t.Fatalf("after it was refused it has %q, %v", n, err)
		}
	}
	must(t, attach(false, true))
	follows()
	if n, err := inColumn(ctx, replica, "SELECT max(n) FROM public.t"); err != nil || n != "3" {
		t.Errorf("a replica that was made anew has %q, %v", n, err)
	}
	must(t, admin(t, replica).exec(ctx, "SELECT pg_promote()"))
	must(t, inShop(ctx, replica, "INSERT INTO public.t VALUES (4)"))
	must(t, attach(false, false)) // rewound
	follows()
}

func inColumn(ctx context.Context, m *Manager, statement string) (text string, err error) {
	err = m.withIn(ctx, "shop", func(s *session) error {
		v, err := s.one(ctx, statement)
		text = v.String()
		return err
	})
	return text, err
}
