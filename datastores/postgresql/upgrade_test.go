package postgresql

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// What an upgrade cannot do it says, and the old version starts again.
func TestUpgrade(t *testing.T) {
	if !datastoretest.InImage(t, image) {
		return
	}
	ctx := t.Context()
	first := quietly()
	first.Overrides = datastores.Values{"max_prepared_transactions": json.Number("2")}
	old := preparedWith(t, DefaultOptions(), first)
	must(t, old.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, old.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "shop"}}}))
	s, err := login(t, old, "ann", "pass", "shop")
	must(t, err)
	must(t, s.exec(ctx, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n"))
	loadsInto(t, newManager(t, newEnv(t), newer(t)), old)
	account := datastores.ReplicaAccount{ReplicaID: "0198c0de-0000-7000-8000-000000000009", User: "replica_x", Password: datastores.NewSecret("p")}
	streams := old.ReplicationStrategies()[0]
	must(t, streams.Source.AddReplica(ctx, account))

	from, err := json.Marshal(DefaultOptions())
	must(t, err)
	req := datastores.UpgradeRequest{From: from, Progress: func(string) {}}
	must(t, newManager(t, old.env, DefaultOptions()).CheckUpgrade(ctx, req)) // the same major version serves its replica on
	m := newManager(t, old.env, newer(t))
	must(t, old.Stop(ctx))
	wantKind(t, m.Upgrade(ctx, req), datastores.Invalid) // it has a replica
	must(t, old.Start(ctx))
	must(t, streams.Source.RemoveReplica(ctx, account))
	must(t, inShop(ctx, old, "BEGIN", "CREATE TABLE public.u ()", "PREPARE TRANSACTION 'halfway'"))
	if err := m.CheckUpgrade(ctx, req); err == nil || !strings.Contains(err.Error(), `"halfway"`) {
		t.Errorf("the check with a prepared transaction: %v", err)
	}
	must(t, inShop(ctx, old, "ROLLBACK PREPARED 'halfway'", "CREATE EXTENSION pg_stat_statements SCHEMA public"))
	must(t, old.Stop(ctx))
	must(t, m.Upgrade(ctx, req))
	s, err = login(t, m, "ann", "pass", "shop")
	must(t, err)
	n, err := s.one(ctx, "SELECT count(*) FROM t")
	must(t, err)
	if n.String() != "1000" {
		t.Errorf("%s rows after the upgrade", n)
	}
	member(t, m, "bob", "shop")
	must(t, does(t, m, "bob", "shop", "ALTER TABLE t ADD m int"))
	must(t, m.withIn(ctx, "shop", func(s *session) error {
		left, err := s.column(ctx, "SELECT name FROM pg_available_extensions WHERE installed_version <> default_version")
		if len(left) > 0 {
			t.Errorf("of an older version are still: %s", left)
		}
		return err
	}))
	from, err = json.Marshal(newer(t))
	must(t, err)
	wantKind(t, old.Upgrade(ctx, datastores.UpgradeRequest{From: from, Progress: func(string) {}}), datastores.Invalid)
}

// loadsInto has a server of another version take over a dump of a server that runs.
func loadsInto(t *testing.T, m, old *Manager) {
	t.Helper()
	logical := func(m *Manager) datastores.BackupStrategy {
		all := m.BackupStrategies()
		return all[slices.IndexFunc(all, func(s datastores.BackupStrategy) bool { return s.Logical })]
	}
	var dump bytes.Buffer
	made, err := logical(old).Backup(t.Context(), datastores.BackupRequest{Output: &dump, Expect: func(int64) {}})
	must(t, err)
	req := quietly()
	req.Restore = &datastores.Restore{Strategy: logical(m), Request: datastores.RestoreRequest{Progress: func(string) {}, Chain: []datastores.BackupLink{{
		ID: "b", Meta: made.Meta, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(dump.Bytes())), nil },
	}}}}
	must(t, m.Prepare(t.Context(), req))
	s, err := login(t, m, "ann", "pass", "shop")
	must(t, err)
	if n, err := s.one(t.Context(), "SELECT count(*) FROM t"); err != nil || n.String() != "1000" {
		t.Errorf("%s rows after the restore, %v", n, err)
	}
}
