package mysql

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// tenantSessions is the condition of [endSessions] for all that are not the guest's, a replica's or the server's own. A replica
// whose connection ends before it has asked for the log may give up.
const tenantSessions = "USER NOT IN ('" + adminUser + "', 'system user', 'event_scheduler') AND COMMAND <> 'Daemon' AND " +
	"BINARY USER NOT IN (SELECT BINARY u.User FROM mysql.user u WHERE NOT (" + noReplica + "))"

// endSessions kills the sessions of the server's list of processes for which the condition is true. A killed session runs no
// further statement; a transaction that was open is rolled back.
func endSessions(ctx context.Context, db querier, where string, args ...any) error {
	var ids []string
	err := query(ctx, db, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND "+where, args...)
	for _, id := range ids {
		if _, kill := db.ExecContext(ctx, "KILL "+id); kill != nil && !is(kill, errNoSuchThread) {
			err = errors.Join(err, kill)
		}
	}
	return err
}

// endSessions ends the account's sessions. The list of processes tells a session's user and address, not its account:
// sessions of another account of that name that come from an address of this one's host are ended, too.
func (a account) endSessions(ctx context.Context, db *sql.DB) error {
	host := a.host
	if strings.Contains(host, "/") { // a network with its mask, which only root can make
		host = "%"
	}
	err := endSessions(ctx, db, tenantSessions+" AND BINARY USER = ? AND HOST LIKE ?", a.name, host+":%")
	return failed(err, "cannot end the sessions of user %s", a)
}

// endOrphans ends the sessions of users that are no more: an earlier call may have been cut before it came to them.
func endOrphans(ctx context.Context, db *sql.DB) error {
	err := endSessions(ctx, db, tenantSessions+" AND USER <> 'unauthenticated user' AND BINARY USER NOT IN (SELECT BINARY User FROM mysql.user)")
	return failed(err, "cannot end the sessions of users that are no more")
}

// endShutOut ends the sessions of users that are no more or may not log in, and of those who have lost something. On a replica nobody
// calls when that comes from its source.
func (m *Manager) endShutOut(ctx context.Context, db *sql.DB) error {
	err := endSessions(ctx, db, tenantSessions+" AND USER <> 'unauthenticated user' AND BINARY USER NOT IN ("+m.variant.lockedOut+")")
	if err != nil {
		return failed(err, "cannot end the sessions of users that are shut out")
	}
	return m.endOutdated(ctx, db)
}
