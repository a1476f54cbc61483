package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// sid has MySQL 9.7 as Debian packages it, and below /opt older versions of Oracle's own making, without client programs and plug-ins.
const sid = "debian-sid"

// mysqlOptions are those of a version in the image.
func mysqlOptions(t testing.TB, version string) Options {
	t.Helper()
	o := DefaultOptions()
	o.Variant, o.Version, o.Program = "mysql", version, "/usr/sbin/mysqld"
	if version != "9.7" {
		home := "/opt/mysql-" + version
		o.Program, o.ShareDir = home+"/bin/mysqld", home+"/share"
	}
	datastoretest.Require(t, o.Program, "mysql-server-core, in the image: task image", o.ToolsDir+"/mysqldump")
	return o
}

// TestSuiteOfMySQL is the whole suite on 9.7.
func TestSuiteOfMySQL(t *testing.T) {
	t.Parallel()
	if datastoretest.InImage(t, sid) {
		datastoretest.Run(t, mysqlHarness(t, initialisedOnce(t, mysqlOptions(t, "9.7"))))
	}
}

// initialiseOnce is a server's program but for making data directories, which takes three seconds of a processor: it makes the first one, and the others
// are copies of that, for each value of what is fixed when one is made.
const initialiseOnce = `#!/bin/sh
set -e
for option; do
	case $option in
	--initialize-insecure) makes=1 ;;
	--datadir=*) data=${option#*=} ;;
	--defaults-file=*) settings=${option#*=} ;;
	esac
done
[ -n "$makes" ] || exec PROGRAM "$@"
made=DIR/$(grep -E '^lower_case_table_names' "$settings" | cksum | tr ' ' -)
if [ -e "$made" ]; then
	umask 027
	exec cp -r "$made/." "$data"
fi
PROGRAM "$@"
cp -r "$data" "$made.$$"
rm -f "$made.$$/auto.cnf"
chmod -R a+rX "$made.$$"
mv -T "$made.$$" "$made" || rm -r "$made.$$" # somebody else was quicker
`

// initialisedOnce has the servers of a test begin with copies of one data directory. Other tests make theirs.
func initialisedOnce(t *testing.T, o Options) Options {
	t.Helper()
	program, dir := o.Program+"-once", o.Program+"-made"
	must(t, os.Mkdir(dir, 0o777))
	must(t, os.Chmod(dir, 0o777))
	must(t, os.WriteFile(program, []byte(strings.NewReplacer("PROGRAM", o.Program, "DIR", dir).Replace(initialiseOnce)), 0o755))
	o.Program = program
	return o
}

func mysqlHarness(t *testing.T, o Options) datastoretest.Harness {
	h := harness(o)
	var err error
	h.Options, err = json.Marshal(o)
	must(t, err)
	h.NewEnv = func(t *testing.T) datastores.Env { return mysqlEnv(t) }
	h.Kinds = mysqlKinds()
	h.PrivatePorts = nil
	h.Dynamic = datastores.Values{
		"max_connections": json.Number("77"), "long_query_time": json.Number("2.5"), "innodb_print_all_deadlocks": true,
		"collation_server": "utf8mb4_bin", "character_set_results": "latin2",
	}
	h.Static = datastores.Values{"innodb_sort_buffer_size": json.Number("2097152"), "innodb_ft_min_token_size": json.Number("4")}
	h.Refused = impossibleValues()[:7] // with another size of instance than the rest are for
	h.Diverges = "MySQL keeps what is in its binary log: what was acknowledged by a former source is never undone silently"
	return h
}

func mysqlEnv(t testing.TB) datastores.Env {
	env := datastoretest.NewEnv(t)
	env.MemoryMB = 512
	return env
}

// mysqlKinds are the ways in which Oracle's servers store something: without what only MariaDB knows, in the words that both know, and
// without the engines that a clone leaves out.
func mysqlKinds() (all []datastoretest.WriteKind) {
	const theirs = "block aria myisam csv sequence,system versions"
	own := []sqlKind{
		{"prepared statement", []string{"SET @n = {n}", "PREPARE p FROM 'INSERT INTO kept VALUES (''{kind}'', ?, ''v'')'", "EXECUTE p USING @n", "DEALLOCATE PREPARE p"}, inKept("v")},
		{"procedure", []string{
			"DROP PROCEDURE IF EXISTS put", "CREATE PROCEDURE put(n INT) BEGIN INSERT INTO kept VALUES ('{kind}', n, 'v'); COMMIT; INSERT INTO kept VALUES ('{kind} b', n, 'w'); END", "CALL put({n})",
		}, inKept("v", "w")},
		{"function", []string{
			"DROP FUNCTION IF EXISTS puts", "CREATE FUNCTION puts(n INT) RETURNS INT BEGIN INSERT INTO kept VALUES ('{kind}', n, 'v'); RETURN n; END", "DO puts({n})",
		}, inKept("v")},
		{"compressed", []string{"CREATE TABLE compressed_{n} (x INT, body TEXT) ROW_FORMAT=COMPRESSED", "INSERT INTO compressed_{n} VALUES (7, REPEAT('v', 5000))"},
			"SELECT x = 7 AND body = REPEAT('v', 5000) FROM compressed_{n}"},
		{"create table select", []string{"CREATE TABLE made_{n} SELECT 7 AS seq UNION SELECT 8"}, "SELECT SUM(seq) = 15 FROM made_{n}"},
		{"alter table", []string{
			"CREATE TABLE altered_{n} (x INT)", "INSERT INTO altered_{n} VALUES (1)", "ALTER TABLE altered_{n} MODIFY x VARCHAR(10), ADD y INT NOT NULL DEFAULT 8, ALGORITHM=COPY",
			"ALTER TABLE altered_{n} ADD z INT NOT NULL DEFAULT 9, ADD INDEX (y)", "ALTER TABLE altered_{n} CHANGE z zz INT NOT NULL DEFAULT 9",
		}, "SELECT x = '1' AND y = 8 AND zz = 9 FROM altered_{n}"},
	}
	for _, k := range sqlKinds() {
		if i := slices.IndexFunc(own, func(o sqlKind) bool { return o.name == k.name }); i >= 0 {
			k = own[i]
		}
		if !strings.Contains(theirs, k.name) {
			all = append(all, k.kind())
		}
	}
	return all
}

// TestMySQLCopiesEverything: a clone of a replica is no replica, and has no accounts of any.
func TestMySQLCopiesEverything(t *testing.T) {
	if !datastoretest.InImage(t, sid) {
		return
	}
	ctx := t.Context()
	o := mysqlOptions(t, "9.7")
	source := New(mysqlEnv(t), o)
	stopInTheEnd(t, source)
	must(t, source.Prepare(ctx, quietly()))
	tenant(t, source)
	replica := followWith(t, source, New(mysqlEnv(t), o))
	must(t, replica.replication().Source.AddReplica(ctx, replicaAccount(source)))
	link := backupOf(t, replica, nil)
	m := New(mysqlEnv(t), o)
	stopInTheEnd(t, m)
	must(t, m.Prepare(ctx, restoring(m, link)))
	if is, err := m.Following(ctx); err != nil || is.Role != datastores.RoleSource {
		t.Errorf("a clone of a replica is %+v, %v", is, err)
	}
	var replicas int
	must(t, admin(t, m).QueryRow("SELECT COUNT(*) FROM mysql.user WHERE User LIKE 'slave%'").Scan(&replicas))
	if replicas != 0 {
		t.Error("the account of a replica of another server was restored")
	}
	_, want, err := digest(ctx, loginTo(source))
	must(t, err)
	if _, got, err := digest(ctx, loginTo(m)); err != nil || got != want {
		t.Errorf("%v; the digests are %s and %s", err, got, want)
	}
	db, err := login(t, m, "ann", "pass", "shop")
	must(t, err)
	if err := execute(ctx, db, "CREATE TABLE shop.lost (i INT) ENGINE = MyISAM"); err == nil {
		t.Error("a table is made that no clone has")
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := m.clone(short); err == nil {
		t.Error("a clone that nobody waits for is made")
	}
}

// TestSemiSync: a source waits for its replica, a server without replicas for nobody, and the replica that is promoted does as its source did.
func TestSemiSync(t *testing.T) {
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		semiSyncs(t, newEnv, oldestOptions(), "Rpl_semi_sync_master_status")
	})
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		if datastoretest.InImage(t, sid) {
			semiSyncs(t, mysqlEnv, mysqlOptions(t, "9.7"), "Rpl_semi_sync_source_status")
		}
	})
}

func semiSyncs(t *testing.T, env func(testing.TB) datastores.Env, o Options, status string) {
	ctx := t.Context()
	o.SemiSync = true
	source := New(env(t), o)
	stopInTheEnd(t, source)
	must(t, source.Prepare(ctx, quietly()))
	tenant(t, source)
	replica := followWith(t, source, New(env(t), o))
	next := 20
	waits := func(m *Manager) (on bool) { // from the first write on that a replica has received
		_, err := write(ctx, loginTo(m), next, next+1)
		must(t, err)
		next++
		must(t, m.session(func(db *sql.DB) error {
			row, err := oneRow(ctx, db, "SHOW GLOBAL STATUS LIKE '"+status+"'")
			on = row["Value"] == "ON"
			return err
		}))
		return on
	}
	until.True(t, time.Minute, "the source waits for its replica", func() bool { return waits(source) })
	must(t, source.replication().Source.SetReadOnly(ctx, true))
	must(t, replica.replication().Replica.Promote(ctx, []datastores.ReplicaAccount{replicaAccount(source)}))
	req := attachment(replica, source, nil)
	req.Former = true
	must(t, source.replication().Replica.Attach(ctx, req))
	until.True(t, time.Minute, "the new source waits for the former one", func() bool { return waits(replica) })
}

// TestOlderMySQL has the versions that cannot clone live without backups of files and replicas, and their dumps go into a newer one.
func TestOlderMySQL(t *testing.T) {
	for _, version := range []string{"8.0", "5.7"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			if datastoretest.InImage(t, sid) {
				olderMySQL(t, mysqlOptions(t, version))
			}
		})
	}
}

func olderMySQL(t *testing.T, o Options) {
	ctx := t.Context()
	m := New(mysqlEnv(t), o)
	stopInTheEnd(t, m)
	if caps := datastores.Capabilities(m); slices.Contains(caps, datastores.CanReplication) || slices.Contains(caps, datastores.CanIncrementalBackup) || len(m.BackupStrategies()) != 1 {
		t.Errorf("it is capable of %v, with %d strategies of backups", caps, len(m.BackupStrategies()))
	}
	must(t, m.Prepare(ctx, quietly()))
	l := tenant(t, m)
	wantZones(t, m)
	must(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: secret("p'ass"), Databases: named("shop")}))
	wantKind(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: secret("p'ass")}), datastores.Exists)
	must(t, m.RevokeAccess(ctx, "bob", "", "shop"))
	must(t, m.UpdateUser(ctx, "bob", "", datastores.UserChange{Name: "bert", Password: secret("another")}))
	_, err := login(t, m, "bert", "another", "")
	must(t, err)
	_, err = m.EnableRoot(ctx, secret("pass"))
	must(t, err)
	root, err := login(t, m, rootUser, "pass", "")
	must(t, err)
	if err := execute(ctx, root, "SET GLOBAL read_only = OFF"); err == nil {
		t.Error("root says whether the server is read-only")
	}
	must(t, execute(ctx, root, "CREATE DATABASE other", "CREATE TABLE other.t (i INT) ENGINE = MyISAM", "INSERT INTO other.t VALUES (7)"))
	must(t, m.DisableRoot(ctx))
	restart, err := m.UpdateOverrides(ctx, datastores.Values{"max_connections": json.Number("77")})
	if must(t, err); restart {
		t.Error("max_connections takes a restart")
	}
	if err := m.CheckOverrides(ctx, datastores.Values{"collation_server": "klingon_ci"}); err == nil {
		t.Error("a collation that there is not is taken")
	}
	must(t, m.Stop(ctx))
	must(t, m.Start(ctx))
	if n, err := show(ctx, m, "max_connections"); err != nil || n != "77" {
		t.Errorf("max_connections is %s, %v", n, err)
	}
	must(t, m.Upkeep(ctx))
	newer := map[string]string{"8.0": "9.7", "5.7": "8.0"}[o.Version] // 9.7 does not know the hashes of 5.7
	for _, to := range []Options{o, mysqlOptions(t, newer)} {
		var dump bytes.Buffer
		reply, err := m.dumpStrategy().Backup(ctx, datastores.BackupRequest{Output: &dump, Expect: func(int64) {}})
		must(t, err)
		into := New(mysqlEnv(t), to)
		loadsInto(t, into, m, reply, dump.Bytes())
		_, err = login(t, into, "bert", "another", "")
		must(t, err)
	}
	must(t, m.DeleteDatabase(ctx, "shop"))
	must(t, m.DeleteUser(ctx, l.User, ""))
}
