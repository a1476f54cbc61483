package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// newEnv is a place for one server, with a user that has no name.
func newEnv(t testing.TB) datastores.Env {
	t.Helper()
	requireServer(t)
	env := datastoretest.NewEnv(t)
	env.MemoryMB = 320
	return env
}

// instanceID is like one of the gateway's.
func instanceID() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(rand.IntN(256))
	}
	return fmt.Sprintf("%x-%x-7%x-8%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])[:36]
}

func requireServer(t testing.TB) {
	t.Helper()
	datastoretest.Require(t, oldestOptions().Program, "mariadb-server")
}

// newManager makes a manager of env, as a guest does that has just been started, and stops its server in the end.
func newManager(t testing.TB, env datastores.Env) *Manager {
	m := New(env, oldestOptions())
	stopInTheEnd(t, m)
	return m
}

func stopInTheEnd(t testing.TB, m *Manager) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// prepared is a manager with a running server.
func prepared(t testing.TB) *Manager {
	t.Helper()
	m := newManager(t, newEnv(t))
	if err := m.Prepare(t.Context(), quietly()); err != nil {
		t.Fatal(err)
	}
	return m
}

func quietly() datastores.PrepareRequest {
	return datastores.PrepareRequest{Progress: func(string) {}}
}

// dial is what a tenant does: by TCP, with a password in clear text on its side.
func dial(address, user, password, database string) (*sql.DB, error) {
	return dialPort(address, port, user, password, database)
}

func dialPort(address string, port int, user, password, database string) (*sql.DB, error) {
	return open(address, port, user, password, database, 0)
}

func open(address string, port int, user, password, database string, timeout time.Duration) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.Timeout, c.ReadTimeout, c.WriteTimeout = timeout, timeout, timeout
	c.User, c.Passwd, c.DBName = user, password, database
	c.Net, c.Addr = "tcp", net.JoinHostPort(address, strconv.Itoa(port))
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// dialTLS dials by TLS.
func dialTLS(l datastoretest.Login, secure *tls.Config) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName, c.TLS = l.User, l.Password, l.Database, secure
	c.Net, c.Addr = "tcp", net.JoinHostPort(l.Address, strconv.Itoa(port))
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// login dials and waits for the server's answer; the session lasts as long as the test.
func login(t testing.TB, m *Manager, user, password, database string) (*sql.DB, error) {
	t.Helper()
	db, err := dial(m.env.Address, user, password, database)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db, db.PingContext(t.Context())
}

// admin is the guest's own session, for looking behind the manager.
func admin(t testing.TB, m *Manager) *sql.DB {
	t.Helper()
	db, err := m.connect(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func wantKind(t rapid.TB, err error, kind datastores.ErrorKind) {
	t.Helper()
	if got := datastores.Told(err); got == nil || got.Kind != kind {
		t.Errorf("got error %T %v, want one of kind %s", err, err, kind)
	}
}

func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeDatabase and makeUser hold names against the rules first, as the guest runtime does.
func makeDatabase(ctx context.Context, m *Manager, db datastores.Database) error {
	if err := m.Names().CheckDatabase(db.Name); err != nil {
		return err
	}
	return m.CreateDatabase(ctx, db)
}

func makeUser(ctx context.Context, m *Manager, u datastores.User) error {
	if err := m.Names().CheckUser(u.Name, u.Host); err != nil {
		return err
	}
	if err := m.Names().CheckPassword(u.Name, u.Password); err != nil {
		return err
	}
	return m.CreateUser(ctx, u)
}
