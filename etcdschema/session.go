package etcdschema

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Session is a lease kept alive as long as the process lives. When etcd could not be reached for longer than its TTL the
// lease is lost and so is every record put [Op.On] it; the session then gets a new lease and calls its renewed function.
type Session struct{}

// NewSession begins a session whose records vanish ttl after the process ended. renewed, which may be nil, is called
// after a lost lease was replaced: whoever put records on it puts them again.
func (s *Store) NewSession(ctx context.Context, ttl time.Duration, renewed func()) (*Session, error) {
	return nil, errors.New("TODO")
}

// Close revokes the lease, so that its records vanish at once.
func (s *Session) Close(ctx context.Context) error { return errors.New("TODO") }

func (s *Session) lease() (clientv3.LeaseID, error) { return 0, errors.New("TODO") }
