package etcdschema_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// warnings is a log that a test reads.
type warnings chan string

func (w warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w warnings) WithGroup(string) slog.Handler            { return w }
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	w <- r.Message
	return nil
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

func TestWatchResyncsAfterCompaction(t *testing.T) {
	srv := etcdtest.Start(t)
	proxy := srv.Proxy(t)
	srv.Put(t, "/guest/a/gone", "x")
	w := watchAll(t, etcdtest.Open(t, proxy.Endpoint()), "/guest/a/")
	w.untilResync(1)
	proxy.Cut()
	deleted := srv.Delete(t, "/guest/a/gone")
	srv.Put(t, "/guest/a/there", "y")
	srv.Compact(t, srv.Put(t, "/elsewhere", "z"))
	proxy.Mend()
	b := w.untilResync(2)
	if len(w.state) != 1 || w.state["/guest/a/there"] != "y" || b.Revision < deleted {
		t.Errorf("state %v after %+v", w.state, b)
	}
}

func TestWatchResyncsWhenEtcdGoesBack(t *testing.T) {
	srv := etcdtest.Start(t)
	proxy := srv.Proxy(t)
	srv.Put(t, "/guest/a/1", "old")
	saved := srv.Save(t)
	s := etcdtest.Open(t, proxy.Endpoint())
	s.SetWatchdog(200 * time.Millisecond)
	w := watchAll(t, s, "/guest/a/")
	srv.Put(t, "/guest/a/1", "new")
	high := srv.Put(t, "/guest/a/2", "never was")
	w.untilRevision(high)
	resyncs := w.resyncs
	proxy.Cut()
	srv.Restore(t, saved)
	proxy.Mend()
	b := w.untilResync(resyncs + 1)
	if b.Revision >= high || len(w.state) != 1 || w.state["/guest/a/1"] != "old" {
		t.Errorf("state %v at %d; etcd went back from %d", w.state, b.Revision, high)
	}
	w.untilRevision(srv.Put(t, "/guest/a/1", "newer"))
	if w.state["/guest/a/1"] != "newer" {
		t.Errorf("state %v", w.state)
	}
}

// A member that is cut off keeps connections open and says nothing.
func TestWatchLeavesSilentEtcd(t *testing.T) {
	srv := etcdtest.Start(t)
	silent := srv.Proxy(t)
	warnings := make(warnings, 1000)
	s, err := etcdschema.Open(t.Context(), etcdschema.Config{Endpoints: []string{silent.Endpoint()}, Log: slog.New(warnings)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.SetWatchdog(100 * time.Millisecond)
	w := watchAll(t, s, "/guest/a/")
	w.untilResync(1)
	silent.Silence()
	missed := srv.Put(t, "/guest/a/1", "x")
	for range 2 {
		select {
		case <-warnings:
		case <-time.After(soon):
			t.Fatal("the watch trusts an etcd that says nothing")
		}
	}
	silent.Flow()
	w.untilRevision(missed)
	if w.state["/guest/a/1"] != "x" || w.resyncs != 1 {
		t.Errorf("state %v after %d resyncs", w.state, w.resyncs)
	}
}

// An idle watch follows what happens elsewhere, and costs etcd neither a put nor a range.
func TestWatchProgressIsFree(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	s.SetWatchdog(50 * time.Millisecond)
	w := watchAll(t, s, "/guest/a/")
	w.untilResync(1)
	elsewhere := srv.Put(t, "/server/x", "y")
	before := srv.Counters(t)
	b := w.untilRevision(elsewhere)
	if len(b.Changes) != 0 || b.Resync {
		t.Errorf("progress came as %+v", b)
	}
	if after := srv.Counters(t); after != before {
		t.Errorf("progress cost etcd %+v; before %+v", after, before)
	}
}

func TestWatchListsInPagesAndKeepsRevisionsWhole(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	const records, together = 2500, 100
	flavors := func(round, first int) []etcdschema.Op {
		var ops []etcdschema.Op
		for i := first; i < first+together; i++ {
			ops = append(ops, etcdschema.Put(etcdschema.FlavorKey(fmt.Sprintf("%05d", i)), etcdschema.Flavor{RAM: round, VCPUs: 1}))
		}
		return ops
	}
	for i := 0; i < records; i += together {
		write(t, s, flavors(1, i)...)
	}
	w := watchAll(t, s, etcdschema.Flavors().String())
	if b := w.untilResync(1); len(b.Changes) != records {
		t.Fatalf("the list has %d records, want %d", len(b.Changes), records)
	}
	for round := 2; round < 12; round++ {
		write(t, s, flavors(round, 0)...)
	}
	seen := 0
	w.until("all rounds", func(b etcdschema.Batch) bool {
		if len(b.Changes)%together != 0 {
			t.Errorf("a batch of %d changes splits a revision of %d", len(b.Changes), together)
		}
		seen += len(b.Changes)
		return seen == 10*together
	})
}
