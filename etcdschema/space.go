package etcdschema

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Full reports whether err says that etcd has no space left: it takes deletions alone until an operator has made room and
// disarmed its alarm. What was to be written was not.
func Full(err error) bool { return errors.Is(err, rpctypes.ErrNoSpace) }

// TakesNoWrites is what everybody is told whose change etcd has no space for.
const TakesNoWrites = "Nothing was changed: the store of this system, etcd, is full. Reading goes on, and databases run. " +
	`Its operator has to compact it, defragment it and disarm its alarm: see "When etcd is full" in docs/operations.md.`

// Space is how much room etcd has.
type Space struct {
	Size  int64 // bytes of its database, as large as it is on disk
	Quota int64 // bytes that it may have; 0: not told, as by etcd before 3.6
	Full  bool  // the alarm is on
}

// Used is the part of the quota that is used; 0 when the quota is not told.
func (s Space) Used() float64 {
	if s.Quota <= 0 {
		return 0
	}
	return float64(s.Size) / float64(s.Quota)
}

// Space asks the members for their state, which costs etcd no read, and returns that of the one with the least room. Members that
// do not answer are left out; the error is theirs when none does.
func (s *Store) Space(ctx context.Context) (least Space, err error) {
	answered := false
	for _, endpoint := range s.client.Endpoints() {
		status, failed := s.status(ctx, endpoint)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("cannot ask etcd at %s for its state: %w", endpoint, failed))
			continue
		}
		now := Space{Size: status.DbSize, Quota: status.DbSizeQuota, Full: strings.Contains(strings.Join(status.Errors, " "), "NOSPACE")}
		if full := least.Full || now.Full; !answered || now.Used() > least.Used() || now.Size > least.Size {
			least, least.Full = now, full
		}
		answered = true
	}
	if !answered {
		return Space{}, err
	}
	if least.Full {
		s.full.note()
	}
	return least, nil
}

func (s *Store) status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return s.client.Status(ctx, endpoint)
}

// SinceFull is how long ago etcd was last seen full, by a write that it refused or by [Store.Space].
func (s *Store) SinceFull() time.Duration { return s.full.since() }

// lastTime is when something was last seen; the zero value is never.
type lastTime struct{ unixNano atomic.Int64 }

func (l *lastTime) note() { l.unixNano.Store(time.Now().UnixNano()) }

func (l *lastTime) since() time.Duration { return time.Since(time.Unix(0, l.unixNano.Load())) }
