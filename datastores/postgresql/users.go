package postgresql

import (
	"cmp"
	"context"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// A user's host is always any: PostgreSQL's roles know none.
const anyHost = "%"

// CreateUser implements [datastores.Users].
func (m *Manager) CreateUser(ctx context.Context, user datastores.User) error {
	password, err := withPassword(user.Password)
	if err != nil {
		return err
	}
	var names []string
	for _, d := range user.Databases {
		names = append(names, d.Name)
	}
	return m.with(ctx, func(s *session) error {
		if err := requireFree(ctx, s, user.Name); err != nil {
			return err
		}
		grants, err := m.grants(ctx, s, user.Name, names)
		if err == nil {
			err = s.exec(ctx, "CREATE ROLE "+identifier(user.Name)+" LOGIN"+password+";"+grants)
		}
		return failed(err, "cannot create user %q", user.Name)
	})
}

func roleExists(ctx context.Context, s *session, name string) (bool, error) {
	found, err := s.one(ctx, "SELECT true FROM pg_roles WHERE rolname = $1", name)
	return found.bool(), failed(err, "cannot look for user %q", name)
}

// isUser is the condition for a user among pg_roles r: a role that cannot log in is none, nor is the account of a replica.
const isUser = `r.rolcanlogin AND NOT EXISTS (SELECT FROM pg_auth_members g JOIN pg_roles o ON o.oid = g.roleid
	WHERE g.member = r.oid AND o.rolname = '` + replicasRole + `')`

// requireUser returns NotFound when there is no such user.
func requireUser(ctx context.Context, s *session, name string) error {
	found, err := s.one(ctx, "SELECT true FROM pg_roles r WHERE rolname = $1 AND "+isUser, name)
	if err == nil && !found.bool() {
		return datastores.Errorf(datastores.NotFound, "there is no user %q", name)
	}
	return failed(err, "cannot look for user %q", name)
}

// requireFree returns Exists when there is one.
func requireFree(ctx context.Context, s *session, name string) error {
	found, err := roleExists(ctx, s, name)
	if err == nil && found {
		return datastores.Errorf(datastores.Exists, "there is a user %q already", name)
	}
	return err
}

// ListUsers implements [datastores.Users].
func (m *Manager) ListUsers(ctx context.Context) (all []datastores.User, err error) {
	err = m.with(ctx, func(s *session) error {
		all, err = users(ctx, s, "true")
		return failed(err, "cannot list users")
	})
	return all, err
}

// GetUser implements [datastores.Users].
func (m *Manager) GetUser(ctx context.Context, name, _ string) (user datastores.User, err error) {
	err = m.with(ctx, func(s *session) error {
		found, err := users(ctx, s, "r.rolname = $1", name)
		if err == nil && len(found) == 0 {
			return datastores.Errorf(datastores.NotFound, "there is no user %q", name)
		}
		if err == nil {
			user = found[0]
		}
		return failed(err, "cannot get user %q", name)
	})
	return user, err
}

// users reads users with the databases on which they have a right of their own, of any kind.
func users(ctx context.Context, s *session, where string, args ...string) ([]datastores.User, error) {
	rows, err := s.query(ctx, `SELECT r.rolname, d.datname, pg_encoding_to_char(d.encoding), d.datcollate
		FROM pg_roles r LEFT JOIN pg_database d
			ON EXISTS (SELECT FROM aclexplode(d.datacl) a WHERE a.grantee = r.oid)
		WHERE `+isUser+` AND `+where+`
		ORDER BY r.rolname, d.datname`, args...)
	var all []datastores.User
	for _, row := range rows {
		if n := len(all); n == 0 || all[n-1].Name != row[0].String() {
			all = append(all, datastores.User{Name: row[0].String(), Host: anyHost})
		}
		if row[1] != nil {
			u := &all[len(all)-1]
			u.Databases = append(u.Databases, databaseOf(row[1:]))
		}
	}
	return all, err
}

// UpdateUser implements [datastores.Users]. The user's sessions end. Any host is taken for "%". A rename keeps the password, but
// for one that the server has kept as MD5 since before it came here: that is salted with the name.
func (m *Manager) UpdateUser(ctx context.Context, name, _ string, change datastores.UserChange) error {
	var statements []string
	if !change.Password.IsZero() {
		password, err := withPassword(change.Password)
		if err != nil {
			return err
		}
		statements = append(statements, "ALTER ROLE "+identifier(name)+password)
	}
	renamed := change.Name != "" && change.Name != name
	if renamed {
		statements = append(statements, "ALTER ROLE "+identifier(name)+" RENAME TO "+identifier(change.Name))
	}
	return m.with(ctx, func(s *session) error {
		if err := requireUser(ctx, s, name); err != nil {
			return err
		}
		if renamed {
			if err := requireFree(ctx, s, change.Name); err != nil {
				return err
			}
		}
		if renamed && change.Password.IsZero() {
			if err := requireLasting(ctx, s, name); err != nil {
				return err
			}
		}
		err := s.exec(ctx, strings.Join(statements, "; "))
		if err == nil && len(statements) > 0 {
			err = throwOut(ctx, s, cmp.Or(change.Name, name))
		}
		return failed(err, "cannot change user %q", name)
	})
}

// requireLasting returns Invalid when the user's password would not survive a rename.
func requireLasting(ctx context.Context, s *session, name string) error {
	lost, err := s.one(ctx, "SELECT rolpassword LIKE 'md5%' FROM pg_authid WHERE rolname = $1", name)
	if err == nil && lost.bool() {
		return datastores.Errorf(datastores.Invalid, "user %q has a password that is bound to the name: give a new one with the new name", name)
	}
	return failed(err, "cannot look for user %q", name)
}
