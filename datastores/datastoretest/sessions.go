package datastoretest

import (
	"context"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// Session is a connection of a tenant's program that stays open between two questions.
type Session interface {
	// Ask asks the server something over this connection and never over another one. It fails when the server has ended it.
	Ask(ctx context.Context) error
	Close() error
}

// testSessions: a user's sessions have ended when the call returns that took what let them in: the password, the name, the
// access, the user. Sessions of other users go on.
func testSessions(t *testing.T, s *server) {
	if s.Session == nil {
		t.Fatal("the harness lacks Session, which a datastore of capability users must have")
	}
	m := s.manager.(datastores.Users)
	databases := s.withDatabase(t, "shop")
	user := func(name string) Login {
		u := datastores.User{Name: name, Password: datastores.NewSecret("first"), Databases: databases}
		s.must(t, "create "+name, m.CreateUser(s.within(t), u))
		return Login{s.env.Address, name, "first", databases.first()}
	}
	drop := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { return m.DeleteUser(ctx, name, "%") }
	}
	change := func(c datastores.UserChange) func(context.Context) error {
		return func(ctx context.Context) error { return m.UpdateUser(ctx, "ann", "%", c) }
	}
	bystander := s.session(t, user("bob"))
	second := datastores.NewSecret("second")
	for _, c := range []struct {
		what   string
		do     func(context.Context) error
		remove func(context.Context) error // what is left of the user; nil: nothing
	}{
		{"a new password", change(datastores.UserChange{Password: second}), drop("ann")},
		{"a new name", change(datastores.UserChange{Name: "eve", Password: second}), drop("eve")},
		{"a revoke", s.revoke("ann", databases.first()), drop("ann")},
		{"a delete", drop("ann"), nil},
	} {
		if c.do == nil {
			continue
		}
		session := s.session(t, user("ann"))
		s.must(t, c.what, c.do(s.within(t)))
		if err := session.Ask(s.within(t)); err == nil {
			t.Errorf("a session of the user goes on after %s", c.what)
		}
		if c.remove != nil {
			s.must(t, "delete", c.remove(s.within(t)))
		}
	}
	if err := bystander.Ask(s.within(t)); err != nil {
		t.Errorf("the session of another user has ended: %v", err)
	}
	s.must(t, "delete", drop("bob")(s.within(t)))
}

// revoke is a call that takes a user's access to a database; nil when the datastore has none to take.
func (s *server) revoke(user, database string) func(context.Context) error {
	m, ok := s.manager.(datastores.Access)
	if !ok {
		return nil
	}
	return func(ctx context.Context) error { return m.RevokeAccess(ctx, user, "%", database) }
}

// session opens a session that works and lasts as long as the test at most.
func (s *server) session(t *testing.T, l Login) Session {
	t.Helper()
	session, err := s.Session(s.within(t), l)
	s.must(t, "log in as "+l.User, err)
	t.Cleanup(func() { _ = session.Close() })
	s.must(t, "ask as "+l.User, session.Ask(s.within(t)))
	return session
}
