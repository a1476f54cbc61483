package inmemory

import (
	"context"
	"fmt"
	"sync"

	"github.com/cofferdb/coffer/datastores"
)

// ClusterShape implements [datastores.Cluster]. Each member has everything, whatever shard it is said to be of, and a member acknowledges
// what more than half of all have.
func (m *manager) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{MinMembers: 2, Together: true, MaxReplicas: 1, Backups: datastores.BackupOfMember}
}

// JoinCluster implements [datastores.Cluster].
func (m *manager) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	return m.doing(ctx, datastores.MethodClusterJoin, func(s *server) error {
		if s.told != v.ID {
			return fmt.Errorf("the server was prepared for cluster %q", s.told)
		}
		if s.cluster == v.ID {
			return nil
		}
		for _, other := range v.Of(datastores.ClusterIn) {
			in := m.memory.server(other.Address)
			if in.cluster != v.ID {
				return fmt.Errorf("member %s is in cluster %q", other.ID, in.cluster)
			}
			if why := m.memory.outside(in); why != "" {
				return datastores.Errorf(datastores.Unavailable, "member %s: %s", other.ID, why)
			}
			s.contents = newContents() // the others bring theirs
		}
		s.cluster = v.ID
		return nil
	})
}

// SettleCluster implements [datastores.Cluster].
func (m *manager) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	return m.doing(ctx, datastores.MethodClusterSettle, func(*server) error {
		for _, other := range v.Members {
			s := m.memory.server(other.Address)
			if other.State == datastores.ClusterLost {
				s.cluster = "" // nobody asks it any more
			}
			if in := s.cluster == v.ID; in != (other.State == datastores.ClusterIn) || in && !s.running {
				return fmt.Errorf("member %s is in cluster %q, and runs: %v", other.ID, s.cluster, s.running)
			}
		}
		return nil
	})
}

// LeaveCluster implements [datastores.Cluster].
func (m *manager) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	return m.doing(ctx, datastores.MethodClusterLeave, func(s *server) error {
		if len(v.Of(datastores.ClusterIn)) == 0 {
			return fmt.Errorf("nobody stays")
		}
		if s.cluster == "" {
			return nil
		}
		if s.outside != "" {
			return datastores.Errorf(datastores.Unavailable, "%s", s.outside)
		}
		_, stay := m.memory.mates(s)
		s.cluster, s.readOnly = "", true
		for _, other := range stay {
			other.passes(AtLeave)
		}
		return nil
	})
}

// Cut has the server at address and the other members of its cluster not reach each other, until it is healed.
func (m *Datastore) Cut(address string) (heal func()) {
	m.with(address, func(s *server) { s.cut = true })
	return sync.OnceFunc(func() {
		m.with(address, func(s *server) { s.cut = false })
	})
}

// mates are all members of the cluster of s, s among them, and those that s reaches. It must be called under the lock.
func (m *Datastore) mates(s *server) (all, reached []*server) {
	for _, other := range m.servers {
		if other.cluster != s.cluster {
			continue
		}
		all = append(all, other)
		if other == s || other.running && !other.cut && !s.cut {
			reached = append(reached, other)
		}
	}
	return all, reached
}

// outside says why a member of a cluster takes nothing; "": it does, or is none. It must be called under the lock.
func (m *Datastore) outside(s *server) string {
	if s.cluster == "" || s.heedless {
		return ""
	}
	all, reached := m.mates(s)
	if 2*len(reached) > len(all) {
		return ""
	}
	return fmt.Sprintf("it reaches %d of %d members, too few to take anything", len(reached), len(all))
}

// share brings to every member what those have that it reaches, when they are enough. It must be called under the lock.
func (m *Datastore) share() {
	for _, s := range m.servers {
		if s.cluster == "" || !s.running || m.outside(s) != "" {
			continue
		}
		_, reached := m.mates(s)
		for _, other := range reached {
			_ = s.copyFrom(other) // a history that was taken once is taken again
		}
	}
}

// Heedless has a member acknowledge what it alone has: a defect for tests of the suite.
func (m *manager) Heedless() {
	m.memory.with(m.env.Address, func(s *server) { s.heedless = true })
}
