package postgresql

import (
	"encoding/json"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// What an upgrade cannot do it says, and the old version starts again.
func TestUpgrade(t *testing.T) {
	ctx := t.Context()
	old := prepared(t)
	must(t, old.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, old.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "shop"}}}))
	s, err := login(t, old, "ann", "pass", "shop")
	must(t, err)
	must(t, s.exec(ctx, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n"))
	account := datastores.ReplicaAccount{ReplicaID: "0198c0de-0000-7000-8000-000000000009", User: "replica_x", Password: datastores.NewSecret("p")}
	streams := old.ReplicationStrategies()[0]
	must(t, streams.AddReplica(ctx, account))

	from, err := json.Marshal(DefaultOptions())
	must(t, err)
	req := datastores.UpgradeRequest{From: from, Progress: func(string) {}}
	m := newManager(t, old.env, newer(t))
	must(t, old.Stop(ctx))
	wantKind(t, m.Upgrade(ctx, req), datastores.Invalid) // it has a replica
	must(t, old.Start(ctx))
	must(t, streams.RemoveReplica(ctx, account))
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
	from, err = json.Marshal(newer(t))
	must(t, err)
	wantKind(t, old.Upgrade(ctx, datastores.UpgradeRequest{From: from, Progress: func(string) {}}), datastores.Invalid)
}
