package mysql

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mysql/group"
)

// nowhere is a manager of Percona Server whose server is nowhere to be had: what it would run and say is held against the manuals.
func nowhere() *Manager {
	o := DefaultOptions()
	o.Variant, o.Version, o.Program = "percona", "8.0", "/usr/sbin/mysqld"
	return New(datastores.Env{InstanceID: "i", Dir: "/g", DataDir: "/v", Address: "127.1.2.3", UID: -1, GID: -1}, o)
}

func TestPrograms(t *testing.T) {
	ours, theirs := New(nowhere().env, DefaultOptions()), nowhere()
	elsewhere := DefaultOptions()
	elsewhere.Program = "/srv/trixie/usr/sbin/mariadbd"
	for name, row := range map[string]struct {
		got  []string
		want string
	}{
		"mariabackup":              {ours.backupArgv("L", nil), "/usr/bin/mariadb-backup L --backup --stream=xbstream --datadir=/v/data --target-dir=/v/tmp/backup --extra-lsndir=/v/tmp/backup --tmpdir=/v/tmp"},
		"xtrabackup":               {theirs.backupArgv("L", nil), "/usr/bin/xtrabackup L --backup --stream=xbstream --datadir=/v/data --target-dir=/v/tmp/backup --extra-lsndir=/v/tmp/backup --tmpdir=/v/tmp"},
		"xtrabackup, incremental":  {theirs.backupArgv("L", &backupMeta{ToLSN: "42"}), "/usr/bin/xtrabackup L --backup --stream=xbstream --datadir=/v/data --target-dir=/v/tmp/backup --extra-lsndir=/v/tmp/backup --tmpdir=/v/tmp --incremental-lsn=42"},
		"mariabackup, to build on": {ours.prepareArgv("/v/u", "/v/u", false), "/usr/bin/mariadb-backup --no-defaults --prepare --target-dir=/v/u"},
		"xtrabackup, to build on":  {theirs.prepareArgv("/v/u", "/v/u", false), "/usr/bin/xtrabackup --no-defaults --prepare --target-dir=/v/u --apply-log-only"},
		"xtrabackup, last":         {theirs.prepareArgv("/v/u", "/v/i", true), "/usr/bin/xtrabackup --no-defaults --prepare --target-dir=/v/u --incremental-dir=/v/i"},
		"mysqldump":                {theirs.dumpArgv("L", []string{"a", "-b"}, false), "/usr/bin/mysqldump L --single-transaction --quick --routines --events --triggers --hex-blob --default-character-set=utf8mb4 --max-allowed-packet=1G --set-gtid-purged=OFF --databases -- a -b"},
		"mariadb-dump":             {ours.dumpArgv("L", []string{"a"}, true), "/usr/bin/mariadb-dump L --single-transaction --quick --routines --events --triggers --hex-blob --default-character-set=utf8mb4 --max-allowed-packet=1G --dump-history --databases -- a"},
		"mariadb-upgrade":          {ours.upgradeArgv("L"), "/usr/bin/mariadb-upgrade L --skip-write-binlog --silent"},
	} {
		if diff := cmp.Diff(row.want, strings.Join(row.got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStatementsOfReplication(t *testing.T) {
	req := datastores.AttachRequest{Address: "10.0.0.1", Account: datastores.ReplicaAccount{User: "slave_1", Password: secret("it's")}}
	for _, row := range []struct {
		d    dialect
		want []string
	}{
		{mariadbDialect{}, []string{
			"SET GLOBAL gtid_slave_pos = '0-7-9'",
			"CHANGE MASTER TO MASTER_HOST = '10.0.0.1', MASTER_PORT = 3306, MASTER_USER = 'slave_1', MASTER_PASSWORD = 'it''s', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 10, MASTER_SSL = 0, MASTER_SSL_CA = '', MASTER_SSL_VERIFY_SERVER_CERT = 0",
			"START SLAVE", "SELECT MASTER_GTID_WAIT('0-7-9', 1)", "STOP SLAVE", "RESET SLAVE ALL",
			"SET GLOBAL read_only = ON", "SET GLOBAL gtid_domain_id = 7", "SET GLOBAL gtid_domain_id = 0", "SET GLOBAL read_only = OFF",
			"REVOKE READ ONLY ADMIN ON *.* FROM 'root'@'%'",
		}},
		{oracleDialect{"8.4"}, []string{
			"RESET BINARY LOGS AND GTIDS", "SET GLOBAL gtid_purged = '0-7-9'",
			"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '10.0.0.1', SOURCE_PORT = 3306, SOURCE_USER = 'slave_1', SOURCE_PASSWORD = 'it''s', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_HEARTBEAT_PERIOD = 10, SOURCE_SSL = 0, SOURCE_SSL_CA = '', SOURCE_SSL_VERIFY_SERVER_CERT = 0",
			"START REPLICA", "SELECT WAIT_FOR_EXECUTED_GTID_SET('0-7-9', 1)", "STOP REPLICA", "RESET REPLICA ALL",
			"SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF",
			"REVOKE SUPER, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN, PERSIST_RO_VARIABLES_ADMIN, CLONE_ADMIN, SYSTEM_USER, GROUP_REPLICATION_ADMIN, GROUP_REPLICATION_STREAM ON *.* FROM 'root'@'%'",
		}},
	} {
		w := row.d.words()
		got := append(row.d.startAtBackup("0-7-9"), row.d.follow(req, datastores.ServerTLS{}), w.start, row.d.wait(datastores.Position{ID: "0-7-9"}, 1), w.stop, w.forget)
		got = append(append(append(got, row.d.setReadOnly(true, 7)...), row.d.setReadOnly(false, 7)...), row.d.revokeReadOnlyAdmin(root))
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.d.strategy(), diff)
		}
	}
}

func TestConfigurationOfEachVariant(t *testing.T) {
	ours, theirs := New(nowhere().env, DefaultOptions()), nowhere()
	elsewhere := DefaultOptions()
	elsewhere.Program = "/srv/trixie/usr/sbin/mariadbd"
	for _, row := range []struct {
		m             *Manager
		has, hasNever []string
	}{
		{ours, []string{"[mariadbd]", `gtid_strict_mode = "ON"`, `log_slave_updates = "ON"`, `expire_logs_days = "7"`, `aria_`, `plugin_dir = "/usr/lib/mysql/plugin"`}, []string{"gtid_mode", "mysqlx", "slave_connections_needed_for_purge"}},
		{New(nowhere().env, elsewhere), []string{`plugin_dir = "/srv/trixie/usr/lib/mysql/plugin"`}, nil},
		{theirs, []string{"[mysqld]", `gtid_mode = "ON"`, `enforce_gtid_consistency = "ON"`, `log_slave_updates = "ON"`, `mysqlx = "OFF"`, `binlog_expire_logs_seconds = "604800"`}, []string{"gtid_strict_mode", "aria_", "mysql_clone"}},
	} {
		b, err := row.m.config(nil)
		must(t, err)
		for _, word := range row.has {
			if !strings.Contains(string(b), word) {
				t.Errorf("%s is missing in\n%s", word, b)
			}
		}
		for _, word := range row.hasNever {
			if strings.Contains(string(b), word) {
				t.Errorf("%s is in\n%s", word, b)
			}
		}
	}
}

func TestServerIDs(t *testing.T) {
	a, b := New(datastores.Env{InstanceID: instanceID()}, DefaultOptions()), New(datastores.Env{InstanceID: instanceID()}, DefaultOptions())
	if a.serverID() == b.serverID() || a.serverID() == 0 || a.serverID() != New(a.env, DefaultOptions()).serverID() {
		t.Errorf("server ids %d, %d", a.serverID(), b.serverID())
	}
}

func TestGTIDs(t *testing.T) {
	all, err := parseGTIDs("0-1-100, 0-2-90,5-9-3,")
	must(t, err)
	if last, ok := all.last(0); !ok || last != (gtid{0, 1, 100}) {
		t.Errorf("last %v", last)
	}
	for g, want := range map[gtid]bool{{0, 1, 100}: true, {0, 1, 101}: false, {0, 2, 90}: true, {0, 3, 1}: false, {1, 1, 1}: false} {
		if all.holds(g) != want {
			t.Errorf("%v holds %v: %v", all, g, !want)
		}
	}
	for _, bad := range []string{"1", "0-1", "0-1-x", "-1-1-1", "4294967296-1-1"} {
		if _, err := parseGTIDs(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	for set, want := range map[string]uint64{"": 0, "u:1-5": 5, "u:1-5:11,v:1-3": 9, "u:1-5:tag:1-2,v:_t:7": 8} {
		if n, err := group.Count(set); n != want || err != nil {
			t.Errorf("%q counts %d, %v; want %d", set, n, err, want)
		}
	}
	if _, err := group.Count("u:5-1"); err == nil {
		t.Error("a range that goes down was counted")
	}
}

func TestUpgradesThatThereAreNot(t *testing.T) {
	for _, step := range []struct{ from, to string }{
		{`{"version":"11.8"}`, `{}`},
		{`{"variant":"percona","version":"8.0"}`, `{"version":"11.8"}`},
		{`{"version":"5.5"}`, `{}`},
		{`{"variant":"mysql","version":"8.0"}`, `{"variant":"mysql","version":"9.7"}`},
		{`{"variant":"mysql","version":"5.7"}`, `{"variant":"mysql","version":"8.0"}`},
		{`{"variant":"dolphin"}`, `{}`},
		{`[]`, `{}`},
	} {
		o := DefaultOptions()
		must(t, json.Unmarshal([]byte(step.to), &o))
		m := New(datastores.Env{Dir: t.TempDir()}, o)
		wantKind(t, m.Upgrade(t.Context(), datastores.UpgradeRequest{From: json.RawMessage(step.from), Progress: func(string) {}}), datastores.Invalid)
	}
}

func TestStrategiesOfOthers(t *testing.T) {
	theirs := func(*Manager) datastores.BackupStrategy {
		return datastores.BackupStrategy{StrategyName: datastores.StrategyName{Namespace: "acme", Name: "snapshot"}}
	}
	offer := Plugin(theirs).Manifest().Offers[0]
	var names []string
	for _, s := range offer.Server.BackupStrategies {
		names = append(names, s.String())
	}
	if diff := cmp.Diff([]string{"mysql_impl/mariabackup", "mysql_impl/mysqldump", "acme/snapshot"}, names); diff != "" || offer.Server.BackupStrategy != "mariabackup" {
		t.Errorf("%s, default %s", diff, offer.Server.BackupStrategy)
	}
}
