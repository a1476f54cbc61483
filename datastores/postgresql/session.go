package postgresql

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	// adminUser is the guest's own account, Trove's name for it: the server's first role, which cannot be dropped. It logs
	// in through the socket only, by the guest's user id.
	adminUser = "os_admin"
	// dumpUser is there for as long as a program needs it that cannot log in by the guest's user id.
	dumpUser = "os_dump"
	// homeDatabase is where the guest works. Root may drop it.
	homeDatabase  = "postgres"
	otherDatabase = "template1"
)

// pinned are the settings of the guest's sessions, whatever the tenants' defaults are. What the guest sends is in no log:
// verifiers of passwords are in it.
var pinned = map[string]string{
	"application_name":                    "coffer-guest",
	"client_encoding":                     "UTF8",
	"standard_conforming_strings":         "on",
	"search_path":                         "pg_catalog",
	"datestyle":                           "ISO",
	"bytea_output":                        "hex",
	"default_transaction_read_only":       "off",
	"default_transaction_isolation":       "read committed",
	"session_replication_role":            "origin",
	"synchronous_commit":                  "local",
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_session_timeout":                "0",
	"idle_in_transaction_session_timeout": "0",
	"log_statement":                       "none",
	"log_duration":                        "off",
	"log_min_duration_statement":          "-1",
	"log_min_duration_sample":             "-1",
	"log_transaction_sample_rate":         "0",
	"log_min_error_statement":             "panic",
}

// session is one connection of the guest; the caller closes it. Each call of the manager has its own, so that nothing is
// held between calls, whatever becomes of the server.
type session struct{ conn *pgconn.PgConn }

// patience with a server of which tenants have all the connections.
const (
	connectTries = 10
	betweenTries = 50 * time.Millisecond
)

// connect opens a session of the administration account.
func (m *Manager) connect(ctx context.Context) (*session, error) {
	s, err := m.connectTo(ctx, homeDatabase)
	if is(err, stateNoDatabase) {
		return m.connectTo(ctx, otherDatabase)
	}
	return s, err
}

func (m *Manager) connectTo(ctx context.Context, database string) (*session, error) {
	return m.connectAs(ctx, adminUser, database)
}

func (m *Manager) connectAs(ctx context.Context, user, database string) (*session, error) {
	config, err := m.socketConfig(user, database)
	if err != nil {
		return nil, err
	}
	for name, value := range pinned {
		config.RuntimeParams[name] = value
	}
	if m.options.Version >= 17 {
		config.RuntimeParams["transaction_timeout"] = "0"
	}
	for try := 1; ; try++ {
		conn, err := pgconn.ConnectConfig(ctx, config)
		if err == nil {
			return &session{conn}, nil
		}
		if is(err, stateManyConnections) && try == connectTries {
			return nil, &datastores.Error{ // root has taken the places, too, that no other tenant can take
				Kind: datastores.Unavailable, Message: "all connections are taken; a restart ends them", Detail: err.Error(),
			}
		}
		if !is(err, stateManyConnections) {
			return nil, fmt.Errorf("cannot log in to the server: %w", err)
		}
		select {
		case <-time.After(betweenTries):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// socketConfig is that of a connection through the server's socket, by user id.
func (m *Manager) socketConfig(user, database string) (*pgconn.Config, error) {
	// The driver wants a text; what is left out of it would come from the environment.
	config, err := pgconn.ParseConfig("host=/socket port=5432 user=os_admin dbname=postgres sslmode=disable passfile=/dev/null")
	if err != nil {
		return nil, err
	}
	config.User, config.Database = user, database
	config.RuntimeParams = map[string]string{}
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return m.data.Dial(ctx, socketName)
	}
	return config, nil
}

// networkConfig is that of a connection to another server.
func networkConfig(address, user, password, database string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig("host=127.0.0.1 user=x dbname=postgres sslmode=disable passfile=/dev/null")
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.User, config.Password, config.Database = address, port, user, password, database
	config.RuntimeParams = map[string]string{"application_name": "coffer-guest"}
	return config, nil
}

// close tells the server goodbye, also when the caller's context has ended.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
}

// exec runs statements in one go; without transaction control among them they are one transaction.
func (s *session) exec(ctx context.Context, statements string) error {
	_, err := s.conn.Exec(ctx, statements).ReadAll()
	return err
}

// value is one field of a row; nil is NULL.
type value []byte

func (v value) String() string { return string(v) }
func (v value) bool() bool     { return string(v) == "t" }

func (v value) int() int64 {
	n, _ := strconv.ParseInt(string(v), 10, 64)
	return n
}

// query runs one statement with parameters $1, $2… and returns its rows as text.
func (s *session) query(ctx context.Context, statement string, args ...string) ([][]value, error) {
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	result := s.conn.ExecParams(ctx, statement, params, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]value, len(result.Rows))
	for i, row := range result.Rows {
		for _, field := range row {
			rows[i] = append(rows[i], value(field))
		}
	}
	return rows, nil
}

// one returns the first field of the first row; nil when there is none.
func (s *session) one(ctx context.Context, statement string, args ...string) (value, error) {
	rows, err := s.query(ctx, statement, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0][0], nil
}

// with calls do with a session.
func (m *Manager) with(ctx context.Context, do func(*session) error) error {
	s, err := m.connect(ctx)
	return m.use(s, err, do)
}

// withIn calls do with a session in a database.
func (m *Manager) withIn(ctx context.Context, database string, do func(*session) error) error {
	s, err := m.connectTo(ctx, database)
	return m.use(s, err, do)
}

// use calls do with a session that could be opened, and closes it. It is where every call learns that the volume is full.
func (m *Manager) use(s *session, err error, do func(*session) error) error {
	if err != nil {
		return m.orFull(err)
	}
	defer s.close()
	return m.orFull(do(s))
}

// column returns the first field of every row.
func (s *session) column(ctx context.Context, statement string, args ...string) ([]string, error) {
	rows, err := s.query(ctx, statement, args...)
	var all []string
	for _, row := range rows {
		all = append(all, row[0].String())
	}
	return all, err
}

// sessionEnds is how long a session that was told to end may take.
const sessionEnds = 10 * time.Second

// endSessions ends the sessions of which where is true in pg_stat_activity, but the own one. It returns when they have ended.
func endSessions(ctx context.Context, s *session, where string, args ...string) error {
	// Without MATERIALIZED the function might be called for any session, before the rest of the condition is looked at.
	told, err := s.column(ctx, `WITH which AS MATERIALIZED (SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND `+where+`)
		SELECT pid, pg_terminate_backend(pid) FROM which`, args...)
	if err != nil || len(told) == 0 {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, sessionEnds)
	defer cancel()
	for {
		left, err := s.one(ctx, "SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1::int[])", "{"+strings.Join(told, ",")+"}")
		if err != nil || left == nil {
			return err
		}
		if !service.Pause(waiting, lookEvery) {
			return datastores.Errorf(datastores.Conflict, "the server process %s does not end its session; try again, or restart the instance", left)
		}
	}
}
