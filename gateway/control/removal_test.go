package control

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/plan"
)

// slow is a store whose deletions are counted, and wait.
type slow struct {
	blobstore.Store
	begun atomic.Int64
	until chan struct{}
}

func (s *slow) DeleteAll(ctx context.Context, _ string) error {
	s.begun.Add(1)
	select {
	case <-s.until:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func planeOf(t *testing.T, store *etcdschema.Store, blobs blobstore.Store) *Plane {
	t.Helper()
	cp := New(Config{Store: store, Blobs: blobs, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(cp.Close)
	return cp
}

func deleted(id string, since time.Time) etcdschema.Backup {
	return etcdschema.Backup{BackupRef: datastores.BackupRef{BackupID: id}, Project: "p1", Deleting: true, Removing: since}
}

func put(t *testing.T, store *etcdschema.Store, ops ...etcdschema.Op) {
	t.Helper()
	if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
		t.Fatal(err)
	}
}

// TestRemovalIsClaimed: however many read a backup whose removal nobody seems to be at, one goes on with it, and no gateway has more than
// some removals at a time.
func TestRemovalIsClaimed(t *testing.T) {
	store := etcdtest.New(t)
	blobs := &slow{until: make(chan struct{})}
	planes := []*Plane{planeOf(t, store, blobs), planeOf(t, store, blobs), planeOf(t, store, blobs)}
	b := deleted(plan.NewID(), time.Now().Add(-time.Hour).UTC())
	put(t, store, etcdschema.Put(etcdschema.BackupKey("p1", b.BackupID), b))
	var readers sync.WaitGroup
	for _, cp := range planes {
		for range 4 {
			readers.Go(func() { cp.isThere(b) })
		}
	}
	readers.Wait()
	free := func() bool { // all that has not won the claim has ended
		busy := 0
		for _, cp := range planes {
			busy += len(cp.removing)
		}
		return busy == 1
	}
	until.True(t, 10*time.Second, "one goes on with the removal", func() bool { return free() && blobs.begun.Load() == 1 })

	one := planes[0]
	for range 3 * removals {
		b := deleted(plan.NewID(), time.Now().Add(-time.Hour).UTC())
		put(t, store, etcdschema.Put(etcdschema.BackupKey("p1", b.BackupID), b))
		one.isThere(b)
	}
	if n := len(one.removing); n > removals {
		t.Errorf("%d removals at a time; want at most %d", n, removals)
	}
	close(blobs.until)
	until.True(t, 10*time.Second, "what was begun has ended", func() bool { return len(one.removing) == 0 })
	if n := blobs.begun.Load(); n > 2*(removals+1) { // each looks again when its record is gone
		t.Errorf("%d deletions were begun", n)
	}
}

// TestOnlyWhatWasCommittedFollows: a decision that was made again counts as it was made last.
func TestOnlyWhatWasCommittedFollows(t *testing.T) {
	store := etcdtest.New(t)
	blobs := &slow{until: make(chan struct{})}
	cp := planeOf(t, store, blobs)
	b := deleted(plan.NewID(), time.Now().UTC())
	key := etcdschema.BackupKey("p1", b.BackupID)
	put(t, store, etcdschema.Put(key, b))
	attempts := 0
	m, err := cp.Commit(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		attempts++
		rec, err := etcdschema.Read(s, key)
		if err != nil || attempts > 1 {
			return plan.Moves{}, err
		}
		put(t, store, etcdschema.Put(key, etcdschema.Backup{Project: "p1", Name: "somebody was faster"}))
		rec.Value.Name = "mine"
		return plan.Moves{Ops: []etcdschema.Op{etcdschema.Put(key, rec.Value)}, Removed: []etcdschema.Backup{b}}, nil
	})
	if err != nil || attempts != 2 || len(m.Removed) != 0 {
		t.Fatalf("%d attempts, %d removed, %v; this test wants a second attempt that removes nothing", attempts, len(m.Removed), err)
	}
	cp.Close() // waits for what was begun
	if n := blobs.begun.Load(); n != 0 {
		t.Error("the segments of a backup that is there were deleted")
	}
}
