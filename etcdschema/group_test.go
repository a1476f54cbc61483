package etcdschema_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

// crowd is updates of one store that wait for one another.
type crowd struct {
	store   *etcdschema.Store
	release func()
	updates sync.WaitGroup
	began   int
}

func newCrowd(s *etcdschema.Store) *crowd { return &crowd{store: s, release: s.Crowd()} }

// begin starts an update and returns when its transaction waits.
func (c *crowd) begin(t *testing.T, update func()) {
	t.Helper()
	c.updates.Go(update)
	c.began++
	until.Promptly(t, time.Minute, "the transaction waits", func() bool { return c.store.Waiting() == c.began })
}

// end lets all go and waits for them.
func (c *crowd) end() {
	c.release()
	c.updates.Wait()
}

func TestGroup(t *testing.T) {
	s := etcdtest.New(t)
	const projects = 20
	for i := range projects { // so that the first decisions need no read
		if _, err := increment(t.Context(), s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	c := newCrowd(s)
	revisions, errs := make([]int64, projects+1), make([]error, projects+1)
	for i := range projects + 1 {
		c.begin(t, func() { revisions[i], errs[i] = increment(t.Context(), s, fmt.Sprint(i%projects)) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	var given error
	c.begin(t, func() { _, given = increment(ctx, s, "cancelled") })
	cancel()
	c.end()
	if !errors.Is(given, context.Canceled) {
		t.Errorf("an update that nobody waits for any more: %v", given)
	}
	if _, err := etcdschema.Get(t.Context(), s, etcdschema.UsageKey("cancelled")); !errors.Is(err, etcdschema.ErrNotFound) {
		t.Errorf("it was written: %v", err)
	}
	for i := 1; i < projects; i++ {
		if errs[i] != nil || revisions[i] != revisions[1] {
			t.Errorf("update %d is revision %d, the second %d: %v", i, revisions[i], revisions[1], errs[i])
		}
	}
	// The first and the last change the same: neither had seen what the other did.
	usage, err := etcdschema.Get(t.Context(), s, etcdschema.UsageKey("0"))
	if err := errors.Join(err, errs[0], errs[projects]); err != nil || usage.Value.Instances != 3 {
		t.Errorf("three increments counted %d, %v", usage.Value.Instances, err)
	}
}

// What another gateway has changed since refuses the update of one, and no other.
func TestGroupOfWhichOneIsRefused(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	for _, p := range []string{"a", "b", "c"} {
		if _, err := increment(t.Context(), s, p); err != nil {
			t.Fatal(err)
		}
	}
	c := newCrowd(s)
	var revision [3]int64
	for i, p := range []string{"a", "b", "c"} {
		c.begin(t, func() {
			var err error
			if revision[i], err = increment(t.Context(), s, p); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := increment(t.Context(), srv.Store(t), "b"); err != nil {
		t.Fatal(err)
	}
	c.end()
	if revision[0] != revision[2] || revision[1] <= revision[0] {
		t.Errorf("the updates are revisions %v", revision)
	}
	usage, err := etcdschema.Get(t.Context(), s, etcdschema.UsageKey("b"))
	if err != nil || usage.Value.Instances != 3 {
		t.Errorf("three increments counted %d, %v", usage.Value.Instances, err)
	}
}

// etcd looks at all guards of a transaction before it writes anything: two that would each forbid the other do not go together.
func TestGroupKeepsApartWhatMeets(t *testing.T) {
	s := etcdtest.New(t)
	keys := []etcdschema.Key[etcdschema.Usage]{etcdschema.UsageKey("a"), etcdschema.UsageKey("b")}
	c := newCrowd(s)
	for i, mine := range keys {
		c.begin(t, func() {
			_, err := s.Update(t.Context(), []etcdschema.Ref{keys[1-i]}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
				other, err := etcdschema.Read(snap, keys[1-i])
				if err != nil || other.Found {
					return nil, err
				}
				return []etcdschema.Op{etcdschema.Put(mine, etcdschema.Usage{Instances: 1})}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	c.end()
	found := 0
	for _, key := range keys {
		if _, err := etcdschema.Get(t.Context(), s, key); err == nil {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d of two were written of which each forbids the other", found)
	}
}

// etcd refuses a whole request for what is wrong with one transaction in it. The others are written all the same, each once.
func TestGroupWithALeaseThatIsGone(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	leased := func(name string) error {
		_, err := s.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			return []etcdschema.Op{etcdschema.Put(etcdschema.FlavorKey(name), etcdschema.Flavor{Name: name, RAM: 1, VCPUs: 1}).For(time.Hour)}, nil
		})
		return err
	}
	if err := leased("first"); err != nil {
		t.Fatal(err)
	}
	srv.RevokeLeases(t)
	c := newCrowd(s)
	for _, update := range []func() error{
		func() error { return leased("second") },
		func() error { _, err := increment(t.Context(), s, "p"); return err },
	} {
		c.begin(t, func() {
			if err := update(); err != nil {
				t.Error(err)
			}
		})
	}
	c.end()
	usage, err := etcdschema.Get(t.Context(), s, etcdschema.UsageKey("p"))
	if err != nil || usage.Value.Instances != 1 {
		t.Errorf("one increment counted %d, %v", usage.Value.Instances, err)
	}
	if _, err := etcdschema.Get(t.Context(), s, etcdschema.FlavorKey("second")); err != nil {
		t.Error(err)
	}
}

// When etcd does not answer, everybody is told so, and nothing is sent twice.
func TestGroupInAnOutage(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	for i := range 3 {
		if _, err := increment(t.Context(), s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	c := newCrowd(s)
	for i := range 3 {
		c.begin(t, func() {
			if _, err := increment(t.Context(), s, fmt.Sprint(i)); !etcdschema.Outage(err) {
				t.Errorf("an update without etcd: %v", err)
			}
		})
	}
	srv.Stop(t)
	c.end()
	srv.Start(t)
	for i := range 3 {
		usage, err := etcdschema.Get(t.Context(), s, etcdschema.UsageKey(fmt.Sprint(i)))
		if err != nil || usage.Value.Instances != 1 {
			t.Errorf("one increment counted %d, %v", usage.Value.Instances, err)
		}
	}
}
