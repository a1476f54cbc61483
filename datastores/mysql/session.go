package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"maps"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/cofferdb/coffer/datastores"
)

// session runs do with a session of the administration account. Each call of the manager has its own, so that nothing is
// held between calls, whatever becomes of the server. A failure to log in shows with the first statement.
func (m *Manager) session(do func(*sql.DB) error) error { return m.sessionWith(nil, do) }

// local is session for what concerns this server only: replicas do not hear of it, nor do other members of its cluster.
func (m *Manager) local(do func(*sql.DB) error) error {
	params := map[string]string{"sql_log_bin": "0"}
	if in, err := m.loadMember(); err == nil && in != nil && !m.groups() {
		params["wsrep_on"] = "0"
	}
	return m.sessionWith(params, do)
}

// change is session for what a tenant changes, which a replica refuses, as it does what a tenant's own session tries. A server
// without space would keep it waiting.
func (m *Manager) change(ctx context.Context, do func(*sql.DB) error) error {
	if err := m.full(); err != nil {
		return err
	}
	return m.session(func(db *sql.DB) error {
		if in, err := m.loadMember(); err != nil || in != nil && m.groups() {
			if err := firstError(err, m.isWell(ctx, db)); err != nil {
				return err
			}
		}
		readOnly, err := isReadOnly(ctx, db)
		if err != nil {
			return err
		}
		if readOnly {
			return datastores.Errorf(datastores.Conflict, "the server is read-only: it is a replica, or about to become one; make the change on its source")
		}
		return do(db)
	})
}

// turn is session for what changes whom the server follows, for whom it waits and whether it takes writes. The statement of a call that was cut
// may be at work still, and must not take effect after those of the next: a call has its turn when the server has ended the one before.
// All of it goes through one connection, so do must have read a result to its end before the next statement.
func (m *Manager) turn(ctx context.Context, do func(*sql.DB) error) error {
	return m.session(func(db *sql.DB) error {
		db.SetMaxOpenConns(1)
		if err := takeTurn(ctx, db); err != nil {
			return err
		}
		return do(db)
	})
}

// takeTurn ends a session that does not give its turn up, which may be a tenant's with a superuser's rights.
func takeTurn(ctx context.Context, db *sql.DB) error {
	const lock = "'coffer.turn'"
	for range 2 {
		var mine sql.NullBool
		if err := db.QueryRowContext(ctx, "SELECT GET_LOCK("+lock+", ?)", lockSeconds).Scan(&mine); err != nil {
			return failed(err, "cannot wait for what the server does for a call before")
		}
		if mine.Bool {
			return nil
		}
		if err := endSessions(ctx, db, "ID = IS_USED_LOCK("+lock+")"); err != nil {
			return failed(err, "cannot end what the server does for a call before")
		}
	}
	return datastores.Errorf(datastores.Unavailable, "the server is at work for a call before; try again")
}

func (m *Manager) sessionWith(params map[string]string, do func(*sql.DB) error) error {
	db, err := m.connect(params)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(db)
}

// lockSeconds is how long a statement of the guest waits for another session's lock: it must not take effect long after its
// caller has been told that it did not.
const lockSeconds = 5

// connect opens a session with those variables; the caller closes it. What tenants may set for every session is set to
// what the guest needs.
func (m *Manager) connect(params map[string]string) (*sql.DB, error) {
	password, err := m.adminPassword()
	if err != nil {
		return nil, err
	}
	own := map[string]string{"sql_log_off": "1"} // hashes of passwords stay out of the general log
	maps.Copy(own, m.variant.session)
	maps.Copy(own, params)
	return m.connectAs(adminUser, password, "", own)
}

// multiStatements is no variable: the session takes several statements at once.
const multiStatements = "multiStatements"

// connectAs opens a session of an account of this server, with those variables beside what the guest needs.
func (m *Manager) connectAs(user string, password datastores.Secret, database string, params map[string]string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = user, password.Reveal(), database
	c.Net, c.Addr = "unix", "/"+socketName
	c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return m.data.Dial(ctx, socketName) }
	c.Logger = &mysql.NopLogger{} // every failure is returned too
	c.Params = map[string]string{
		"sql_mode":          text(sqlMode),
		"autocommit":        "1",
		"sql_select_limit":  "18446744073709551615",
		"lock_wait_timeout": strconv.Itoa(lockSeconds),
	}
	maps.Copy(c.Params, params)
	_, c.MultiStatements = c.Params[multiStatements]
	delete(c.Params, multiStatements)
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(patient{connector}), nil
}

// patient waits for the one connection that the server keeps for administrators when tenants have all the others: another
// call of the guest may have it for a moment.
type patient struct{ driver.Connector }

const (
	connectTries = 10
	betweenTries = 50 * time.Millisecond
)

// Connect implements [driver.Connector].
func (p patient) Connect(ctx context.Context) (driver.Conn, error) {
	for try := 1; ; try++ {
		conn, err := p.Connector.Connect(ctx)
		if !is(err, errTooManyConnections) || try == connectTries {
			return conn, err
		}
		select {
		case <-time.After(betweenTries):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// ping returns when the server has answered a query.
func (m *Manager) ping(ctx context.Context) error {
	return m.session(func(db *sql.DB) error {
		if in, err := m.loadMember(); err != nil || in != nil && !m.groups() {
			return firstError(err, m.isWell(ctx, db))
		}
		var one int
		return failed(db.QueryRowContext(ctx, "SELECT 1").Scan(&one), "the server does not answer")
	})
}

// querier is what [sql.DB] and one connection of it, [sql.Conn], have in common.
type querier interface {
	QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
}

// query calls row for each row of the result.
func query(ctx context.Context, db querier, row func(scan func(dest ...any) error) error, statement string, args ...any) error {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// execute runs statements one after the other, until one fails.
func execute(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
