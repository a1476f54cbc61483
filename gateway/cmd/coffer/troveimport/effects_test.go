package troveimport

import (
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

const (
	mysqlServer    = "/server/datastores/mysql/8.4#"
	mysqlGuest     = "/guest/datastores/mysql/8.4#"
	mariadbServer  = "/server/datastores/mariadb/10.11#"
	mariadbGuest   = "/guest/datastores/mariadb/10.11#"
	postgresServer = "/server/datastores/postgresql/15#"
	postgresGuest  = "/guest/datastores/postgresql/15#"
	redisServer    = "/server/datastores/redis/7.0#"
	redisGuest     = "/guest/datastores/redis/7.0#"
)

// effects say what each option that is carried over does: [group] option = value, and what is where then.
var effects = []struct{ group, option, value, path, want string }{
	{"mysql", "tcp_ports", "3307, 21100-21199", mysqlServer + "tcp_ports", `[3307,"21100-21199"]`},
	{"redis", "tcp_ports", "", redisServer + "tcp_ports", ``},
	{"mysql", "udp_ports", "53", mysqlServer + "udp_ports", `[53]`},
	{"mysql", "icmp", "yes", mysqlServer + "icmp", `true`},
	{"mysql", "root_on_create", "True", mysqlServer + "root_on_create", `true`},
	{"mysql", "volume_support", "False", mysqlServer + "volume_support", ``},
	{"mysql", "cluster_support", "0", mysqlServer + "cluster_support", ``},
	{"mysql", "usage_timeout", "400", mysqlServer + "usage_timeout", `400`},
	{"mysql", "mount_point", `"/data"`, mysqlGuest + "mount_point", `"/data"`},
	{"mysql", "ignore_users", "root, os_admin", mysqlGuest + "ignore_users", `["os_admin","root"]`},
	{"mysql", "ignore_dbs", "sys", mysqlGuest + "ignore_dbs", `["sys"]`},
	{"mysql", "guest_log_exposed_logs", "general,slow_query", mysqlGuest + "guest_log_exposed_logs", `["general","slow_query"]`},
	{"mysql", "backup_strategy", "InnoBackupEx", mysqlServer + "backup_strategy", `"xtrabackup"`},
	{"mariadb", "backup_strategy", "InnoBackupEx", mariadbServer + "backup_strategy", `"mariabackup"`},
	{"mysql", "backup_strategy", "innobackupex", mysqlServer + "backup_strategy", `"xtrabackup"`},
	{"mysql", "backup_strategy", "xtrabackup", mysqlServer + "backup_strategy", `"xtrabackup"`},
	{"mysql", "backup_strategy", "trove.guestagent.strategies.backup.mysql_impl.MySQLDump", mysqlServer + "backup_strategy", `"mysqldump"`},
	{"mysql", "backup_strategy", "", mysqlServer + "backup_strategy", ``},
	{"mysql", "backup_strategy", "None", mysqlServer + "backup_strategy", ``},
	{"mariadb", "backup_strategy", "MariaDBInnoBackupEx", mariadbServer + "backup_strategy", `"mariabackup"`},
	{"mariadb", "backup_strategy", "mariabackup", mariadbServer + "backup_strategy", `"mariabackup"`},
	{"postgresql", "backup_strategy", "PgBaseBackup", postgresServer + "backup_strategy", `"pg_basebackup"`},
	{"postgresql", "backup_strategy", "pg_basebackup", postgresServer + "backup_strategy", `"pg_basebackup"`},
	{"postgresql", "backup_strategy", "PgDump", postgresServer + "backup_strategy", `"pg_dump"`},
	{"redis", "backup_strategy", "RedisBackup", redisServer + "backup_strategy", `"rdb"`},
	{"mysql", "replication_strategy", "MysqlGTIDReplication", mysqlServer + "replication_strategy", `"MysqlGTIDReplication"`},
	{"mysql", "replication_strategy", "MysqlBinlogReplication", mysqlServer + "replication_strategy", `"MysqlGTIDReplication"`},
	{"mariadb", "replication_strategy", "MysqlGTIDReplication", mariadbServer + "replication_strategy", `"MariaDBGTIDReplication"`},
	{"mariadb", "replication_strategy", "MariaDBGTIDReplication", mariadbServer + "replication_strategy", `"MariaDBGTIDReplication"`},
	{"postgresql", "replication_strategy", "PostgresqlReplicationStreaming", postgresServer + "replication_strategy", `"PostgresqlReplicationStreaming"`},
	{"redis", "replication_strategy", "RedisSyncReplication", redisServer + "replication_strategy", `"RedisSyncReplication"`},
	{"mariadb", "replication_strategy", "None", mariadbServer + "replication_strategy", ``},
	{"mysql", "backup_namespace", "trove.guestagent.strategies.backup.mysql_impl", mysqlGuest + "backup_namespace", `"mysql_impl"`},
	{"mariadb", "backup_namespace", "trove.guestagent.strategies.backup.experimental.mariadb_impl", mariadbGuest + "backup_namespace", `"mysql_impl"`},
	{"postgresql", "backup_namespace", "trove.guestagent.strategies.backup.experimental.postgresql_impl", postgresGuest + "backup_namespace", `"postgresql_impl"`},
	{"redis", "restore_namespace", "trove.guestagent.strategies.restore.experimental.redis_impl", redisGuest + "restore_namespace", `"redis_impl"`},
	{"redis", "replication_namespace", "trove.guestagent.strategies.replication.experimental.redis_sync", redisGuest + "replication_namespace", `"redis_sync"`},
	{"mariadb", "replication_namespace", "trove.guestagent.strategies.replication.experimental.mariadb_gtid", mariadbGuest + "replication_namespace", `"mysql_gtid"`},
	{"postgresql", "replication_namespace", "postgresql", postgresGuest + "replication_namespace", `"postgresql_impl"`},
	// A plug-in's own.
	{"mysql", "guest_log_long_query_time", "5000", mysqlGuest + "guest_log_long_query_time", `5000`},
	{"mariadb", "guest_log_long_query_time", "0", mariadbGuest + "guest_log_long_query_time", `0`},
	{"redis", "appendfsync", "always", redisGuest + "appendfsync", `"always"`},
	{"redis", "databases", "32", redisGuest + "databases", `32`},
	{"redis", "lazy", "off", redisGuest + "lazy", `false`},
	{"redis", "flags", "b,c", redisGuest + "flags", `["b","c"]`},
	// Global ones.
	{"mysql]\n[DEFAULT", "usage_timeout", "600", mysqlServer + "usage_timeout", `600`},
	{"mysql]\nusage_timeout=400\n[DEFAULT", "usage_timeout", "600", mysqlServer + "usage_timeout", `400`},
	{"mysql]\n[DEFAULT", "max_accepted_volume_size", "50", mysqlServer + "max_volume_size", `50`},
}

func TestEffects(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range effects {
		seen[e.option] = true
		r := imported(t, "["+e.group+"]\n"+e.option+" = "+e.value+"\n", nil)
		if got := value(t, r, e.path); got != e.want {
			t.Errorf("[%s] %s = %s: %s is %s; want %s; %v", e.group, e.option, e.value, e.path, got, e.want, r.Notes)
		}
		if r.Lost() > 0 {
			t.Errorf("[%s] %s = %s: %v", e.group, e.option, e.value, r.Notes)
		}
	}
	for _, r := range append(groupRules(), globalRules()...) {
		if r.carry != nil && !seen[r.option] {
			t.Errorf("no effect of %s is tested", r.option)
		}
	}
}

// TestNotCarriedOver: what an import cannot take changes nothing and is told, with what to do.
func TestNotCarriedOver(t *testing.T) {
	for _, c := range []struct {
		group, option, value string
		lost                 bool
		says                 string
	}{
		{"mysql", "tcp_ports", "http", true, `port "http"`},
		{"mysql", "icmp", "maybe", true, `"maybe" is no boolean`},
		{"mysql", "usage_timeout", "soon", true, `"soon" is no whole number`},
		{"mysql", "usage_timeout", "-1", true, `negative`},
		{"mysql", "mount_point", "data", true, `not an absolute path`},
		{"mysql", "backup_strategy", "CbBackup", true, `mysql_impl/mariabackup`},
		{"mysql", "backup_namespace", "trove.guestagent.strategies.backup.experimental.couchbase_impl", true, `couchbase_impl`},
		{"mysql", "mount_point", "$nowhere", true, `$nowhere`},
		{"mysql", "device_path", "/dev/vdb", true, `import with --device-path`},
		{"mysql", "guest_log_long_query_time", "soon", true, `is no whole number`},
		{"redis", "guest_log_long_query_time", "1000", false, ``},
		{"redis", "guest_log_long_query_time", "5000", true, `long_query_time in a configuration group`},
		{"redis", "cluster_support", "True", true, `makes no clusters`},
		{"redis", "min_cluster_member_count", "3", true, `makes no clusters`},
		{"mysql", "default_password_length", "36", false, ``},
		{"mysql", "default_password_length", "64", true, `36 characters`},
		{"mysql", "colour", "red", true, `neither Coffer nor manager mysql`},
		{"redis", "databases", "hunter2", true, `is no whole number`},
		{"DEFAULT", "max_instances_per_tenant", "10", false, ``},
		{"DEFAULT", "max_instances_per_tenant", "3", true, `coffer quota set`},
		{"DEFAULT", "transport_url", "rabbit://u:hunter2@h", false, `no broker`},
		{"DEFAULT", "frobnicate", "1", true, `no such option`},
		{"DEFAULT", "usage_timeout", "5", true, `no datastore`},
		{"DEFAULT", "datastore_registry_ext", "{x: acme.Manager}", true, `write a plug-in`},
		{"DEFAULT", "datastore_registry_ext", "{x: ", true, `closing }`},
		{"database", "connection", "mysql://u:hunter2@h", false, `does not need`},
		{"frob", "x", "1", true, `no datastore's group`},
	} {
		text := "[" + c.group + "]\n" + c.option + " = " + c.value + "\n"
		conf := &troveconf.Conf{}
		conf.Read("trove.conf", []byte(text))
		r := imported(t, text, nil)
		everything(t, conf, r)
		if len(r.Notes) != 1 || r.Notes[0].Lost != c.lost || r.Notes[0].Line != 2 || !strings.Contains(r.Notes[0].String(), c.says) {
			t.Errorf("%s: %v; want one, lost %v, with %q", text, r.Notes, c.lost, c.says)
		}
		if strings.Contains(r.Notes[0].String(), "hunter2") {
			t.Errorf("a secret is told: %v", r.Notes)
		}
		without := imported(t, "["+c.group+"]\n", nil)
		for _, d := range without.Definitions {
			if got := string(r.Definitions[indexOf(r, d.Key)].Value); got != string(d.Value) {
				t.Errorf("%s: %s changed to %s", text, d.Key, got)
			}
		}
	}
}

func TestDevicePath(t *testing.T) {
	conf := &troveconf.Conf{}
	conf.Read("trove.conf", []byte("[mysql]\ndevice_path = /dev/vdb\n[redis]\ndevice_path = vdb\n"))
	r, err := Import(Request{Conf: conf, Base: builtin(t), DevicePath: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := value(t, r, mysqlGuest+"device_path"); got != `"/dev/vdb"` {
		t.Errorf("device_path is %s", got)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0].String(), "not below /dev/") {
		t.Errorf("notes: %v", r.Notes)
	}
}

func indexOf(r *Result, key string) int {
	for i, d := range r.Definitions {
		if d.Key == key {
			return i
		}
	}
	return -1
}
