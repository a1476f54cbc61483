package etcdschema_test

import (
	"errors"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

// TestLook reads two records at revisions that were: what is seen is of one moment, and what is forgotten or to come is said to be.
func TestLook(t *testing.T) {
	srv := etcdtest.Start(t)
	store := srv.Store(t)
	first, second := etcdschema.QuotaKey("p1"), etcdschema.QuotaKey("p2")
	put := func(k etcdschema.Key[etcdschema.Quota], n int) int64 {
		t.Helper()
		rev, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			return []etcdschema.Op{etcdschema.Put(k, etcdschema.Quota{Instances: &n})}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	a := put(first, 1)
	b := put(second, 2)
	c := put(first, 3)
	look := func(at int64) (got [2]int, seen int64, err error) {
		seen, err = store.Look(t.Context(), at, []etcdschema.Ref{first}, func(s etcdschema.Snapshot) error {
			for i, k := range []etcdschema.Key[etcdschema.Quota]{first, second} {
				rec, err := etcdschema.Read(s, k)
				if err != nil {
					return err
				}
				if got[i] = 0; rec.Found {
					got[i] = *rec.Value.Instances
				}
			}
			return nil
		})
		return got, seen, err
	}
	for at, want := range map[int64][2]int{a: {1, 0}, b: {1, 2}, c: {3, 2}, 0: {3, 2}} {
		if got, seen, err := look(at); err != nil || got != want || at != 0 && seen != at || seen == 0 {
			t.Errorf("at %d: %v of revision %d, %v; want %v", at, got, seen, err, want)
		}
	}
	if _, _, err := look(c + 1000); !errors.Is(err, etcdschema.ErrNotYet) {
		t.Errorf("a revision to come: %v", err)
	}
	srv.Compact(t, c)
	if _, _, err := look(b); !errors.Is(err, etcdschema.ErrForgotten) {
		t.Errorf("a revision compacted away: %v", err)
	}
}
