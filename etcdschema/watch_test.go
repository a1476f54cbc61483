package etcdschema_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

const soon = 20 * time.Second // a deadline, never a wait

// told watches a prefix until the test ends, and holds what a reader of the batches knows.
type told struct {
	t       *testing.T
	batches chan etcdschema.Batch
	state   map[string]string
	last    int64
	resyncs int
}

func watchAll(t *testing.T, s *etcdschema.Store, prefix string) *told {
	w := &told{t: t, batches: make(chan etcdschema.Batch, 10000), state: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, prefix, func(b etcdschema.Batch) { w.batches <- b }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
	return w
}

// until applies batches until ok, and returns the last one.
func (w *told) until(what string, ok func(etcdschema.Batch) bool) etcdschema.Batch {
	w.t.Helper()
	late := time.After(soon)
	for {
		select {
		case b := <-w.batches:
			w.apply(b)
			if ok(b) {
				return b
			}
		case <-late:
			w.t.Fatalf("waited in vain for %s; state %v at %d", what, w.state, w.last)
		}
	}
}

func (w *told) apply(b etcdschema.Batch) {
	w.t.Helper()
	if b.Revision < w.last && !b.Resync {
		w.t.Errorf("revision %d after %d", b.Revision, w.last)
	}
	if b.Resync {
		w.resyncs++
	}
	w.last = b.Revision
	for _, c := range b.Changes {
		if c.Revision > b.Revision {
			w.t.Errorf("a change of revision %d in a batch up to %d", c.Revision, b.Revision)
		}
		if c.Value == nil {
			delete(w.state, c.Key)
		} else {
			w.state[c.Key] = string(c.Value)
		}
	}
}

func (w *told) untilResync(n int) etcdschema.Batch {
	w.t.Helper()
	return w.until(fmt.Sprintf("resync %d", n), func(b etcdschema.Batch) bool { return w.resyncs >= n })
}

func (w *told) untilRevision(rev int64) etcdschema.Batch {
	w.t.Helper()
	return w.until(fmt.Sprintf("revision %d", rev), func(b etcdschema.Batch) bool { return b.Revision >= rev })
}

func TestWatchTellsInOrder(t *testing.T) {
	srv := etcdtest.Start(t)
	srv.Put(t, "/guest/a/1", "old")
	w := watchAll(t, srv.Store(t), "/guest/a/")
	if b := w.untilResync(1); len(b.Changes) != 1 || w.state["/guest/a/1"] != "old" {
		t.Fatalf("the first batch is %+v", b)
	}
	srv.Put(t, "/guest/ab", "a neighbour, not under the prefix")
	srv.Put(t, "/guest/a/2", "")
	srv.Put(t, "/guest/a/1", "new")
	last := srv.Delete(t, "/guest/a/2")
	w.untilRevision(last)
	if len(w.state) != 1 || w.state["/guest/a/1"] != "new" || w.last != last {
		t.Errorf("state %v at %d, want one key at %d", w.state, w.last, last)
	}
}

func TestWatchSurvivesRestart(t *testing.T) {
	srv := etcdtest.Start(t)
	proxy := srv.Proxy(t)
	w := watchAll(t, etcdtest.Open(t, proxy.Endpoint()), "/guest/a/")
	w.untilResync(1)
	proxy.Cut()
	srv.Stop(t)
	srv.Start(t)
	missed := srv.Put(t, "/guest/a/1", "while away")
	proxy.Mend()
	w.untilRevision(missed)
	if w.resyncs != 1 || w.state["/guest/a/1"] != "while away" {
		t.Errorf("%d resyncs, state %v", w.resyncs, w.state)
	}
}
