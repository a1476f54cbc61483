package datastoretest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// cutAtSteps calls f again and again, each time with a new manager and cut a step later, as a guest that is killed again
// and again does; until f has come through. Many small steps are not all tried.
func (s *server) cutAtSteps(t *testing.T, what string, f func(ctx context.Context, progress func(string)) error) {
	t.Helper()
	for cut := int32(1); ; cut += 1 + cut/4 {
		s.manager = s.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), 2*s.patience())
		var steps atomic.Int32
		var name atomic.Value
		err := f(ctx, func(step string) {
			if steps.Add(1) == cut {
				name.Store(step)
				cancel()
			}
		})
		cancel()
		if steps.Load() < cut {
			s.must(t, what+", after it was cut at each of its steps", err)
			return
		}
		said(t, fmt.Sprintf("%s, cut at step %d, %q,", what, cut, name.Load()), err)
	}
}

// cuts are the moments at which a call without steps is cut.
func cuts() []time.Duration {
	return []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 30 * time.Millisecond}
}

// cutSoon calls f, each time with a new manager and cut a little later. How these calls end does not matter.
func (s *server) cutSoon(t *testing.T, f func(ctx context.Context) error) {
	t.Helper()
	for _, after := range cuts() {
		s.manager = s.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), after)
		began := time.Now()
		said(t, fmt.Sprintf("the call that was cut after %v", after), f(ctx))
		cancel()
		if took := time.Since(began); took > s.patience() {
			t.Errorf("cut after %v it returned after %v", after, took)
		}
	}
	s.manager = s.open(t)
}

// testDatabasesCutShort: a call that was cut either did its work or did not; again, it must come to the same end.
func testDatabasesCutShort(t *testing.T, s *server) {
	s.cutSoon(t, func(ctx context.Context) error {
		return s.manager.(datastores.Databases).CreateDatabase(ctx, datastores.Database{Name: "cut"})
	})
	m, ctx := s.manager.(datastores.Databases), s.within(t)
	err := m.CreateDatabase(ctx, datastores.Database{Name: "cut"})
	said(t, "its repeat", err)
	if err != nil {
		wantKind(t, "create, after it was cut", err, datastores.Exists)
	}
	s.cutSoon(t, func(ctx context.Context) error { return s.manager.(datastores.Databases).DeleteDatabase(ctx, "cut") })
	err = m.DeleteDatabase(ctx, "cut")
	said(t, "its repeat", err)
	if err != nil {
		wantKind(t, "delete, after it was cut", err, datastores.NotFound)
	}
	for _, name := range databaseNames(t, m) {
		if name == "cut" {
			t.Error("the database is still there")
		}
	}
}

// testUsersCutShort is testDatabasesCutShort for users: once made, the user must have its password and its database.
func testUsersCutShort(t *testing.T, s *server) {
	databases := s.withDatabase(t, "shop")
	ann := datastores.User{Name: "ann", Password: datastores.NewSecret("pass"), Databases: databases}
	create := func(ctx context.Context) error { return s.manager.(datastores.Users).CreateUser(ctx, ann) }
	s.cutSoon(t, create)
	err := create(s.within(t))
	said(t, "its repeat", err)
	if err != nil {
		wantKind(t, "create, after it was cut", err, datastores.Exists)
	}
	s.letsIn(t, "ann", "pass", databases.first())
	remove := func(ctx context.Context) error { return s.manager.(datastores.Users).DeleteUser(ctx, "ann", "%") }
	s.cutSoon(t, remove)
	err = remove(s.within(t))
	said(t, "its repeat", err)
	if err != nil {
		wantKind(t, "delete, after it was cut", err, datastores.NotFound)
	}
	s.keepsOut(t, "ann", "pass", "")
}

// testKilled: a server that was killed is seen to be, and starts again with its accounts and with all that was acknowledged.
func testKilled(t *testing.T, s *server) {
	if s.Kill == nil {
		t.Skip("the harness has no Kill: not tested")
	}
	s.visitAndWrite(t)
	s.must(t, "kill", s.Kill(s.within(t), s.env))
	s.eventually(t, func() (bool, string) {
		st := s.status(t)
		return st.Service == datastores.StatusShutdown, "a server that was killed is " + string(st.Service)
	})
	s.manager = s.open(t)
	s.start(t)
	s.wantStatus(t, datastores.StatusHealthy)
	s.wantKept(t)
}
