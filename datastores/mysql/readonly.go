package mysql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// side is the server's side in a replication, as it is kept in the guest's own directory, so that it is the same after a start.
type side struct {
	ReadOnly bool `json:"read_only"`
	// Placed: the server has been told where in its source's history the backup that it comes from ends. From then on it
	// knows better itself.
	Placed bool `json:"placed,omitempty"`
	// Copied: the data was copied from another server, and has things of that one's in it still.
	Copied bool `json:"copied,omitempty"`
	// Waits: as a source it acknowledges no transaction that no candidate has. Stands: as a replica it acknowledges what it receives.
	// Fenced: it receives nothing more.
	Waits  bool `json:"waits,omitempty"`
	Stands bool `json:"stands,omitempty"`
	Fenced bool `json:"fenced,omitempty"`
	// Source is whom it follows. Forgot: its server was started since it acknowledged, by which what it had received and not applied is gone.
	// It has all again when it has come to Level, where the source was after that; 0: that is not known yet.
	Source *sourceLogin `json:"source,omitempty"`
	Forgot bool         `json:"forgot,omitempty"`
	Level  uint64       `json:"level,omitempty"`
	// Voted is how far it said that it had come when it was fenced.
	Voted uint64 `json:"voted,omitempty"`
}

// sourceLogin is how a replica logs in to its source.
type sourceLogin struct {
	Address  string `json:"address"`
	User     string `json:"user"`
	Password string `json:"password"`
}

const sideName = "role.json"

func (m *Manager) loadSide() (s side, err error) { return s, m.own.LoadJSON(sideName, &s) }

// becomeReadOnly has this and every later start make a read-only server.
func (m *Manager) becomeReadOnly() error {
	r, err := m.loadSide()
	if err != nil || r.ReadOnly {
		return err
	}
	r.ReadOnly = true
	return m.own.SaveJSON(sideName, r)
}

func isReadOnly(ctx context.Context, db *sql.DB) (readOnly bool, err error) {
	err = db.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only").Scan(&readOnly)
	return readOnly, failed(err, "cannot ask the server whether it takes changes")
}

// graceSeconds is how long statements that write may take to end before their sessions are.
const graceSeconds = 3

// refuseWrites makes the running server read-only. The server lets no commit through that was not there before, and returns
// when those that were are in its binary log; a session that keeps it waiting is ended. A transaction that is open cannot be
// committed any more. The file is written first: a server that is killed here comes back read-only.
func (m *Manager) refuseWrites(ctx context.Context, db *sql.DB) error {
	if err := m.becomeReadOnly(); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return failed(err, "cannot make the server read-only")
	}
	defer func() { _ = conn.Close() }()
	for _, statement := range []string{
		fmt.Sprintf("SET SESSION lock_wait_timeout = %d", graceSeconds),
		"SET GLOBAL " + eventScheduler + " = OFF",
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return failed(err, "cannot make the server read-only")
		}
	}
	for _, statement := range m.variant.dialect.setReadOnly(true, m.serverID()) {
		_, err := conn.ExecContext(ctx, statement)
		for is(err, errLockWaitTimeout) {
			if err := endSessions(ctx, conn, tenantSessions); err != nil {
				return failed(err, "cannot end the sessions that write")
			}
			_, err = conn.ExecContext(ctx, statement)
		}
		if err != nil {
			return failed(err, "cannot make the server read-only")
		}
	}
	// A session keeps the rights with which it began: one of root may still have that to write.
	return failed(endSessions(ctx, conn, tenantSessions), "cannot end the sessions of tenants")
}

// takeWrites makes the server writable. Sessions that began while it was not would log what they write as a replica's.
func (m *Manager) takeWrites(ctx context.Context, db *sql.DB) error {
	r, err := m.loadSide()
	if err != nil {
		return err
	}
	readOnly, err := isReadOnly(ctx, db)
	if err != nil {
		return err
	}
	if readOnly {
		for i, statement := range m.variant.dialect.setReadOnly(false, m.serverID()) {
			if i > 0 {
				if err := endSessions(ctx, db, tenantSessions); err != nil {
					return failed(err, "cannot end the sessions of tenants")
				}
			}
			if err := execute(ctx, db, statement); err != nil {
				return failed(err, "cannot make the server writable")
			}
		}
	}
	r = side{Placed: r.Placed, Copied: r.Copied, Waits: r.Waits}
	if err := m.own.SaveJSON(sideName, r); err != nil {
		return err
	}
	stored, err := m.loadOverrides()
	if err != nil {
		return err
	}
	return m.apply(ctx, db, []string{eventScheduler}, stored.Values)
}

// takeReadOnlyAdmin takes from every account but the guest's the right to write to a read-only server, on this server and,
// since it is logged, on its replicas. On a server that is read-only already that is its source's business.
func (m *Manager) takeReadOnlyAdmin(ctx context.Context, db *sql.DB) error {
	readOnly, err := isReadOnly(ctx, db)
	if err != nil || readOnly {
		return err
	}
	var accounts []account
	err = query(ctx, db, func(scan func(...any) error) error {
		var a account
		err := scan(&a.name, &a.host)
		accounts = append(accounts, a)
		return err
	}, `SELECT u.User, u.Host FROM mysql.user u JOIN information_schema.USER_PRIVILEGES p
		ON BINARY p.GRANTEE = CONCAT('''', u.User, '''@''', u.Host, '''')
		WHERE p.PRIVILEGE_TYPE = `+text(m.variant.dialect.readOnlyAdmin())+" AND u.User NOT IN ("+text(adminUser)+`, 'mysql.session')`)
	if err != nil {
		return failed(err, "cannot read who may write to a read-only server")
	}
	for _, a := range accounts {
		if err := execute(ctx, db, m.variant.dialect.revokeReadOnlyAdmin(a)); err != nil {
			return failed(err, "cannot take the right to write to a read-only server from %s", a)
		}
	}
	return nil
}

func (m *Manager) setReadOnly(ctx context.Context, on bool) error {
	return m.turn(ctx, func(db *sql.DB) error {
		if !on {
			following, err := m.follows(ctx, db)
			if err != nil {
				return err
			}
			if following.source != "" {
				return datastores.Errorf(datastores.Conflict, "the server is a replica of %s; detach or promote it", following.source)
			}
			return m.takeWrites(ctx, db)
		}
		if err := m.takeReadOnlyAdmin(ctx, db); err != nil {
			return err
		}
		if err := m.refuseWrites(ctx, db); err != nil {
			return err
		}
		following, err := m.follows(ctx, db)
		if err != nil || following.source != "" {
			return err
		}
		return m.tellDisabledEvents(ctx)
	})
}
