package mysql

import (
	"context"
	"database/sql"

	"github.com/cofferdb/coffer/datastores"
)

// ListAccess implements [datastores.Access].
func (m *Manager) ListAccess(ctx context.Context, name, host string) ([]datastores.Database, error) {
	user, err := m.GetUser(ctx, name, host)
	return user.Databases, err
}

// GrantAccess implements [datastores.Access].
func (m *Manager) GrantAccess(ctx context.Context, name, host string, databases []string) error {
	a := newAccount(name, host)
	return m.changeDatabases(ctx, databases, func(db *sql.DB, databases []string) error {
		if err := m.require(ctx, db, a); err != nil {
			return err
		}
		if err := requireDatabases(ctx, db, databases); err != nil {
			return err
		}
		return a.grant(ctx, db, databases)
	})
}

// RevokeAccess implements [datastores.Access]. It also revokes what a tenant has granted without escaping the name.
func (m *Manager) RevokeAccess(ctx context.Context, name, host, database string) error {
	a := newAccount(name, host)
	return m.changeDatabases(ctx, []string{database}, func(db *sql.DB, names []string) error { return a.revokeAccess(ctx, db, names[0]) })
}

func (a account) revokeAccess(ctx context.Context, db *sql.DB, database string) error {
	found, err := grants(ctx, db, database)
	if err != nil {
		return failed(err, "cannot revoke the access of user %s to database %q", a, database)
	}
	none := true
	for _, g := range found {
		if g.account != a {
			continue
		}
		none = false
		if err := g.revoke(ctx, db); err != nil {
			return failed(err, "cannot revoke the access of user %s to database %q", a, database)
		}
	}
	// A session keeps the rights on the database that it uses.
	if none {
		err := endSessions(ctx, db, tenantSessions+" AND BINARY USER = ? AND BINARY DB = ?", a.name, database)
		if err != nil {
			return failed(err, "cannot end the sessions of user %s", a)
		}
		return datastores.Errorf(datastores.NotFound, "user %s has no access to database %q", a, database)
	}
	return a.endSessions(ctx, db)
}

// grant gives an account all rights on each of the databases.
func (a account) grant(ctx context.Context, db *sql.DB, databases []string) error {
	for _, database := range databases {
		statement := "GRANT ALL PRIVILEGES ON " + identifier(pattern(database)) + ".* TO " + a.sql()
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return failed(err, "cannot grant user %s access to database %q", a, database)
		}
	}
	return nil
}

// dbGrant is one row of mysql.db: rights of an account on what a pattern matches.
type dbGrant struct {
	account
	pattern string
}

// grants returns the rights on exactly that name, escaped or not.
func grants(ctx context.Context, db *sql.DB, database string) ([]dbGrant, error) {
	var found []dbGrant
	err := query(ctx, db, func(scan func(...any) error) error {
		var g dbGrant
		err := scan(&g.name, &g.host, &g.pattern)
		found = append(found, g)
		return err
	}, "SELECT User, Host, Db FROM mysql.db WHERE BINARY Db IN (?, ?)", pattern(database), database)
	return found, err
}

// revoke takes the right to grant on last: with it goes what is left of the row, if anything is.
func (g dbGrant) revoke(ctx context.Context, db *sql.DB) error {
	for _, right := range []string{"ALL PRIVILEGES", "GRANT OPTION"} {
		statement := "REVOKE " + right + " ON " + identifier(g.pattern) + ".* FROM " + g.sql()
		if _, err := db.ExecContext(ctx, statement); err != nil && !is(err, errNoSuchGrant) {
			return err
		}
	}
	return nil
}

// revokeFromAll takes every right on exactly that database away.
func revokeFromAll(ctx context.Context, db *sql.DB, database string) error {
	found, err := grants(ctx, db, database)
	if err != nil {
		return err
	}
	for _, g := range found {
		if err := g.revoke(ctx, db); err != nil {
			return err
		}
	}
	return nil
}
