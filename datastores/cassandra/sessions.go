package cassandra

import (
	"context"
	"errors"
)

// shutFile, below Env.Dir, says that the server was told to let nobody in, and not yet to do so again.
const shutFile = "cassandra-shut"

// endSessions ends the sessions of a user. The server cannot end one session, or those of one user: when there are any all are
// ended, and programs connect again.
func (m *Manager) endSessions(ctx context.Context, s *session, user string) error {
	delete(m.seen, user)
	open := 0
	var of string
	if err := s.each(ctx, "SELECT username FROM system_views.clients", func() {
		if of == user {
			open++
		}
	}, &of); err != nil {
		return err
	}
	if open == 0 {
		return nil
	}
	if err := m.own.WriteFile(shutFile, nil); err != nil {
		return err
	}
	if err := m.nodetool(ctx, "disablebinary"); err != nil {
		return errors.Join(err, m.openTransport(context.WithoutCancel(ctx)))
	}
	return m.openTransport(ctx)
}

// endOutdated ends the sessions at this member of users whom the guest of another one has given another password, or taken away, since this
// guest has last looked.
func (m *Manager) endOutdated(ctx context.Context, s *session) error {
	now := map[string]string{}
	var r role
	if err := s.each(ctx, "SELECT role, can_login, salted_hash FROM system_auth.roles", func() {
		if r.login {
			now[r.name] = r.hash
		}
	}, &r.name, &r.login, &r.hash); err != nil {
		return err
	}
	for user, was := range m.seen {
		if now[user] != was && user != adminUser {
			if err := m.endSessions(ctx, s, user); err != nil {
				m.seen[user] = was
				return err
			}
		}
	}
	m.seen = now
	return nil
}

// openTransport has the server let users in again, if it was told not to.
func (m *Manager) openTransport(ctx context.Context) error {
	if there, err := m.own.Exists(shutFile); err != nil || !there {
		return err
	}
	if _, _, ok := m.service.Running(); ok {
		if err := m.nodetool(ctx, "enablebinary"); err != nil {
			return err
		}
	}
	return m.own.Remove(shutFile)
}
