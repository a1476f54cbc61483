package datastoretest

import (
	"context"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// UpgradeObstacle is something in the data of an older version that the newer one does not take over.
type UpgradeObstacle struct {
	Name string
	// Make puts it in the way, in a server that runs. env is the server's, and login that of a tenant with a database.
	Make func(ctx context.Context, env datastores.Env, login Login) (Obstacle, error)
}

// checkObstacles: what is in the way of an upgrade is found and named while the server runs, which goes on as before; what is
// not in the way is not found.
func (s *server) checkObstacles(t *testing.T, older, newer []byte) {
	opened, err := s.Plugin.Open(s.env, newer)
	s.must(t, "open the newer version's manager", err)
	checker, ok := opened.(datastores.UpgradeChecker)
	if !ok {
		if len(s.UpgradeObstacles) > 0 {
			t.Error("the harness has UpgradeObstacles, and the manager is no UpgradeChecker")
		}
		return
	}
	check := func() error {
		return checker.CheckUpgrade(s.within(t), datastores.UpgradeRequest{From: older, Progress: func(string) {}})
	}
	since, want := s.status(t).Since, s.contents(t)
	if err := check(); err != nil {
		t.Errorf("the check finds something where there is nothing: %v", err)
	}
	for _, o := range s.UpgradeObstacles {
		obstacle, err := o.Make(s.within(t), s.env, s.login)
		s.must(t, "put "+o.Name+" in the way", err)
		err = check()
		wantKind(t, "the check with "+o.Name+" in the way", err, datastores.Invalid)
		if err != nil && !strings.Contains(err.Error(), obstacle.Named) {
			t.Errorf("the check with %s in the way does not name %q: %v", o.Name, obstacle.Named, err)
		}
		s.must(t, "take "+o.Name+" away", obstacle.Clear(s.within(t)))
	}
	if err := check(); err != nil {
		t.Errorf("the check finds something that is gone: %v", err)
	}
	if !s.status(t).Since.Equal(since) {
		t.Error("the check has restarted the server")
	}
	s.wantSame(t, s, want)
}
