package mysql

import (
	"context"
	"database/sql"

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
	// reloadTLS has a server that speaks TLS read its files again; "": it takes a restart.
	reloadTLS() string
	position(ctx context.Context, db *sql.DB) (datastores.Position, error)
	// wait returns a query that blocks until the server reaches p or the seconds pass; give its result to reached.
	wait(p datastores.Position, seconds int) string
	reached(result int) bool
	// pending is how many transactions a replica has received and not applied, by its status; false: that is not known.
	pending(ctx context.Context, db *sql.DB, status map[string]string) (transactions int64, known bool)
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
	behind                                                    string // seconds
}

func diverged(mine, theirs string) error {
	return datastores.Errorf(datastores.Conflict, "this server has transactions, up to %s, that the source lacks, whose last is %s; "+
		"they cannot be taken back: save what you need of them, then replace this server by a new replica", mine, theirs)
}
