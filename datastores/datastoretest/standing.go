package datastoretest

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// standing is what one test must leave to the next.
type standing struct {
	Status           datastores.ServiceStatus
	MemoryMB         int
	Databases, Users []string
	Root             bool
}

// stands returns how the server is.
func (s *server) stands(ctx context.Context) (now standing, err error) {
	now = standing{Status: s.manager.Status(ctx).Service, MemoryMB: s.env.MemoryMB}
	if m, ok := s.manager.(datastores.Databases); ok {
		list, err := m.ListDatabases(ctx)
		if err != nil {
			return now, err
		}
		now.Databases = names(list)
	}
	if m, ok := s.manager.(datastores.Users); ok {
		list, err := m.ListUsers(ctx)
		if err != nil {
			return now, err
		}
		for _, u := range list {
			if u.Name != s.hadRoot { // the account may stay when root is disabled
				now.Users = append(now.Users, u.Name)
			}
		}
		slices.Sort(now.Users)
	}
	if m, ok := s.manager.(datastores.Root); ok {
		now.Root, err = m.RootEnabled(ctx)
	}
	return now, err
}

// leftAsFound checks at the end of a test, when its own cleanups are over, that it leaves the server as it was. What a test
// that has failed leaves does not matter: the next one gets another server.
func (s *server) leftAsFound(t *testing.T) {
	t.Helper()
	found, err := s.stands(s.within(t))
	s.must(t, "look at the server", err)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.patience())
		defer cancel()
		if left, err := s.stands(ctx); err != nil || !reflect.DeepEqual(left, found) {
			t.Errorf("the test leaves the server as %+v, %v; it found it as %+v", left, err, found)
		}
	})
}

// standing returns the server that tests share: another one after a test that has failed.
func (g *stage) standing(t *testing.T) *server {
	t.Helper()
	if g.shared == nil {
		g.shared = prepared(t, g.t, g.Harness)
	}
	return g.shared
}

// renew ends all servers; the next tests get new ones.
func (g *stage) renew() {
	all := []*server{g.shared, g.source}
	for _, f := range g.fleets {
		all = append(append(all, f.source), f.replicas...)
	}
	for _, s := range all {
		if s != nil {
			ctx, cancel := context.WithTimeout(g.t.Context(), s.patience())
			_ = s.manager.Stop(ctx) // the end of the suite does it again, and reports
			cancel()
		}
	}
	g.shared, g.source = nil, nil
	clear(g.fleets)
}
