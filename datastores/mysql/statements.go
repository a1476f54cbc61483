package mysql

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
)

// moduleUsers begins the names of the accounts by which statements of modules run. One of each database stays, locked: what the statements
// have made may be defined by it, such as a view, and would not work without.
const moduleUsers = "os_module_"

// runModule has the server do the statements of a module.
func (m *Manager) runModule(ctx context.Context, s modules.Statements) error {
	if in, err := m.loadMember(); err != nil || in != nil {
		return firstError(err, datastores.Errorf(datastores.Conflict, "a member of a cluster runs no statements of modules: all members would"))
	}
	if slices.Contains(m.options.IgnoreDBs, s.Database) {
		return datastores.Errorf(datastores.Invalid, "the database that it names is the server's own")
	}
	digest := sha256.Sum256([]byte(s.Database))
	a := account{moduleUsers + hex.EncodeToString(digest[:8]), "localhost"}
	if s.Root {
		a.name = moduleUsers + rootUser
	}
	password := datastores.NewSecret(rand.Text())
	return m.change(ctx, func(db *sql.DB) error {
		if err := requireDatabases(ctx, db, []string{s.Database}); err != nil {
			return datastores.Errorf(datastores.NotFound, "there is no database of the name that its first line has")
		}
		return m.unlogged(ctx, db, func() error {
			identified := m.variant.identified(password)
			err := execute(ctx, db, "CREATE USER IF NOT EXISTS "+a.sql()+identified+" ACCOUNT LOCK", "ALTER USER "+a.sql()+identified)
			if err == nil && s.Root {
				err = execute(ctx, db, "GRANT ALL PRIVILEGES ON *.* TO "+a.sql()+" WITH GRANT OPTION", m.variant.dialect.revokeReadOnlyAdmin(a))
			} else if err == nil {
				err = a.grant(ctx, db, []string{s.Database})
			}
			defer func() { a.close(ctx, db) }()
			if err == nil {
				_, err = db.ExecContext(ctx, "ALTER USER "+a.sql()+" ACCOUNT UNLOCK")
			}
			if err != nil {
				return failed(err, "cannot make the account by which the statements run")
			}
			return m.runAs(ctx, a.name, password, s)
		})
	})
}

// close shuts an account out, and ends what it is at.
func (a account) close(ctx context.Context, db *sql.DB) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockSeconds*betweenTries*connectTries)
	defer cancel()
	_, _ = db.ExecContext(ctx, "ALTER USER IF EXISTS "+a.sql()+" ACCOUNT LOCK")
	_ = endSessions(ctx, db, "BINARY USER = ?", a.name)
}

// runAs runs statements as a client would, in one session. What the server says of one may quote it, and so may the driver.
func (m *Manager) runAs(ctx context.Context, user string, password datastores.Secret, s modules.Statements) error {
	db, err := m.connectAs(user, password, s.Database, map[string]string{
		"sql_mode": "DEFAULT", multiStatements: "",
	})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, s.Text)
	if said := (*mysql.MySQLError)(nil); errors.As(err, &said) {
		return modules.Refused(strconv.Itoa(int(said.Number)))
	}
	return err
}

// unlogged calls do while the server logs no statements of anybody, neither all nor slow ones. A session that could keep its own out of the slow
// log would need a right of 9.7 that allows more.
func (m *Manager) unlogged(ctx context.Context, db *sql.DB, do func() error) error {
	for _, log := range []string{"general_log", "slow_query_log"} {
		var on bool
		if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL."+log).Scan(&on); err != nil {
			return failed(err, "cannot read what is logged")
		}
		if !on {
			continue
		}
		if _, err := db.ExecContext(ctx, "SET GLOBAL "+log+" = OFF"); err != nil {
			return failed(err, "cannot end the log of statements")
		}
		defer func() { _, _ = db.ExecContext(context.WithoutCancel(ctx), "SET GLOBAL "+log+" = ON") }()
	}
	return do()
}

// isModules reports whether an account is one by which statements of modules run; no list shows it.
func (a account) isModules() bool { return strings.HasPrefix(a.name, moduleUsers) }
