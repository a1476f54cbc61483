package postgresql

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestDemands: a source gets more of everything that a standby needs as much of. Its replica follows, also when it was away
// meanwhile, and a backup comes up where there is less, with the transactions that were prepared.
func TestDemands(t *testing.T) {
	for name, of := range map[string]struct {
		options func(testing.TB) Options
		chain   bool // the source grows after the full backup
	}{
		"15": {func(testing.TB) Options { return DefaultOptions() }, true},
		"17": {newer, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "17" && !datastoretest.InImage(t, image) {
				return
			}
			ctx := t.Context()
			source := preparedWith(t, of.options(t), quietly())
			must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
			must(t, inShop(ctx, source, "CREATE TABLE public.t (n int)"))
			replica := replicaOf(t, source)
			var backup []datastores.BackupLink
			if of.chain {
				full, err := taken(t, source, 0, nil)
				must(t, err)
				backup = append(backup, full)
			}
			for n, away := range []bool{false, true} {
				if away {
					must(t, replica.Stop(ctx))
				}
				grow(t, source, n+1)
				must(t, inShop(ctx, source, "INSERT INTO public.t VALUES (1)"))
				if !away {
					standsStill(t, replica, n)
				}
				must(t, replica.Start(ctx))
				comesTo(t, replica, source)
				if rows, err := inColumn(ctx, replica, "SELECT count(*) FROM public.t"); err != nil || rows != fmt.Sprint(n+1) {
					t.Errorf("of %d acknowledged rows the replica has %s, %v", n+1, rows, err)
				}
			}
			must(t, inShop(ctx, source, "BEGIN", "INSERT INTO public.t VALUES (1)", "PREPARE TRANSACTION 'in a file'", "CHECKPOINT"))
			must(t, inShop(ctx, source, "BEGIN", "INSERT INTO public.t VALUES (1)", "PREPARE TRANSACTION 'in the log'"))
			var parent *datastores.BackupLink
			if of.chain {
				parent = &backup[0]
			}
			link, err := taken(t, source, 0, parent)
			must(t, err)
			comesUpSmall(t, source.options, append(backup, link))
			isPromotedOutgrown(t, source, replica)
		})
	}
}

// isPromotedOutgrown loses a source just after it got more than its replica has: nothing of what that has received is lost in its promotion.
func isPromotedOutgrown(t *testing.T, source, replica *Manager) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must(t, inShop(ctx, source, "ROLLBACK PREPARED 'in a file'", "ROLLBACK PREPARED 'in the log'"))
	comesTo(t, replica, source)
	grow(t, source, 3)
	must(t, inShop(ctx, source, "INSERT INTO public.t VALUES (-1)"))
	until.True(t, time.Minute, "the replica has paused, and has received all", func() bool {
		end, err := source.ReplicationStrategies()[0].Position(ctx)
		must(t, err)
		received, err := admin(t, replica).one(ctx, "SELECT pg_last_wal_receive_lsn() >= $1::pg_lsn", end.ID)
		return err == nil && received.bool() && replica.Status(ctx).Restart != ""
	})
	must(t, source.Stop(ctx))
	must(t, replica.ReplicationStrategies()[0].Replica.Promote(ctx, nil))
	if n, err := inColumn(ctx, replica, "SELECT n FROM public.t WHERE n = -1"); err != nil || n != "-1" {
		t.Errorf("the promoted replica has %q, %v", n, err)
	}
}

func grow(t *testing.T, m *Manager, n int) {
	t.Helper()
	number := func(v int) json.Number { return json.Number(fmt.Sprint(v)) }
	_, err := m.UpdateOverrides(t.Context(), datastores.Values{
		"max_connections": number(150 * n), "max_worker_processes": number(16 * n),
		"max_prepared_transactions": number(20 * n), "max_locks_per_transaction": number(100 * n),
	})
	must(t, err)
	must(t, m.Stop(t.Context()))
	must(t, m.Start(t.Context()))
}

// standsStill holds a replica that has less than its source to what it does until its guest restarts it: it says that it does not
// follow, so that nobody promotes it, and that a restart helps; readers find the rows that were there before.
func standsStill(t *testing.T, replica *Manager, rows int) {
	t.Helper()
	until.True(t, time.Minute, "the replica says that it stands still", func() bool {
		f, err := replica.Following(t.Context())
		must(t, err)
		return !f.Follows && f.Why != "" && replica.Status(t.Context()).Restart != ""
	})
	if has, err := inColumn(t.Context(), replica, "SELECT count(*) FROM public.t"); err != nil || has != fmt.Sprint(rows) {
		t.Errorf("a replica that stands still shows %s rows, %v; want %d", has, err, rows)
	}
}

// inShop runs statements one by one: what prepares a transaction, or writes a checkpoint, wants to be alone.
func inShop(ctx context.Context, m *Manager, statements ...string) error {
	return m.withIn(ctx, "shop", func(s *session) error {
		for _, statement := range statements {
			if err := s.exec(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
}

// comesTo restarts a replica whenever it asks for it, as the guest does, until it has what its source has.
func comesTo(t *testing.T, replica, source *Manager) {
	t.Helper()
	ctx := t.Context()
	at, err := source.ReplicationStrategies()[0].Position(ctx)
	must(t, err)
	until.True(t, time.Minute, "the replica has what its source has", func() bool {
		if reason := replica.Status(ctx).Restart; reason != "" {
			t.Log("the replica asks for a restart:", reason)
			must(t, replica.Stop(ctx))
			must(t, replica.Start(ctx))
		}
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return replica.ReplicationStrategies()[0].Replica.WaitFor(soon, at) == nil
	})
	if st := replica.Status(ctx); st.Service != datastores.StatusHealthy || st.Restart != "" {
		t.Errorf("a replica that has everything: %+v", st)
	}
}

// comesUpSmall restores a backup without the values of the server that it is of.
func comesUpSmall(t *testing.T, options Options, chain []datastores.BackupLink) {
	t.Helper()
	ctx := t.Context()
	m := newManager(t, newEnv(t), options)
	req := quietly()
	req.Restore = &datastores.Restore{Strategy: m.BackupStrategies()[0], Request: datastores.RestoreRequest{Chain: chain, Progress: req.Progress}}
	must(t, m.Prepare(ctx, req))
	has, err := admin(t, m).query(ctx, "SELECT name, setting FROM pg_settings WHERE name IN ('max_connections', 'max_prepared_transactions') ORDER BY name")
	must(t, err)
	if fmt.Sprint(has) != "[[max_connections 100] [max_prepared_transactions 2]]" {
		t.Errorf("after the recovery it has %s", has)
	}
	restart, err := m.UpdateOverrides(ctx, datastores.Values{"work_mem": "3MB"})
	if err != nil || restart {
		t.Errorf("a change of what takes no restart: restart %v, %v", restart, err)
	}
	must(t, kill(ctx, m.env))
	must(t, m.Start(ctx))
	must(t, inShop(ctx, m, "COMMIT PREPARED 'in a file'", "COMMIT PREPARED 'in the log'"))
	must(t, m.withIn(ctx, "shop", func(s *session) error {
		n, err := s.one(ctx, "SELECT count(*) FROM public.t")
		if n.String() != "4" {
			t.Errorf("%s rows", n)
		}
		return err
	}))
}
