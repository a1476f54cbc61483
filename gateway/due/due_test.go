package due_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/due"
)

const (
	kind = "test"
	soon = time.Minute
)

// run follows the index until the test ends, or the returned function is called.
func run(t *testing.T, store *etcdschema.Store, happen func(context.Context, due.Item) error) (end func()) {
	t.Helper()
	return runBy(t, store, time.Now, happen)
}

// runBy is run by a clock.
func runBy(t *testing.T, store *etcdschema.Store, now func() time.Time, happen func(context.Context, due.Item) error) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	x := due.New(store, slog.New(slog.DiscardHandler), now, due.Kind{Name: kind, Happen: happen, Places: 4, Within: soon})
	var running sync.WaitGroup
	running.Go(func() { x.Run(ctx) })
	end = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(end)
	return end
}

func key(item due.Item) etcdschema.Key[etcdschema.Due] {
	return etcdschema.DueKey(kind, item.At, item.Project, item.ID)
}

// take takes an item away, and reports whether it was there.
func take(ctx context.Context, store *etcdschema.Store, item due.Item) (was bool, err error) {
	_, err = store.Update(ctx, []etcdschema.Ref{key(item)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key(item))
		was = rec.Found
		return []etcdschema.Op{etcdschema.Delete(key(item))}, err
	})
	return was, err
}

// put makes n items that are due at a time.
func put(t *testing.T, store *etcdschema.Store, at time.Time, n int) (items []due.Item) {
	t.Helper()
	at = etcdschema.DueTime(at)
	for len(items) < n {
		var ops []etcdschema.Op
		for range min(100, n-len(items)) {
			item := due.Item{At: at, Project: "p1", ID: uuid.NewString()}
			items = append(items, item)
			ops = append(ops, etcdschema.Put(key(item), etcdschema.Due{}))
		}
		if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
			t.Fatal(err)
		}
	}
	return items
}

// TestOnceWhoeverSees has three gateways follow an index, put before and while they do, of many pages: everything happens, and once.
func TestOnceWhoeverSees(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	const many = 250
	put(t, store, time.Now().Add(-time.Hour), many)
	var happened atomic.Int64
	for range 3 {
		store := etcd.Store(t)
		run(t, store, func(ctx context.Context, item due.Item) error {
			was, err := take(ctx, store, item)
			if was && err == nil {
				happened.Add(1)
			}
			return err
		})
	}
	put(t, store, time.Now().Add(300*time.Millisecond), many)
	put(t, store, time.Now().Add(time.Hour), 10)
	until.True(t, soon, "all happen", func() bool {
		left, err := etcdschema.Count(t.Context(), store, etcdschema.Dues(kind))
		return err == nil && left == 10
	})
	until.True(t, soon, "all are counted", func() bool { return happened.Load() >= 2*many })
	if got := happened.Load(); got != 2*many {
		t.Errorf("%d have happened; want %d", got, 2*many)
	}
}

// TestOnceWhateverTheClocks has three gateways follow an index whose clocks disagree by hours, and are set by days, ahead and back: what is due by any clock happens, and once, and what is due by
// none does not. An index notices that its clock was set with the next change, or within a minute.
func TestOnceWhateverTheClocks(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	var mu sync.Mutex
	happened := map[due.Item]int{}
	var wrong [3]atomic.Int64
	for n := range wrong {
		store := etcd.Store(t)
		now := func() time.Time { return time.Now().Add(time.Duration(wrong[n].Load())) }
		runBy(t, store, now, func(ctx context.Context, item due.Item) error {
			was, err := take(ctx, store, item)
			if was && err == nil {
				mu.Lock()
				happened[item]++
				mu.Unlock()
			}
			return err
		})
	}
	const day = 24 * time.Hour
	var all []due.Item
	for _, c := range []struct {
		clocks [3]time.Duration
		put    time.Duration // from now
		left   int64         // when all has happened that is due by any clock
	}{
		{[3]time.Duration{}, time.Hour, 10}, {[3]time.Duration{0, -day, 0}, 0, 10}, {[3]time.Duration{-time.Minute, 2 * time.Hour, -day}, 3 * day, 10},
		{[3]time.Duration{-time.Minute, -day, -day}, 2 * day, 20}, {[3]time.Duration{0, -30 * day, 4 * day}, -day, 0}, {[3]time.Duration{}, 0, 0},
	} {
		for n := range wrong {
			wrong[n].Store(int64(c.clocks[n]))
		}
		all = append(all, put(t, store, time.Now().Add(c.put), 10)...)
		until.True(t, soon, fmt.Sprintf("%d are left", c.left), func() bool {
			left, err := etcdschema.Count(t.Context(), store, etcdschema.Dues(kind))
			return err == nil && left == c.left
		})
	}
	until.True(t, soon, "all are counted", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(happened) == len(all)
	})
	mu.Lock()
	defer mu.Unlock()
	for item, times := range happened {
		if times != 1 {
			t.Errorf("%v has happened %d times", item, times)
		}
	}
}

// TestOnePageAtStart starts over 100,000 keys that are pending: etcd is asked for its revision and one page.
func TestOnePageAtStart(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	put(t, store, time.Now().Add(time.Hour), 100_000)
	before := etcd.Counters(t)
	var happened atomic.Int64
	started := time.Now()
	run(t, etcd.Store(t), func(ctx context.Context, item due.Item) error {
		happened.Add(1)
		return nil
	})
	put(t, store, time.Now(), 1)
	// Nobody takes it away, so that etcd is asked for nothing else: the page and the watch may both show it, and it happens for each.
	until.True(t, soon, "what is due happens", func() bool { return happened.Load() > 0 })
	t.Logf("the first thing that was due happened %s after the start", time.Since(started).Round(time.Millisecond))
	if after := etcd.Counters(t); after.Ranges-before.Ranges > 2 {
		t.Errorf("%.0f ranges; want one of a single key and one of a page", after.Ranges-before.Ranges)
	}
}

// TestFailureDelaysNobody has everything of a first page fail, some of it with a panic: what comes after it happens all the same, and what has failed is tried again.
func TestFailureDelaysNobody(t *testing.T) {
	store := etcdtest.New(t)
	bad := map[string]bool{}
	for _, item := range put(t, store, time.Now().Add(-time.Hour), 150) {
		bad[item.ID] = true
	}
	put(t, store, time.Now().Add(-time.Minute), 150)
	var mended atomic.Bool
	run(t, store, func(ctx context.Context, item due.Item) error {
		if bad[item.ID] && !mended.Load() {
			if item.ID < "8" {
				panic("no luck")
			}
			return errors.New("no luck")
		}
		_, err := take(ctx, store, item)
		return err
	})
	left := func(want int64) func() bool {
		return func() bool {
			n, err := etcdschema.Count(t.Context(), store, etcdschema.Dues(kind))
			return err == nil && n == want
		}
	}
	until.True(t, soon, "the good ones happen", left(150))
	mended.Store(true)
	until.True(t, soon, "the others happen", left(0))
}

// TestEndWaits ends an index while something happens: it waits for that.
func TestEndWaits(t *testing.T) {
	store := etcdtest.New(t)
	put(t, store, time.Now(), 1)
	begun, ended := make(chan struct{}), false
	end := run(t, store, func(ctx context.Context, item due.Item) error {
		close(begun)
		<-ctx.Done()
		ended = true
		return ctx.Err()
	})
	<-begun
	end()
	if !ended {
		t.Error("it ended before what it had begun")
	}
}

// TestEtcdAway cuts etcd off when something becomes due, and compacts what was not seen: when it is back everything happens.
func TestEtcdAway(t *testing.T) {
	etcd := etcdtest.Start(t)
	proxy := etcd.Proxy(t)
	store := etcdtest.Open(t, proxy.Endpoint())
	var happened atomic.Int64
	run(t, store, func(ctx context.Context, item due.Item) error {
		was, err := take(ctx, store, item)
		if was && err == nil {
			happened.Add(1)
		}
		return err
	})
	direct := etcd.Store(t)
	put(t, direct, time.Now(), 1)
	until.True(t, soon, "one happens", func() bool { return happened.Load() == 1 })
	put(t, direct, time.Now().Add(time.Second), 1)
	proxy.Cut()
	put(t, direct, time.Now(), 1)
	etcd.Compact(t, etcd.Put(t, "/junk", fmt.Sprint(time.Now())))
	proxy.Mend()
	until.True(t, soon, "the others happen", func() bool { return happened.Load() == 3 })
}
