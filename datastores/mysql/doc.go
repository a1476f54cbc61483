// Package mysql is the datastore plug-in of MariaDB: for the datastore mariadb, and under the datastore mysql for whoever
// asks for that name.
//
// The server runs as its own user on a volume laid out so, below [datastores.Env.DataDir]:
//
//	data/         the server's data directory. It exists only once it is complete: it is made under another name and
//	              renamed at the end, so one that is there is never made anew
//	files/        what LOAD DATA INFILE and INTO OUTFILE may reach (secure_file_priv)
//	tmp/          temporary tables
//	my.cnf        written before every start
//	mysqld.sock   for the guest; tenants come by TCP
//
// In the guest's own directory lie the password of the administration account os_admin@localhost, the pid file and the
// server's log.
//
// No password of anybody reaches the server in clear text: what it is told is the hash of mysql_native_password, so that
// no log of the server can hold one.
package mysql
