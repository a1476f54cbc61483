package datastoretest

import (
	"context"
	"errors"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// restored makes a server of backups.
func (g *stage) restored(t *testing.T, from *server, chain ...*backup) *server {
	t.Helper()
	s := newServer(t, t, g.Harness)
	s.inherit(from)
	s.must(t, "prepare with a backup", s.restore(s.within(t), t, g.strategy, func(string) {}, links(chain)...))
	return s
}

func links(chain []*backup) (all []datastores.BackupLink) {
	for _, b := range chain {
		all = append(all, b.link())
	}
	return all
}

func (s *server) restore(ctx context.Context, t *testing.T, name datastores.StrategyName, progress func(string), chain ...datastores.BackupLink) error {
	t.Helper()
	return s.manager.Prepare(ctx, datastores.PrepareRequest{Progress: progress, Restore: &datastores.Restore{
		Strategy: s.backupStrategy(t, name),
		Request:  datastores.RestoreRequest{Chain: chain, Progress: progress},
	}})
}

// testRestore makes a new server of a backup: with all that was there, and independent.
func testRestore(t *testing.T, g *stage) {
	source := g.loaded(t)
	source.writeEveryKind(t)
	want := source.contents(t)
	b := source.backup(t, g.strategy, nil)
	s := g.restored(t, source, b)
	s.wantStatus(t, datastores.StatusHealthy)
	s.wantSame(t, source, want)
	s.manager = s.open(t)
	s.must(t, "prepare with a backup, again", s.restore(s.within(t), t, g.strategy, func(string) {}, b.link()))
	s.wantSame(t, source, want)
	s.write(t, 1)
	s.writeEveryKind(t)
	s.restart(t)
	s.wantKept(t)
	if got := s.contents(t); got.items != want.items+1 {
		t.Errorf("after one more item and a restart there are %d, want %d", got.items, want.items+1)
	}
	if got := source.contents(t); got != want {
		t.Errorf("the source has become %+v, it was %+v", got, want)
	}
}

// testRootAfterRestore: a server that was made of a backup has root as it was there, says so, and can shut it out.
func testRootAfterRestore(t *testing.T, g *stage) {
	source := g.loaded(t)
	if source.root == "" {
		t.Skip("the datastore has no root")
	}
	on := g.restored(t, source, source.backup(t, g.strategy, nil))
	on.wantRoot(t, rootPassword, true)
	on.must(t, "disable", on.manager.(datastores.Root).DisableRoot(on.within(t)))
	on.wantRoot(t, rootPassword, false)
	off := g.restored(t, on, on.backup(t, g.strategy, nil))
	off.wantRoot(t, rootPassword, false)
}

// wantRoot checks that root is let in, or is not, and that the manager says so.
func (s *server) wantRoot(t *testing.T, password string, enabled bool) {
	t.Helper()
	switch got, err := s.manager.(datastores.Root).RootEnabled(s.within(t)); {
	case err != nil:
		t.Errorf("is root enabled: %v", err)
	case got != enabled:
		t.Errorf("the manager says that root is enabled: %t, want %t", got, enabled)
	}
	if enabled {
		s.letsIn(t, s.root, password, "")
	} else {
		s.keepsOut(t, s.root, password, "")
	}
}

// testBackupBesideWrites: while the network is stuck, tenants go on; the backup holds what there was at one moment.
func testBackupBesideWrites(t *testing.T, g *stage) {
	source := g.loaded(t)
	least := source.contents(t).items
	out := newGate(source.within(t))
	w := source.startWriter(t, true)
	w.wrote(t, source, 2)
	least += 2
	made := make(chan *backup, 1)
	go func() {
		b, err := source.backupTo(out.ctx, t, g.strategy, nil, out)
		if err != nil {
			t.Errorf("backup: %v", err)
			b = &backup{}
		}
		made <- b
	}()
	out.await(t, source)
	w.wrote(t, source, 5)
	source.tenantCalls(t)
	close(out.opened)
	w.wrote(t, source, 1)
	b := <-made
	source.next += w.stop()
	if b.stream = out.Bytes(); len(b.stream) == 0 {
		t.Fatal("the backup is empty")
	}
	s := g.restored(t, source, b)
	got := s.contents(t)
	if was, ok := w.states[got.items]; got.items < least || !ok || was != got {
		t.Errorf("restored are %v; want at least %d, and that the source had just these at some moment", got, least)
	}
}

// tenantCalls is what tenants do while a backup is made; the server is as before when it returns.
func (s *server) tenantCalls(t *testing.T) {
	t.Helper()
	if m, ok := s.manager.(datastores.Databases); ok {
		databaseNames(t, m)
		s.must(t, "create a database beside a backup", m.CreateDatabase(s.within(t), datastores.Database{Name: "beside"}))
		s.must(t, "delete a database beside a backup", m.DeleteDatabase(s.within(t), "beside"))
	}
	if m, ok := s.manager.(datastores.Users); ok {
		userNames(t, m)
		u := datastores.User{Name: "beside", Password: datastores.NewSecret("pass")}
		s.must(t, "create a user beside a backup", m.CreateUser(s.within(t), u))
		s.must(t, "delete a user beside a backup", m.DeleteUser(s.within(t), "beside", "%"))
	}
	s.wantStatus(t, datastores.StatusHealthy)
}

// testIncremental restores two incremental backups on a full one. Between them a backup fails, and the server is restarted.
func testIncremental(t *testing.T, g *stage) {
	source := g.loaded(t)
	full := source.backup(t, g.strategy, nil)
	source.write(t, someItems)
	if _, err := source.backupTo(source.within(t), t, g.strategy, full, &failingWriter{0, errors.New("no room")}); err == nil {
		t.Error("an incremental backup without room has succeeded")
	}
	source.write(t, someItems)
	source.writeEveryKind(t)
	first := source.backup(t, g.strategy, full)
	source.restart(t)
	source.write(t, someItems)
	source.writeEveryKind(t)
	second := source.backup(t, g.strategy, first)
	want := source.contents(t)
	source.write(t, 1) // that no backup holds
	s := g.restored(t, source, full, first, second)
	s.wantSame(t, source, want)
}

func testRestoreCutShort(t *testing.T, g *stage) {
	source := g.loaded(t)
	want := source.contents(t)
	b := source.backup(t, g.strategy, nil)
	s := newServer(t, t, g.Harness)
	s.inherit(source)
	s.cutAtSteps(t, "restore", func(ctx context.Context, progress func(string)) error {
		return s.restore(ctx, t, g.strategy, progress, b.link())
	})
	s.wantStatus(t, datastores.StatusHealthy)
	s.wantSame(t, source, want)
}

func testRestoreDamaged(t *testing.T, g *stage) {
	source := g.loaded(t)
	want := source.contents(t)
	b := source.backup(t, g.strategy, nil)
	s := newServer(t, t, g.Harness)
	s.inherit(source)
	err := s.restore(s.within(t), t, g.strategy, func(string) {}, b.damaged())
	wantReason(t, "restore of a damaged backup", err, errDamaged)
	s.manager = s.open(t)
	s.must(t, "restore of a good one after it", s.restore(s.within(t), t, g.strategy, func(string) {}, b.link()))
	s.wantSame(t, source, want)
}
