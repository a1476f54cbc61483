package postgresql

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

// ListAccess implements [datastores.Access].
func (m *Manager) ListAccess(ctx context.Context, name, host string) ([]datastores.Database, error) {
	user, err := m.GetUser(ctx, name, host)
	return user.Databases, err
}

// GrantAccess implements [datastores.Access].
func (m *Manager) GrantAccess(ctx context.Context, name, _ string, databases []string) error {
	return m.with(ctx, func(s *session) error {
		if err := requireUser(ctx, s, name); err != nil {
			return err
		}
		grants, err := m.grants(ctx, s, name, databases)
		if err == nil {
			err = s.exec(ctx, grants)
		}
		return failed(err, "cannot grant user %q access", name)
	})
}

// grants returns the statements that give a user access to databases; NotFound when one of these is not there.
func (m *Manager) grants(ctx context.Context, s *session, user string, databases []string) (statements string, err error) {
	if err := requireDatabases(ctx, s, databases); err != nil {
		return "", err
	}
	for _, database := range databases {
		owner, err := m.ownerOf(ctx, s, database)
		if err != nil {
			return "", err
		}
		statements += grant(user, database, owner)
	}
	return statements, nil
}

// RevokeAccess implements [datastores.Access]. The user's sessions in the database end; what the user owns there goes to those
// who still have access.
func (m *Manager) RevokeAccess(ctx context.Context, name, _, database string) error {
	return m.with(ctx, func(s *session) error {
		found, err := s.one(ctx, `SELECT true FROM pg_database d, aclexplode(d.datacl) a, pg_roles r
			WHERE d.datname = $1 AND r.rolname = $2 AND a.grantee = r.oid`, database, name)
		if err == nil && !found.bool() {
			return datastores.Errorf(datastores.NotFound, "user %q has no access to database %q", name, database)
		}
		if err == nil {
			err = m.leave(ctx, s, name, database)
		}
		if err == nil {
			err = endSessions(ctx, s, "usename = $1 AND datname = $2", name, database)
		}
		return failed(err, "cannot revoke the access of user %q to database %q", name, database)
	})
}

// leave takes a user's access to a database. Before that it gives away what the user owns there.
func (m *Manager) leave(ctx context.Context, s *session, user, database string) error {
	owner, err := m.ownerOf(ctx, s, database)
	if err != nil {
		return err
	}
	owns, err := s.one(ctx, `SELECT true FROM pg_shdepend s WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = $1)
		AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $2) AND s.deptype = 'o' LIMIT 1`, database, user)
	if err == nil && owns.bool() {
		err = endSessions(ctx, s, "usename = $1 AND datname = $2", user, database)
		if err == nil {
			err = m.withIn(ctx, database, func(inside *session) error { return collect(ctx, inside, owner) })
		}
	}
	if err != nil {
		return err
	}
	return s.exec(ctx, "REVOKE ALL ON DATABASE "+identifier(database)+" FROM "+identifier(user)+" CASCADE;"+
		"REVOKE "+identifier(owner)+" FROM "+identifier(user)+";"+
		"ALTER ROLE "+identifier(user)+" IN DATABASE "+identifier(database)+" RESET role")
}
