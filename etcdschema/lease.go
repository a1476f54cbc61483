package etcdschema

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// buckets share leases between records that may vanish at about the same time: a lease an hour costs etcd nothing, a
// lease a record would.
type buckets struct {
	mu    sync.Mutex
	byTTL map[time.Duration]bucket
}

type bucket struct {
	lease clientv3.LeaseID
	until time.Time // a record put later would vanish too early
}

// leaseOf returns the lease for op, 0 for none.
func (s *Store) leaseOf(ctx context.Context, op Op) (clientv3.LeaseID, error) {
	if op.session != nil {
		return op.session.lease()
	}
	if op.ttl <= 0 {
		return 0, nil
	}
	b := &s.buckets
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if have, ok := b.byTTL[op.ttl]; ok && now.Before(have.until) {
		return have.lease, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout) // others wait for the lock
	defer cancel()
	granted, err := s.client.Grant(ctx, int64(2*op.ttl/time.Second)+1)
	if err != nil {
		return 0, fmt.Errorf("cannot get a lease: %w", err)
	}
	if b.byTTL == nil {
		b.byTTL = map[time.Duration]bucket{}
	}
	b.byTTL[op.ttl] = bucket{lease: granted.ID, until: now.Add(op.ttl)}
	return granted.ID, nil
}

// forget makes the next record of each bucket ask for a new lease.
func (b *buckets) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.byTTL)
}
