package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	clusterUser = "os_cluster" // by which the members of a cluster, and their guests, log in to each other
	busPort     = 16379        // where members gossip
	nodesFile   = "nodes.conf" // what the server knows of its cluster
)

// ClusterShape implements [datastores.Cluster]. One member that has data of its own is a cluster; for one to take the place of another
// that is gone there must be three.
func (m *Manager) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{Together: true, MaxReplicas: 5, Backups: datastores.BackupOfShards}
}

// inCluster fails when this member takes nothing, because it does not reach enough others. Before a cluster has settled it has not all slots,
// and takes nothing either, which is how it should be.
func (m *Manager) inCluster(ctx context.Context) error {
	return m.talk(ctx, func(c *conn) error {
		text, err := c.call("CLUSTER", "INFO")
		if err != nil {
			return fmt.Errorf("CLUSTER INFO: %w", err)
		}
		info := parseInfo(text)
		if info["cluster_state"] == "ok" || info["cluster_slots_assigned"] != strconv.Itoa(slotCount) {
			return nil
		}
		return fmt.Errorf("it reaches members with %s of the cluster's %d slots, too few to take anything", info["cluster_slots_ok"], slotCount)
	})
}

// beMember keeps what makes the server a cluster's member, or forgets it.
func (m *Manager) beMember(v *datastores.ClusterView) error {
	st, err := m.loadSide()
	if err != nil || v == nil && st.Cluster == nil {
		return err
	}
	st.Cluster = nil
	if v != nil {
		st.Cluster = &inCluster{ID: v.ID, Secret: v.Secret.Reveal()}
	}
	return m.saveSide(st)
}

func (m *Manager) isMember() bool {
	st, err := m.loadSide()
	return err == nil && st.Cluster != nil
}

// clustering are the settings of a member. Where it takes TLS, members speak nothing else to each other, and show certificates of their
// project's CA.
func (m *Manager) clustering(c *inCluster) [][]string {
	if c == nil {
		return nil
	}
	secure := "no"
	if m.env.ServerTLS().On() {
		secure = "yes"
	}
	return [][]string{
		{"cluster-enabled", "yes"},
		{"cluster-config-file", nodesFile},
		{"cluster-announce-ip", m.env.Address},
		{"cluster-port", strconv.Itoa(busPort)},
		{"cluster-node-timeout", "5000"},
		{"cluster-allow-replica-migration", "no"}, // who has a copy of what is the gateway's to say
		{"tls-cluster", secure},
		{"masteruser", clusterUser},
		{"masterauth", c.Secret},
	}
}

// JoinCluster implements [datastores.Cluster]. The one that founds the cluster has nobody to meet. Each other one takes over root and the
// users of a member that is in.
func (m *Manager) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	in := v.Others()
	if len(in) == 0 {
		return nil
	}
	t, err := m.circle(ctx, v, v.Self, in[0].ID)
	if err != nil {
		return err
	}
	defer t.close()
	self, other := t.of[v.Self], t.of[in[0].ID]
	lines, err := other.list("ACL", "LIST")
	if err != nil {
		return fmt.Errorf("member %s: ACL LIST: %w", in[0].ID, err)
	}
	if err := m.setTenants(ctx, tenants(parseAccounts(lines)), false); err != nil {
		return err
	}
	v.Progress("meeting member " + in[0].ID)
	if _, err := self.ask("CLUSTER", "MEET", in[0].Address, strconv.Itoa(other.at), strconv.Itoa(busPort)); err != nil {
		return fmt.Errorf("CLUSTER MEET: %w", err)
	}
	return service.AwaitSaying(ctx, func() error {
		for _, side := range []struct{ who, of *seat }{{self, other}, {other, self}} {
			nodes, err := side.who.nodes()
			if err != nil {
				return err
			}
			if n, ok := nodes.find(side.of.id); !ok || n.has("handshake") || n.link != "connected" {
				return fmt.Errorf("member %s does not know member %s yet", side.who.member.ID, side.of.member.ID)
			}
		}
		return nil
	})
}

// SettleCluster implements [datastores.Cluster].
func (m *Manager) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	t, err := m.circle(ctx, v, insiders(v)...)
	if err != nil {
		return err
	}
	defer t.close()
	v.Progress("waiting for all members to know each other")
	if err := t.acquaint(ctx); err != nil {
		return err
	}
	if err := t.agree(ctx); err != nil { // else one that has just lost its place is taken for its shard's master
		return err
	}
	masters, err := t.shareOut(ctx)
	if err != nil {
		return err
	}
	if err := t.spread(ctx, masters, v.Progress); err != nil {
		return err
	}
	v.Progress("waiting until the cluster is well")
	return t.well(ctx)
}

// insiders are the members that are in the cluster.
func insiders(v datastores.ClusterView) (ids []string) {
	for _, c := range v.Of(datastores.ClusterIn) {
		ids = append(ids, c.ID)
	}
	return ids
}

// LeaveCluster implements [datastores.Cluster]. A member that has data hands it to another one of its shard, or, when nobody of that stays,
// to all that stay.
func (m *Manager) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	t, err := m.circle(ctx, v, append([]string{v.Self}, insiders(v)...)...)
	if err != nil {
		return err
	}
	defer t.close()
	self := t.of[v.Self]
	if err := t.handOver(ctx, self, v.Progress); err != nil {
		return err
	}
	if _, err := self.ask("CLUSTER", "RESET", "HARD"); err != nil {
		return fmt.Errorf("CLUSTER RESET: %w", err)
	}
	for _, other := range t.seats {
		if other != self { // who does not forget it now is told again when the cluster settles
			_, _ = other.ask("CLUSTER", "FORGET", self.id)
		}
	}
	return nil
}

// handOver gives everything away that only this member has.
func (t *circle) handOver(ctx context.Context, self *seat, progress func(string)) error {
	nodes, err := self.nodes()
	if err != nil {
		return err
	}
	if me, _ := nodes.find(self.id); len(me.slots) == 0 && len(me.open) == 0 {
		return nil
	}
	if err := t.agree(ctx); err != nil {
		return err
	}
	if nodes, err = self.nodes(); err != nil {
		return err
	}
	for _, other := range t.seats {
		if n, ok := nodes.find(other.id); ok && other != self && n.master == self.id {
			progress("handing over to member " + other.member.ID)
			return t.failOver(ctx, self, other)
		}
	}
	var masters []*seat
	for _, other := range t.seats {
		if n, ok := nodes.find(other.id); ok && other != self && n.master == "" {
			masters = append(masters, other)
		}
	}
	if len(masters) == 0 {
		return datastores.Errorf(datastores.Conflict, "nobody stays to take what member %s has", self.member.ID)
	}
	return t.moveAll(ctx, self, masters, progress)
}

// failOver makes a replica the master in the place of its own.
func (t *circle) failOver(ctx context.Context, master, replica *seat) error {
	asked := time.Time{}
	return service.AwaitSaying(ctx, func() error {
		nodes, err := master.nodes()
		if err != nil {
			return err
		}
		if me, _ := nodes.find(master.id); me.master == replica.id && len(me.slots) == 0 {
			return nil
		}
		if time.Since(asked) > 3*time.Second { // it may have been refused, or not been heard
			asked = time.Now()
			if _, err := replica.ask("CLUSTER", "FAILOVER"); err != nil {
				return fmt.Errorf("member %s: CLUSTER FAILOVER: %w", replica.member.ID, err)
			}
		}
		return fmt.Errorf("member %s has not taken the place of member %s yet", replica.member.ID, master.member.ID)
	})
}

// acquaint waits until all members know each other and nobody else. Those that have left are forgotten, and those that are lost, too, when a
// replica has their data or nobody has.
func (t *circle) acquaint(ctx context.Context) error {
	return service.AwaitSaying(ctx, func() error {
		var first error
		for _, s := range t.seats {
			nodes, err := s.nodes()
			if err != nil {
				return err
			}
			for _, other := range t.seats {
				if n, ok := nodes.find(other.id); !ok || n.has("handshake") || n.has("fail") || n.has("fail?") || other != s && n.link != "connected" {
					first = errors.Join(first, fmt.Errorf("member %s does not reach member %s", s.member.ID, other.member.ID))
				}
			}
			for _, n := range nodes {
				if t.seat(n.id) != nil || n.has("handshake") {
					continue
				}
				if replica := t.replicaOf(n, nodes); replica != nil && len(n.slots) > 0 && t.isLost(n) {
					first = errors.Join(first, fmt.Errorf("member %s takes the place of the server at %s", replica.member.ID, n.address))
					_, _ = replica.ask("CLUSTER", "FAILOVER", "TAKEOVER") // refused when it has done so, and this member has not heard of it
					continue
				}
				if len(n.slots) > 0 && !t.isLost(n) {
					return datastores.Errorf(datastores.Conflict, "a server at %s, which is no member, has %d slots of the cluster", n.address, len(n.slots))
				}
				first = errors.Join(first, fmt.Errorf("member %s still knows a server at %s, which is no member", s.member.ID, n.address))
				if _, err := s.ask("CLUSTER", "FORGET", n.id); err != nil && !strings.Contains(err.Error(), "Unknown node") {
					first = errors.Join(first, err)
				}
			}
		}
		return first
	})
}

// isLost reports whether a server is that of a member which cannot be asked any more.
func (t *circle) isLost(n node) bool {
	host, _, _ := net.SplitHostPort(n.address)
	return slices.Contains(t.lost, host)
}

// replicaOf is a member that follows a server; nil when none does.
func (t *circle) replicaOf(master node, all nodes) *seat {
	for _, s := range t.seats {
		if n, _ := all.find(s.id); n.master == master.id {
			return s
		}
	}
	return nil
}

// shareOut has all but one member of each shard follow that one, and returns the masters, in the order of their shards.
func (t *circle) shareOut(ctx context.Context) (masters []*seat, err error) {
	shards := map[string][]*seat{}
	var order []string
	for _, s := range t.seats {
		if shards[s.member.Shard] == nil {
			order = append(order, s.member.Shard)
		}
		shards[s.member.Shard] = append(shards[s.member.Shard], s)
	}
	for _, shard := range order {
		all := shards[shard]
		nodes, err := all[0].nodes()
		if err != nil {
			return nil, err
		}
		master := all[0]
		for _, s := range all {
			if n, _ := nodes.find(s.id); n.master == "" && len(n.slots) > 0 {
				master = s
			}
		}
		if n, _ := nodes.find(master.id); n.master != "" { // the one that had the shard is gone, and left nothing
			if at := slices.IndexFunc(all, func(s *seat) bool { n, _ := nodes.find(s.id); return n.master == "" }); at >= 0 {
				master = all[at]
			} else if _, err := master.ask("CLUSTER", "RESET", "SOFT"); err != nil {
				return nil, err
			}
		}
		masters = append(masters, master)
		for _, s := range all {
			if n, _ := nodes.find(s.id); s == master || n.master == master.id {
				continue
			}
			err := service.AwaitSaying(ctx, func() error {
				_, err := s.ask("CLUSTER", "REPLICATE", master.id)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("member %s cannot follow member %s: %w", s.member.ID, master.member.ID, err)
			}
		}
	}
	return masters, nil
}

// well waits until every member says that the cluster takes everything, and every replica has a copy.
func (t *circle) well(ctx context.Context) error {
	return service.AwaitSaying(ctx, func() error {
		for _, s := range t.seats {
			text, err := s.ask("CLUSTER", "INFO")
			if err != nil {
				return fmt.Errorf("member %s: %w", s.member.ID, err)
			}
			info := parseInfo(text)
			if info["cluster_state"] != "ok" || info["cluster_slots_ok"] != strconv.Itoa(slotCount) || info["cluster_known_nodes"] != strconv.Itoa(len(t.seats)) {
				return fmt.Errorf("member %s says that the cluster is %s, with %s of %d slots and %s of %d members", s.member.ID,
					info["cluster_state"], info["cluster_slots_ok"], slotCount, info["cluster_known_nodes"], len(t.seats))
			}
		}
		return cmp.Or(t.allCopied(), t.allAgree())
	})
}

// agree waits until all members say the same of who follows whom, and who has which slots. A member that was away says for a moment what held before.
func (t *circle) agree(ctx context.Context) error { return service.AwaitSaying(ctx, t.allAgree) }

func (t *circle) allAgree() error {
	seen := make([]nodes, len(t.seats))
	for i, s := range t.seats {
		var err error
		if seen[i], err = s.nodes(); err != nil {
			return err
		}
	}
	owners := seen[0].owners()
	for i, s := range t.seats {
		if seen[i].owners() != owners {
			return fmt.Errorf("members %s and %s do not agree on who has which slots", t.seats[0].member.ID, s.member.ID)
		}
		self, _ := seen[i].find(s.id)
		for j, other := range t.seats {
			if n, _ := seen[j].find(s.id); n.master != self.master {
				return fmt.Errorf("members %s and %s do not agree on whom the first one follows", s.member.ID, other.member.ID)
			}
		}
	}
	return nil
}

// copied waits until every replica has a copy.
func (t *circle) copied(ctx context.Context) error { return service.AwaitSaying(ctx, t.allCopied) }

func (t *circle) allCopied() error {
	for _, s := range t.seats {
		text, err := s.ask("INFO", "replication")
		if err != nil {
			return fmt.Errorf("member %s: %w", s.member.ID, err)
		}
		if info := parseInfo(text); info["role"] == roleReplica && info["master_link_status"] != "up" {
			return fmt.Errorf("member %s has not copied its master yet; it has %s bytes", s.member.ID, cmp.Or(info["master_sync_read_bytes"], "no"))
		}
	}
	return nil
}
