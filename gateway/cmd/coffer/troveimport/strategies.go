package troveimport

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// strategies is the one table from the names of Trove's strategies, of any release, to Coffer's. Where several follow, the
// one counts that the built-in definition chose; else the first that its manager has.
func strategies() map[string][]string {
	xtrabackup := []string{"xtrabackup", "mariabackup"} // on MariaDB, Trove's xtrabackup was mariabackup
	gtid := []string{"MysqlGTIDReplication", "MariaDBGTIDReplication"}
	return map[string][]string{
		"InnoBackupEx":                   xtrabackup,
		"InnoBackupExIncremental":        xtrabackup,
		"innobackupex":                   xtrabackup,
		"xtrabackup":                     xtrabackup,
		"MariaDBInnoBackupEx":            {"mariabackup"},
		"MariaDBInnoBackupExIncremental": {"mariabackup"},
		"mariabackup":                    {"mariabackup"},
		"MySQLDump":                      {"mysqldump"},
		"mysqldump":                      {"mysqldump"},
		"PgBaseBackup":                   {"pg_basebackup"},
		"PgBaseBackupIncremental":        {"pg_basebackup"},
		"pg_basebackup":                  {"pg_basebackup"},
		"PgDump":                         {"pg_dump"},
		"pg_dump":                        {"pg_dump"},
		"RedisBackup":                    {"rdb", "aof"},
		"MysqlGTIDReplication":           gtid,
		"MysqlBinlogReplication":         gtid,
		"MariaDBGTIDReplication":         {"MariaDBGTIDReplication"},
		"PostgresqlReplicationStreaming": {"PostgresqlReplicationStreaming"},
		"RedisSyncReplication":           {"RedisSyncReplication"},
	}
}

// namespaces is the same for the modules in which Trove keeps strategies, by the last part of their name.
func namespaces() map[string]string {
	return map[string]string{
		"mysql_impl": "mysql_impl", "mariadb_impl": "mysql_impl",
		"postgresql_impl": "postgresql_impl", "postgresql": "postgresql_impl", "pgsql_impl": "postgresql_impl",
		"redis_impl": "redis_impl", "redis_sync": "redis_sync",
		"mysql_gtid": "mysql_gtid", "mariadb_gtid": "mysql_gtid", "mysql_binlog": "mysql_gtid",
	}
}

// lastPart is the name of a class or module without where it lies.
func lastPart(dotted string) string { return dotted[strings.LastIndexByte(dotted, '.')+1:] }

// none reports whether a strategy or namespace is given as nothing at all.
func none(value string) bool { return value == "" || value == "None" }

// strategy turns a strategy of Trove's into one of those that the manager lists. chosen is the definition's until now.
func strategy(value, chosen, manager string, listed []datastores.Strategy) (string, error) {
	name := lastPart(value)
	candidates, ok := strategies()[name]
	if !ok {
		candidates = []string{name} // of a third party
	}
	has := func(name string) bool {
		return slices.ContainsFunc(listed, func(s datastores.Strategy) bool { return s.Name == name })
	}
	if slices.Contains(candidates, chosen) && has(chosen) {
		return chosen, nil
	}
	for _, c := range candidates {
		if has(c) {
			return c, nil
		}
	}
	if len(listed) == 0 {
		return "", fmt.Errorf("%q: no strategy of manager %s is known here", name, manager)
	}
	var all []string
	for _, s := range listed {
		all = append(all, s.String())
	}
	return "", fmt.Errorf("%q has no counterpart among the strategies of manager %s: %s", name, manager, strings.Join(all, ", "))
}

// namespace turns a namespace of Trove's into Coffer's.
func namespace(value string) string {
	name := lastPart(value)
	if ours, ok := namespaces()[name]; ok {
		return ours
	}
	return name
}
