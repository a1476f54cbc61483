package etcdschema

import (
	"context"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Change is one record that was put or deleted.
type Change struct {
	Key      string
	Value    []byte // nil: deleted
	Revision int64
}

// Batch is what happened up to Revision. All changes of one revision are in one batch, in etcd's order.
type Batch struct {
	Changes  []Change
	Revision int64
	// Resync: Changes is everything there is under the prefix, and a deletion of everything that was told before and is
	// gone. The first batch is one; later ones follow compaction and a lost etcd.
	Resync bool
}

// Watch tells handle everything that happens under prefix until ctx ends; then it returns ctx's error. It lists, then
// watches from the next revision on, requires a leader, asks for progress and begins anew when no answer comes. An empty
// batch reports progress only. handle is called from one goroutine and should be quick.
//
// Revision never falls from one batch to the next, but for a Resync after etcd itself went back (restored from an older
// snapshot). An etcd that went back and has overtaken the watch again before it was reached looks like one that never
// did: that is what a new [Epoch] is for.
func (s *Store) Watch(ctx context.Context, prefix string, handle func(Batch)) error {
	return s.Follow(ctx, prefix, prefix, handle)
}

// Follow is [Store.Watch] for a prefix of which only a part is worth listing: a Resync holds what is there under listed,
// which lies under prefix; of the rest it says only that anything may have happened.
func (s *Store) Follow(ctx context.Context, prefix, listed string, handle func(Batch)) error {
	return (&watch{store: s, prefix: prefix, listed: listed, handle: handle, known: map[string]struct{}{}}).last(ctx)
}

// Tail is [Store.Watch] for a prefix of which nothing is listed: a Resync is empty, and says that anything may have happened.
func (s *Store) Tail(ctx context.Context, prefix string, handle func(Batch)) error {
	return (&watch{store: s, prefix: prefix, tail: true, handle: handle}).last(ctx)
}

// last watches until ctx ends.
func (w *watch) last(ctx context.Context) error {
	retry := watchRetryMin
	for {
		began := time.Now()
		err := w.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > watchRetryMax {
			retry = watchRetryMin
		}
		w.store.log.Warn("the watch begins anew", "prefix", w.prefix, "revision", w.revision, "err", err)
		pause(ctx, retry)
		retry = min(2*retry, watchRetryMax)
	}
}

// How long a watch that failed waits before it begins anew, and how many records it lists at a time.
const (
	watchRetryMin = 50 * time.Millisecond
	watchRetryMax = 3 * time.Second
	listPage      = 1000
)

// watch is one prefix that is watched, over as many connections as it takes.
type watch struct {
	store    *Store
	prefix   string
	listed   string // the part of prefix that a resync lists
	tail     bool   // it lists nothing; nobody decides over the records that go by, so none is remembered
	handle   func(Batch)
	known    map[string]struct{} // keys under listed that were told and are not deleted
	revision int64               // told up to here; 0: a resync is due
	cluster  uint64              // the id of the etcd that counted it
}

// run watches over one connection of its own until that fails.
func (w *watch) run(ctx context.Context) error {
	if w.revision == 0 {
		if err := w.resync(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	// A connection of its own: progress is answered for a whole connection, and closing it disturbs nobody else.
	conn := clientv3.NewWatcher(w.store.client)
	defer conn.Close()
	return w.follow(ctx, conn)
}

// apply tells what one answer of etcd says.
func (w *watch) apply(ctx context.Context, resp clientv3.WatchResponse) error {
	if resp.CompactRevision != 0 {
		w.revision = 0
	}
	if err := resp.Err(); err != nil {
		return err
	}
	if resp.Header.ClusterId != w.cluster || resp.Header.Revision < w.revision {
		if err := w.suspect(ctx); err != nil {
			return err
		}
	}
	batch := Batch{Revision: resp.Header.Revision}
	if len(resp.Events) > 0 {
		// The header may be ahead of what this answer holds, when etcd is catching up.
		batch.Revision = max(w.revision, resp.Events[len(resp.Events)-1].Kv.ModRevision)
	} else if resp.Created || batch.Revision <= w.revision {
		return nil // nothing new; and a watch that was just created has not caught up
	}
	for _, e := range resp.Events {
		c := Change{Key: string(e.Kv.Key), Revision: e.Kv.ModRevision}
		if e.Type != clientv3.EventTypeDelete {
			c.Value = present(e.Kv.Value)
		}
		w.remember(c, e.Kv)
		batch.Changes = append(batch.Changes, c)
	}
	w.revision = batch.Revision
	w.handle(batch)
	return nil
}

// remember keeps what a change says for a later resync and for decisions.
func (w *watch) remember(c Change, kv *mvccpb.KeyValue) {
	switch {
	case w.tail:
	case c.Value == nil:
		delete(w.known, c.Key)
		w.store.recent.saw(c.Key, nil)
	default:
		w.store.recent.saw(c.Key, kv)
		if strings.HasPrefix(c.Key, w.listed) {
			w.known[c.Key] = struct{}{}
		}
	}
}

// suspect looks closer when an answer is of an earlier revision than what was told, or of another cluster. It may be a
// member that lags behind; or etcd's history is not the one that was told.
func (w *watch) suspect(ctx context.Context) error {
	resp, err := w.store.client.Get(ctx, w.prefix, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if resp.Header.ClusterId == w.cluster && resp.Header.Revision >= w.revision {
		return nil
	}
	told := w.revision
	w.revision = 0
	return &errWentBack{told: told, now: resp.Header.Revision}
}

// present makes a value that is there differ from nil.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}
