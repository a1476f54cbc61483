package mysql

import (
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// variant is what differs between the servers of the family. Below the options' tools_dir lie its programs.
type variant struct {
	family   string            // which of the parameters it knows, and whose data it can take over
	versions []string          // in the order in which they may be upgraded
	takes    map[string]string // the versions whose data one takes over beside that of its own; nil: those of all earlier ones
	section  string            // of the option file
	// settings are those that its server needs beside what all need.
	settings    func(m *Manager) []configfile.Setting
	session     map[string]string                           // variables of the guest's own sessions
	admin       func(a account, identified string) []string // statements that make the guest's account
	lockHolders string                                      // query of the ids of sessions that have locks in a database
	prepared    string                                      // statement that lists the transactions of two phases
	references  string                                      // query of a table elsewhere that refers to a database, which it is given twice
	isUser      string                                      // of mysql.user u: an account that is neither a role nor a replica's
	lockedOut   string                                      // query of the users that may log in
	rights      []string                                    // tables of what users may
	passwords   passwords
	dumping     map[string]string // more variables of a session that reads accounts
	try         []string          // have the program read its options and end
	client      string            // reads SQL
	loading     string            // more that its session sets
	dump        string            // writes SQL
	upgrade     string            // brings the system tables to the server's version; "": the server does so itself
	zones       string            // writes SQL of the machine's time zones
	zoneOptions []string
	physical    physical
	clones      bool                 // the server copies itself
	plain       configfile.Setting   // has a client speak no TLS
	noTLS       []configfile.Setting // have the server speak none
	speaksTLS   string               // expression: the server does
	tlsVersions string
	collation   string // by default
	serverMB    int    // what the server needs beside the buffer pool, with a few connections
	dialect     dialect
}

// variantOf returns the variant that the option variant names, in a version.
func variantOf(name, version string) (v variant, known bool) {
	switch name {
	case "mariadb":
		return mariadb(), true
	case "mysql":
		return oracle(version), true
	case "percona":
		return percona(version), true
	}
	return variant{}, false
}

func mariadb() variant {
	return variant{
		family:      "mariadb",
		versions:    []string{"10.11", "11.8"},
		section:     "mariadbd",
		settings:    mariadbSettings,
		session:     map[string]string{"slow_query_log": "0", "max_statement_time": "0", "tx_read_only": "0"},
		admin:       mariadbAdmin,
		lockHolders: mariadbLockHolders,
		prepared:    "XA RECOVER FORMAT = 'SQL'",
		references:  mariadbReferences(),
		isUser:      "BINARY u.is_role = 'N' AND " + noReplica,
		lockedOut:   "SELECT BINARY User FROM mysql.global_priv WHERE COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') IN ('0', 'false')",
		rights:      []string{"global_priv", "db", "tables_priv", "columns_priv", "procs_priv", "roles_mapping"},
		passwords:   nativePasswords(" IDENTIFIED VIA mysql_native_password USING "),
		loading:     ", max_statement_time = 0",
		try:         []string{"--help", "--verbose"},
		client:      "mariadb", dump: "mariadb-dump", upgrade: "mariadb-upgrade", zones: "mariadb-tzinfo-to-sql",
		zoneOptions: []string{"--skip-write-binlog"},
		physical: physical{
			name: "mariabackup", tool: "mariadb-backup", program: "mariadb-backup", stream: "mbstream", files: []string{"mariadb_backup_", "xtrabackup_"}, upgrades: true,
		},
		plain:     configfile.Setting{Name: "ssl", Value: "0"},
		noTLS:     []configfile.Setting{{Name: "ssl", Value: "OFF"}}, // without, 11.8 would make a certificate of its own
		speaksTLS: "@@GLOBAL.have_ssl = 'YES'", tlsVersions: "TLSv1.2,TLSv1.3",
		collation: "utf8mb4_general_ci", serverMB: 256,
		dialect: mariadbDialect{},
	}
}

// noReplica: an account with nothing but the right to replicate is a replica's. Compared as bytes: after an upgrade the server
// has this view with another collation.
const noReplica = "NOT (BINARY u.Repl_slave_priv = 'Y' AND BINARY u.Select_priv = 'N' AND BINARY u.Super_priv = 'N')"

// passwords is how a server keeps them.
type passwords struct {
	clause string                                             // gives an account the hash that follows
	hash   func(datastores.Secret) string                     // of a password
	has    func(text string, password datastores.Secret) bool // a text has a hash of the password
}

func nativePasswords(clause string) passwords {
	return passwords{clause, nativeHash, func(text string, password datastores.Secret) bool {
		return strings.Contains(text, nativeHash(password))
	}}
}

func sha2Passwords() passwords {
	return passwords{" IDENTIFIED WITH caching_sha2_password AS ", sha2Hash, sha2Of}
}

// identified is the clause that gives an account a password.
func (v variant) identified(password datastores.Secret) string {
	return v.passwords.clause + text(v.passwords.hash(password))
}

// binlogDays is for how long the binary log is kept, as far as it has the space: see binlogShare.
const binlogDays = 7

func mariadbSettings(m *Manager) []configfile.Setting {
	settings := []configfile.Setting{
		// Tenants have the places of the extra port, all of them, and the guest those of the socket: max_connections holds
		// for each. No tenant can take what the guest needs.
		{Name: "port", Value: strconv.Itoa(ownPort)},
		{Name: "extra_port", Value: port3306},
		{Name: "report_port", Value: port3306},
		{Name: "aria_pagecache_buffer_size", Value: megabytes(16)},
		{Name: "plugin_dir", Value: m.pluginDir()},
		{Name: "log_slave_updates", Value: "ON"},
		{Name: "plugin_load_add", Value: "metadata_lock_info"}, // who holds locks on what
		{Name: "gtid_strict_mode", Value: "ON"},
		{Name: "relay_log_recovery", Value: "ON"},
	}
	if m.options.SemiSync {
		settings = append(settings, semiSync("", "master", "slave")...)
	}
	if atLeast(m.options.Version, "11.4") { // where a log that no replica reads would be kept for ever
		settings = append(settings, configfile.Setting{Name: "slave_connections_needed_for_purge", Value: "0"})
	}
	return settings
}

// semiSync has a source wait for one of its replicas, while there is any that has answered within the server's ten seconds.
func semiSync(prefix, source, replica string) []configfile.Setting {
	return []configfile.Setting{
		{Name: prefix + "rpl_semi_sync_" + source + "_enabled", Value: "ON"},
		{Name: prefix + "rpl_semi_sync_" + source + "_wait_no_" + replica, Value: "OFF"},
		{Name: prefix + "rpl_semi_sync_" + replica + "_enabled", Value: "ON"},
	}
}

// atLeast compares version numbers: 10.11 is more than 10.4.
func atLeast(version, least string) bool { return datastores.CompareVersions(version, least) >= 0 }
