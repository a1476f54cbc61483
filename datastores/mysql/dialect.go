package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// dialect is how servers of a family speak of replication.
type dialect interface {
	strategy() string
	// readOnly are the settings of a server that is, or is not, read-only; setReadOnly the statements that make it so. To
	// become writable the first goes before the sessions of tenants are ended, the rest after.
	readOnly(on bool, serverID uint32) []configfile.Setting
	setReadOnly(on bool, serverID uint32) []string
	// revokeReadOnlyAdmin takes the right to write to a read-only server from an account.
	revokeReadOnlyAdmin(a account) string
	// readOnlyAdmin is that right, as information_schema.USER_PRIVILEGES has it.
	readOnlyAdmin() string

	words() replicationWords
	// follow makes the server a replica, which is not started.
	follow(req datastores.AttachRequest, t datastores.ServerTLS) string
	// toSource are the clauses of that which say whether it is by TLS.
	toSource(t datastores.ServerTLS) string
	// reloadTLS has a server that speaks TLS read its files again.
	reloadTLS() string
	position(ctx context.Context, db *sql.DB) (datastores.Position, error)
	// wait returns a query that blocks until the server reaches p or the seconds pass; give its result to reached.
	wait(p datastores.Position, seconds int) string
	reached(result int) bool
	// startAtBackup are the statements by which a server restored from a backup goes on where that ended; startAtOwn those
	// of one that has a history, which must be the source's.
	startAtBackup(gtid string) []string
	startAtOwn(ctx context.Context, own, source *sql.DB) ([]string, error)
}

// replicationWords are statements, and columns of the status.
type replicationWords struct {
	start, startApplying, stop, stopReceiving, forget, status string
	change, sourceTLS, sourceCA, sourceChecked                string
	host, receiving, applying, receiveError, receiveErrno     string
	applyError, applyErrno, applyState                        string
	behind, received                                          string // seconds; GTIDs, "" when the status has no such column
}

// mariadbDialect: what tenants do is in domain 0. What a read-only server logs all the same, such as a FLUSH, goes to a
// domain of its own, so that it does not stand in the way of what comes from the source; nobody needs it.
type mariadbDialect struct{}

func (mariadbDialect) strategy() string { return "MariaDBGTIDReplication" }

func (mariadbDialect) readOnly(on bool, serverID uint32) []configfile.Setting {
	if !on {
		return nil
	}
	return []configfile.Setting{
		{Name: "read_only", Value: "ON"},
		{Name: "gtid_domain_id", Value: strconv.FormatUint(uint64(serverID), 10)},
	}
}

func (mariadbDialect) setReadOnly(on bool, serverID uint32) []string {
	if on {
		return []string{"SET GLOBAL read_only = ON", fmt.Sprintf("SET GLOBAL gtid_domain_id = %d", serverID)}
	}
	return []string{"SET GLOBAL gtid_domain_id = 0", "SET GLOBAL read_only = OFF"}
}

func (mariadbDialect) revokeReadOnlyAdmin(a account) string {
	return "REVOKE READ ONLY ADMIN ON *.* FROM " + a.sql()
}

func (mariadbDialect) readOnlyAdmin() string { return "READ_ONLY ADMIN" }

func (mariadbDialect) words() replicationWords {
	return replicationWords{
		start: "START SLAVE", startApplying: "START SLAVE SQL_THREAD", stop: "STOP SLAVE", stopReceiving: "STOP SLAVE IO_THREAD", forget: "RESET SLAVE ALL",
		status: "SHOW SLAVE STATUS",
		change: "CHANGE MASTER TO", sourceTLS: "Master_SSL_Allowed", sourceCA: "Master_SSL_CA_File", sourceChecked: "Master_SSL_Verify_Server_Cert",
		host: "Master_Host", receiving: "Slave_IO_Running", applying: "Slave_SQL_Running",
		receiveError: "Last_IO_Error", receiveErrno: "Last_IO_Errno", applyError: "Last_SQL_Error", applyErrno: "Last_SQL_Errno",
		applyState: "Slave_SQL_Running_State", behind: "Seconds_Behind_Master", received: "Gtid_IO_Pos",
	}
}

func (d mariadbDialect) follow(req datastores.AttachRequest, t datastores.ServerTLS) string {
	return fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %d, MASTER_USER = %s, MASTER_PASSWORD = %s, "+
		"MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = %d, MASTER_HEARTBEAT_PERIOD = %d, %s",
		text(req.Address), port, text(req.Account.User), text(req.Account.Password.Reveal()), connectRetry, heartbeat, d.toSource(t))
}

func (mariadbDialect) position(ctx context.Context, db *sql.DB) (datastores.Position, error) {
	all, err := selectGTIDs(ctx, db, "@@GLOBAL.gtid_current_pos")
	if err != nil {
		return datastores.Position{}, err
	}
	last, ok := all.last(0)
	if !ok {
		return datastores.Position{}, nil
	}
	return datastores.Position{ID: last.String(), Count: last.seq}, nil
}

func (mariadbDialect) wait(p datastores.Position, seconds int) string {
	return fmt.Sprintf("SELECT MASTER_GTID_WAIT(%s, %d)", text(p.ID), seconds)
}

func (mariadbDialect) reached(result int) bool { return result == 0 }

func (mariadbDialect) startAtBackup(gtid string) []string {
	return []string{"SET GLOBAL gtid_slave_pos = " + text(gtid)}
}

// startAtOwn compares the last transaction of domain 0, which stands for all before it: the histories are lines.
func (mariadbDialect) startAtOwn(ctx context.Context, own, source *sql.DB) ([]string, error) {
	mine, err := selectGTIDs(ctx, own, "CONCAT(@@GLOBAL.gtid_binlog_pos, ',', @@GLOBAL.gtid_slave_pos)")
	if err != nil {
		return nil, failed(err, "cannot read the server's position")
	}
	theirs, err := selectGTIDs(ctx, source, "CONCAT(@@GLOBAL.gtid_binlog_state, ',', @@GLOBAL.gtid_slave_pos)")
	if err != nil {
		return nil, failed(err, "cannot read the source's position")
	}
	var start gtids
	if last, ok := mine.last(0); ok {
		if !theirs.holds(last) {
			has, _ := theirs.last(0)
			return nil, diverged(last.String(), has.String())
		}
		start = gtids{last}
	}
	// The source has nothing in other domains that anybody needs: they are taken as read.
	for _, list := range []gtids{theirs, mine} {
		for _, g := range list.without(0) {
			last, _ := list.last(g.domain)
			start = start.over(gtids{last})
		}
	}
	return []string{"SET GLOBAL gtid_slave_pos = " + text(start.String())}, nil
}

func diverged(mine, theirs string) error {
	return datastores.Errorf(datastores.Conflict, "this server has transactions, up to %s, that the source lacks, whose last is %s; "+
		"they cannot be taken back: save what you need of them, then replace this server by a new replica", mine, theirs)
}

func selectGTIDs(ctx context.Context, db *sql.DB, expression string) (gtids, error) {
	var list string
	if err := db.QueryRowContext(ctx, "SELECT "+expression).Scan(&list); err != nil {
		return nil, err
	}
	return parseGTIDs(list)
}

// mysqlDialect is that of MySQL 8.0 and Percona Server 8.0. Nothing here could be run against one of them.
type mysqlDialect struct{}

func (mysqlDialect) strategy() string { return "MysqlGTIDReplication" }

func (mysqlDialect) readOnly(on bool, _ uint32) []configfile.Setting {
	return []configfile.Setting{{Name: "read_only", Value: onOff(on)}}
}

// setReadOnly begins with nothing when the server becomes writable: its sessions know no domain.
func (mysqlDialect) setReadOnly(on bool, _ uint32) []string {
	return []string{"SET GLOBAL read_only = " + onOff(on)}
}

func (mysqlDialect) revokeReadOnlyAdmin(a account) string {
	return "REVOKE SUPER, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* FROM " + a.sql()
}

func (mysqlDialect) readOnlyAdmin() string { return "CONNECTION_ADMIN" }

func (mysqlDialect) words() replicationWords {
	return replicationWords{
		start: "START REPLICA", startApplying: "START REPLICA SQL_THREAD", stop: "STOP REPLICA", stopReceiving: "STOP REPLICA IO_THREAD", forget: "RESET REPLICA ALL",
		status: "SHOW REPLICA STATUS",
		change: "CHANGE REPLICATION SOURCE TO", sourceTLS: "Source_SSL_Allowed", sourceCA: "Source_SSL_CA_File", sourceChecked: "Source_SSL_Verify_Server_Cert",
		host: "Source_Host", receiving: "Replica_IO_Running", applying: "Replica_SQL_Running",
		receiveError: "Last_IO_Error", receiveErrno: "Last_IO_Errno", applyError: "Last_SQL_Error", applyErrno: "Last_SQL_Errno",
		applyState: "Replica_SQL_Running_State", behind: "Seconds_Behind_Source",
	}
}

func (d mysqlDialect) follow(req datastores.AttachRequest, t datastores.ServerTLS) string {
	return fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %d, SOURCE_USER = %s, SOURCE_PASSWORD = %s, "+
		"SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = %d, SOURCE_HEARTBEAT_PERIOD = %d, %s",
		text(req.Address), port, text(req.Account.User), text(req.Account.Password.Reveal()), connectRetry, heartbeat, d.toSource(t))
}

func (mysqlDialect) position(ctx context.Context, db *sql.DB) (datastores.Position, error) {
	var set string
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&set); err != nil {
		return datastores.Position{}, err
	}
	set = strings.Join(strings.Fields(set), "")
	count, err := countTransactions(set)
	return datastores.Position{ID: set, Count: count}, err
}

// countTransactions counts those of a set such as uuid:1-5:11,uuid:1-3.
func countTransactions(set string) (count uint64, err error) {
	for source := range strings.SplitSeq(set, ",") {
		_, intervals, _ := strings.Cut(source, ":")
		for interval := range strings.SplitSeq(intervals, ":") {
			if interval == "" {
				continue
			}
			first, last, isRange := strings.Cut(interval, "-")
			if !isRange {
				last = first
			}
			a, err1 := strconv.ParseUint(first, 10, 64)
			b, err2 := strconv.ParseUint(last, 10, 64)
			if err1 != nil || err2 != nil || b < a {
				return 0, fmt.Errorf("%q is no set of GTIDs", set)
			}
			count += b - a + 1
		}
	}
	return count, nil
}

func (mysqlDialect) wait(p datastores.Position, seconds int) string {
	return fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %d)", text(p.ID), seconds)
}

func (mysqlDialect) reached(result int) bool { return result == 0 }

func (mysqlDialect) startAtBackup(gtid string) []string {
	return []string{"RESET MASTER", "SET GLOBAL gtid_purged = " + text(gtid)}
}

// startAtOwn sets nothing: the server tells the source what it has, and is sent the rest.
func (mysqlDialect) startAtOwn(ctx context.Context, own, source *sql.DB) ([]string, error) {
	var mine, theirs, errant string
	if err := own.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&mine); err != nil {
		return nil, failed(err, "cannot read the server's position")
	}
	if err := source.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&theirs); err != nil {
		return nil, failed(err, "cannot read the source's position")
	}
	if err := own.QueryRowContext(ctx, "SELECT GTID_SUBTRACT("+text(mine)+", "+text(theirs)+")").Scan(&errant); err != nil {
		return nil, failed(err, "cannot compare the positions")
	}
	if errant != "" {
		return nil, diverged(errant, theirs)
	}
	return nil, nil
}
