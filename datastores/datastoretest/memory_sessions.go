package datastoretest

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// Session is a [Harness]'s Session. It lasts for as long as its login is good and its server runs. There are as many at a time as
// the parameter max_connections says.
func (m *Memory) Session(ctx context.Context, l Login) (Session, error) {
	if err := m.Connect(ctx, l.Address, l.User, l.Password, l.Database); err != nil {
		return nil, err
	}
	session := &memorySession{memory: m, login: l}
	var err error
	m.with(l.Address, func(s *memoryServer) {
		if err = s.full(); err == nil {
			session.start = s.starts
			s.sessions++
		}
	})
	return session, err
}

// full returns an error when all connections are taken.
func (s *memoryServer) full() error {
	if fmt.Sprint(s.sessions) == fmt.Sprint(s.inForce["max_connections"]) {
		return errors.New("too many connections")
	}
	return nil
}

type memorySession struct {
	memory *Memory
	login  Login
	start  int // the start of the server that it was opened after
	closed bool
}

func (s *memorySession) Ask(context.Context) (err error) {
	s.memory.with(s.login.Address, func(server *memoryServer) {
		switch {
		case server.starts != s.start:
			err = errors.New("the server was restarted")
		case !server.lingering:
			err = server.connect(s.login)
		}
	})
	return err
}

func (s *memorySession) Close() error {
	s.memory.with(s.login.Address, func(server *memoryServer) {
		if !s.closed && server.starts == s.start {
			server.sessions--
		}
		s.closed = true
	})
	return nil
}

// Linger lets the server's sessions outlive what let them in: a defect for tests of the suite.
func (m *memoryManager) Linger() {
	m.memory.with(m.env.Address, func(s *memoryServer) { s.lingering = true })
}

// ShareConnections has the manager work with connections of which tenants can take all: a defect for tests of the suite.
func (m *memoryManager) ShareConnections() {
	m.memory.with(m.env.Address, func(s *memoryServer) { s.sharing = true })
}

// Obstruct is a [Harness]'s Obstruct.
func (m *Memory) Obstruct(_ context.Context, _ datastores.Env, l Login) (Obstacle, error) {
	const named = "the lock of number 7"
	m.with(l.Address, func(s *memoryServer) { s.obstacle = named })
	return Obstacle{named, func(context.Context) error {
		m.with(l.Address, func(s *memoryServer) { s.obstacle = "" })
		return nil
	}}, nil
}

func (s *memoryServer) free() error {
	if s.obstacle != "" {
		return datastores.Errorf(datastores.Conflict, "%s is in the way; release it", s.obstacle)
	}
	return nil
}
