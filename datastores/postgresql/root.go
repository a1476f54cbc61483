package postgresql

import (
	"context"
	"crypto/rand"

	"github.com/cofferdb/coffer/datastores"
)

const (
	// rootUser is the tenants' root, a superuser that is made when it is first enabled. The guest's own is os_admin.
	rootUser = "root"
	// formerRoot is what root was called by earlier versions. It lets in until root is enabled again, which renames it.
	formerRoot = "postgres"
)

// EnableRoot implements [datastores.Root]. Sessions under an earlier password end.
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	clause, err := withPassword(password)
	if err != nil {
		return "", err
	}
	return rootUser, m.with(ctx, func(s *session) error {
		before, err := rootRole(ctx, s)
		if err != nil {
			return err
		}
		var statement string
		switch before {
		case "":
			statement = "CREATE ROLE " + rootUser + ";"
		case formerRoot:
			statement = "ALTER ROLE " + formerRoot + " RENAME TO " + rootUser + ";"
		}
		statement += "ALTER ROLE " + rootUser + " SUPERUSER LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity'" + clause
		err = s.exec(ctx, statement)
		if err == nil {
			err = throwOut(ctx, s, rootUser)
		}
		return failed(err, "cannot enable root")
	})
}

// DisableRoot implements [datastores.Root]. As in Trove nothing is dropped, what root owns stays; the role cannot log in,
// gets a password that nobody knows, and its sessions end.
func (m *Manager) DisableRoot(ctx context.Context) error {
	clause, err := withPassword(datastores.NewSecret(rand.Text()))
	if err != nil {
		return err
	}
	return m.with(ctx, func(s *session) error {
		role, err := rootRole(ctx, s)
		if err != nil || role == "" {
			return err
		}
		err = s.exec(ctx, "ALTER ROLE "+identifier(role)+" NOLOGIN"+clause)
		if err == nil {
			err = throwOut(ctx, s, role)
		}
		return failed(err, "cannot disable root")
	})
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (enabled bool, err error) {
	return enabled, m.with(ctx, func(s *session) error {
		role, err := rootRole(ctx, s)
		if err != nil || role == "" {
			return err
		}
		v, err := s.one(ctx, "SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", role)
		enabled = v.bool()
		return failed(err, "cannot look at root")
	})
}

// rootRole is what root is called on this server; "" when it was never enabled.
func rootRole(ctx context.Context, s *session) (string, error) {
	// A role postgres beside root is a tenant's own, made by root.
	v, err := s.one(ctx, "SELECT rolname FROM pg_roles WHERE rolname IN ($1, $2) AND oid <> 10 ORDER BY rolname = $1 DESC",
		rootUser, formerRoot)
	return v.String(), failed(err, "cannot look for root")
}
