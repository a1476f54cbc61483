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
		if err := requireDatabases(ctx, s, databases); err != nil {
			return err
		}
		return failed(s.exec(ctx, grants(name, databases)), "cannot grant user %q access", name)
	})
}

// grants are the statements that give a user all rights on databases.
func grants(user string, databases []string) string {
	var statements string
	for _, d := range databases {
		statements += "GRANT ALL ON DATABASE " + identifier(d) + " TO " + identifier(user) + ";"
	}
	return statements
}

// RevokeAccess implements [datastores.Access]. The user's sessions in the database end.
func (m *Manager) RevokeAccess(ctx context.Context, name, _, database string) error {
	return m.with(ctx, func(s *session) error {
		found, err := s.one(ctx, `SELECT true FROM pg_database d, aclexplode(d.datacl) a, pg_roles r
			WHERE d.datname = $1 AND r.rolname = $2 AND a.grantee = r.oid`, database, name)
		if err == nil && !found.bool() {
			return datastores.Errorf(datastores.NotFound, "user %q has no access to database %q", name, database)
		}
		if err == nil {
			err = s.exec(ctx, "REVOKE ALL ON DATABASE "+identifier(database)+" FROM "+identifier(name)+" CASCADE")
		}
		if err == nil {
			err = endSessions(ctx, s, "usename = $1 AND datname = $2", name, database)
		}
		return failed(err, "cannot revoke the access of user %q to database %q", name, database)
	})
}
