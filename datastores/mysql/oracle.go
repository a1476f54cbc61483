package mysql

import (
	"path/filepath"

	"github.com/cofferdb/coffer/datastores/configfile"
)

// oracle is Oracle's server, of one of its versions. What is for 8.0.17 was in no 8.0 before it.
func oracle(version string) variant {
	v := variant{
		family:      "mysql",
		versions:    []string{"5.7", "8.0", "8.0.17", "8.4", "9.7"},
		takes:       map[string]string{"8.0.17": "5.7", "8.4": "8.0", "9.7": "8.4"},
		section:     "mysqld",
		settings:    oracleSettings,
		session:     map[string]string{"max_execution_time": "0"},
		admin:       oracleAdmin,
		lockHolders: oracleLockHolders,
		prepared:    oraclePrepared,
		references:  oracleReferences,
		isUser:      noReplica,
		lockedOut:   "SELECT BINARY User FROM mysql.user WHERE account_locked = 'N'",
		rights:      []string{"user", "db", "tables_priv", "columns_priv", "procs_priv"},
		passwords:   sha2Passwords(),
		client:      "mysql", dump: "mysqldump", zones: "mysql_tzinfo_to_sql",
		plain:     configfile.Setting{Name: "ssl-mode", Value: "DISABLED"},
		speaksTLS: "@@GLOBAL.tls_version <> ''", tlsVersions: "TLSv1.2",
		try:       []string{"--help"},
		noTLS:     []configfile.Setting{{Name: "tls_version", Value: ""}, {Name: "auto_generate_certs", Value: "OFF"}},
		collation: "utf8mb4_general_ci", serverMB: 256,
		dialect: oracleDialect{version},
	}
	if !atLeast(version, "8.4") {
		v.speaksTLS, v.noTLS = "@@GLOBAL.have_ssl = 'YES'", []configfile.Setting{{Name: "ssl", Value: "OFF"}}
	}
	if atLeast(version, "8.0") {
		v.session["transaction_read_only"] = "0"
		v.collation, v.serverMB = "utf8mb4_0900_ai_ci", 320
		v.isUser += " AND NOT " + isRole
		v.rights = append(v.rights, "role_edges", "global_grants")
	} else {
		v.session["tx_read_only"] = "0"
		v.passwords = nativePasswords(" IDENTIFIED WITH mysql_native_password AS ")
	}
	if atLeast(version, "8.0.17") {
		v.dumping = map[string]string{"print_identified_with_as_hex": "1"} // the salt of a hash may be any bytes
		v.try = []string{"--validate-config"}
		v.tlsVersions += ",TLSv1.3"
		v.clones = true
	}
	return v
}

// percona is Percona's build of it, for which there is a tool that copies files.
func percona(version string) variant {
	v := oracle(version)
	v.versions = []string{"8.0", "8.0.17", "8.4"}
	v.physical = physical{
		name: "xtrabackup", program: "xtrabackup", stream: "xbstream", files: []string{"xtrabackup_"},
		applyLogOnly: true,
	}
	return v
}

// isRole: a role is an account of which nobody has set a password.
const isRole = "(u.account_locked = 'Y' AND u.password_expired = 'Y' AND u.authentication_string = '')"

// oracleSettings are those that every server needs beside what all of the family do.
func oracleSettings(m *Manager) []configfile.Setting {
	version := m.options.Version
	settings := []configfile.Setting{
		{Name: "port", Value: port3306},
		{Name: "basedir", Value: filepath.Dir(filepath.Dir(m.options.Program))},
		{Name: "plugin_dir", Value: m.pluginDir()},
		{Name: "gtid_mode", Value: "ON"},
		{Name: "enforce_gtid_consistency", Value: "ON"},
		{Name: "relay_log_recovery", Value: "ON"},
		{Name: "log_error_verbosity", Value: "3"}, // who was not let in, too
	}
	if atLeast(version, "8.4") {
		settings = append(settings, configfile.Setting{Name: "log_replica_updates", Value: "ON"})
	} else {
		settings = append(settings, configfile.Setting{Name: "log_slave_updates", Value: "ON"},
			configfile.Setting{Name: "master_info_repository", Value: "TABLE"}, configfile.Setting{Name: "relay_log_info_repository", Value: "TABLE"})
	}
	if atLeast(version, "8.0") {
		settings = append(settings,
			configfile.Setting{Name: "mysqlx", Value: "OFF"},                 // it would listen, too
			configfile.Setting{Name: "persisted_globals_load", Value: "OFF"}) // else a tenant's settings would win over these
	}
	if m.options.SemiSync {
		say := oracleDialect{version}.say
		settings = append(settings, configfile.Setting{Name: "plugin_load_add", Value: say("semisync_source.so") + ";" + say("semisync_replica.so")})
		settings = append(settings, semiSync("loose_", say("source"), say("replica"))...) // a server in the making has no plug-ins
	}
	settings = append(settings, instruments()...)
	if !m.variant.clones {
		return settings
	}
	settings = append(settings, configfile.Setting{Name: "plugin_load_add", Value: clonePlugin},
		configfile.Setting{Name: "disabled_storage_engines", Value: unclonable})
	if r, err := m.loadSide(); err == nil && r.Copied { // it would go on as the replica that it is a copy of
		settings = append(settings, configfile.Setting{Name: oracleDialect{version}.say("skip_replica_start"), Value: "ON"})
	}
	return settings
}

// instruments are what the performance schema watches: the locks of tables, by which the guest finds out what is in its way. With all that it
// has by default it takes 200 MB.
func instruments() []configfile.Setting {
	settings := []configfile.Setting{
		{Name: "performance_schema", Value: "ON"},
		{Name: "performance_schema_instrument", Value: "%=OFF"},
		// The option may be given again.
		{Name: "performance-schema-instrument", Value: "wait/lock/metadata/sql/mdl=ON"},
	}
	for _, none := range []string{
		"digests_size", "max_digest_length", "max_sql_text_length", "accounts_size", "hosts_size", "users_size",
		"max_program_instances", "max_prepared_statements_instances",
		"events_statements_history_size", "events_statements_history_long_size", "events_waits_history_size", "events_waits_history_long_size",
		"events_stages_history_size", "events_stages_history_long_size", "events_transactions_history_size", "events_transactions_history_long_size",
	} {
		settings = append(settings, configfile.Setting{Name: "performance_schema_" + none, Value: "0"})
	}
	return append(settings, configfile.Setting{Name: "performance_schema_max_table_instances", Value: "200"},
		configfile.Setting{Name: "performance_schema_max_table_handles", Value: "500"})
}

// oracleAdmin are the statements that make the administration account. The root of the server's own is for whoever has installed it.
func oracleAdmin(a account, identified string) []string {
	return []string{
		"DROP USER IF EXISTS " + a.sql() + ", 'root'@'localhost'",
		"CREATE USER " + a.sql() + identified,
		"GRANT ALL PRIVILEGES ON *.* TO " + a.sql() + " WITH GRANT OPTION",
	}
}

const (
	oracleLockHolders = "SELECT t.PROCESSLIST_ID FROM performance_schema.metadata_locks l JOIN performance_schema.threads t " +
		"ON t.THREAD_ID = l.OWNER_THREAD_ID WHERE l.OBJECT_SCHEMA = ? OR l.OBJECT_TYPE = 'GLOBAL' AND l.LOCK_DURATION = 'EXPLICIT'"
	// oraclePrepared writes a transaction as XA COMMIT takes it.
	oraclePrepared   = "XA RECOVER CONVERT XID"
	oracleReferences = `SELECT CONSTRAINT_SCHEMA, TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS
		WHERE BINARY UNIQUE_CONSTRAINT_SCHEMA = ? AND BINARY CONSTRAINT_SCHEMA <> ? LIMIT 1`
)
