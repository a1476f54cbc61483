package inmemory

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// Session is a [datastoretest.Harness]'s Session. It lasts for as long as its login is good and its server runs. There are as many at a time as
// the parameter max_connections says.
func (m *Datastore) Session(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
	if err := m.Connect(ctx, l.Address, l.User, l.Password, l.Database); err != nil {
		return nil, err
	}
	session := &session{memory: m, login: l}
	var err error
	m.with(l.Address, func(s *server) {
		if err = s.full(); err == nil {
			session.start = s.starts
			s.sessions++
		}
	})
	return session, err
}

// full returns an error when all connections are taken.
func (s *server) full() error {
	if fmt.Sprint(s.sessions) == fmt.Sprint(s.inForce["max_connections"]) {
		return errors.New("too many connections")
	}
	return nil
}

type session struct {
	memory *Datastore
	login  datastoretest.Login
	start  int // the start of the server that it was opened after
	closed bool
}

func (s *session) Ask(context.Context) (err error) {
	s.memory.with(s.login.Address, func(server *server) {
		switch {
		case server.starts != s.start:
			err = errors.New("the server was restarted")
		case !server.lingering:
			err = server.connect(s.login)
		}
	})
	return err
}

func (s *session) Close() error {
	s.memory.with(s.login.Address, func(server *server) {
		if !s.closed && server.starts == s.start {
			server.sessions--
		}
		s.closed = true
	})
	return nil
}

// Linger lets the server's sessions outlive what let them in: a defect for tests of the suite.
func (m *manager) Linger() {
	m.memory.with(m.env.Address, func(s *server) { s.lingering = true })
}

// ShareConnections has the manager work with connections of which tenants can take all: a defect for tests of the suite.
func (m *manager) ShareConnections() {
	m.memory.with(m.env.Address, func(s *server) { s.sharing = true })
}

// Obstruct is a [datastoretest.Harness]'s Obstruct.
func (m *Datastore) Obstruct(_ context.Context, _ datastores.Env, l datastoretest.Login) (datastoretest.Obstacle, error) {
	const named = "the lock of number 7"
	m.with(l.Address, func(s *server) { s.obstacle = named })
	return datastoretest.Obstacle{Named: named, Clear: func(context.Context) error {
		m.with(l.Address, func(s *server) { s.obstacle = "" })
		return nil
	}}, nil
}

func (s *server) free() error {
	if s.obstacle != "" {
		return datastores.Errorf(datastores.Conflict, "%s is in the way; release it", s.obstacle)
	}
	return nil
}
