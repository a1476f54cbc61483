package etcdschema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Snapshot is what a decision sees: records read at one revision.
type Snapshot struct {
	Revision int64
	kvs      map[string]*mvccpb.KeyValue // nil: read, and not there
}

// errNeed asks [Store.Update] to read one more record and decide again.
type errNeed struct{ path string }

func (e *errNeed) Error() string { return "not read yet: " + e.path }

// Read gives a decision a record, Found or not. Its error must be returned by the decision as it is: it may mean that
// the record has to be read first, and then the decision is made again over a snapshot that holds it.
func Read[T any](s Snapshot, k Key[T]) (Record[T], error) {
	if k.err != nil {
		return Record[T]{}, k.err
	}
	kv, ok := s.kvs[k.path]
	if !ok {
		return Record[T]{}, &errNeed{k.path}
	}
	if kv == nil {
		return Record[T]{Key: k.path}, nil
	}
	return decodeRecord[T](k.path, kv.Value, kv.CreateRevision, kv.ModRevision)
}

// How often Update decides again before it gives up, and how long it waits between at most.
const (
	maxConflicts = 64
	maxPause     = 20 * time.Millisecond
)

// Update makes one transition: it reads the records that refs name, asks decide what to write, and commits it in one
// transaction, provided that none of the records read has changed. Otherwise it decides again over what is there now.
// decide must be pure, may be called many times, and may [Read] more than refs name. When it returns no ops, or only
// ones that change nothing, nothing is written. The result is the revision of the commit, or of the read.
func (s *Store) Update(ctx context.Context, refs []Ref, decide func(Snapshot) ([]Op, error)) (int64, error) {
	var paths []string
	for _, r := range refs {
		path, err := r.ref()
		if err != nil {
			return 0, err
		}
		paths = append(paths, path)
	}
	snap, err := s.snapshot(ctx, paths)
	if err != nil {
		return 0, err
	}
	for conflicts, regranted := 0, false; ; {
		ops, err := decide(snap)
		if need := (*errNeed)(nil); errors.As(err, &need) {
			if !slices.Contains(paths, need.path) {
				paths = append(paths, need.path)
			}
			if snap, err = s.snapshot(ctx, paths); err != nil {
				return 0, err
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		then, err := s.encodeOps(ctx, snap, ops)
		if err != nil || len(then) == 0 {
			return snap.Revision, err
		}
		resp, err := s.client.Txn(ctx).If(snap.guards()...).Then(then...).Else(gets(paths)...).Commit()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) && !regranted {
			regranted = true // etcd was set back to before the lease; a session finds out by itself
			s.buckets.forget()
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("cannot commit: %w", err)
		}
		if resp.Succeeded {
			return resp.Header.Revision, nil
		}
		if conflicts++; conflicts == maxConflicts {
			return 0, ErrConflict
		}
		snap = snapshotOf(paths, resp)
		if conflicts > 2 { // one conflict is chance, many are a crowd
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(rand.N(maxPause)):
			}
		}
	}
}

func gets(paths []string) []clientv3.Op {
	ops := make([]clientv3.Op, len(paths))
	for i, p := range paths {
		ops[i] = clientv3.OpGet(p)
	}
	return ops
}

func (s *Store) snapshot(ctx context.Context, paths []string) (Snapshot, error) {
	if len(paths) == 0 {
		return Snapshot{}, nil
	}
	resp, err := s.client.Txn(ctx).Then(gets(paths)...).Commit()
	if err != nil {
		return Snapshot{}, fmt.Errorf("cannot read: %w", err)
	}
	return snapshotOf(paths, resp), nil
}

func snapshotOf(paths []string, resp *clientv3.TxnResponse) Snapshot {
	snap := Snapshot{Revision: resp.Header.Revision, kvs: make(map[string]*mvccpb.KeyValue, len(paths))}
	for i, p := range paths {
		snap.kvs[p] = nil
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			snap.kvs[p] = kvs[0]
		}
	}
	return snap
}

// guards compare the ModRevision of everything read; 0 stands for what is not there. (Version would not do: it begins
// anew when a key is made again.)
func (s Snapshot) guards() []clientv3.Cmp {
	cmps := make([]clientv3.Cmp, 0, len(s.kvs))
	for path, kv := range s.kvs {
		var rev int64
		if kv != nil {
			rev = kv.ModRevision
		}
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(path), "=", rev))
	}
	return cmps
}

// encodeOps turns changes into etcd's, leaving out those that change nothing.
func (s *Store) encodeOps(ctx context.Context, snap Snapshot, ops []Op) ([]clientv3.Op, error) {
	if len(ops) > maxOps {
		return nil, fmt.Errorf("%d changes are more than the %d that one transaction may have", len(ops), maxOps)
	}
	var out []clientv3.Op
	for _, op := range ops {
		if op.err != nil {
			return nil, op.err
		}
		if op.all {
			out = append(out, clientv3.OpDelete(op.path, clientv3.WithPrefix()))
			continue
		}
		old, read := snap.kvs[op.path]
		if op.delete {
			if !read || old != nil {
				out = append(out, clientv3.OpDelete(op.path))
			}
			continue
		}
		value, err := encode(op.value)
		if err != nil {
			return nil, fmt.Errorf("cannot encode %s: %w", op.path, err)
		}
		var opts []clientv3.OpOption
		lease, err := s.leaseOf(ctx, op)
		if err != nil {
			return nil, err
		}
		if lease != 0 {
			opts = append(opts, clientv3.WithLease(lease))
		}
		if old != nil && bytes.Equal(old.Value, value) && old.Lease == int64(lease) {
			continue
		}
		out = append(out, clientv3.OpPut(op.path, string(value), opts...))
	}
	return out, nil
}

// With returns a snapshot in which a record has the value that the decision is about to put.
func With[T any](s Snapshot, k Key[T], v T) Snapshot {
	value, err := encode(v)
	if err != nil {
		return s // Put fails the same way
	}
	kvs := maps.Clone(s.kvs)
	if kvs == nil {
		kvs = map[string]*mvccpb.KeyValue{}
	}
	kvs[k.path] = &mvccpb.KeyValue{Key: []byte(k.path), Value: value}
	return Snapshot{Revision: s.Revision, kvs: kvs}
}
