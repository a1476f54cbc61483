package datastoretest

import (
	"errors"
	"io"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// mostPlaces is more than any harness should leave a server.
const mostPlaces = 300

// testCrowd: tenants, and root among them, take every connection that they can get. Each call works all the same or answers
// Unavailable, and a restart ends the crowd.
func testCrowd(t *testing.T, s *server) {
	if s.FewConnections == nil {
		t.Skip("the harness has no FewConnections: not tested")
	}
	s.visitor(t)
	s.restartWith(t, s.FewConnections)
	crowd := s.crowd(t, s.login)
	if m, ok := s.manager.(datastores.Root); ok && s.enablesRoot(t, m) {
		crowd = append(crowd, s.crowd(t, Login{Address: s.env.Address, User: s.root, Password: rootPassword})...)
	}
	if len(crowd) == 0 {
		t.Fatal("not one session was let in")
	}
	s.callsInCrowd(t)
	s.restart(t)
	s.letsIn(t, s.login.User, s.login.Password, s.login.Database)
	s.wantStatus(t, datastores.StatusHealthy)
	for _, session := range crowd {
		if err := session.Ask(s.within(t)); err == nil {
			t.Error("a session has outlived the restart")
		}
	}
	if m, ok := s.manager.(datastores.Root); ok {
		s.must(t, "disable root", m.DisableRoot(s.within(t)))
	}
	s.restartWith(t, nil)
}

func (s *server) restartWith(t *testing.T, values datastores.Values) {
	t.Helper()
	_, err := s.manager.(datastores.Configuration).UpdateOverrides(s.within(t), values)
	s.must(t, "update overrides", err)
	s.restart(t)
}

// enablesRoot reports whether root is enabled now; all connections may be taken.
func (s *server) enablesRoot(t *testing.T, m datastores.Root) bool {
	t.Helper()
	name, err := m.EnableRoot(s.within(t), datastores.NewSecret(rootPassword))
	s.root, s.hadRoot = name, name
	return s.works(t, "enable root", err)
}

// crowd opens sessions until the server lets no more in.
func (s *server) crowd(t *testing.T, login Login) (all []Session) {
	t.Helper()
	for len(all) < mostPlaces {
		session, err := s.Session(s.within(t), login)
		if err == nil {
			t.Cleanup(func() { _ = session.Close() })
			err = session.Ask(s.within(t))
		}
		if err != nil {
			return all
		}
		all = append(all, session)
	}
	t.Fatalf("with FewConnections the server lets more than %d sessions in", mostPlaces)
	return nil
}

// callsInCrowd makes a call of each capability.
func (s *server) callsInCrowd(t *testing.T) {
	t.Helper()
	switch st := s.status(t); st.Service {
	case datastores.StatusHealthy:
	case datastores.StatusBlocked:
		if st.Message == "" {
			t.Error("the server is blocked and does not say why")
		}
	default:
		t.Errorf("status = %+v", st)
	}
	if m, ok := s.manager.(datastores.Databases); ok {
		if s.works(t, "create database", m.CreateDatabase(s.within(t), datastores.Database{Name: "crowded"})) &&
			!s.works(t, "delete database", m.DeleteDatabase(s.within(t), "crowded")) {
			t.Cleanup(func() { // when the crowd is gone, and its guest another
				ctx := withoutCancel(t.Context())
				s.must(t, "delete database", s.manager.(datastores.Databases).DeleteDatabase(ctx, "crowded"))
			})
		}
		_, err := m.ListDatabases(s.within(t))
		s.works(t, "list databases", err)
	}
	if m, ok := s.manager.(datastores.Users); ok {
		u := datastores.User{Name: "crowded", Password: datastores.NewSecret(tenantPassword)}
		if s.works(t, "create user", m.CreateUser(s.within(t), u)) && !s.works(t, "delete user", m.DeleteUser(s.within(t), "crowded", "%")) {
			t.Cleanup(func() {
				s.must(t, "delete user", s.manager.(datastores.Users).DeleteUser(withoutCancel(t.Context()), "crowded", "%"))
			})
		}
		_, err := m.ListUsers(s.within(t))
		s.works(t, "list users", err)
	}
	if m, ok := s.manager.(datastores.Backups); ok {
		for _, strategy := range m.BackupStrategies() {
			_, err := strategy.Backup(s.within(t), datastores.BackupRequest{
				ID: newID(), Output: io.Discard, Expect: func(int64) {},
			})
			s.works(t, "backup with "+strategy.String(), err)
		}
	}
}

// works reports whether a call worked. A call that did not must say that it is Unavailable.
func (s *server) works(t *testing.T, what string, err error) bool {
	t.Helper()
	var e *datastores.Error
	if err != nil && (!errors.As(err, &e) || e.Kind != datastores.Unavailable) {
		t.Errorf("%s while all connections are taken = %v, want success or an error of kind %s", what, err, datastores.Unavailable)
	}
	return err == nil
}
