package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func (m *Manager) replication() datastores.ReplicationStrategy { return m.ReplicationStrategies()[0] }

func replicaAccount(m *Manager) datastores.ReplicaAccount {
	id := m.env.InstanceID
	return datastores.ReplicaAccount{ReplicaID: id, User: "slave_" + id[:8], Password: secret("p-" + id[:12])}
}

// follow makes a new replica of the source.
func follow(t *testing.T, source *Manager) *Manager {
	t.Helper()
	return followWith(t, source, New(newEnv(t), DefaultOptions()))
}

func followWith(t *testing.T, source, m *Manager) *Manager {
	t.Helper()
	stopInTheEnd(t, m)
	must(t, source.replication().Source.AddReplica(t.Context(), replicaAccount(m)))
	link := backupOf(t, source, nil)
	must(t, m.Prepare(t.Context(), datastores.PrepareRequest{
		Progress:  func(string) {},
		Restore:   &datastores.Restore{Strategy: m.physicalStrategy(), Request: datastores.RestoreRequest{Chain: []datastores.BackupLink{link}, Progress: func(string) {}}},
		Replicate: &datastores.Replicate{Strategy: m.replication(), Request: attachment(source, m, link.Meta)},
	}))
	return m
}

func attachment(source, m *Manager, meta []byte) datastores.AttachRequest {
	return datastores.AttachRequest{
		SourceID: source.env.InstanceID, Address: source.env.Address, Account: replicaAccount(m), Backup: meta, Progress: func(string) {},
	}
}

// backupOf makes a backup with the physical strategy.
func backupOf(t *testing.T, m *Manager, parent *datastores.BackupLink) datastores.BackupLink {
	t.Helper()
	var stream bytes.Buffer
	logs := logSize(t, m)
	reply, err := m.physicalStrategy().Backup(t.Context(), datastores.BackupRequest{
		ID: instanceID(), Parent: parent, Output: &stream, Expect: func(int64) {},
	})
	must(t, err)
	wantWithoutLogs(t, m, logs, reply)
	return datastores.BackupLink{ID: instanceID(), Meta: reply.Meta, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stream.Bytes())), nil
	}}
}

// logSize is what the logs of changes take on the volume.
func logSize(t *testing.T, m *Manager) (size int64) {
	t.Helper()
	files, err := filepath.Glob(m.path(dataDir) + "/binlog.*")
	must(t, err)
	relayed, err := filepath.Glob(m.path(dataDir) + "/relay.*")
	must(t, err)
	for _, name := range append(files, relayed...) {
		info, err := os.Stat(name)
		must(t, err)
		size += info.Size()
	}
	return size
}

// wantWithoutLogs: what a restore does not bring back is the binary logs, which took so much when the backup began, and may have grown.
func wantWithoutLogs(t *testing.T, m *Manager, before int64, reply datastores.BackupReply) {
	t.Helper()
	if after := logSize(t, m); before == 0 || reply.Without < before || reply.Without > after {
		t.Errorf("a restore needs %d bytes less than the volume has; want the %d to %d of the logs", reply.Without, before, after)
	}
}

// caughtUp waits until a replica has what its source has.
func caughtUp(t *testing.T, source, replica *Manager) {
	t.Helper()
	at, err := source.replication().Position(t.Context())
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := replica.replication().Replica.WaitFor(ctx, at); err != nil {
		t.Fatalf("%s: %v", at.ID, err)
	}
}

// tenant makes a user with a database and some items.
func tenant(t *testing.T, m *Manager) datastoretest.Login {
	t.Helper()
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "shop"}))
	must(t, m.CreateUser(t.Context(), datastores.User{Name: "ann", Password: secret("pass"), Databases: named("shop")}))
	l := loginTo(m)
	_, err := write(t.Context(), l, 0, 20)
	must(t, err)
	return l
}

func loginTo(m *Manager) datastoretest.Login {
	return datastoretest.Login{Address: m.env.Address, User: "ann", Password: "pass", Database: "shop"}
}

// Root may flush on a replica, as mysqldump does, which the replica logs; nothing breaks, then or when it is promoted.
func TestReplicaLogsWhatIsOnlyItsOwn(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	tenant(t, source)
	_, err := source.EnableRoot(ctx, secret("pass"))
	must(t, err)
	events := newCalendar(t, source)
	first, second := follow(t, source), follow(t, source)
	events.change(t, source, first)

	asRoot, err := login(t, first, "root", "pass", "")
	must(t, err)
	for range 3 {
		_, err = asRoot.Exec("FLUSH TABLES")
		must(t, err)
	}
	_, err = write(ctx, loginTo(source), 20, 30)
	must(t, err)
	caughtUp(t, source, first)
	caughtUp(t, source, second)

	logsAreBounded(t, source)
	if events := ran(t, source, first); len(events) > 0 {
		t.Errorf("a replica has run the events %v", events)
	}
	must(t, source.replication().Source.SetReadOnly(ctx, true))
	caughtUp(t, source, first)
	accounts := []datastores.ReplicaAccount{replicaAccount(source), replicaAccount(second)}
	for range 2 {
		must(t, first.replication().Replica.Promote(ctx, accounts))
	}
	if err := asRoot.Ping(); err == nil {
		// database/sql dials anew: what counts is the domain of the new session.
		var domain int
		must(t, asRoot.QueryRow("SELECT @@SESSION.gtid_domain_id").Scan(&domain))
		if domain != 0 {
			t.Errorf("a session of the new source writes to domain %d", domain)
		}
	}
	events.promoted(t, first, source)
	req := attachment(first, source, nil)
	req.Former = true
	must(t, source.replication().Replica.Attach(ctx, req))
	must(t, second.replication().Replica.Attach(ctx, attachment(first, second, nil)))
	_, err = write(ctx, loginTo(first), 30, 40)
	must(t, err)
	third := follow(t, first)
	want, wantDigest, err := digest(ctx, loginTo(first))
	must(t, err)
	for name, replica := range map[string]*Manager{"the former source": source, "the other replica": second, "a new replica": third} {
		caughtUp(t, first, replica)
		if items, sum, err := digest(ctx, loginTo(replica)); err != nil || items != want || sum != wantDigest {
			t.Errorf("%s has %d items, %v; want %d", name, items, err, want)
		}
	}
	_, err = first.EnableRoot(ctx, secret("later"))
	must(t, err)
	caughtUp(t, first, second)
	wantRoot(t, second, "later", true)
	open := map[string]*held{}
	for user, password := range map[string]string{rootUser: "later", "ann": "pass", "bob": "pass"} {
		if user == "bob" {
			must(t, first.CreateUser(ctx, datastores.User{Name: user, Password: secret(password)}))
			caughtUp(t, first, second)
		}
		open[user], err = openSession(ctx, datastoretest.Login{Address: second.env.Address, User: user, Password: password})
		must(t, err)
	}
	must(t, first.DisableRoot(ctx))
	must(t, first.DeleteUser(ctx, "bob", ""))
	caughtUp(t, first, second)
	must(t, second.Upkeep(ctx))
	for user, session := range open {
		if err := session.Ask(ctx); (err == nil) != (user == "ann") {
			t.Errorf("the session of %s on a replica: %v", user, err)
		}
		_ = session.Close()
	}
	for _, m := range []*Manager{first, second} {
		wantRoot(t, m, "later", false)
	}
	endsOnReplica(t, first, second)
	wantKind(t, second.CreateDatabase(ctx, datastores.Database{Name: "not_here"}), datastores.Conflict)
	_, err = second.EnableRoot(ctx, secret("other"))
	wantKind(t, err, datastores.Conflict)
	users, err := first.ListUsers(ctx)
	must(t, err)
	for _, u := range users {
		if strings.HasPrefix(u.Name, "slave_") {
			t.Errorf("tenants see the account of a replica, %s", u.Name)
		}
	}
}

// endsOnReplica has sessions on a replica end with what let them in on the source, and no others.
func endsOnReplica(t *testing.T, source, replica *Manager) {
	t.Helper()
	ctx := t.Context()
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "stock"}))
	for _, user := range []string{"cid", "dan", "eve"} {
		must(t, source.CreateUser(ctx, datastores.User{Name: user, Password: secret("pass"), Databases: named("shop")}))
	}
	must(t, execute(ctx, admin(t, source), "CREATE ROLE clerk", "GRANT SELECT ON stock.* TO clerk", "GRANT clerk TO dan"))
	for _, change := range []struct {
		what string
		do   func() error
		ends string
	}{
		{"a grant", func() error { return source.GrantAccess(ctx, "cid", "", []string{"stock"}) }, ""},
		{"a new password", func() error {
			return source.UpdateUser(ctx, "cid", "", datastores.UserChange{Password: secret("another")})
		}, "cid"},
		{"a revoke", func() error { return source.RevokeAccess(ctx, "dan", "", "shop") }, "dan"},
		{"a new name", func() error { return source.UpdateUser(ctx, "eve", "", datastores.UserChange{Name: "fay"}) }, "eve"},
		{"less for a role", func() error { return execute(ctx, admin(t, source), "REVOKE SELECT ON stock.* FROM clerk") }, "dan"},
	} {
		caughtUp(t, source, replica)
		must(t, replica.Upkeep(ctx))
		open := map[string]*held{}
		for _, user := range []string{"cid", "dan", "eve"} {
			for _, password := range []string{"pass", "another"} {
				if session, err := openSession(ctx, datastoretest.Login{Address: replica.env.Address, User: user, Password: password}); err == nil {
					open[user] = session
				}
			}
		}
		if open[change.ends] == nil && change.ends != "" {
			t.Fatalf("%s: %s has no session", change.what, change.ends)
		}
		must(t, change.do())
		caughtUp(t, source, replica)
		again := New(replica.env, replica.options) // its guest may have started anew
		for range 2 {
			must(t, again.Upkeep(ctx))
		}
		for user, session := range open {
			if err := session.Ask(ctx); (err == nil) != (user != change.ends && change.what != "less for a role") {
				t.Errorf("after %s the session of %s on a replica: %v", change.what, user, err)
			}
			_ = session.Close()
		}
	}
}

// wantRoot checks that root is let in, or is not, and that the manager says so.
func wantRoot(t *testing.T, m *Manager, password string, want bool) {
	t.Helper()
	_, refused := login(t, m, rootUser, password, "")
	enabled, err := m.RootEnabled(t.Context())
	if err != nil || enabled != want || (refused == nil) != want {
		t.Errorf("root is enabled %v, %v, and logs in with %v; want %v", enabled, err, refused, want)
	}
}

// logsAreBounded has a source that is followed keep all logs, and the newest only.
func logsAreBounded(t *testing.T, m *Manager) {
	t.Helper()
	db := admin(t, m)
	logs := func(space int64) int {
		must(t, m.boundBinlogs(t.Context(), db, space))
		files, err := filepath.Glob(m.path(dataDir) + "/binlog.0*")
		must(t, err)
		return len(files)
	}
	must(t, execute(t.Context(), db, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS"))
	if n := logs(1 << 40); n < 3 {
		t.Errorf("%d binary logs are left where there is space", n)
	}
	until.True(t, time.Minute, "the newest binary log is left alone", func() bool { return logs(1) == 1 })
}

// What is open when a source becomes read-only is not committed later; a session that blocks it is ended.
func TestReadOnlyLetsNothingThrough(t *testing.T) {
	ctx := t.Context()
	m := prepared(t)
	l := tenant(t, m)
	runEvents(t, m, "ON")
	_, err := m.EnableRoot(ctx, secret("pass"))
	must(t, err)
	_, err = admin(t, m).Exec("GRANT READ ONLY ADMIN ON *.* TO root@'%'") // as root had it once
	must(t, err)
	root, err := login(t, m, "root", "pass", "shop")
	must(t, err)
	old, err := root.Conn(ctx)
	must(t, err)
	_, err = old.ExecContext(ctx, "SELECT 1")
	must(t, err)

	db, err := login(t, m, l.User, l.Password, l.Database)
	must(t, err)
	open, err := db.BeginTx(ctx, nil)
	must(t, err)
	_, err = open.Exec("INSERT INTO items VALUES (1000, 'open')")
	must(t, err)
	blocking, err := db.Conn(ctx)
	must(t, err)
	_, err = blocking.ExecContext(ctx, "CREATE TABLE other (i INT)")
	must(t, err)
	_, err = blocking.ExecContext(ctx, "LOCK TABLES other WRITE")
	must(t, err)

	must(t, m.replication().Source.SetReadOnly(ctx, true))
	at, err := m.replication().Position(ctx)
	must(t, err)
	if err := open.Commit(); err == nil {
		t.Error("a transaction was committed after the server was read-only")
	}
	for name, session := range map[string]interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
	}{"root, who was there before": old, "root": root, "a tenant": db} {
		if _, err := session.ExecContext(ctx, "INSERT INTO items VALUES (1001, 'late')"); err == nil {
			t.Errorf("%s writes to a read-only server", name)
		}
	}
	wantScheduler(t, m, "OFF")
	must(t, m.Stop(ctx))
	must(t, m.Start(ctx))
	wantScheduler(t, m, "OFF")
	if then, err := m.replication().Position(ctx); err != nil || then != at {
		t.Errorf("position %+v, %v after the restart; it was %+v", then, err, at)
	}
	must(t, m.replication().Source.SetReadOnly(ctx, false))
	wantScheduler(t, m, "ON")
	_, err = write(ctx, l, 20, 21)
	must(t, err)
}

// A guest that is killed after it has decided that its server is read-only finds one that is, after a crash of both.
func TestReadOnlyIsDecidedBeforeItIsDone(t *testing.T) {
	m := prepared(t)
	l := tenant(t, m)
	must(t, m.becomeReadOnly())
	must(t, kill(t.Context(), m))
	next := newManager(t, m.env)
	must(t, next.Start(t.Context()))
	if n, err := write(t.Context(), l, 20, 21); err == nil {
		t.Errorf("%d items were written", n)
	}
}

// TestPromotionAfterACut: a promotion that was cut while it let go of the source has stopped what applies; the next one goes on.
func TestPromotionAfterACut(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	tenant(t, source)
	replica := follow(t, source)
	_, err := write(ctx, loginTo(source), 20, 30)
	must(t, err)
	caughtUp(t, source, replica)
	must(t, replica.session(func(db *sql.DB) error { return execute(ctx, db, replica.variant.dialect.words().stop) }))
	must(t, replica.replication().Replica.Promote(ctx, nil))
	if _, err := write(ctx, loginTo(replica), 30, 31); err != nil {
		t.Error(err)
	}
}

// TestAttachStartsTheServer has a replica follow again whose server does not run, as when its machine is just back.
func TestAttachStartsTheServer(t *testing.T) {
	source := prepared(t)
	tenant(t, source)
	replica := follow(t, source)
	must(t, replica.Stop(t.Context()))
	_, err := write(t.Context(), loginTo(source), 20, 30)
	must(t, err)
	must(t, replica.replication().Replica.Attach(t.Context(), attachment(source, replica, nil)))
	caughtUp(t, source, replica)
}
