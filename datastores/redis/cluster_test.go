package redis

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/datastores"
)

func TestShare(t *testing.T) {
	var none [slotCount]string
	give, moves := share([]string{"a", "b", "c"}, none)
	if len(give["a"]) != 5462 || len(give["b"]) != 5461 || len(give["c"]) != 5461 || len(moves) != 0 || give["b"][0] != 5462 {
		t.Errorf("a new cluster of three gives %d, %d, %d and moves %d", len(give["a"]), len(give["b"]), len(give["c"]), len(moves))
	}
	of := none
	for id, slots := range give {
		for _, slot := range slots {
			of[slot] = id
		}
	}
	give, moves = share([]string{"a", "b", "c", "d"}, of)
	if len(give) != 0 || len(moves) != 4096 {
		t.Errorf("a fourth gets %d by %d moves, want 4096", len(give), len(moves))
	}
	for _, m := range moves {
		if of[m.slot] != m.from || m.to != "d" {
			t.Fatalf("move %+v", m)
		}
		of[m.slot] = m.to
	}
	if give, moves = share([]string{"a", "b", "c", "d"}, of); len(give)+len(moves) != 0 {
		t.Errorf("what is even moves %d more", len(moves))
	}
}

func TestParseNodes(t *testing.T) {
	all, err := parseNodes("07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426238317239 4 connected\n" +
		"e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460 9 [93-<-292f] [77->-e7d1]\n")
	if err != nil {
		t.Fatal(err)
	}
	me, _ := all.find("e7d1")
	if len(me.slots) != 5462 || len(me.open) != 2 || me.open[0].out || !me.open[1].out || me.master != "" || all[0].master != "e7d1" || all[0].address != "127.0.0.1:30004" {
		t.Errorf("%+v", all)
	}
	for _, bad := range []string{"a b", "a b c d e f g h 5-99999", "a b c d e f g h [x->-y]"} {
		if _, err := parseNodes(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// ring is a cluster of real servers, as the gateway makes it.
type ring struct {
	t       *testing.T
	options Options
	view    datastores.ClusterView
	of      map[string]*Manager
}

func (r *ring) viewOf(id string) datastores.ClusterView {
	v := r.view
	v.Self, v.Members, v.Progress = id, slices.Clone(v.Members), func(string) {}
	return v
}

// set says where members stand.
func (r *ring) set(state datastores.ClusterState, ids ...string) {
	for i, m := range r.view.Members {
		if slices.Contains(ids, m.ID) {
			r.view.Members[i].State = state
		}
	}
}

// add makes members and has them join.
func (r *ring) add(members ...datastores.ClusterMember) {
	r.t.Helper()
	for _, m := range members {
		at := place(r.t, r.options)
		m.Address, m.State = at.env.Address, datastores.ClusterOutside
		r.view.Members, r.of[m.ID] = append(r.view.Members, m), at
	}
	for _, m := range members {
		v := r.viewOf(m.ID)
		must(r.t, r.of[m.ID].Prepare(r.t.Context(), datastores.PrepareRequest{Progress: func(string) {}, Cluster: &v}))
	}
	for _, m := range members {
		r.join(m.ID)
	}
}

// join has members join one after the other.
func (r *ring) join(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		r.set(datastores.ClusterJoins, id)
		for range 2 {
			must(r.t, r.of[id].JoinCluster(r.t.Context(), r.viewOf(id)))
		}
		r.set(datastores.ClusterIn, id)
	}
}

func (r *ring) settle(id string) {
	r.t.Helper()
	began := time.Now()
	for range 2 {
		must(r.t, r.of[id].SettleCluster(r.t.Context(), r.viewOf(id)))
	}
	r.t.Logf("settled twice in %s", time.Since(began).Round(time.Millisecond))
}

// client is one that knows clusters.
func (r *ring) client(password string) *redis.ClusterClient {
	var addresses []string
	for _, m := range r.view.Of(datastores.ClusterIn) {
		addresses = append(addresses, fmt.Sprintf("%s:%d", m.Address, port))
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses, Password: password})
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *ring) write(c *redis.ClusterClient, from, to int) {
	r.t.Helper()
	for i := from; i < to; i++ {
		must(r.t, c.Set(r.t.Context(), fmt.Sprint("k", i), i, 0).Err())
	}
}

func (r *ring) want(c *redis.ClusterClient, n int) {
	r.t.Helper()
	for i := range n {
		if got, err := c.Get(r.t.Context(), fmt.Sprint("k", i)).Int(); got != i || err != nil {
			r.t.Fatalf("key %d is %d, %v", i, got, err)
		}
	}
}

// TestLostMasters: two of three masters are lost for good at once. One has a replica, which takes its place though no majority is left to vote
// for it. What the other one had is gone, and is begun anew.
func TestLostMasters(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		t.Parallel()
		ctx := t.Context()
		r := &ring{t: t, options: o, of: map[string]*Manager{}, view: datastores.ClusterView{ID: "c", Secret: datastores.NewSecret("the ring's own secret")}}
		r.add(datastores.ClusterMember{ID: "a", Shard: "1"}, datastores.ClusterMember{ID: "b", Shard: "2"}, datastores.ClusterMember{ID: "c", Shard: "3"},
			datastores.ClusterMember{ID: "c2", Shard: "3"})
		r.settle("a")
		for _, m := range r.of {
			_, err := m.EnableRoot(ctx, datastores.NewSecret(rootPassword))
			must(t, err)
		}
		c := r.client(rootPassword)
		const keys = 300
		r.write(c, 0, keys)
		r.want(c, keys)
		if n, err := client(t, r.of["c"], rootName, rootPassword).Wait(ctx, 1, callTimeout).Result(); n != 1 || err != nil {
			t.Fatalf("%d replicas have everything, %v", n, err)
		}
		alone, err := client(t, r.of["b"], rootName, rootPassword).DBSize(ctx).Result()
		must(t, err)
		for _, id := range []string{"b", "c"} {
			must(t, kill(ctx, r.of[id].env))
			r.set(datastores.ClusterLost, id)
		}
		r.settle("c2")
		last := r.client(rootPassword)
		gone := int64(0)
		for n := range keys {
			if err := last.Get(ctx, fmt.Sprint("k", n)).Err(); errors.Is(err, redis.Nil) {
				gone++
			} else if err != nil {
				t.Fatalf("key %d: %v", n, err)
			}
		}
		if gone != alone || alone == 0 {
			t.Errorf("%d keys are missing; the member that had no replica had %d", gone, alone)
		}
		r.write(last, 0, keys)
		r.want(last, keys)
	})
}
