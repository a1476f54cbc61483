package etcdschema_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

// increment adds one to a project's usage.
func increment(ctx context.Context, s *etcdschema.Store, project string) (int64, error) {
	key := etcdschema.UsageKey(project)
	return s.Update(ctx, []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		usage, err := etcdschema.Read(snap, key)
		if err != nil {
			return nil, err
		}
		usage.Value.Instances++
		return []etcdschema.Op{etcdschema.Put(key, usage.Value)}, nil
	})
}

func TestUpdateUnderContention(t *testing.T) {
	s := etcdtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const writers, each = 64, 3
	var done sync.WaitGroup
	for range writers {
		done.Go(func() {
			for n := 0; n < each; {
				switch _, err := increment(ctx, s, "p"); {
				case err == nil:
					n++
				case !errors.Is(err, etcdschema.ErrConflict): // which asks to try again
					t.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
	usage, err := etcdschema.Get(ctx, s, etcdschema.UsageKey("p"))
	if err != nil || usage.Value.Instances != writers*each {
		t.Errorf("%d increments counted %d, %v", writers*each, usage.Value.Instances, err)
	}
}

func TestUpdateWritesNothingWhenNothingChanges(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	key := etcdschema.FlavorKey("1")
	put := func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{
			etcdschema.Put(key, etcdschema.Flavor{Name: "a", RAM: 1, VCPUs: 1}),
			etcdschema.Delete(etcdschema.FlavorKey("2")),
		}, nil
	}
	refs := []etcdschema.Ref{key, etcdschema.FlavorKey("2")}
	first, err := s.Update(t.Context(), refs, put)
	if err != nil {
		t.Fatal(err)
	}
	before := srv.Counters(t)
	second, err := s.Update(t.Context(), refs, put)
	if err != nil || second != first {
		t.Errorf("the second update is revision %d after %d, %v", second, first, err)
	}
	if after := srv.Counters(t); after.Puts != before.Puts || after.Deletes != before.Deletes {
		t.Errorf("it wrote: %+v, then %+v", before, after)
	}
}

// A decision may read a record that nobody named before, and is guarded by it, too.
func TestUpdateReadsWhatIsNeeded(t *testing.T) {
	s := etcdtest.New(t)
	quota, usage := etcdschema.QuotaKey("p"), etcdschema.UsageKey("p")
	calls := 0
	_, err := s.Update(t.Context(), nil, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		calls++
		if _, err := etcdschema.Read(snap, quota); err != nil {
			return nil, fmt.Errorf("wrapped: %w", err)
		}
		u, err := etcdschema.Read(snap, usage)
		if err != nil {
			return nil, err
		}
		if !u.Found && calls == 3 { // everything is read: now somebody else is faster
			if _, err := increment(t.Context(), s, "p"); err != nil {
				return nil, err
			}
		}
		u.Value.Instances += 10
		return []etcdschema.Op{etcdschema.Put(usage, u.Value)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := etcdschema.Get(t.Context(), s, usage)
	if err != nil || got.Value.Instances != 11 || calls != 4 {
		t.Errorf("%+v after %d decisions, %v", got.Value, calls, err)
	}
}

func TestUpdateLimits(t *testing.T) {
	s := etcdtest.New(t)
	many := make([]etcdschema.Op, 121)
	for i := range many {
		many[i] = etcdschema.Put(etcdschema.FlavorKey(fmt.Sprint(i)), etcdschema.Flavor{RAM: 1, VCPUs: 1})
	}
	big := etcdschema.Agent{Version: strings.Repeat("x", 512<<10)}
	for name, c := range map[string]struct {
		ops  []etcdschema.Op
		want string
	}{
		"too many":  {many, "121 changes"},
		"too big":   {[]etcdschema.Op{etcdschema.Put(etcdschema.AgentKey(uuid.NewString()), big)}, "524"},
		"bad key":   {[]etcdschema.Op{etcdschema.Put(etcdschema.AgentKey("../x"), etcdschema.Agent{})}, "UUID"},
		"no object": {[]etcdschema.Op{etcdschema.Put(etcdschema.InstanceGuestKey(uuid.NewString()), json.RawMessage(`[]`))}, "object"},
	} {
		_, err := s.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return c.ops, nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", name, err, c.want)
		}
	}
	if _, err := s.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return many[:120], nil }); err != nil {
		t.Errorf("120 changes: %v", err)
	}
}

func TestListPages(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	for i := range 5 {
		srv.Put(t, fmt.Sprintf("/server/flavors/f%d", i), `{"name":"x","ram":1,"vcpus":1}`)
	}
	srv.Put(t, "/server/flavors/f2", "ram: lots")
	var names []string
	var bad int
	page := etcdschema.Page{Limit: 2}
	for more := true; more; {
		l, err := etcdschema.List(t.Context(), s, etcdschema.Flavors(), page)
		if err != nil {
			t.Fatal(err)
		}
		if page.Revision == 0 { // the list stays as it was, whatever happens to it meanwhile
			page.Revision = l.Revision
			srv.Delete(t, "/server/flavors/f4")
		}
		for _, r := range l.Records {
			names = append(names, etcdschema.Flavors().Name(r.Key))
		}
		bad += len(l.Bad)
		more, page.After = l.More, l.Last
	}
	if strings.Join(names, " ") != "f0 f1 f3 f4" || bad != 1 {
		t.Errorf("listed %v and %d bad ones", names, bad)
	}
	if n, err := etcdschema.Count(t.Context(), s, etcdschema.Flavors()); n != 4 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
}

func TestGet(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	if _, err := etcdschema.Get(t.Context(), s, etcdschema.FlavorKey("1")); !errors.Is(err, etcdschema.ErrNotFound) {
		t.Errorf("a record that is not there: %v", err)
	}
	srv.Put(t, "/guest/datastores/redis/7.0", "v: 1\nmount_point: /var/lib/redis\n")
	r, err := etcdschema.Get(t.Context(), s, etcdschema.GuestOptionsKey("redis", "7.0"))
	if err != nil || string(r.Value) != `{"mount_point":"/var/lib/redis"}` {
		t.Errorf("guest options: %s, %v", r.Value, err)
	}
	srv.Put(t, "/server/projects/p/usage", `{"v":2,"instances":1}`)
	if _, err := etcdschema.Get(t.Context(), s, etcdschema.UsageKey("p")); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("a record of the future: %v", err)
	}
}
