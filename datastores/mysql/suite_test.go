package mysql

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	datastoretest.Run(t, harness(DefaultOptions()))
}

// TestSuiteOfNewest also takes over what 10.11 has left.
func TestSuiteOfNewest(t *testing.T) {
	t.Parallel()
	if !datastoretest.InImage(t, image) {
		return
	}
	h := harness(newestOptions(t))
	var err error
	h.Options, err = json.Marshal(newestOptions(t))
	must(t, err)
	h.Older, err = json.Marshal(oldestOptions())
	must(t, err)
	datastoretest.Run(t, h)
}

// harness is that of a server with these options.
func harness(o Options) datastoretest.Harness {
	obstruct := func(ctx context.Context, env datastores.Env, l datastoretest.Login) (datastoretest.Obstacle, error) {
		return obstruct(ctx, New(env, o), l)
	}
	return datastoretest.Harness{
		Plugin: Plugin(),
		NewEnv: func(t *testing.T) datastores.Env { return newEnv(t) },
		Connect: func(ctx context.Context, address, user, password, database string) error {
			return asTenant(datastoretest.Login{Address: address, User: user, Password: password, Database: database},
				func(db *sql.DB) error { return db.PingContext(ctx) })
		},
		ConnectTLS: func(ctx context.Context, l datastoretest.Login, secure *tls.Config) error {
			db, err := dialTLS(l, secure)
			if err != nil {
				return err
			}
			return errors.Join(db.PingContext(ctx), db.Close())
		},
		Session: func(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
			return openSession(ctx, l)
		},
		FewConnections: datastores.Values{"max_connections": json.Number("10")},
		Obstruct:       obstruct,

		UpgradeObstacles: []datastoretest.UpgradeObstacle{{Name: "a prepared transaction", Make: obstruct}},

		PrivatePorts: map[int]func(context.Context, datastores.Env) error{ownPort: strangers},

		Kinds:  kinds(),
		Write:  write,
		Digest: digest,
		Dynamic: datastores.Values{
			"max_connections": json.Number("77"), "long_query_time": json.Number("2.5"), "innodb_print_all_deadlocks": true,
			"collation_server": "utf8mb4_bin", "character_set_results": "latin2",
		},
		Static:   datastores.Values{"innodb_log_buffer_size": json.Number("33554432"), "performance_schema": true},
		Refused:  impossibleValues(),
		Show:     show,
		Stir:     stir,
		Diverges: "MariaDB keeps what is in its binary log: what was acknowledged by a former source is never undone silently",
		Kill:     func(ctx context.Context, env datastores.Env) error { return kill(ctx, New(env, o)) },
	}
}

// impossibleValues are values with which no server starts, or none in an instance of this size.
func impossibleValues() []datastores.Values {
	return []datastores.Values{
		{"collation_server": "klingon_ci"}, {"character_set_server": "klingon"}, {"character_set_filesystem": "klingon"},
		{"character_set_server": "latin1", "collation_server": "utf8mb4_bin"}, {"character_set_server": "utf8mb4", "collation_server": "latin1_bin"},
		{"sql_mode": "FASTER"},
		{"innodb_buffer_pool_size": json.Number("1099511627776")}, {"innodb_buffer_pool_size": json.Number("335544320")},
		{"key_buffer_size": json.Number("4294967295")}, {"innodb_log_buffer_size": json.Number("2147479552")},
	}
}

func asTenant(l datastoretest.Login, do func(*sql.DB) error) error {
	db, err := dial(l.Address, l.User, l.Password, l.Database)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(db)
}

// strangers try what they can at the port of the server's own that is no tenant's.
func strangers(ctx context.Context, env datastores.Env) (refused error) {
	for _, user := range []string{"", rootUser, adminUser} {
		db, err := dialPort(env.Address, ownPort, user, "", "")
		if err != nil {
			return err
		}
		err = db.PingContext(ctx)
		if err := errors.Join(err, db.Close()); err == nil {
			return nil
		}
		refused = errors.Join(refused, err)
	}
	return refused
}

// held is one connection of a tenant's.
type held struct {
	db   *sql.DB
	conn *sql.Conn
}

func openSession(ctx context.Context, l datastoretest.Login) (*held, error) {
	db, err := dial(l.Address, l.User, l.Password, l.Database)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &held{db, conn}, nil
}

// Ask does not use another connection when this one is gone: an [sql.Conn] has one.
func (h *held) Ask(ctx context.Context) error {
	_, err := h.conn.ExecContext(ctx, "DO 1")
	return err
}

func (h *held) Close() error { return errors.Join(h.conn.Close(), h.db.Close()) }

// obstruct prepares a transaction, which outlives its session.
func obstruct(ctx context.Context, m *Manager, l datastoretest.Login) (datastoretest.Obstacle, error) {
	session, err := openSession(ctx, l)
	if err != nil {
		return datastoretest.Obstacle{}, err
	}
	defer func() { _ = session.Close() }()
	const xid = "'in','the way',7"
	for _, statement := range []string{"XA START " + xid, "UPDATE items SET item = 'x' WHERE n = 0", "XA END " + xid, "XA PREPARE " + xid} {
		if _, err := session.conn.ExecContext(ctx, statement); err != nil {
			return datastoretest.Obstacle{}, err
		}
	}
	return datastoretest.Obstacle{Named: xid, Clear: func(ctx context.Context) error {
		return m.session(func(db *sql.DB) error { return execute(ctx, db, "XA ROLLBACK "+xid) })
	}}, nil
}

func write(ctx context.Context, l datastoretest.Login, from, to int) (acknowledged int, err error) {
	return acknowledged, asTenant(l, func(db *sql.DB) error {
		if err := execute(ctx, db, "CREATE TABLE IF NOT EXISTS items (n INT PRIMARY KEY, item TEXT)"); err != nil {
			return err
		}
		for n := from; n < to; n++ {
			if err := execute(ctx, db, fmt.Sprintf("INSERT IGNORE INTO items VALUES (%d, %s)", n, text(string(datastoretest.Item(n))))); err != nil {
				return err
			}
			acknowledged++
		}
		return nil
	})
}

// digest reads every table of the database in the order of all its columns.
func digest(ctx context.Context, l datastoretest.Login) (items int, digest string, err error) {
	err = asTenant(l, func(db *sql.DB) error {
		var tables []string
		if err := query(ctx, db, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			tables = append(tables, name)
			return err
		}, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME"); err != nil {
			return err
		}
		sum := sha256.New()
		for _, table := range tables {
			var columns int
			if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?", table).Scan(&columns); err != nil {
				return err
			}
			order := "1"
			for i := 2; i <= columns; i++ {
				order += ", " + strconv.Itoa(i)
			}
			fmt.Fprintf(sum, "table %q\n", table)
			err := query(ctx, db, func(scan func(...any) error) error {
				row, into := make([]sql.RawBytes, columns), make([]any, columns)
				for i := range row {
					into[i] = &row[i]
				}
				err := scan(into...)
				fmt.Fprintf(sum, "%q\n", row)
				if table == "items" {
					items++
				}
				return err
			}, "SELECT * FROM "+identifier(table)+" ORDER BY "+order)
			if err != nil {
				return err
			}
		}
		digest = fmt.Sprintf("%x", sum.Sum(nil))
		return nil
	})
	return items, digest, err
}

func variables(m *Manager) string {
	if m.variant.family == "mysql" {
		return "performance_schema.global_variables"
	}
	return "information_schema.GLOBAL_VARIABLES"
}

// show reads a variable in the words of the parameter's values.
func show(ctx context.Context, manager datastores.Manager, name string) (shown string, err error) {
	var m *Manager
	switch manager := manager.(type) {
	case Member:
		m = manager.Manager
	case GroupMember:
		m = manager.Manager
	default:
		m = manager.(*Manager)
	}
	err = m.session(func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT VARIABLE_VALUE FROM "+variables(m)+" WHERE VARIABLE_NAME = ?", name).Scan(&shown)
	})
	for _, p := range m.Parameters() {
		if f, bad := strconv.ParseFloat(shown, 64); p.Name == name && p.Type != datastores.StringParameter && bad == nil {
			return strconv.FormatFloat(f, 'f', -1, 64), err
		}
		if p.Name == name && p.Type == datastores.BooleanParameter {
			return strconv.FormatBool(shown == "ON"), err
		}
	}
	return shown, err
}

func stir(ctx context.Context, l datastoretest.Login, log string) error {
	if log == errorLog {
		l.Password = "wrong"
		_ = asTenant(l, func(db *sql.DB) error { return db.PingContext(ctx) })
		return nil
	}
	return asTenant(l, func(db *sql.DB) error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if _, err = conn.ExecContext(ctx, "SET SESSION long_query_time = 0"); err == nil {
			_, err = conn.ExecContext(ctx, "DO 1")
		}
		return err
	})
}

func kill(ctx context.Context, m *Manager) error { return datastoretest.KillServer(ctx, m.service) }
