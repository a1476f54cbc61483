// Package mysql is the datastore plug-in of the MySQL family: MariaDB for the datastore mariadb, Oracle's server for mysql,
// Percona Server for percona. What differs between them is data, in variants.go and oracle.go; how they speak of replication a
// dialect of each. Percona Server could not be run where this was written: what is its own is held against the manuals only, and
// it is not active.
//
// The server runs as its own user on a volume laid out so, below [datastores.Env.DataDir]:
//
//	data/         the server's data directory, with its binary log. It exists only once it is complete: it is made under
//	              another name and renamed at the end, so one that is there is never made anew, unless a backup is to be
//	              restored
//	files/        what LOAD DATA INFILE and INTO OUTFILE may reach (secure_file_priv)
//	tmp/          temporary tables
//	logs/         the logs that tenants may turn on
//	my.cnf        written before every start
//	mysqld.sock   for the guest; tenants come by TCP
//	client.cnf    the guest's login, while a program of the server runs that needs it
//
// In the guest's own directory lie the password of the administration account os_admin@localhost, the pid file, the
// server's own log, what tenants have set (overrides.json), which logs are on (logs.json), and whether the server is
// read-only (role.json).
//
// No password of anybody reaches the server in clear text: what it is told is the hash of mysql_native_password, or of
// caching_sha2_password, so that no log of the server can hold one. The one exception is a replica's own password for its source, of which the server
// must keep the text.
//
// Every server keeps a binary log, so that any can become a source. What tenants write is in domain 0 of MariaDB's global
// transaction identifiers, a line that grows at one server at a time. Two servers' histories are compared by the last
// transaction of that domain. Oracle's servers have sets of transactions, which are compared as sets. Accounts of the guest and of replicas are each server's own, and are not logged.
package mysql
