package mysql

import (
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// variant is what differs between the servers of the family. Below the options' tools_dir lie its programs.
type variant struct {
	family   string   // which of the parameters it knows, and whose data it can take over
	versions []string // in the order in which they may be upgraded
	section  string   // of the option file
	// settings are those that its server needs beside what all need.
	settings    func(serverID uint32, version string) []configfile.Setting
	session     map[string]string                           // variables of the guest's own sessions
	admin       func(a account, identified string) []string // statements that make the guest's account
	lockHolders string                                      // query of the ids of sessions that have locks in a database
	isUser      string                                      // of mysql.user u: an account that is neither a role nor a replica's
	password    string                                      // the clause that gives an account the hash of a password
	client      string                                      // reads SQL
	loading     string                                      // more that its session sets
	dump        string                                      // writes SQL
	upgrade     string                                      // brings the system tables to the server's version; "": the server does so itself
	zones       string                                      // writes SQL of the machine's time zones; "": the server gets none
	physical    physical
	plain       configfile.Setting // has a client speak no TLS
	dialect     dialect
}

// variants has every variant by the name that the option variant has for it. Servers of the two that are Oracle's could not
// be run where this was written: their rows are held against the manuals only.
func variants() map[string]variant {
	return map[string]variant{
		"mariadb": {
			family:      "mariadb",
			versions:    []string{"10.11", "11.8"},
			section:     "mariadbd",
			settings:    mariadbSettings,
			session:     map[string]string{"slow_query_log": "0", "max_statement_time": "0", "tx_read_only": "0"},
			admin:       mariadbAdmin,
			lockHolders: mariadbLockHolders,
			isUser:      "BINARY u.is_role = 'N' AND " + noReplica,
			password:    " IDENTIFIED VIA mysql_native_password USING ",
			loading:     ", max_statement_time = 0",
			client:      "mariadb", dump: "mariadb-dump", upgrade: "mariadb-upgrade", zones: "mariadb-tzinfo-to-sql",
			physical: physical{
				name: "mariabackup", program: "mariadb-backup", stream: "mbstream", files: []string{"mariadb_backup_", "xtrabackup_"},
			},
			plain:   configfile.Setting{Name: "ssl", Value: "0"},
			dialect: mariadbDialect{},
		},
		"mysql":   oracle(),
		"percona": oracle(),
	}
}

// noReplica: an account with nothing but the right to replicate is a replica's. Compared as bytes: after an upgrade the server
// has this view with another collation.
const noReplica = "NOT (BINARY u.Repl_slave_priv = 'Y' AND BINARY u.Select_priv = 'N' AND BINARY u.Super_priv = 'N')"

func oracle() variant {
	return variant{
		family:      "mysql",
		versions:    []string{"8.0"},
		section:     "mysqld",
		settings:    mysqlSettings,
		admin:       oracleAdmin,
		lockHolders: oracleLockHolders,
		isUser:      noReplica,
		password:    " IDENTIFIED WITH mysql_native_password AS ",
		client:      "mysql", dump: "mysqldump",
		physical: physical{
			name: "xtrabackup", program: "xtrabackup", stream: "xbstream", files: []string{"xtrabackup_"},
			applyLogOnly: true,
		},
		plain:   configfile.Setting{Name: "ssl-mode", Value: "DISABLED"},
		dialect: mysqlDialect{},
	}
}

// identified is the clause that gives an account a password.
func (v variant) identified(password datastores.Secret) string {
	return v.password + text(nativeHash(password))
}

// binlogDays is for how long the binary log is kept, as far as it has the space: see binlogShare.
const binlogDays = 7

func mariadbSettings(serverID uint32, version string) []configfile.Setting {
	settings := []configfile.Setting{
		{Name: "log_slave_updates", Value: "ON"},
		{Name: "plugin_load_add", Value: "metadata_lock_info"}, // who holds locks on what
		{Name: "gtid_strict_mode", Value: "ON"},
		{Name: "relay_log_recovery", Value: "ON"},
	}
	if atLeast(version, "11.4") { // where a log that no replica reads would be kept for ever
		settings = append(settings, configfile.Setting{Name: "slave_connections_needed_for_purge", Value: "0"})
	}
	return settings
}

func mysqlSettings(uint32, string) []configfile.Setting {
	return []configfile.Setting{
		{Name: "gtid_mode", Value: "ON"},
		{Name: "enforce_gtid_consistency", Value: "ON"},
		{Name: "log_replica_updates", Value: "ON"},
		{Name: "relay_log_recovery", Value: "ON"},
		{Name: "mysqlx", Value: "OFF"}, // it would listen, too
	}
}

// atLeast compares version numbers: 10.11 is more than 10.4.
func atLeast(version, least string) bool { return datastores.CompareVersions(version, least) >= 0 }
