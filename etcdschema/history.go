package etcdschema

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	// ErrForgotten is the error of a look at a revision that etcd has compacted away.
	ErrForgotten = errors.New("etcd's history does not go back so far")
	// ErrNotYet is the error of a look at a revision that etcd has not come to.
	ErrNotYet = errors.New("there has been no such revision yet")
)

// Look shows records as they were at a revision, 0: as they are now. refs are read before look is called. It may [Read] more: then it is
// called again, until all of that has been read, and sees everything at the same revision, which is returned. What was read as it is now is
// remembered for updates.
func (s *Store) Look(ctx context.Context, revision int64, refs []Ref, look func(Snapshot) error) (int64, error) {
	paths, err := pathsOf(refs)
	if err != nil {
		return 0, err
	}
	for {
		snap, err := s.snapshotAt(ctx, revision, paths)
		if err != nil {
			return revision, err
		}
		err = look(snap)
		need := (*errNeed)(nil)
		if !errors.As(err, &need) {
			return snap.Revision, err
		}
		paths = append(paths, need.path)
	}
}

func (s *Store) snapshotAt(ctx context.Context, revision int64, paths []string) (Snapshot, error) {
	if revision == 0 {
		return s.snapshot(ctx, paths)
	}
	ops := make([]clientv3.Op, len(paths))
	for i, p := range paths {
		ops[i] = clientv3.OpGet(p, clientv3.WithRev(revision))
	}
	resp, err := s.client.Txn(ctx).Then(ops...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return Snapshot{}, ErrForgotten
	case errors.Is(err, rpctypes.ErrFutureRev):
		return Snapshot{}, ErrNotYet
	case err != nil:
		return Snapshot{}, fmt.Errorf("cannot read as of revision %d: %w", revision, err)
	}
	snap := snapshotOf(paths, resp)
	snap.Revision = revision
	return snap, nil
}
