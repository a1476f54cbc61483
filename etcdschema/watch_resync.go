package etcdschema

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// resync tells everything under the listed part of the prefix, read page by page at one revision, and what has gone
// since it was told.
func (w *watch) resync(ctx context.Context) error {
	w.store.recent.forget()
	batch := Batch{Resync: true}
	known := map[string]struct{}{}
	from, end := w.listed, clientv3.GetPrefixRangeEnd(w.listed)
	if w.tail {
		from, end = w.prefix, w.prefix+"\x00" // no record's key: its answer tells the revision
	}
	var cluster uint64
	for more := true; more; {
		resp, err := w.page(ctx, from, end, batch.Revision)
		if err != nil {
			return err
		}
		if batch.Revision == 0 {
			batch.Revision, cluster = resp.Header.Revision, resp.Header.ClusterId
		}
		for _, kv := range resp.Kvs {
			c := Change{Key: string(kv.Key), Value: present(kv.Value), Revision: kv.ModRevision}
			batch.Changes = append(batch.Changes, c)
			known[c.Key] = struct{}{}
			from = c.Key + "\x00"
		}
		more = resp.More
	}
	for key := range w.known {
		if _, ok := known[key]; !ok {
			batch.Changes = append(batch.Changes, Change{Key: key, Revision: batch.Revision})
		}
	}
	slices.SortFunc(batch.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Key, b.Key))
	})
	w.known, w.revision, w.cluster = known, batch.Revision, cluster
	w.handle(batch)
	return nil
}

// page reads a part of the list, with a deadline of its own: a store of any size must not hang the watch for ever.
func (w *watch) page(ctx context.Context, from, end string, revision int64) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, w.store.watchdog)
	defer cancel()
	resp, err := w.store.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithRev(revision), clientv3.WithLimit(listPage))
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", w.prefix, err)
	}
	return resp, nil
}
