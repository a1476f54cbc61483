package mysql

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// dropTries is how often sessions that use a database are ended before the caller is told what is in the way; each try
// waits a second.
const dropTries = 5

// dropDatabase takes the whole database away or none of it. MariaDB takes one table after the other and stops at the first
// that it cannot: so what it would stop at is looked for first.
func (m *Manager) dropDatabase(ctx context.Context, db *sql.DB, name string) error {
	doing := fmt.Sprintf("cannot delete database %q", name)
	conn, err := db.Conn(ctx)
	if err != nil {
		return failed(err, "%s", doing)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1, autocommit = 0"); err != nil {
		return failed(err, "%s", doing)
	}
	for range dropTries {
		if err := endSessions(ctx, db, tenantSessions+" AND (BINARY DB = ? OR ID IN ("+m.variant.lockHolders+"))", name, name); err != nil {
			return failed(err, "cannot end the sessions that use database %q", name)
		}
		if err = m.drop(ctx, db, conn, name); !is(err, errLockWaitTimeout) {
			return failed(err, "%s", doing)
		}
	}
	return m.inTheWay(ctx, db, name, doing, err)
}

func (m *Manager) drop(ctx context.Context, db *sql.DB, conn *sql.Conn, name string) error {
	if err := m.requireUnreferenced(ctx, db, name); err != nil {
		return err
	}
	if m.variant.family == "mariadb" { // Oracle's servers do the rest wholly or not
		if err := m.lockTables(ctx, db, conn, name); err != nil {
			return err
		}
	}
	_, err := conn.ExecContext(ctx, "DROP DATABASE "+identifier(name))
	return err
}

// mariadbLockHolders are the sessions that have a lock on anything in a database, or have locked everything.
const mariadbLockHolders = "SELECT THREAD_ID FROM information_schema.METADATA_LOCK_INFO WHERE TABLE_SCHEMA = ? OR LOCK_MODE LIKE 'MDL_BACKUP_FTWRL%'"

func mariadbReferences() string {
	const named = "CONVERT(CONVERT(BINARY %s USING filename) USING utf8mb4)"
	return "SELECT " + fmt.Sprintf(named, "SUBSTRING_INDEX(FOR_NAME, '/', 1)") + ", " +
		fmt.Sprintf(named, "SUBSTRING_INDEX(FOR_NAME, '/', -1)") + ` FROM information_schema.INNODB_SYS_FOREIGN
		WHERE BINARY SUBSTRING_INDEX(REF_NAME, '/', 1) = BINARY CONVERT(? USING filename)
		AND BINARY SUBSTRING_INDEX(FOR_NAME, '/', 1) <> BINARY CONVERT(? USING filename) LIMIT 1`
}

// requireUnreferenced refuses a database to whose tables those of another one refer.
func (m *Manager) requireUnreferenced(ctx context.Context, db *sql.DB, name string) error {
	var schema, table string
	err := db.QueryRowContext(ctx, m.variant.references, name, name).Scan(&schema, &table)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return failed(err, "cannot look for references to database %q", name)
	}
	return datastores.Errorf(datastores.Conflict, "cannot delete database %q: table %q of database %q refers to it; "+
		"drop that table or its foreign key first", name, table, schema)
}

// lockTables fails as DROP DATABASE would when a transaction that outlives its session, such as a prepared one, has changed a
// table. Without such transactions it does nothing.
func (m *Manager) lockTables(ctx context.Context, db *sql.DB, conn *sql.Conn, name string) error {
	prepared, err := m.preparedTransactions(ctx, db)
	if err != nil {
		return err
	}
	var strays int // such as those that the server has found when it started
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = 0").Scan(&strays)
	if err != nil || len(prepared)+strays == 0 {
		return err
	}
	var tables []string
	err = query(ctx, db, func(scan func(...any) error) error {
		var table string
		err := scan(&table)
		tables = append(tables, identifier(name)+"."+identifier(table)+" WRITE")
		return err
	}, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE'", name)
	if err != nil || len(tables) == 0 {
		return err
	}
	if _, err := conn.ExecContext(ctx, "LOCK TABLES "+strings.Join(tables, ", ")); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "UNLOCK TABLES")
	return err
}

// inTheWay says what keeps a database from being deleted; waited is the server's own answer.
func (m *Manager) inTheWay(ctx context.Context, db *sql.DB, name, doing string, waited error) error {
	var id, seconds int64
	var user string
	err := db.QueryRowContext(ctx, "SELECT ID, USER, TIME FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND ID IN ("+
		m.variant.lockHolders+") LIMIT 1", name).Scan(&id, &user, &seconds)
	if err == nil {
		return datastores.Errorf(datastores.Conflict, "%s: session %d of user %s, at work since %s, uses it; try again when it has ended",
			doing, id, user, time.Now().Add(-time.Duration(seconds)*time.Second).UTC().Format(time.RFC3339))
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return failed(err, "%s", doing)
	}
	prepared, err := m.preparedTransactions(ctx, db)
	if err != nil || len(prepared) == 0 {
		return failed(waited, "%s", doing)
	}
	return datastores.Errorf(datastores.Conflict, "%s: a prepared transaction has changed one of its tables; "+
		"end it with XA COMMIT or XA ROLLBACK, there are %s", doing, datastores.FirstOf(prepared))
}

// preparedTransactions are those of two phases that wait for the second, each as XA COMMIT names it.
func (m *Manager) preparedTransactions(ctx context.Context, db *sql.DB) (xids []string, err error) {
	err = query(ctx, db, func(scan func(...any) error) error {
		var format, gtrid, bqual int
		var xid string
		err := scan(&format, &gtrid, &bqual, &xid)
		if data, err := hex.DecodeString(strings.TrimPrefix(xid, "0x")); err == nil && gtrid+bqual == len(data) { // both parts in one, as Oracle's servers have it
			xid = fmt.Sprintf("%s,%s,%d", text(string(data[:gtrid])), text(string(data[gtrid:])), format)
		}
		xids = append(xids, xid)
		return err
	}, m.variant.prepared)
	return xids, err
}
