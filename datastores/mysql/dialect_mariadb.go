package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

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
		applyState: "Slave_SQL_Running_State", behind: "Seconds_Behind_Master",
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

func selectGTIDs(ctx context.Context, db *sql.DB, expression string) (gtids, error) {
	var list string
	if err := db.QueryRowContext(ctx, "SELECT "+expression).Scan(&list); err != nil {
		return nil, err
	}
	return parseGTIDs(list)
}

// toSource are the clauses of MariaDB's statement that say how a replica connects.
func (mariadbDialect) toSource(t datastores.ServerTLS) string {
	if !t.VerifySource {
		return "MASTER_SSL = 0, MASTER_SSL_CA = '', MASTER_SSL_VERIFY_SERVER_CERT = 0"
	}
	return "MASTER_SSL = 1, MASTER_SSL_CA = " + text(t.AuthorityFile()) + ", MASTER_SSL_VERIFY_SERVER_CERT = 1"
}

// reloadTLS is not logged: replicas have files of their own.
func (mariadbDialect) reloadTLS() string { return "FLUSH LOCAL SSL" }

// pending compares in domain 0, a line.
func (d mariadbDialect) pending(ctx context.Context, db *sql.DB, status map[string]string) (int64, bool) {
	received, err := parseGTIDs(status["Gtid_IO_Pos"])
	if err != nil {
		return 0, false
	}
	last, ok := received.last(0)
	if !ok {
		return 0, false
	}
	at, err := d.position(ctx, db)
	return max(0, int64(last.seq)-int64(at.Count)), err == nil
}
