package etcdschema

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

// group sends transactions to etcd. While few are under way each goes alone and at once. Beyond that they wait for one another and go
// together, each as a transaction inside of one: etcd writes that to its log once. Each has its own guards and its own outcome.
type group struct {
	client *clientv3.Client

	mu      sync.Mutex
	flying  int // requests under way
	waiting []*member
	flights sync.WaitGroup // of members that went together
}

// How many requests may be under way before transactions wait for one another, and how many while some wait; how many transactions go
// together, and how large each may be: etcd takes 1.5 MiB, and in each as many keys as are left of 128 beside them.
const (
	goAlone   = 8
	goCrowded = 2
	together  = 32
	fewKeys   = 64
	fewBytes  = 32 << 10
)

// txn is a transaction: writes, if guards hold; else it reads.
type txn struct {
	guards            []clientv3.Cmp
	writes, otherwise []clientv3.Op
}

// member is a transaction that waits to go with others.
type member struct {
	txn
	ctx   context.Context
	resp  *clientv3.TxnResponse
	err   error
	alone bool          // it has to go alone
	done  chan struct{} // closed when it is known what has become of it
}

// commit sends a transaction. An error leaves open whether it has happened, but for those by which etcd refuses a request. One whose ctx
// has ended before it could go is not sent.
func (g *group) commit(ctx context.Context, t txn) (*clientv3.TxnResponse, error) {
	g.mu.Lock()
	if g.flying < goAlone && len(g.waiting) == 0 || !t.mixes() {
		g.flying++
		g.mu.Unlock()
		return g.alone(ctx, t)
	}
	m := &member{txn: t, ctx: ctx, done: make(chan struct{})}
	g.waiting = append(g.waiting, m)
	g.mu.Unlock()
	select {
	case <-m.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m.alone {
		g.mu.Lock()
		g.flying++
		g.mu.Unlock()
		return g.alone(ctx, t)
	}
	return m.resp, m.err
}

// alone sends a transaction that is counted as under way.
func (g *group) alone(ctx context.Context, t txn) (*clientv3.TxnResponse, error) {
	defer g.landed()
	return g.client.Txn(ctx).If(t.guards...).Then(t.writes...).Else(t.otherwise...).Commit()
}

// landed is called when a request has ended: those that wait may go.
func (g *group) landed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.flying--; g.flying < goCrowded && len(g.waiting) > 0; g.flying++ {
		members := g.take()
		g.flights.Go(func() {
			defer g.landed()
			g.send(members)
		})
	}
}

// take picks those that go together: none of them writes what another reads or writes, since etcd looks at all guards before it writes
// anything. What meets them goes alone. g.mu must be held.
func (g *group) take() (members []*member) {
	read, written := map[string]bool{}, map[string]bool{}
	n := min(len(g.waiting), together)
	for _, m := range g.waiting[:n] {
		switch {
		case m.ctx.Err() != nil: // nobody waits for it
			continue
		case m.meets(read, written):
			m.alone = true
			close(m.done)
			continue
		}
		for _, c := range m.guards {
			read[string(c.Key)] = true
		}
		for _, op := range m.writes {
			written[string(op.KeyBytes())] = true
		}
		members = append(members, m)
	}
	g.waiting = slices.Delete(g.waiting, 0, n)
	return members
}

// mixes reports whether a transaction may go with others: it is small, and names every key that it writes.
func (t txn) mixes() bool {
	bytes := 0
	for _, op := range t.writes {
		if len(op.RangeBytes()) > 0 {
			return false
		}
		bytes += len(op.ValueBytes())
	}
	return bytes <= fewBytes && max(len(t.guards), len(t.writes)) <= fewKeys
}

// meets reports whether a transaction writes what others read or write, or reads what they write.
func (t txn) meets(read, written map[string]bool) bool {
	for _, c := range t.guards {
		if written[string(c.Key)] {
			return true
		}
	}
	for _, op := range t.writes {
		if key := string(op.KeyBytes()); read[key] || written[key] {
			return true
		}
	}
	return false
}

// send commits members as one transaction. What etcd refuses may be the fault of one of them: then each goes alone.
func (g *group) send(members []*member) {
	if len(members) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	all := make([]clientv3.Op, len(members))
	for i, m := range members {
		all[i] = clientv3.OpTxn(m.guards, m.writes, m.otherwise)
	}
	resp, err := g.client.Txn(ctx).Then(all...).Commit()
	for i, m := range members {
		switch {
		case err == nil:
			m.resp = (*clientv3.TxnResponse)(resp.Responses[i].GetResponseTxn())
			m.resp.Header = resp.Header
		case refused(err):
			m.alone = true
		default:
			m.err = err
		}
		close(m.done)
	}
}

// refused reports whether an error says that etcd has not taken a request as it was, so that its parts may be sent: one of them has a
// lease that is gone, or puts something into an etcd that is full and takes deletions alone.
func refused(err error) bool {
	e, ok := errors.AsType[rpctypes.EtcdError](err)
	return ok && (e.Code() == codes.InvalidArgument || e.Code() == codes.NotFound || Full(err))
}
