package mysql

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// image has MariaDB 11.8 as Debian packages it, and 10.11 of the release before, unpacked.
const image = "debian-13"

// newestOptions are those of MariaDB 11.8, which is in the image.
func newestOptions(t testing.TB) Options {
	t.Helper()
	o := DefaultOptions()
	o.Version, o.ShareDir = "11.8", "/usr/share/mariadb"
	datastoretest.Require(t, o.Program, "mariadb-server, in the image: task image", filepath.Join(o.ToolsDir, "mariadb-backup"))
	return o
}

// oldestOptions are those of MariaDB 10.11, where it is here: this machine's, or beside 11.8 in the image.
func oldestOptions() Options {
	o := DefaultOptions()
	const older = "/opt/bookworm"
	if _, err := os.Stat(older + o.Program); err == nil {
		o.Program, o.ToolsDir, o.ShareDir = older+o.Program, older+o.ToolsDir, older+o.ShareDir
	}
	return o
}

// TestNewest has MariaDB 11.8 take over what 10.11 has left, and be the source of a replica of its own version, which is
// promoted then: what differs from version to version is in there.
func TestNewest(t *testing.T) {
	if !datastoretest.InImage(t, image) {
		return
	}
	ctx := t.Context()
	old := prepared(t)
	tenant(t, old)
	var dump bytes.Buffer
	dumped, err := old.dumpStrategy().Backup(ctx, datastores.BackupRequest{Output: &dump, Expect: func(int64) {}})
	must(t, err)
	loadsInto(t, New(newEnv(t), newestOptions(t)), old, dumped, dump.Bytes())
	must(t, execute(ctx, admin(t, old), "TRUNCATE mysql.time_zone_name")) // as of a server that was made before there were any
	must(t, old.Stop(ctx))
	from, err := json.Marshal(oldestOptions())
	must(t, err)
	source := New(old.env, newestOptions(t))
	for range 2 {
		must(t, source.Upgrade(ctx, datastores.UpgradeRequest{From: from, Progress: func(string) {}}))
	}
	wantZones(t, source)
	_, err = source.EnableRoot(ctx, secret("pass"))
	must(t, err)
	_, err = write(ctx, loginTo(source), 20, 30)
	must(t, err)
	events := newCalendar(t, source)
	replica := followWith(t, source, New(newEnv(t), newestOptions(t)))
	events.change(t, source, replica)
	caughtUp(t, source, replica)
	must(t, replica.Upkeep(ctx))
	must(t, source.replication().Source.SetReadOnly(ctx, true))
	must(t, replica.replication().Replica.Promote(ctx, []datastores.ReplicaAccount{replicaAccount(source)}))
	req := attachment(replica, source, nil)
	req.Former = true
	must(t, source.replication().Replica.Attach(ctx, req))
	events.promoted(t, replica, source)
	_, err = write(ctx, loginTo(replica), 30, 40)
	must(t, err)
	caughtUp(t, replica, source)
	if items, _, err := digest(ctx, loginTo(source)); err != nil || items != 40 {
		t.Errorf("the former source has %d items, %v; want 40", items, err)
	}
}

// loadsInto has a server of another version take over the dump of a server that runs.
func loadsInto(t *testing.T, m, old *Manager, dumped datastores.BackupReply, dump []byte) {
	t.Helper()
	stopInTheEnd(t, m)
	req := restoring(m, datastores.BackupLink{ID: "b", Meta: dumped.Meta, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(dump)), nil
	}})
	req.Restore.Strategy = m.dumpStrategy()
	must(t, m.Prepare(t.Context(), req))
	_, want, err := digest(t.Context(), loginTo(old))
	must(t, err)
	if _, got, err := digest(t.Context(), loginTo(m)); err != nil || got != want {
		t.Errorf("%v; the digests are %s and %s", err, got, want)
	}
}

// preparedNewest is prepared of MariaDB 11.8.
func preparedNewest(t testing.TB) *Manager {
	t.Helper()
	m := New(newEnv(t), newestOptions(t))
	stopInTheEnd(t, m)
	must(t, m.Prepare(t.Context(), quietly()))
	return m
}

// TestRestoreOfTheVersionBefore makes a server of MariaDB 11.8 of what mariadb-backup has copied of 10.11. Changes of indexes that 10.11 keeps for later are in the way of that, and
// of an upgrade: they would damage the indexes.
func TestRestoreOfTheVersionBefore(t *testing.T) {
	if !datastoretest.InImage(t, image) {
		return
	}
	ctx := t.Context()
	old := prepared(t)
	l := tenant(t, old)
	log := &datastoretest.ShippedLog{Manager: old}
	log.Ship(t, 1<<20)
	chain := []datastores.BackupLink{backupOf(t, old, nil)}
	_, err := write(ctx, l, 20, 30)
	must(t, err)
	chain = append(chain, backupOf(t, old, &chain[0]))
	want, wantDigest, err := digest(ctx, l)
	must(t, err)
	newer := func() *Manager {
		m := New(newEnv(t), newestOptions(t))
		stopInTheEnd(t, m)
		return m
	}
	end, err := old.logEnd(ctx)
	must(t, err)
	log.Ship(t, 1<<20)
	m := newer()
	req := restoring(m, chain[0])
	req.Restore.Request.Log = log.Replay(0, time.Time{}, end.String())
	must(t, m.Prepare(ctx, req))
	if items, sum, err := digest(ctx, loginTo(m)); err != nil || items != want || sum != wantDigest {
		t.Errorf("with its log replayed it has %d items, %v; want %d", items, err, want)
	}
	m = newer()
	must(t, m.Prepare(ctx, restoring(m, chain...)))
	if items, sum, err := digest(ctx, loginTo(m)); err != nil || items != want || sum != wantDigest {
		t.Errorf("restored %d items, %v; want %d", items, err, want)
	}
	if told, err := m.data.ReadFile(dataDir+"/mariadb_upgrade_info", maxTold); err != nil || !bytes.Contains(told, []byte("11.8")) {
		t.Errorf("its system tables are of %s, %v", told, err)
	}
	_, err = m.physicalStrategy().Backup(ctx, datastores.BackupRequest{Parent: &chain[1], Output: io.Discard, Expect: func(int64) {}})
	wantKind(t, err, datastores.Invalid) // the next one is a full one
	backupOf(t, m, nil)

	from, err := json.Marshal(oldestOptions())
	must(t, err)
	upgrade := datastores.UpgradeRequest{From: from, Progress: func(string) {}}
	must(t, execute(ctx, admin(t, old), "CREATE TABLE mysql.kept (n INT PRIMARY KEY, a CHAR(64), b CHAR(64), KEY (a), KEY (b)) ENGINE = InnoDB",
		"INSERT INTO mysql.kept SELECT seq, SHA2(seq, 256), SHA2(-seq, 256) FROM mysql.seq_1_to_100000"))
	must(t, old.Stop(ctx))
	must(t, old.Start(ctx))
	must(t, New(old.env, newestOptions(t)).CheckUpgrade(ctx, upgrade))
	must(t, execute(ctx, admin(t, old), "SET GLOBAL innodb_change_buffering = 'all'", "DELETE FROM mysql.kept WHERE n % 97 = 0",
		"INSERT INTO mysql.kept SELECT seq, SHA2(seq, 256), SHA2(-seq, 256) FROM mysql.seq_100001_to_105000"))
	wantKind(t, New(old.env, newestOptions(t)).CheckUpgrade(ctx, upgrade), datastores.Invalid)
	must(t, old.CheckUpgrade(ctx, upgrade)) // to its own version, as in another image
	m = newer()
	wantKind(t, m.Prepare(ctx, restoring(m, backupOf(t, old, nil))), datastores.Conflict)
	must(t, old.Stop(ctx))
	wantKind(t, New(old.env, newestOptions(t)).Upgrade(ctx, upgrade), datastores.Conflict)
	must(t, old.Start(ctx)) // as what is in the way says
	must(t, execute(ctx, admin(t, old), "SET GLOBAL innodb_change_buffering = 'none'", "SET GLOBAL innodb_fast_shutdown = 0"))
	must(t, old.Stop(ctx))
	m = New(old.env, newestOptions(t))
	stopInTheEnd(t, m)
	must(t, m.Upgrade(ctx, upgrade))
	var table, op, kind, found string
	must(t, admin(t, m).QueryRow("CHECK TABLE mysql.kept EXTENDED").Scan(&table, &op, &kind, &found))
	if found != "OK" {
		t.Errorf("after the upgrade: %s %s", kind, found)
	}
}

// TestNewestCluster upgrades a cluster of MariaDB 10.11 to 11.8, one member after the other, with writes at members of both versions. What mariadb-upgrade does at one the others do
// not get.
func TestNewestCluster(t *testing.T) {
	if !datastoretest.InImage(t, image) {
		return
	}
	ctx := t.Context()
	s := &galeraSet{t: t, ca: datastoretest.NewAuthority(t), of: map[string]Member{}, view: datastores.ClusterView{ID: instanceID(), Secret: secret("theClustersOwnSecret")}}
	ids := []string{"a", "b"}
	for _, id := range ids {
		s.add(id)
	}
	must(t, s.of["a"].SettleCluster(ctx, s.viewOf("a")))
	must(t, execute(ctx, admin(t, s.of["a"].Manager), "CREATE DATABASE shop", "CREATE TABLE shop.at (n INT PRIMARY KEY) ENGINE = InnoDB"))
	from, err := json.Marshal(oldestOptions())
	must(t, err)
	tables := func(m Member) (sum string) {
		t.Helper()
		must(t, admin(t, m.Manager).QueryRow(`SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(CONCAT_WS(' ', TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLUMN_DEFAULT))))
			FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN ('mysql', 'sys')`).Scan(&sum))
		return sum
	}
	acknowledged, before := 0, tables(s.of["b"])
	fill := func(at Member, rows int) {
		t.Helper()
		db := admin(t, at.Manager)
		for range rows {
			must(t, execute(ctx, db, fmt.Sprintf("INSERT INTO shop.at VALUES (%d)", acknowledged)))
			acknowledged++
		}
	}
	for n, id := range ids {
		fill(s.of[id], 20)
		old := s.of[id]
		must(t, New(old.env, newestOptions(t)).CheckUpgrade(ctx, datastores.UpgradeRequest{From: from}))
		must(t, old.Stop(ctx))
		other := s.of[ids[1-n]]
		fill(other, 20)
		m := Member{New(old.env, newestOptions(t))}
		stopInTheEnd(t, m.Manager)
		if err := m.Upgrade(ctx, datastores.UpgradeRequest{From: from, Progress: func(string) {}}); err != nil {
			t.Fatalf("member %s: %v\n%s", id, err, m.service.LastWords())
		}
		s.of[id] = m
		if is, others := tables(m), tables(other); n == 0 && (is == before || others != before) {
			t.Errorf("the system tables were %s; when one member is upgraded it has %s, and the other %s", before, is, others)
		}
		must(t, m.SettleCluster(ctx, s.viewOf(id)))
		fill(m, 20) // to which those of the version before have to listen
		fill(other, 20)
	}
	for id, m := range s.of {
		var rows int
		var version string
		must(t, admin(t, m.Manager).QueryRow("SELECT COUNT(*), @@version FROM shop.at").Scan(&rows, &version))
		if rows != acknowledged || !strings.HasPrefix(version, "11.8") {
			t.Errorf("member %s, of %s, has %d rows, want %d", id, version, rows, acknowledged)
		}
	}
	must(t, s.of["b"].CreateUser(ctx, datastores.User{Name: "ann", Password: secret("pass"), Databases: named("shop")}))
	until.True(t, time.Minute, "ann is let in at the other", func() bool {
		_, err := login(t, s.of["a"].Manager, "ann", "pass", "shop")
		return err == nil
	})
}
