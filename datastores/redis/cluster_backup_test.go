package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/datastores"
)

func newRing(t *testing.T, o Options, id string) *ring {
	return &ring{t: t, options: o, of: map[string]*Manager{}, view: datastores.ClusterView{ID: id, Secret: datastores.NewSecret("the own secret of " + id)}}
}

// master is the member that takes the writes of a shard.
func (r *ring) master(shard string) *Manager {
	r.t.Helper()
	for _, c := range r.view.Members {
		if c.Shard != shard {
			continue
		}
		if f, err := r.of[c.ID].Following(r.t.Context()); err == nil && f.Role == datastores.RoleSource {
			return r.of[c.ID]
		}
	}
	r.t.Fatalf("nobody takes the writes of shard %s", shard)
	return nil
}

// wantOwn wants that the members of the ring know each other and nobody else, and returns the ids by which they do.
func (r *ring) wantOwn() (ids []string) {
	r.t.Helper()
	for id, m := range r.of {
		must(r.t, m.talk(r.t.Context(), func(c *conn) error {
			text, err := c.call("CLUSTER", "NODES")
			if err != nil {
				return err
			}
			all, err := parseNodes(text)
			if len(all) != len(r.of) {
				r.t.Errorf("member %s of %s knows %d servers, want %d:\n%s", id, r.view.ID, len(all), len(r.of), text)
			}
			mine, err2 := c.call("CLUSTER", "MYID")
			ids = append(ids, mine)
			return errors.Join(err, err2)
		}))
	}
	return ids
}

// refuses wants that a member makes no backup, in neither way, and says why.
func (r *ring) refuses(id, why string) {
	r.t.Helper()
	for _, s := range r.of[id].BackupStrategies() {
		_, err := s.Backup(r.t.Context(), datastores.BackupRequest{Output: io.Discard, Expect: func(int64) {}})
		wantKind(r.t, "a backup of member "+id, err, datastores.Conflict)
		if err != nil && !strings.Contains(err.Error(), why) {
			r.t.Errorf("a backup of member %s: %v; want %q", id, err, why)
		}
	}
}

// counted writes keys k0, k1 and so on one after the other until it is stopped.
type counted struct {
	acknowledged atomic.Int64
	stop         func()
}

func (r *ring) count(c *redis.ClusterClient, from int) *counted {
	ctx, cancel := context.WithCancel(r.t.Context())
	w, ended := &counted{}, make(chan struct{})
	w.acknowledged.Store(int64(from))
	w.stop = sync.OnceFunc(func() { cancel(); <-ended })
	r.t.Cleanup(w.stop)
	go func() {
		defer close(ended)
		for n := from; ctx.Err() == nil; n++ {
			if err := c.Set(ctx, fmt.Sprint("k", n), n, 0).Err(); err != nil {
				if ctx.Err() == nil {
					r.t.Errorf("key %d: %v", n, err)
				}
				return
			}
			w.acknowledged.Store(int64(n) + 1)
		}
	}()
	return w
}

func (w *counted) goesOn(t *testing.T, more int64) {
	t.Helper()
	from := w.acknowledged.Load()
	soon(t, "the writer goes on", func() bool { return w.acknowledged.Load() >= from+more })
}

// begin makes a member of a part of a backup. A first try ends in the middle of it.
func (r *ring) begin(c datastores.ClusterMember, which int, part []byte) {
	r.t.Helper()
	m := place(r.t, r.options)
	c.Address, c.State = m.env.Address, datastores.ClusterOutside
	r.view.Members, r.of[c.ID] = append(r.view.Members, c), m
	v := r.viewOf(c.ID)
	whole := from(m.BackupStrategies()[which], part)
	whole.Cluster = &v
	cut := *whole.Restore
	cut.Request.Chain = []datastores.BackupLink{{ID: "b", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(part[:len(part)/2]), failing{})), nil
	}}}
	damaged := whole
	damaged.Restore = &cut
	if err := m.Prepare(r.t.Context(), damaged); !errors.Is(err, errTorn) {
		r.t.Errorf("a damaged part: %v", err)
	}
	must(r.t, m.Prepare(r.t.Context(), whole))
	must(r.t, m.Prepare(r.t.Context(), whole)) // its guest was cut before it had told
}

var errTorn = errors.New("segment 3 is damaged")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errTorn }

// TestClusterBackup: the masters of all shards, one of which was a replica, make a backup under writes. A cluster of as many shards begins with
// the parts, with other replicas: it has every key that was acknowledged before, each in the slot of whoever has that, and knows nobody of the first one.
func TestClusterBackup(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		t.Parallel()
		ctx := t.Context()
		o.AppendFsync = "always"
		r := newRing(t, o, "first")
		r.add(datastores.ClusterMember{ID: "a", Shard: "1"}, datastores.ClusterMember{ID: "b", Shard: "2"}, datastores.ClusterMember{ID: "c", Shard: "3"},
			datastores.ClusterMember{ID: "c2", Shard: "3"})
		r.settle("a")
		for _, m := range r.of {
			_, err := m.EnableRoot(ctx, datastores.NewSecret(rootPassword))
			must(t, err)
			must(t, m.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("ann's")}))
		}
		soon(t, "the replica has taken its master's place", func() bool {
			f, err := r.of["c2"].Following(ctx)
			if err == nil && f.Role == datastores.RoleReplica {
				err = r.of["c2"].call(ctx, []string{"CLUSTER", "FAILOVER"})
			}
			return err == nil && f.Role == datastores.RoleSource
		})
		r.settle("b")
		c := r.client(rootPassword)
		r.write(c, 0, 3000)

		var copies [][][]byte // of each strategy, of each shard
		var before []int      // how many keys were acknowledged before each
		w := r.count(c, 3000)
		for which := range r.of["a"].BackupStrategies() {
			w.goesOn(t, 100)
			before = append(before, int(w.acknowledged.Load()))
			var parts [][]byte
			for _, shard := range []string{"1", "2", "3"} {
				m := r.master(shard)
				parts = append(parts, backup(t, m, m.BackupStrategies()[which]))
			}
			copies = append(copies, parts)
		}
		w.goesOn(t, 100)
		w.stop()
		total := int(w.acknowledged.Load())
		r.want(c, total)
		if r.master("3") != r.of["c2"] {
			t.Error("the master of shard 3 is the first one again")
		}
		r.refuses("c", "the member is a replica")
		first := r.wantOwn()

		for which, parts := range copies {
			again := newRing(t, o, fmt.Sprint("again", which))
			for i, part := range parts {
				again.begin(datastores.ClusterMember{ID: fmt.Sprint("m", i+1), Shard: fmt.Sprint(i + 1)}, which, part)
			}
			again.join("m1", "m2", "m3")
			again.add(datastores.ClusterMember{ID: "m1b", Shard: "1"})
			again.settle("m2")
			for _, id := range again.wantOwn() {
				if slices.Contains(first, id) {
					t.Errorf("a member is server %s of the first cluster", id)
				}
			}
			now := again.client(rootPassword)
			again.want(now, before[which])
			there := int64(0)
			for _, shard := range []string{"1", "2", "3"} {
				n, err := client(t, again.master(shard), rootName, rootPassword).DBSize(ctx).Result()
				must(t, err)
				there += n
			}
			found := int64(0)
			for n := range total + 1 {
				if is, err := now.Get(ctx, fmt.Sprint("k", n)).Int(); err == nil && is == n {
					found++
				} else if !errors.Is(err, redis.Nil) {
					t.Errorf("key %d is %d, %v", n, is, err)
				}
			}
			if found != there {
				t.Errorf("clients find %d keys, the members have %d", found, there)
			}
			t.Logf("%s: %d keys were acknowledged before the backup began, %d after its end; it has %d", r.of["a"].BackupStrategies()[which].Name, before[which], total, found)
			must(t, client(t, again.of["m1b"], "ann", "ann's").Ping(ctx).Err())
			alone := place(t, o) // a part is a backup as any other
			must(t, alone.Prepare(ctx, from(alone.BackupStrategies()[which], parts[0])))
			has, err := client(t, alone, rootName, rootPassword).DBSize(ctx).Result()
			want, err2 := client(t, again.master("1"), rootName, rootPassword).DBSize(ctx).Result()
			if has != want || has == 0 || err != nil || err2 != nil {
				t.Errorf("a server alone has %d keys of the first part, the member %d: %v, %v", has, want, err, err2)
			}
			again.write(now, 0, total)
			for _, m := range again.of {
				must(t, kill(ctx, m.env))
			}
			for _, m := range again.of {
				must(t, m.Start(ctx))
			}
			again.settle("m3")
			again.want(now, total)
		}
		r.want(c, total)
		if now := r.wantOwn(); !slices.Equal(slices.Sorted(slices.Values(now)), slices.Sorted(slices.Values(first))) {
			t.Errorf("the first cluster is of %v, it was of %v", now, first)
		}

		other := first[0]
		a := r.of["a"]
		must(t, a.talk(ctx, func(c *conn) error {
			text, err := c.call("CLUSTER", "NODES")
			if err != nil {
				return err
			}
			all, err := parseNodes(text)
			if err != nil {
				return err
			}
			mine := all[slices.IndexFunc(all, func(n node) bool { return n.has("myself") })]
			other = all[slices.IndexFunc(all, func(n node) bool { return n.master == "" && n.id != mine.id })].id
			_, err = c.call("CLUSTER", "SETSLOT", fmt.Sprint(mine.slots[0]), "MIGRATING", other)
			return err
		}))
		r.refuses("a", "are on their way")
		for _, id := range []string{"b", "c", "c2"} {
			must(t, kill(ctx, r.of[id].env))
		}
		soon(t, "a master of the minority knows it", func() bool { return a.inCluster(ctx) != nil })
		r.refuses("a", "does not reach enough of its cluster")
	})
}
