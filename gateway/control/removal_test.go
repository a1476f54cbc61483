package control

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/lifecycle"
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

// deleted puts n backups that were deleted, and returns the ids.
func deleted(t *testing.T, store *etcdschema.Store, n int) (ids []string) {
	t.Helper()
	for range n {
		b := etcdschema.Backup{BackupRef: datastores.BackupRef{BackupID: plan.NewID()}, Project: "p1", Deleting: true}
		ops := plan.DueRemoval(&b, time.Now().Add(-time.Hour), time.Now())
		ops = append(ops, etcdschema.Put(etcdschema.BackupKey("p1", b.BackupID), b))
		if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, b.BackupID)
	}
	return ids
}

// TestRemovalIsClaimed has three gateways see one removal that is due: one of them begins it, and it is put off for all.
func TestRemovalIsClaimed(t *testing.T) {
	store := etcdtest.New(t)
	blobs := &slow{until: make(chan struct{})}
	id := deleted(t, store, 1)[0]
	key := etcdschema.BackupKey("p1", id)
	for range 3 {
		planeOf(t, store, blobs).Begin()
	}
	until.True(t, 10*time.Second, "one goes on with the removal", func() bool { return blobs.begun.Load() == 1 })
	rec, err := etcdschema.Get(t.Context(), store, key)
	if err != nil || time.Until(rec.Value.Due) < removalTimeout/2 {
		t.Errorf("it is due at %s, %v", rec.Value.Due, err)
	}
	seen := deleted(t, store, 1)[0] // when this is begun, all have seen the first
	until.True(t, 10*time.Second, "the second is begun", func() bool { return blobs.begun.Load() >= 2 })
	close(blobs.until)
	until.True(t, 10*time.Second, "both records are gone", func() bool {
		_, first := etcdschema.Get(t.Context(), store, key)
		_, second := etcdschema.Get(t.Context(), store, etcdschema.BackupKey("p1", seen))
		return errors.Is(first, etcdschema.ErrNotFound) && errors.Is(second, etcdschema.ErrNotFound)
	})
	if n := blobs.begun.Load(); n > 4 { // each looks again when its record is gone
		t.Errorf("%d deletions were begun; want two for each", n)
	}
}

// TestRemovalsHavePlaces: a gateway has no more than some removals at a time, and all come to their end.
func TestRemovalsHavePlaces(t *testing.T) {
	store := etcdtest.New(t)
	blobs := &slow{until: make(chan struct{})}
	deleted(t, store, 3*removals)
	planeOf(t, store, blobs).Begin()
	until.True(t, 10*time.Second, "all places are taken", func() bool { return blobs.begun.Load() >= removals })
	left := func() int64 {
		n, err := etcdschema.Count(t.Context(), store, etcdschema.AllBackups())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := blobs.begun.Load(); n > removals || left() != 3*removals {
		t.Errorf("%d removals at a time; want at most %d", n, removals)
	}
	close(blobs.until)
	until.True(t, 10*time.Second, "all are removed", func() bool { return left() == 0 })
}

// TestOnlyWhatWasCommittedFollows: a decision that was made again counts as it was made last.
func TestOnlyWhatWasCommittedFollows(t *testing.T) {
	store := etcdtest.New(t)
	cp := planeOf(t, store, nil)
	key := etcdschema.BackupKey("p1", deleted(t, store, 1)[0])
	attempts := 0
	m, err := cp.Commit(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		attempts++
		rec, err := etcdschema.Read(s, key)
		if err != nil || attempts > 1 {
			return plan.Moves{}, err
		}
		if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			return []etcdschema.Op{etcdschema.Put(key, etcdschema.Backup{Project: "p1", Name: "somebody was faster"})}, nil
		}); err != nil {
			return plan.Moves{}, err
		}
		rec.Value.Name = "mine"
		return plan.Moves{Ops: []etcdschema.Op{etcdschema.Put(key, rec.Value)}, After: lifecycle.Alone(etcdschema.Instance{ID: "of the first attempt"})}, nil
	})
	if err != nil || attempts != 2 || m.After.ID != "" {
		t.Fatalf("%d attempts, %q, %v; want a second attempt, and what that says", attempts, m.After.ID, err)
	}
}
