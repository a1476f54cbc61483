package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// adminUser is the guest's own account, Trove's name for it. It can log in through the socket only.
const adminUser = "os_admin"

const adminPasswordName = adminUser + ".password"

func (m *Manager) adminPasswordFile() string { return filepath.Join(m.env.Dir, adminPasswordName) }

func (m *Manager) writeAdminPassword(password datastores.Secret) error {
	return service.WriteFile(m.env.Dir, adminPasswordName, []byte(password.Reveal()+"\n"), -1, -1)
}

// connect opens a session of the administration account; the caller closes it. Each call of the manager has its own, so
// that nothing is held between calls, whatever becomes of the server. A failure to log in shows with the first
// statement.
func (m *Manager) connect() (*sql.DB, error) {
	password, err := os.ReadFile(m.adminPasswordFile())
	if err != nil {
		return nil, fmt.Errorf("cannot read the administration password: %w", err)
	}
	c := mysql.NewConfig()
	c.User, c.Passwd = adminUser, strings.TrimSpace(string(password))
	c.Net, c.Addr = "unix", m.path(socketName)
	c.DialFunc = func(ctx context.Context, _, path string) (net.Conn, error) { return service.DialUnix(ctx, path) }
	c.Logger = &mysql.NopLogger{} // every failure is returned too
	c.Params = map[string]string{
		"sql_mode":    text(sqlMode),
		"sql_log_off": "1", // hashes of passwords stay out of the general log
	}
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
	db, err := m.connect()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var one int
	if err := db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	return nil
}

// query calls row for each row of the result.
func query(ctx context.Context, db *sql.DB, row func(scan func(dest ...any) error) error, statement string, args ...any) error {
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
