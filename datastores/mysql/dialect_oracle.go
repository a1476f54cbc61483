package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/mysql/group"
)

// oracleDialect is that of Oracle's server and of those that follow it. The words below are of 8.4 and later.
type oracleDialect struct{ version string }

// say turns words of today into those that versions before 8.4 know, all of them.
func (d oracleDialect) say(statement string) string {
	if atLeast(d.version, "8.4") {
		return statement
	}
	return strings.NewReplacer("REPLICATION SOURCE", "MASTER", "BINARY LOGS AND GTIDS", "MASTER", "SOURCE_", "MASTER_", "REPLICA", "SLAVE",
		"Source", "Master", "Replica_", "Slave_", "source", "master", "replica", "slave").Replace(statement)
}

func (oracleDialect) strategy() string { return "MysqlGTIDReplication" }

func (oracleDialect) readOnly(on bool, _ uint32) []configfile.Setting {
	return []configfile.Setting{{Name: "read_only", Value: onOff(on)}}
}

// setReadOnly begins with nothing when the server becomes writable: its sessions know no domain.
func (oracleDialect) setReadOnly(on bool, _ uint32) []string {
	return []string{"SET GLOBAL read_only = " + onOff(on)}
}

// revokeReadOnlyAdmin takes with it what would lead to it: to set variables, to have the server's data replaced by another's, and to
// change the guest's account.
func (d oracleDialect) revokeReadOnlyAdmin(a account) string {
	rights := "SUPER"
	if atLeast(d.version, "8.0") {
		rights += ", CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN, PERSIST_RO_VARIABLES_ADMIN"
	}
	if atLeast(d.version, "8.0") && !atLeast(d.version, "8.4") {
		rights += ", SET_USER_ID" // later ones do not know it, nor take a dump that grants it
	}
	if atLeast(d.version, "8.0.17") {
		rights += ", CLONE_ADMIN, SYSTEM_USER"
	}
	if atLeast(d.version, "8.4") {
		rights += ", GROUP_REPLICATION_ADMIN, GROUP_REPLICATION_STREAM"
	}
	return "REVOKE " + rights + " ON *.* FROM " + a.sql()
}

func (d oracleDialect) readOnlyAdmin() string {
	if atLeast(d.version, "8.0") {
		return "CONNECTION_ADMIN"
	}
	return "SUPER"
}

func (d oracleDialect) words() replicationWords {
	return replicationWords{
		start: d.say("START REPLICA"), startApplying: d.say("START REPLICA SQL_THREAD"), stop: d.say("STOP REPLICA"),
		stopReceiving: d.say("STOP REPLICA IO_THREAD"), forget: d.say("RESET REPLICA ALL"), status: d.say("SHOW REPLICA STATUS"),
		change: d.say("CHANGE REPLICATION SOURCE TO"), sourceTLS: d.say("Source_SSL_Allowed"), sourceCA: d.say("Source_SSL_CA_File"),
		sourceChecked: d.say("Source_SSL_Verify_Server_Cert"),
		host:          d.say("Source_Host"), receiving: d.say("Replica_IO_Running"), applying: d.say("Replica_SQL_Running"),
		receiveError: "Last_IO_Error", receiveErrno: "Last_IO_Errno", applyError: "Last_SQL_Error", applyErrno: "Last_SQL_Errno",
		applyState: d.say("Replica_SQL_Running_State"), behind: d.say("Seconds_Behind_Source"),
	}
}

// follow asks the source for the key with which the password goes to it where there is no TLS.
func (d oracleDialect) follow(req datastores.AttachRequest, t datastores.ServerTLS) string {
	return fmt.Sprintf(d.say("CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %d, SOURCE_USER = %s, SOURCE_PASSWORD = %s, "+
		"SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = %d, SOURCE_HEARTBEAT_PERIOD = %d, %s"),
		text(req.Address), port, text(req.Account.User), text(req.Account.Password.Reveal()), connectRetry, heartbeat, d.toSource(t))
}

func (oracleDialect) position(ctx context.Context, db *sql.DB) (datastores.Position, error) {
	var set string
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&set); err != nil {
		return datastores.Position{}, err
	}
	set = strings.Join(strings.Fields(set), "")
	count, err := group.Count(set)
	return datastores.Position{ID: set, Count: count}, err
}

// pending asks the server what of the one set is not in the other.
func (oracleDialect) pending(ctx context.Context, db *sql.DB, status map[string]string) (int64, bool) {
	var rest string
	err := db.QueryRowContext(ctx, "SELECT GTID_SUBTRACT(?, ?)", status["Retrieved_Gtid_Set"], status["Executed_Gtid_Set"]).Scan(&rest)
	if err != nil {
		return 0, false
	}
	count, err := group.Count(strings.Join(strings.Fields(rest), ""))
	return int64(count), err == nil
}

func (oracleDialect) wait(p datastores.Position, seconds int) string {
	return fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %d)", text(p.ID), seconds)
}

func (oracleDialect) reached(result int) bool { return result == 0 }

// startAtBackup has nothing to say of a copy that brings its position along.
func (d oracleDialect) startAtBackup(gtid string) []string {
	if gtid == "" {
		return nil
	}
	return []string{d.say("RESET BINARY LOGS AND GTIDS"), "SET GLOBAL gtid_purged = " + text(gtid)}
}

// startAtOwn sets nothing: the server tells the source what it has, and is sent the rest.
func (oracleDialect) startAtOwn(ctx context.Context, own, source *sql.DB) ([]string, error) {
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

func (d oracleDialect) toSource(t datastores.ServerTLS) string {
	if !t.VerifySource {
		return d.say("SOURCE_SSL = 0, SOURCE_SSL_CA = '', SOURCE_SSL_VERIFY_SERVER_CERT = 0")
	}
	return fmt.Sprintf(d.say("SOURCE_SSL = 1, SOURCE_SSL_CA = %s, SOURCE_SSL_VERIFY_SERVER_CERT = 1"), text(t.AuthorityFile()))
}

func (d oracleDialect) reloadTLS() string {
	if !atLeast(d.version, "8.0.17") {
		return ""
	}
	return "ALTER INSTANCE RELOAD TLS"
}
