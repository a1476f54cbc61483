package cassandra

import (
	"context"
	"errors"

	"github.com/cofferdb/coffer/datastores"
)

// EnableRoot implements [datastores.Root].
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	hash, err := m.hash(rootUser, password)
	if err != nil {
		return "", err
	}
	return rootUser, m.with(ctx, func(ctx context.Context, s *session) error {
		err := s.exec(ctx,
			"CREATE ROLE IF NOT EXISTS "+name(rootUser)+" WITH LOGIN = false",
			"ALTER ROLE "+name(rootUser)+" WITH SUPERUSER = true AND HASHED PASSWORD = "+text(hash)+" AND LOGIN = true")
		if err != nil {
			return err
		}
		return m.endSessions(ctx, s, rootUser)
	})
}

// DisableRoot implements [datastores.Root]. The role stays, for what it was granted.
func (m *Manager) DisableRoot(ctx context.Context) error {
	return m.with(ctx, func(ctx context.Context, s *session) error {
		if _, err := s.role(ctx, rootUser); isMissing(err) {
			return nil
		} else if err != nil {
			return err
		}
		return errors.Join(
			s.exec(ctx, "ALTER ROLE "+name(rootUser)+" WITH LOGIN = false AND SUPERUSER = false"),
			m.endSessions(ctx, s, rootUser))
	})
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (on bool, err error) {
	err = m.with(ctx, func(ctx context.Context, s *session) error {
		r, err := s.role(ctx, rootUser)
		on = r.login
		if isMissing(err) {
			return nil
		}
		return err
	})
	return on, err
}
