package datastoretest

import (
	"context"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testUpgrade takes the data of an older version over, cut at each step, and does not take it back.
func testUpgrade(t *testing.T, h Harness) {
	if h.Older == nil {
		t.Skip("the harness has no Older: not tested")
	}
	older, newer := h.options(t, h.Older), h.options(t, h.Options)
	h.Options = older
	s := prepared(t, t, h)
	s.keeper(t)
	s.checkObstacles(t, older, newer)
	want := s.contents(t)
	s.stop(t)

	s.Options = newer
	s.cutAtSteps(t, "upgrade", func(ctx context.Context, progress func(string)) error {
		s.stop(t)
		return s.upgrade(ctx, older, progress)
	})
	s.wantStatus(t, datastores.StatusHealthy)
	s.wantSame(t, s, want)
	s.write(t, 1)
	s.writeEveryKind(t)
	s.restart(t)
	s.wantKept(t)
	want = s.contents(t)

	s.stop(t)
	s.Options = older
	s.manager = s.open(t)
	wantKind(t, "back to the older version", s.upgrade(s.within(t), newer, func(string) {}), datastores.Invalid)
	s.Options = newer
	s.manager = s.open(t)
	s.start(t)
	s.wantSame(t, s, want)
}

func (s *server) upgrade(ctx context.Context, from []byte, progress func(string)) error {
	return s.manager.(datastores.Upgrader).Upgrade(ctx, datastores.UpgradeRequest{From: from, Progress: progress})
}

// options are guest options as they stand in etcd.
func (h Harness) options(t *testing.T, options []byte) []byte {
	t.Helper()
	all, err := h.complete(options)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
