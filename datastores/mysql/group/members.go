package group

import (
	"context"
	"database/sql"
	"net"
	"slices"
	"strings"
)

// Who is a member is written in a table of the cluster's own, so that it is known wherever what was written last is known. A member writes itself
// there before it joins, and is taken out when it leaves or is given up, never because it is away.
const table = "mysql.os_cluster"

// Make are the statements with which the founder makes the table.
func Make() []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + table + " (address VARCHAR(45) NOT NULL PRIMARY KEY)"}
}

// Admit are the statements by which a server lets in who comes by the cluster's account: members, and their guests. Each server has them for itself, for a
// member comes to itself by it before it comes to others.
func Admit(account, identified string) []string {
	return []string{
		"CREATE USER IF NOT EXISTS " + account + identified,
		"ALTER USER " + account + identified,
		"GRANT REPLICATION SLAVE, REPLICATION CLIENT, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO " + account,
		"GRANT SELECT ON performance_schema.* TO " + account,
		"GRANT SELECT, INSERT, DELETE, CREATE ON " + table + " TO " + account, // CREATE: there need not be one yet
	}
}

// Forget are the statements by which a server that was restored from a backup forgets the members of the cluster that it is of.
func Forget() []string { return []string{"DROP TABLE IF EXISTS " + table} }

// Enter writes a member down, at a server that works.
func Enter(ctx context.Context, db *sql.DB, address string) error {
	is, err := known(ctx, db)
	if err != nil || slices.Contains(is, address) {
		return err
	}
	if err := wait(ctx, db); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT IGNORE INTO "+table+" VALUES (?)", address)
	return err
}

// Strike takes out who is a member no more.
func Strike(ctx context.Context, db *sql.DB, gone func(address string) bool) error {
	is, err := known(ctx, db)
	if err == nil {
		err = wait(ctx, db)
	}
	for _, address := range is {
		if err == nil && gone(address) {
			_, err = db.ExecContext(ctx, "DELETE FROM "+table+" WHERE address = ?", address)
		}
	}
	return err
}

// wait has a session, the only one of db, wait until all members have what it writes.
func wait(ctx context.Context, db *sql.DB) error {
	db.SetMaxOpenConns(1)
	_, err := db.ExecContext(ctx, "SET SESSION group_replication_consistency = 'AFTER'")
	return err
}

// known reads the table. It has addresses only, whoever wrote there.
func known(ctx context.Context, db *sql.DB) (all []string, err error) {
	rows, err := db.QueryContext(ctx, "SELECT address FROM "+table+" ORDER BY address LIMIT 100")
	if isNoTable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var address string
		if err := rows.Scan(&address); err != nil {
			return nil, err
		}
		if ip := net.ParseIP(strings.TrimSpace(address)); ip != nil {
			all = append(all, address)
		}
	}
	return all, rows.Err()
}
