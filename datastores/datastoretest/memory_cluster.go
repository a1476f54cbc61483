package datastoretest

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// ClusterShape implements [datastores.Cluster]: members are equal, or have one copy of their shard. They hold nothing in common but the
// knowledge of each other.
func (m *memoryManager) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{MinMembers: 2, Together: true, MaxReplicas: 1}
}

// JoinCluster implements [datastores.Cluster].
func (m *memoryManager) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	return m.doing(ctx, datastores.MethodClusterJoin, func(s *memoryServer) error {
		if s.told != v.ID {
			return fmt.Errorf("the server was prepared for cluster %q", s.told)
		}
		for _, other := range v.Of(datastores.ClusterIn) {
			if in := m.memory.server(other.Address).cluster; in != v.ID && other.ID != v.Self {
				return fmt.Errorf("member %s is in cluster %q", other.ID, in)
			}
		}
		s.cluster = v.ID
		return nil
	})
}

// SettleCluster implements [datastores.Cluster].
func (m *memoryManager) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	return m.doing(ctx, datastores.MethodClusterSettle, func(*memoryServer) error {
		for _, other := range v.Members {
			s := m.memory.server(other.Address)
			if in := s.cluster == v.ID; in != (other.State == datastores.ClusterIn) || in && !s.running {
				return fmt.Errorf("member %s is in cluster %q, and runs: %v", other.ID, s.cluster, s.running)
			}
		}
		return nil
	})
}

// LeaveCluster implements [datastores.Cluster].
func (m *memoryManager) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	return m.doing(ctx, datastores.MethodClusterLeave, func(s *memoryServer) error {
		if len(v.Of(datastores.ClusterIn)) == 0 {
			return fmt.Errorf("nobody stays")
		}
		s.cluster = ""
		return nil
	})
}
