package etcdschema

import (
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// recent remembers records as they were last seen, by a read or by a watch, so that [Store.Update] can make its first
// decision without a read. What is remembered may be wrong: the commit's guards find that out, and neither a refusal nor
// "nothing to do" is believed before it was read.
type recent struct {
	mu sync.Mutex
	// Two generations of at most recentMax records: when the young one is full it becomes the old one, and what nobody
	// has asked for since is forgotten.
	young, old map[string]*mvccpb.KeyValue // nil: not there
}

const recentMax = 4096

// snapshot is a guess of the records at paths; false when one of them is not remembered.
func (r *recent) snapshot(paths []string) (Snapshot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	snap := Snapshot{kvs: make(map[string]*mvccpb.KeyValue, len(paths))}
	for _, p := range paths {
		kv, ok := r.young[p]
		if !ok {
			if kv, ok = r.old[p]; !ok {
				return Snapshot{}, false
			}
			r.put(p, kv)
		}
		snap.kvs[p] = kv
	}
	return snap, true
}

// saw remembers a record; kv nil: it is not there.
func (r *recent) saw(path string, kv *mvccpb.KeyValue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(path, kv)
}

func (r *recent) sawAll(snap Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for path, kv := range snap.kvs {
		r.put(path, kv)
	}
}

// put remembers; r.mu must be held.
func (r *recent) put(path string, kv *mvccpb.KeyValue) {
	if len(r.young) >= recentMax {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[string]*mvccpb.KeyValue)
	}
	r.young[path] = kv
}

// changed forgets what a transaction has written at revision, but for what a watch has told of it already.
func (r *recent) changed(ops []clientv3.Op, revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, op := range ops {
		path := string(op.KeyBytes())
		if kv := r.young[path]; kv == nil || kv.ModRevision < revision {
			delete(r.young, path)
			delete(r.old, path)
		}
	}
}

// forget forgets everything: etcd may have another history now, in which the same revision is another record.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old = nil, nil
}
