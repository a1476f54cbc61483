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

// Unread reports whether the error of a decision only asks for one more record: see [Read].
func Unread(err error) bool {
	_, is := errors.AsType[*errNeed](err)
	return is
}

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
//
// Records that were seen lately are not read for the first decision: the commit's guards tell whether they still hold.
func (s *Store) Update(ctx context.Context, refs []Ref, decide func(Snapshot) ([]Op, error)) (int64, error) {
	paths, err := pathsOf(refs)
	if err != nil {
		return 0, err
	}
	u := update{store: s, paths: paths, decide: decide}
	var guess bool
	if u.snap, guess = s.recent.snapshot(u.paths); guess && dryRunOf(ctx) == nil {
		if revision, done, err := u.tryGuess(ctx); done || err != nil {
			return revision, err
		}
	}
	return u.run(ctx)
}

func pathsOf(refs []Ref) ([]string, error) {
	paths := make([]string, len(refs))
	for i, r := range refs {
		path, err := r.ref()
		if err != nil {
			return nil, err
		}
		paths[i] = path
	}
	return paths, nil
}

// update is one transition in the making.
type update struct {
	store  *Store
	paths  []string // what the decision reads
	snap   Snapshot // of paths
	decide func(Snapshot) ([]Op, error)
}

// tryGuess commits a decision over what was remembered. It says done only when that was right and wrote something. An
// error is of a commit of which nobody knows whether it happened.
func (u *update) tryGuess(ctx context.Context) (revision int64, done bool, err error) {
	for {
		ops, err := u.decide(u.snap)
		if need := (*errNeed)(nil); errors.As(err, &need) {
			u.need(need.path)
			guess := false
			if u.snap, guess = u.store.recent.snapshot(u.paths); guess {
				continue
			}
			return 0, false, nil
		}
		if err != nil || len(ops) == 0 {
			return 0, false, nil
		}
		resp, err := u.commit(ctx, ops, nil)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			err = nil // nothing was written
		}
		if err != nil || resp == nil || !resp.Succeeded {
			return 0, false, err
		}
		return resp.Header.Revision, true, nil
	}
}

// run decides over what is read, again and again until nothing came between.
func (u *update) run(ctx context.Context) (int64, error) {
	if err := u.read(ctx); err != nil {
		return 0, err
	}
	for conflicts, regranted := 0, false; ; {
		ops, err := u.decide(u.snap)
		if need := (*errNeed)(nil); errors.As(err, &need) {
			u.need(need.path)
			if err := u.read(ctx); err != nil {
				return 0, err
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		resp, err := u.commit(ctx, ops, gets(u.paths))
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound) && !regranted:
			regranted = true // etcd was set back to before the lease; a session finds out by itself
			u.store.buckets.forget()
			continue
		case err != nil:
			return 0, err
		case resp == nil:
			return u.snap.Revision, nil
		case resp.Succeeded:
			return resp.Header.Revision, nil
		}
		if conflicts++; conflicts == maxConflicts {
			return 0, ErrConflict
		}
		u.snap = snapshotOf(u.paths, resp)
		if conflicts > 2 { // one conflict is chance, many are a crowd
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(rand.N(maxPause)):
			}
		}
	}
}

func (u *update) need(path string) {
	if !slices.Contains(u.paths, path) {
		u.paths = append(u.paths, path)
	}
}

func (u *update) read(ctx context.Context) (err error) {
	u.snap, err = u.store.snapshot(ctx, u.paths)
	return err
}

// commit writes the changes, guarded by what was read. The answer is nil when there is nothing to write, and holds what
// otherwise reads when a guard failed.
func (u *update) commit(ctx context.Context, ops []Op, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	if f := dryRunOf(ctx); f != nil {
		return nil, f.foresee(u.snap, ops)
	}
	then, err := u.store.encodeOps(ctx, u.snap, ops)
	if err != nil || len(then) == 0 {
		return nil, err
	}
	resp, err := u.store.group.commit(ctx, txn{guards: u.snap.guards(), writes: then, otherwise: otherwise})
	if err != nil {
		if Full(err) {
			u.store.full.note()
		}
		return nil, fmt.Errorf("cannot commit: %w", err)
	}
	if resp.Succeeded {
		u.store.recent.changed(then, resp.Header.Revision)
	}
	return resp, nil
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
	snap, err := s.readAll(ctx, paths)
	if err != nil {
		return Snapshot{}, fmt.Errorf("cannot read: %w", err)
	}
	s.recent.sawAll(snap)
	return snap, nil
}

// readAll reads a single record without a transaction: that is half the work for etcd.
func (s *Store) readAll(ctx context.Context, paths []string) (Snapshot, error) {
	if len(paths) == 1 {
		resp, err := s.client.Get(ctx, paths[0])
		if err != nil {
			return Snapshot{}, err
		}
		snap := Snapshot{Revision: resp.Header.Revision, kvs: map[string]*mvccpb.KeyValue{paths[0]: nil}}
		if len(resp.Kvs) > 0 {
			snap.kvs[paths[0]] = resp.Kvs[0]
		}
		return snap, nil
	}
	resp, err := s.client.Txn(ctx).Then(gets(paths)...).Commit()
	if err != nil {
		return Snapshot{}, err
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
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		last[op.path] = i
	}
	for i, op := range ops {
		if last[op.path] != i && op.err == nil && !op.all {
			continue // changed again by a later part of the decision
		}
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

// After returns a snapshot in which the records that ops put have their new values, for the rest of a decision.
func (s Snapshot) After(ops ...Op) Snapshot {
	for _, op := range ops {
		if !op.delete && !op.all && op.err == nil {
			s = With(s, Key[any]{path: op.path}, op.value)
		}
	}
	return s
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
