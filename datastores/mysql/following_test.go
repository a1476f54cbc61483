package mysql

import (
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// A replica that lacks what its source writes to says so, and nothing of the row.
func TestAReplicaThatCannotGoOn(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	tenant(t, source)
	replica := follow(t, source)
	is, err := replica.Following(ctx)
	must(t, err)
	if !is.Follows || is.Role != datastores.RoleReplica {
		t.Fatalf("a new replica: %+v", is)
	}
	only, err := source.connect(map[string]string{"sql_log_bin": "0"})
	must(t, err)
	t.Cleanup(func() { _ = only.Close() })
	must(t, execute(ctx, only, "CREATE TABLE shop.u (a VARCHAR(100) PRIMARY KEY)"))
	must(t, execute(ctx, admin(t, source), "INSERT INTO shop.u VALUES ('a ''canary'' of a row')"))
	strays := func(reason string) {
		t.Helper()
		until.True(t, time.Minute, "the replica says: "+reason, func() bool {
			is, err = replica.Following(ctx)
			return err == nil && !is.Follows && strings.Contains(is.Why, reason)
		})
		if strings.Contains(is.Why, "canary") {
			t.Errorf("a row is told: %s", is.Why)
		}
		t.Log(is.Why)
	}
	strays("a table is missing")
	if is.Lag[datastores.Transactions] == 0 {
		t.Errorf("it is behind by one transaction: %+v", is)
	}
	must(t, execute(ctx, admin(t, replica), "SET sql_log_bin = 0", "SET GLOBAL read_only = OFF",
		"CREATE TABLE shop.u (a VARCHAR(100) PRIMARY KEY)", "INSERT INTO shop.u VALUES ('a ''canary'' of a row')", "SET GLOBAL read_only = ON", "START SLAVE"))
	strays("a row is there already")
	must(t, execute(ctx, admin(t, replica), "STOP SLAVE"))
	is, err = replica.Following(ctx)
	must(t, err)
	if is.Follows || is.Why == "" {
		t.Errorf("after STOP SLAVE: %+v", is)
	}
	must(t, execute(ctx, admin(t, replica), "RESET SLAVE ALL"))
	if is, err = replica.Following(ctx); err != nil || is.Role != datastores.RoleSource {
		t.Errorf("after RESET SLAVE ALL: %+v, %v", is, err)
	}
}

// A replica with transactions of its own is refused, and follows when it is made anew from its source, in the same place.
func TestAReplicaFollowsAgain(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	tenant(t, source)
	replica := follow(t, source)
	again := func() error {
		must(t, source.replication().Source.AddReplica(ctx, replicaAccount(replica)))
		req := attachment(source, replica, nil)
		req.Keep = true
		return replica.replication().Replica.Attach(ctx, req)
	}
	must(t, source.replication().Source.RemoveReplica(ctx, replicaAccount(replica)))
	must(t, execute(ctx, admin(t, replica), "STOP SLAVE", "RESET SLAVE ALL"))
	_, err := write(ctx, loginTo(source), 20, 30)
	must(t, err)
	must(t, again())
	caughtUp(t, source, replica)

	must(t, execute(ctx, admin(t, replica), "STOP SLAVE", "SET GLOBAL read_only = OFF"))
	must(t, execute(ctx, admin(t, replica), "SET SESSION gtid_domain_id = 0", "CREATE TABLE shop.own (n INT)"))
	if err := again(); err == nil || datastores.Told(err).Kind != datastores.Conflict {
		t.Fatalf("a replica with a transaction of its own: %v", err)
	}
	anew := func() {
		t.Helper()
		must(t, source.replication().Source.AddReplica(ctx, replicaAccount(replica)))
		link := backupOf(t, source, nil)
		req := attachment(source, replica, link.Meta)
		req.Anew = true
		must(t, replica.Prepare(ctx, datastores.PrepareRequest{
			Progress:  func(string) {},
			Restore:   &datastores.Restore{Strategy: replica.physicalStrategy(), Request: datastores.RestoreRequest{Chain: []datastores.BackupLink{link}, Progress: func(string) {}}},
			Replicate: &datastores.Replicate{Strategy: replica.replication(), Request: req},
		}))
	}
	anew()
	_, err = write(ctx, loginTo(source), 30, 40)
	must(t, err)
	caughtUp(t, source, replica)
	want, wantDigest, err := digest(ctx, loginTo(source))
	must(t, err)
	if items, sum, err := digest(ctx, loginTo(replica)); err != nil || items != want || sum != wantDigest {
		t.Errorf("it has %d items, %v; want %d", items, err, want)
	}
	if is, err := replica.Following(ctx); err != nil || !is.Follows {
		t.Errorf("%+v, %v", is, err)
	}
}
