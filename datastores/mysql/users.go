package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// CreateUser implements [datastores.Users].
func (m *Manager) CreateUser(ctx context.Context, user datastores.User) error {
	a := newAccount(user.Name, user.Host)
	names := make([]string, len(user.Databases))
	for i, d := range user.Databases {
		names[i] = d.Name
	}
	return m.changeDatabases(ctx, names, func(db *sql.DB, names []string) error {
		if err := m.requireNew(ctx, db, a, user.Password); err != nil {
			return err
		}
		if err := requireDatabases(ctx, db, names); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, "CREATE USER IF NOT EXISTS "+a.sql()+m.variant.identified(user.Password)+" ACCOUNT LOCK"); err != nil {
			return failed(err, "cannot create user %s", a)
		}
		if err := a.grant(ctx, db, names); err != nil {
			a.dropHalfMade(ctx, db)
			return err
		}
		_, err := db.ExecContext(ctx, "ALTER USER "+a.sql()+" ACCOUNT UNLOCK")
		return failed(err, "cannot create user %s", a)
	})
}

// requireNew returns Exists when there is such an account, other than one of which the making was cut off: that is locked
// still, and has the same password.
func (m *Manager) requireNew(ctx context.Context, db *sql.DB, a account, password datastores.Secret) error {
	err := m.requireFree(ctx, db, a)
	if e, ok := err.(*datastores.Error); !ok || e.Kind != datastores.Exists {
		return err
	}
	var made string
	if err := db.QueryRowContext(ctx, "SHOW CREATE USER "+a.sql()).Scan(&made); err != nil {
		return failed(err, "cannot look at user %s", a)
	}
	if m.variant.passwords.has(made, password) && strings.Contains(made, " ACCOUNT LOCK") {
		return nil
	}
	return err
}

// dropHalfMade does what it can, also when the context has ended.
func (a account) dropHalfMade(ctx context.Context, db *sql.DB) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = db.ExecContext(ctx, "DROP USER IF EXISTS "+a.sql())
}

// has compares names as bytes: the server's comparison would not see a blank at the end.
func (m *Manager) has(ctx context.Context, db *sql.DB, a account) (found bool, err error) {
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM mysql.user u WHERE BINARY u.User = ? AND BINARY u.Host = ? AND "+
		m.variant.isUser, a.name, a.host).Scan(&found)
	return found, failed(err, "cannot look for user %s", a)
}

// require returns NotFound when there is no such account, nor any session of it.
func (m *Manager) require(ctx context.Context, db *sql.DB, a account) error {
	found, err := m.has(ctx, db, a)
	if err == nil && (!found || a.isModules()) {
		if err := endOrphans(ctx, db); err != nil {
			return err
		}
		return datastores.Errorf(datastores.NotFound, "there is no user %s", a)
	}
	return err
}

// requireFree returns Exists when there is one.
func (m *Manager) requireFree(ctx context.Context, db *sql.DB, a account) error {
	found, err := m.has(ctx, db, a)
	if err == nil && found {
		return datastores.Errorf(datastores.Exists, "there is a user %s already", a)
	}
	return err
}

// ListUsers implements [datastores.Users].
func (m *Manager) ListUsers(ctx context.Context) (all []datastores.User, err error) {
	err = m.session(func(db *sql.DB) error {
		all, err = m.users(ctx, db, "TRUE")
		all = slices.DeleteFunc(all, func(u datastores.User) bool { return newAccount(u.Name, u.Host).isModules() })
		return failed(err, "cannot list users")
	})
	return all, err
}

// GetUser implements [datastores.Users].
func (m *Manager) GetUser(ctx context.Context, name, host string) (user datastores.User, err error) {
	a := newAccount(name, host)
	err = m.session(func(db *sql.DB) error {
		found, err := m.users(ctx, db, "BINARY u.User = ? AND BINARY u.Host = ?", a.name, a.host)
		if err != nil {
			return failed(err, "cannot get user %s", a)
		}
		if len(found) == 0 || a.isModules() {
			return datastores.Errorf(datastores.NotFound, "there is no user %s", a)
		}
		user = found[0]
		return nil
	})
	return user, err
}

// users reads accounts that are users, no roles and none of replicas, with the databases on which they have a right of any
// kind. A right may be on a pattern that names several.
func (m *Manager) users(ctx context.Context, db *sql.DB, where string, args ...any) ([]datastores.User, error) {
	var all []datastores.User
	err := query(ctx, db, func(scan func(...any) error) error {
		var a account
		var database, charset, collation sql.NullString
		if err := scan(&a.name, &a.host, &database, &charset, &collation); err != nil {
			return err
		}
		if n := len(all); n == 0 || newAccount(all[n-1].Name, all[n-1].Host) != a {
			all = append(all, datastores.User{Name: a.name, Host: a.host})
		}
		if database.Valid {
			u := &all[len(all)-1]
			u.Databases = append(u.Databases, datastores.Database{
				Name: database.String, CharacterSet: charset.String, Collate: collation.String,
			})
		}
		return nil
	}, `SELECT DISTINCT u.User, u.Host, s.SCHEMA_NAME, s.DEFAULT_CHARACTER_SET_NAME, s.DEFAULT_COLLATION_NAME
		FROM mysql.user u
		LEFT JOIN mysql.db d ON BINARY d.User = u.User AND d.Host = u.Host
		LEFT JOIN information_schema.SCHEMATA s ON s.SCHEMA_NAME COLLATE utf8mb3_bin LIKE d.Db ESCAPE '\'
		WHERE `+m.variant.isUser+" AND "+where+`
		ORDER BY BINARY u.User, BINARY u.Host, BINARY s.SCHEMA_NAME`, args...)
	return all, err
}

// UpdateUser implements [datastores.Users]. The name is changed last: until then the call can be made again.
func (m *Manager) UpdateUser(ctx context.Context, name, host string, change datastores.UserChange) error {
	before := newAccount(name, host)
	after := before
	if change.Name != "" {
		after.name = change.Name
	}
	if change.Host != "" {
		after.host = change.Host
	}
	return m.change(ctx, func(db *sql.DB) error {
		if err := m.require(ctx, db, before); err != nil {
			return err
		}
		if after != before {
			if err := m.requireFree(ctx, db, after); err != nil {
				return err
			}
		}
		return m.update(ctx, db, before, after, change.Password)
	})
}

func (m *Manager) update(ctx context.Context, db *sql.DB, before, after account, password datastores.Secret) error {
	if !password.IsZero() {
		if _, err := db.ExecContext(ctx, "ALTER USER "+before.sql()+m.variant.identified(password)); err != nil {
			return failed(err, "cannot change the password of user %s", before)
		}
	}
	if after != before {
		if _, err := db.ExecContext(ctx, "RENAME USER "+before.sql()+" TO "+after.sql()); err != nil {
			return failed(err, "cannot change user %s to %s", before, after)
		}
	}
	return before.endSessions(ctx, db)
}

// DeleteUser implements [datastores.Users].
func (m *Manager) DeleteUser(ctx context.Context, name, host string) error {
	a := newAccount(name, host)
	return m.change(ctx, func(db *sql.DB) error {
		if err := m.require(ctx, db, a); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, "DROP USER "+a.sql()); err != nil {
			return failed(err, "cannot delete user %s", a)
		}
		return a.endSessions(ctx, db)
	})
}
