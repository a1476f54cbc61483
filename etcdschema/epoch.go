package etcdschema

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// EnsureEpoch reads the epoch, and makes the first one when there is none. Gateways that do so at once agree on one.
func (s *Store) EnsureEpoch(ctx context.Context) (Epoch, error) {
	return s.epoch(ctx, "first start", false)
}

// NewEpoch begins a new history: agents are told everything again, and nobody trusts what was watched before. An operator
// must do so after etcd was restored from a snapshot. reason is for people.
func (s *Store) NewEpoch(ctx context.Context, reason string) (Epoch, error) {
	return s.epoch(ctx, reason, true)
}

func (s *Store) epoch(ctx context.Context, reason string, replace bool) (Epoch, error) {
	var epoch Epoch
	fresh := Epoch{ID: uuid.NewString(), Created: time.Now().UTC(), Reason: reason}
	_, err := s.Update(ctx, []Ref{EpochKey()}, func(snap Snapshot) ([]Op, error) {
		old, err := Read(snap, EpochKey())
		if err != nil {
			return nil, err
		}
		if epoch = old.Value; old.Found && !replace {
			return nil, nil
		}
		epoch = fresh
		return []Op{Put(EpochKey(), fresh)}, nil
	})
	return epoch, err
}
