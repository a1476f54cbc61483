package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// acknowledged reports whether a row is acknowledged within a second.
func acknowledged(t *testing.T, m *Manager, n int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	db, err := login(t, m, "bob", "pass", "shop")
	must(t, err)
	_, err = db.ExecContext(ctx, fmt.Sprintf("INSERT INTO items VALUES (%d)", n))
	return err == nil
}

// wantNoWord: who waits for an acknowledgement is not told that his transaction is safe when his session is ended, or the server is.
func wantNoWord(t *testing.T, m *Manager, n int, ends func(session int64)) {
	t.Helper()
	db, err := login(t, m, "bob", "pass", "shop")
	must(t, err)
	conn, err := db.Conn(t.Context())
	must(t, err)
	defer func() { _ = conn.Close() }()
	var session int64
	must(t, conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&session))
	word := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO items VALUES (%d)", n))
		word <- err
	}()
	must(t, m.session(func(db *sql.DB) error {
		until.True(t, time.Minute, "the transaction waits", func() bool {
			var state sql.NullString
			_ = db.QueryRow("SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = ?", session).Scan(&state)
			return state.String == "Waiting for semi-sync ACK from slave" || state.String == "Commit" // behind one that waits
		})
		return nil
	}))
	ends(session)
	if err := <-word; err == nil {
		t.Error("whose session was ended while the transaction waited is told that it is safe")
	}
}

// A source with candidates acknowledges nothing that none of them has: not after all were fenced, not after it was killed and started again,
// not when a replica follows that is none. What it has acknowledged the one has that came furthest.
func TestFailover(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, source.CreateUser(ctx, datastores.User{Name: "bob", Host: "%", Password: secret("pass"), Databases: []datastores.Database{{Name: "shop"}}}))
	db, err := login(t, source, "bob", "pass", "shop")
	must(t, err)
	_, err = db.ExecContext(ctx, "CREATE TABLE items (n INT PRIMARY KEY)")
	must(t, err)
	a, b := follow(t, source), follow(t, source)
	failover := (*Manager).failover
	candidate := func(m *Manager) datastores.ReplicaAccount {
		account := replicaAccount(m)
		account.Password = datastores.Secret{}
		return account
	}

	armed := datastores.Await{Count: 1, Candidates: []datastores.ReplicaAccount{candidate(a)}}
	_, err = failover(source).Await(ctx, datastores.Await{Count: 2, Candidates: armed.Candidates})
	wantKind(t, err, datastores.Invalid)
	_, err = failover(source).Await(ctx, armed)
	must(t, err)
	if acknowledged(t, source, 0) {
		t.Error("a commit is acknowledged that only replicas have which were not told to stand")
	}
	_, err = failover(a).Stand(ctx, false)
	must(t, err)
	if !acknowledged(t, source, 1) {
		t.Error("a commit is not acknowledged that a candidate has")
	}
	first, err := failover(a).Stand(ctx, true)
	must(t, err)
	if acknowledged(t, source, 2) {
		t.Error("a commit is acknowledged that only a replica has which is no candidate")
	}
	must(t, a.Stop(ctx))
	must(t, a.Start(ctx)) // it is fenced still
	_, err = failover(b).Stand(ctx, false)
	must(t, err)
	armed.Candidates = append(armed.Candidates, candidate(b))
	_, err = failover(source).Await(ctx, armed)
	must(t, err)
	if !acknowledged(t, source, 3) {
		t.Error("a commit is not acknowledged that the other candidate has")
	}
	second, err := failover(b).Stand(ctx, true)
	must(t, err)
	again, err := failover(a).Stand(ctx, true)
	must(t, err)
	if again.Count < first.Count || second.Count <= again.Count {
		t.Errorf("the fenced ones have come to %v, then %v, and %v", first, again, second)
	}
	wantNoWord(t, source, 40, func(session int64) {
		must(t, source.session(func(db *sql.DB) error { return execute(ctx, db, fmt.Sprintf("KILL %d", session)) }))
	})
	if acknowledged(t, source, 4) {
		t.Error("a commit is acknowledged when all candidates are fenced")
	}
	wantNoWord(t, source, 41, func(int64) {
		pid, _, _ := source.service.Running()
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	})
	source = newManager(t, source.env)
	must(t, source.Stop(ctx))
	must(t, source.Start(ctx))
	if acknowledged(t, source, 5) {
		t.Error("a source that was killed acknowledges a commit when it is back")
	}
	wantNoWord(t, source, 42, func(int64) { must(t, source.Stop(ctx)) })
	must(t, source.Start(ctx))

	_, err = failover(b).Await(ctx, datastores.Await{Count: 1, Candidates: []datastores.ReplicaAccount{candidate(a)}})
	must(t, err)
	accounts := []datastores.ReplicaAccount{replicaAccount(a), replicaAccount(source)}
	must(t, b.replication().Replica.Promote(ctx, accounts))
	if acknowledged(t, b, 6) {
		t.Error("the new source acknowledges a commit that its candidate has not")
	}
	must(t, a.replication().Replica.Attach(ctx, attachment(b, a, nil)))
	if acknowledged(t, b, 60) {
		t.Error("the new source acknowledges a commit that only a replica has which was not told to stand")
	}
	_, err = failover(a).Stand(ctx, false)
	must(t, err)
	if !acknowledged(t, b, 7) {
		t.Error("the new source does not acknowledge a commit that its candidate has")
	}
	back := attachment(b, source, nil)
	back.Former = true
	wantNoWord(t, source, 43, func(int64) { // it has what the new source has not
		wantKind(t, source.replication().Replica.Attach(ctx, back), datastores.Conflict)
	})
	db, err = login(t, b, "bob", "pass", "shop")
	must(t, err)
	rows, err := db.QueryContext(ctx, "SELECT n FROM items ORDER BY n")
	must(t, err)
	defer func() { _ = rows.Close() }()
	var has []int
	for rows.Next() {
		var n int
		must(t, rows.Scan(&n))
		has = append(has, n)
	}
	for _, n := range []int{1, 3, 7} {
		if !slices.Contains(has, n) {
			t.Errorf("row %d was acknowledged, and the new source has %v", n, has)
		}
	}
	caughtUp(t, b, a)
}
