package mysql

import (
	"database/sql"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// killed kills a server and starts it again.
func killed(t *testing.T, m *Manager) *Manager {
	t.Helper()
	pid, _, _ := m.service.Running()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	m = newManager(t, m.env)
	must(t, m.Stop(t.Context()))
	must(t, m.Start(t.Context()))
	return m
}

// A candidate whose server was killed before it has applied what it has acknowledged does not decide before it has that again, and is not
// promoted with less than it said that it had.
func TestACandidateThatForgets(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, source.CreateUser(ctx, datastores.User{Name: "bob", Host: "%", Password: secret("pass"), Databases: []datastores.Database{{Name: "shop"}}}))
	db, err := login(t, source, "bob", "pass", "shop")
	must(t, err)
	_, err = db.ExecContext(ctx, "CREATE TABLE items (n INT PRIMARY KEY)")
	must(t, err)
	a := follow(t, source)
	account := replicaAccount(a)
	account.Password = datastores.Secret{}
	_, err = source.failover().Await(ctx, datastores.Await{Count: 1, Candidates: []datastores.ReplicaAccount{account}})
	must(t, err)
	_, err = a.failover().Stand(ctx, false)
	must(t, err)

	must(t, a.session(func(db *sql.DB) error { return execute(ctx, db, "STOP SLAVE SQL_THREAD") }))
	if !acknowledged(t, source, 1) {
		t.Fatal("a commit is not acknowledged that a candidate has")
	}
	pid, _, _ := source.service.Running()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	a = killed(t, a)
	if err := a.Upkeep(ctx); err == nil {
		t.Error("a candidate without its source has asked that how far it has come")
	}
	_, err = a.failover().Stand(ctx, true)
	wantKind(t, err, datastores.Conflict)

	source = newManager(t, source.env)
	must(t, source.Stop(ctx))
	must(t, source.Start(ctx))
	_, err = a.failover().Stand(ctx, false)
	must(t, err)
	until.True(t, time.Minute, "the candidate has all again", func() bool {
		err := a.Upkeep(ctx)
		is, lerr := a.loadSide()
		must(t, lerr)
		return err == nil && !is.Forgot
	})
	var n int
	must(t, a.session(func(db *sql.DB) error { return db.QueryRow("SELECT COUNT(*) FROM shop.items").Scan(&n) }))
	if n != 1 {
		t.Errorf("a candidate that says that it has all has %d rows of 1", n)
	}

	err = a.session(func(db *sql.DB) error {
		conn, err := db.Conn(ctx)
		must(t, err)
		defer func() { _ = conn.Close() }()
		_, err = conn.ExecContext(ctx, "LOCK TABLES shop.items READ") // nothing is applied
		must(t, err)
		if !acknowledged(t, source, 2) {
			t.Error("a commit is not acknowledged that a candidate has")
		}
		_, err = a.failover().Stand(ctx, true)
		must(t, err)
		a = killed(t, a)
		return nil
	})
	must(t, err)
	wantKind(t, a.replication().Replica.Promote(ctx, nil), datastores.Conflict)
	_, err = a.failover().Stand(ctx, true)
	wantKind(t, err, datastores.Conflict)
	must(t, a.replication().Replica.Promote(ctx, nil)) // somebody can do without
}
