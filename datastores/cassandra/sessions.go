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
