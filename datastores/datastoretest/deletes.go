package datastoretest

import (
	"context"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// Obstacle stands in the way of a delete, and stays when the sessions of tenants end.
type Obstacle struct {
	Named string // what the answer must name, such as the transaction that is prepared
	// Clear takes it away.
	Clear func(ctx context.Context) error
}

// testDeleteInUse: a database or user that a session uses is deleted, and the session has ended then.
func testDeleteInUse(t *testing.T, s *server) {
	for what, remove := range s.deletes() {
		login := s.halfDeleted(t)
		session := s.session(t, login)
		s.must(t, "delete "+what+" that is in use", remove(s.within(t)))
		if err := session.Ask(s.within(t)); err == nil {
			t.Errorf("a session goes on after the delete of the %s that it uses", what)
		}
		s.removeHalf(t)
	}
}

// testHalfADelete: a delete that cannot be done leaves everything as it was, and names what is in the way; then it is done
// when that has gone.
func testHalfADelete(t *testing.T, s *server) {
	if s.Obstruct == nil {
		t.Skip("the harness has no Obstruct: not tested")
	}
	for what, remove := range s.deletes() {
		login := s.halfDeleted(t)
		acknowledged, err := s.Write(s.within(t), login, 0, someItems)
		if err != nil || acknowledged != someItems {
			t.Fatalf("write: %d acknowledged, %v", acknowledged, err)
		}
		before := s.contentsOf(t, login)
		obstacle, err := s.Obstruct(s.within(t), s.env, login)
		s.must(t, "put something in the way", err)
		if err := remove(s.within(t)); err != nil {
			wantKind(t, "delete "+what, err, datastores.Conflict)
			if !strings.Contains(err.Error(), obstacle.Named) {
				t.Errorf("delete %s: %q does not name %q", what, err, obstacle.Named)
			}
			s.letsIn(t, login.User, login.Password, login.Database)
			if after := s.contentsOf(t, login); after != before {
				t.Errorf("a delete of the %s that failed has left %v; before there were %v", what, after, before)
			}
			s.must(t, "clear", obstacle.Clear(s.within(t)))
			s.must(t, "delete "+what+" with nothing in the way", remove(s.within(t)))
		} else {
			s.must(t, "clear", obstacle.Clear(s.within(t)))
		}
		s.keepsOut(t, login.User, login.Password, login.Database)
		wantKind(t, "delete "+what+" again", remove(s.within(t)), datastores.NotFound)
		s.removeHalf(t)
	}
}

const half = "half"

// deletes are what can be deleted of what halfDeleted makes.
func (s *server) deletes() map[string]func(context.Context) error {
	deletes := map[string]func(context.Context) error{}
	if m, ok := s.manager.(datastores.Databases); ok {
		deletes["database"] = func(ctx context.Context) error { return m.DeleteDatabase(ctx, half) }
	}
	if m, ok := s.manager.(datastores.Users); ok {
		deletes["user"] = func(ctx context.Context) error { return m.DeleteUser(ctx, half, "%") }
	}
	return deletes
}

// halfDeleted makes a user with a database of its own, where there are any.
func (s *server) halfDeleted(t *testing.T) Login {
	t.Helper()
	login := Login{Address: s.env.Address, User: half, Password: tenantPassword}
	var databases []datastores.Database
	if m, ok := s.manager.(datastores.Databases); ok {
		login.Database = half
		databases = []datastores.Database{{Name: half}}
		s.must(t, "create database", m.CreateDatabase(s.within(t), databases[0]))
	}
	u := datastores.User{Name: half, Password: datastores.NewSecret(tenantPassword), Databases: databases}
	s.must(t, "create user", s.manager.(datastores.Users).CreateUser(s.within(t), u))
	return login
}

// removeHalf takes away what is left.
func (s *server) removeHalf(t *testing.T) {
	t.Helper()
	for what, remove := range s.deletes() {
		if err := remove(s.within(t)); err != nil {
			wantKind(t, "delete what is left: "+what, err, datastores.NotFound)
		}
	}
}

func (s *server) contentsOf(t *testing.T, login Login) contents {
	t.Helper()
	items, digest, err := s.Digest(s.within(t), login)
	s.must(t, "digest", err)
	return contents{items, digest}
}
