package postgresql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// replicaOf makes a replica of a server.
func replicaOf(t *testing.T, source *Manager) *Manager {
	t.Helper()
	m := newManager(t, newEnv(t), source.options)
	account := datastores.ReplicaAccount{ReplicaID: m.env.InstanceID, User: "slave_1", Password: datastores.NewSecret(`p:a\s's`)}
	must(t, source.ReplicationStrategies()[0].Source.AddReplica(t.Context(), account))
	req := quietly()
	req.Replicate = &datastores.Replicate{Strategy: m.ReplicationStrategies()[0], Request: datastores.AttachRequest{
		SourceID: source.env.InstanceID, Address: source.env.Address, Account: account, Progress: req.Progress,
	}}
	must(t, m.Prepare(t.Context(), req))
	return m
}

// A chain of backups that a replica has made restores to a server of its own, which knows nothing of the source's replicas.
func TestBackupOfAReplica(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	replica := replicaOf(t, source)
	fill := func(n int) {
		must(t, source.withIn(ctx, "shop", func(s *session) error {
			return s.exec(ctx, fmt.Sprintf("CREATE TABLE public.t%d AS SELECT generate_series(1, 1000) AS n", n))
		}))
		at, err := source.ReplicationStrategies()[0].Position(ctx)
		must(t, err)
		must(t, replica.ReplicationStrategies()[0].Replica.WaitFor(ctx, at))
	}
	fill(1)
	full, err := taken(t, replica, 0, nil)
	must(t, err)
	fill(2)
	more, err := taken(t, replica, 0, &full)
	must(t, err)
	_, err = taken(t, replica, 1, nil)
	wantKind(t, err, datastores.Conflict)

	restored := newManager(t, newEnv(t), DefaultOptions())
	req := quietly()
	req.Restore = &datastores.Restore{Strategy: restored.BackupStrategies()[0], Request: datastores.RestoreRequest{
		Chain: []datastores.BackupLink{full, more}, Progress: req.Progress,
	}}
	must(t, restored.Prepare(ctx, req))
	must(t, restored.withIn(ctx, "shop", func(s *session) error {
		n, err := s.one(ctx, "SELECT (SELECT count(*) FROM public.t1) + (SELECT count(*) FROM public.t2)")
		if n.String() != "2000" {
			t.Errorf("%s rows", n)
		}
		return err
	}))
	left, err := admin(t, restored).column(ctx, "SELECT rolname FROM pg_roles WHERE rolname = 'slave_1' UNION ALL SELECT slot_name FROM pg_replication_slots")
	must(t, err)
	if len(left) > 0 {
		t.Errorf("of the source's replicas there is left: %s", left)
	}
	isPromotedWithoutHome(t, source, replica)
}

// isPromotedWithoutHome has root, who was enabled after the replica was made, drop the guest's home on the source, and promotes the replica: the
// source follows it all the same, with what it has written alone taken back. What each says of root is what a login shows.
func isPromotedWithoutHome(t *testing.T, source, replica *Manager) {
	t.Helper()
	ctx := t.Context()
	_, err := source.EnableRoot(ctx, datastores.NewSecret("root's own"))
	must(t, err)
	root, err := login(t, source, rootUser, "root's own", "shop")
	must(t, err)
	must(t, root.exec(ctx, "DROP DATABASE "+homeDatabase+" WITH (FORCE)"))
	comesTo(t, replica, source)
	must(t, source.Stop(ctx)) // it is lost, and what it writes when it is back nobody else has
	account := datastores.ReplicaAccount{ReplicaID: source.env.InstanceID, User: "slave_2", Password: datastores.NewSecret("pass")}
	must(t, replica.ReplicationStrategies()[0].Replica.Promote(ctx, []datastores.ReplicaAccount{account}))
	must(t, source.Start(ctx))
	must(t, inShop(ctx, source, "CREATE TABLE public.lost ()"))
	must(t, inShop(ctx, replica, "CREATE TABLE public.kept ()"))
	must(t, source.ReplicationStrategies()[0].Replica.Attach(ctx, datastores.AttachRequest{
		SourceID: replica.env.InstanceID, Address: replica.env.Address, Account: account, Progress: func(string) {},
	}))
	comesTo(t, source, replica)
	if there, err := inColumn(ctx, source, "SELECT string_agg(relname, ' ') FROM pg_class WHERE relname IN ('lost', 'kept')"); err != nil || there != "kept" {
		t.Errorf("the former source has %q, %v", there, err)
	}
	isRooted := func(want bool) {
		t.Helper()
		for who, m := range map[string]*Manager{"the new source": replica, "the former one": source} {
			says, err := m.RootEnabled(ctx)
			must(t, err)
			if _, err := login(t, m, rootUser, "root's own", "shop"); says != want || (err == nil) != want {
				t.Errorf("%s says %t of root, whose login ends in %v; want %t", who, says, err, want)
			}
		}
	}
	isRooted(true)
	must(t, replica.DisableRoot(ctx))
	comesTo(t, source, replica)
	isRooted(false)
}

// Sessions on a replica end with what let them in on the source, and no others.
func TestSessionsOnAReplica(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "stock"}))
	replica := replicaOf(t, source)
	const user = "ann"
	create := func() error {
		return source.CreateUser(ctx, datastores.User{Name: user, Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "shop"}}})
	}
	must(t, source.CreateUser(ctx, datastores.User{Name: "bob", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "shop"}}}))
	level := func() {
		at, err := source.ReplicationStrategies()[0].Position(ctx)
		must(t, err)
		must(t, replica.ReplicationStrategies()[0].Replica.WaitFor(ctx, at))
		for range 2 {
			must(t, New(replica.env, replica.options).Upkeep(ctx)) // its guest may have started anew
		}
	}
	for _, change := range []struct {
		what string
		do   func() error
		ends bool
	}{
		{"a grant", func() error { return source.GrantAccess(ctx, user, "", []string{"stock"}) }, false},
		{"a new password", func() error {
			return source.UpdateUser(ctx, user, "", datastores.UserChange{Password: datastores.NewSecret("another")})
		}, true},
		{"a revoke", func() error { return source.RevokeAccess(ctx, user, "", "shop") }, true},
		{"a new name", func() error { return source.UpdateUser(ctx, user, "", datastores.UserChange{Name: "eve"}) }, true},
		{"a delete", func() error { return source.DeleteUser(ctx, user, "") }, true},
	} {
		must(t, create())
		level()
		session, err := login(t, replica, user, "pass", "shop")
		must(t, err)
		other, err := login(t, replica, "bob", "pass", "shop")
		must(t, err)
		must(t, change.do())
		level()
		if err := session.exec(ctx, "SELECT 1"); (err != nil) != change.ends {
			t.Errorf("after %s the session on a replica: %v", change.what, err)
		}
		if err := other.exec(ctx, "SELECT 1"); err != nil {
			t.Errorf("after %s the session of another user: %v", change.what, err)
		}
		for _, name := range []string{user, "eve"} {
			if err := source.DeleteUser(ctx, name, ""); err != nil && datastores.Told(err).Kind != datastores.NotFound {
				t.Fatal(err)
			}
		}
	}
}

// The account of a replica copies and rewinds, and does nothing else.
func TestAccountOfAReplica(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	account := datastores.ReplicaAccount{ReplicaID: "0198c0de-0000-7000-8000-000000000009", User: "slave_1", Password: datastores.NewSecret("pass")}
	streams := source.ReplicationStrategies()[0]
	must(t, source.CreateUser(ctx, datastores.User{Name: "taken", Password: datastores.NewSecret("pass")}))
	theirs := account
	theirs.User = "taken"
	wantKind(t, streams.Source.AddReplica(ctx, theirs), datastores.Exists)
	must(t, streams.Source.AddReplica(ctx, account))
	if _, err := login(t, source, "slave_1", "pass", "shop"); err == nil || !strings.Contains(err.Error(), "pg_hba") {
		t.Errorf("a replica's account in a tenant's database: %v", err)
	}
	s, err := login(t, source, "slave_1", "pass", homeDatabase)
	must(t, err)
	if err := s.exec(ctx, "CREATE TABLE public.t ()"); err == nil {
		t.Error("a replica's account makes a table")
	}
	users, err := source.ListUsers(ctx)
	must(t, err)
	for _, u := range users {
		if u.Name == "slave_1" {
			t.Error("tenants see the account of a replica")
		}
	}
	must(t, streams.Source.RemoveReplica(ctx, account))
	if _, err := login(t, source, "slave_1", "pass", homeDatabase); err == nil {
		t.Error("the account of a replica that was removed lets in")
	}
}
