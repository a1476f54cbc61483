package double

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// copies are vBuckets, by the UUID of their bucket and their number.
type copies map[string]map[int]vBucket

func (c copies) put(uuid string, vb int, v vBucket) {
	if c[uuid] == nil {
		c[uuid] = map[int]vBucket{}
	}
	c[uuid][vb] = v
}

// copiesHere are all that this node has of the buckets that there are.
func (n *node) copiesHere() copies {
	all := copies{}
	s := n.now()
	for _, b := range s.Buckets {
		if store := n.storeOf(b.UUID); store != nil {
			for vb := range vBuckets {
				all.put(b.UUID, vb, store.copyOf(vb))
			}
		}
	}
	return all
}

// install puts copies in the place of what there is.
func (n *node) install(c copies) error {
	for uuid, some := range c {
		store := n.storeOf(uuid)
		if store == nil {
			return fmt.Errorf("there is no bucket %s", uuid)
		}
		for vb, v := range some {
			p := &store.parts[vb]
			p.Lock()
			err := store.apply(false, change{VB: vb, Term: v.Term, Seq: v.Seq, All: &v})
			p.Unlock()
			if err != nil {
				return err
			}
		}
		store.mu.Lock()
		err := store.write()
		store.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// balanced spreads vBuckets over hosts, each with so many replicas as there are hosts for.
func balanced(hosts []string, replicas int) (all [][]string) {
	for vb := range vBuckets {
		var chain []string
		for i := range min(replicas+1, len(hosts)) {
			chain = append(chain, hosts[(vb+i*(1+vb/len(hosts)%max(len(hosts)-1, 1)))%len(hosts)])
		}
		all = append(all, unique(chain, hosts, replicas+1))
	}
	return all
}

// unique takes doubles out of a chain and fills it up.
func unique(chain, hosts []string, size int) (all []string) {
	for _, host := range append(chain, hosts...) {
		if len(all) < size && !slices.Contains(all, host) {
			all = append(all, host)
		}
	}
	return all
}

// errLoss says that nobody else has what is to be given up.
var errLoss = errors.New("no other node has a copy of some vBuckets")

// wish is a change of the map.
type wish struct {
	plan    func(*state) // makes nodes active, failed, or none
	balance bool         // spread everything anew; else those that stay keep what they have
	unsafe  bool         // without most of the nodes
	lossy   bool         // although something is lost
}

// remap changes the map. All nodes that stay promise to take nothing by the old one; of what they have the best copies go to those that shall
// have them, and then the new map is everybody's.
func (n *node) remap(ctx context.Context, w wish) error {
	n.balancing.Lock()
	defer n.balancing.Unlock()
	before := n.now()
	if before == nil {
		return errors.New("this node is in no cluster")
	}
	next := before.clone()
	w.plan(next)
	next.Rev = max(before.Rev, n.promise()) + 1
	voters := before.hosts(active)
	var stay []string // of those that have something: who is not failed over
	for _, host := range voters {
		if m := next.member(host); m == nil || m.Membership == active {
			stay = append(stay, host)
		}
	}
	if len(stay)*2 <= len(voters) && !w.unsafe {
		return fmt.Errorf("%w: %d of %d would stay", errNoMajority, len(stay), len(voters))
	}
	asked := unique(stay, next.hosts(active), len(before.Nodes))
	given, err := n.propose(ctx, asked, proposal{next.Rev, before.Rev})
	if len(given) < len(asked) {
		return fmt.Errorf("not all nodes that stay have promised: %w", err)
	}
	has := map[string]copies{}
	for i, host := range stay {
		n.progress.set(float64(i) / float64(2*len(stay)))
		if host == n.address {
			has[host] = n.copiesHere()
			continue
		}
		var some copies
		if err := n.ask(ctx, host, "/copies", struct{}{}, &some); err != nil {
			return err
		}
		has[host] = some
	}
	gets := map[string]copies{}
	for _, b := range next.Buckets {
		target := balanced(next.hosts(active), b.Replicas)
		for vb, old := range b.Map {
			best := vBucket{Docs: map[string]string{}}
			sources := slices.DeleteFunc(slices.Clone(old), func(host string) bool { return has[host] == nil })
			if len(sources) == 0 && !w.lossy {
				return errLoss
			}
			for _, host := range sources {
				if v := has[host][b.UUID][vb]; best.isBehind(v) {
					best = v
				}
			}
			chain := slices.DeleteFunc(sources, func(host string) bool { return !slices.Contains(next.hosts(active), host) })
			if w.balance || len(chain) == 0 {
				chain = target[vb]
			}
			b.Map[vb], best.Term = chain, next.Rev
			for _, host := range chain {
				if gets[host] == nil {
					gets[host] = copies{}
				}
				gets[host].put(b.UUID, vb, best)
			}
		}
	}
	next.Balanced = w.balance
	given = nil
	for host, some := range gets {
		n.progress.set(0.5 + float64(len(given))/float64(2*len(gets)))
		given = append(given, host)
		if err := n.at(ctx, host, "/install", some, func() error { return n.install(some) }); err != nil {
			return err
		}
	}
	return n.conclude(ctx, before, next, asked)
}

// conclude brings the new state to all that stay, and to the others as far as they answer. This node is the last one: it may be ejected.
func (n *node) conclude(ctx context.Context, before, next *state, asked []string) error {
	others := slices.DeleteFunc(slices.Clone(asked), func(host string) bool { return host == n.address })
	if done, err := n.commit(ctx, others, next); len(done) < len(others) {
		return fmt.Errorf("the new map has not come to all: %w", err)
	}
	var rest []string
	for _, m := range before.Nodes {
		if !slices.Contains(asked, m.Host) && m.Host != n.address && n.reaches(m.Host, time.Now()) {
			rest = append(rest, m.Host)
		}
	}
	_, _ = n.commit(ctx, rest, next)
	return n.committed(next)
}
