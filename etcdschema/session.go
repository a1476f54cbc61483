package etcdschema

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Session is a lease kept alive as long as the process lives. When etcd could not be reached for longer than its TTL the
// lease is lost and so is every record put [Op.On] it; the session then gets a new lease and calls its renewed function.
type Session struct {
	store   *Store
	ttl     time.Duration
	renewed func()
	cancel  context.CancelFunc
	done    chan struct{}

	mu sync.Mutex
	id clientv3.LeaseID // 0: lost, and not replaced yet
}

// ErrSessionLost is returned when a record is put on a session whose lease was lost and not replaced yet, or that was
// closed.
var ErrSessionLost = errors.New("the session with etcd is lost; try again")

// regrantPause is how long a session waits before it asks for a lease again.
const regrantPause = 500 * time.Millisecond

// NewSession begins a session whose records vanish ttl after the process ended. renewed, which may be nil, is called
// after a lost lease was replaced: whoever put records on it puts them again. An etcd that is [Full] gives no lease: then the session
// begins as a lost one. ctx bounds the beginning only; the session lasts until Close.
func (s *Store) NewSession(ctx context.Context, ttl time.Duration, renewed func()) (*Session, error) {
	n := &Session{store: s, ttl: ttl, renewed: renewed, done: make(chan struct{})}
	if err := n.grant(ctx); err != nil && !Full(err) {
		return nil, err
	}
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	go n.run(live)
	return n, nil
}

// run keeps the lease alive, and replaces it whenever it is lost.
func (n *Session) run(ctx context.Context) {
	defer close(n.done)
	for n.keepAlive(ctx); ctx.Err() == nil; n.keepAlive(ctx) {
		n.set(0)
		if n.regrant(ctx) && n.renewed != nil {
			n.renewed()
		}
	}
}

// regrant asks for a new lease until it has one or ctx ends; then it returns false.
func (n *Session) regrant(ctx context.Context) bool {
	for {
		err := n.grant(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		n.store.log.Warn("cannot renew the session with etcd", "err", err)
		pause(ctx, regrantPause)
	}
}

// keepAlive returns when the lease is lost or ctx ends.
func (n *Session) keepAlive(ctx context.Context) {
	id, err := n.lease()
	if err != nil {
		return
	}
	answers, err := n.store.client.KeepAlive(ctx, id)
	if err != nil {
		return
	}
	for range answers {
	}
	if ctx.Err() == nil {
		n.store.log.Warn("the session with etcd was lost", "ttl", n.ttl)
	}
}

func (n *Session) grant(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	granted, err := n.store.client.Grant(ctx, max(1, int64(n.ttl/time.Second)))
	if err != nil {
		return fmt.Errorf("cannot get a lease for the session: %w", err)
	}
	n.set(granted.ID)
	return nil
}

func (n *Session) set(id clientv3.LeaseID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.id = id
}

func (n *Session) lease() (clientv3.LeaseID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id == 0 {
		return 0, ErrSessionLost
	}
	return n.id, nil
}

// Close revokes the lease, so that its records vanish at once. It may be called twice.
func (n *Session) Close(ctx context.Context) error {
	n.cancel()
	<-n.done
	n.mu.Lock()
	id := n.id
	n.id = 0
	n.mu.Unlock()
	if id == 0 {
		return nil
	}
	if _, err := n.store.client.Revoke(ctx, id); err != nil {
		return fmt.Errorf("cannot revoke the session's lease (its records vanish within %s): %w", n.ttl, err)
	}
	return nil
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
