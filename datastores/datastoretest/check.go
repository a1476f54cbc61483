package datastoretest

import (
	"reflect"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testCheck looks at whole data twice: the same is found, nothing wrong, and tenants have what they had.
func testCheck(t *testing.T, g *stage) {
	s := g.loaded(t)
	s.writeEveryKind(t)
	want := s.contents(t)
	first := s.check(t)
	if first.By == "" || first.Unit == "" || first.Objects == 0 || len(first.Problems) > 0 {
		t.Errorf("whole data: %+v", first)
	}
	s.restart(t)
	if again := s.check(t); !reflect.DeepEqual(first, again) {
		t.Errorf("the same data, looked at after a restart: %+v; before: %+v", again, first)
	}
	if got := s.contents(t); got != want {
		t.Errorf("what was looked at has become %+v, it was %+v", got, want)
	}
	s.must(t, "stop", s.manager.Stop(s.within(t)))
	if report, err := s.manager.(datastores.Checker).Check(s.within(t)); err == nil {
		t.Errorf("of a stopped server it is said: %+v", report)
	}
	s.must(t, "start", s.manager.Start(s.within(t)))
}

func (s *server) check(t *testing.T) datastores.CheckReport {
	t.Helper()
	report, err := s.manager.(datastores.Checker).Check(s.within(t))
	s.must(t, "check", err)
	return report
}
