package pitr

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// rest is what no backup needs of a window: its segments from first to last, whose bytes together with those before them are Bytes.
type rest struct {
	window      string
	first, last int64
	bytes       int64
	whole       bool // the window goes with them
}

// needless finds what no backup needs: nil, when all is needed. The backups were read after the archive: no other backup can begin in a
// window that was closed before, and none before the last segment in one that is open.
func needless(a etcdschema.Archive, all []etcdschema.Backup) *rest {
	for i := range a.Windows {
		w := &a.Windows[i]
		needed := bases(all, a.Instance, w.ID)
		if len(needed) == 0 {
			if w != a.Open() {
				return &rest{w.ID, w.First, w.Last, w.Bytes, true}
			}
			continue
		}
		oldest := needed[0].Log
		for _, b := range needed {
			if b.Log.After < oldest.After {
				oldest = b.Log
			}
		}
		if oldest.After >= w.First {
			return &rest{w.ID, w.First, oldest.After, oldest.Bytes, false}
		}
	}
	return nil
}

// trimAtATime is how many segments are removed until that is written down.
const trimAtATime = 500

// trim removes what nobody needs, and gives its quota back.
func (r *Recovery) trim(ctx context.Context, item due.Item, x rest) error {
	prefix := segments.ArchivePrefix(item.Project, item.ID, x.window)
	if x.whole {
		if err := r.Control.Blobs.DeleteAll(ctx, prefix); err != nil {
			return err
		}
	} else {
		for n := x.first; n <= x.last; n++ {
			if n-x.first >= trimAtATime {
				return r.trimmed(ctx, item, rest{window: x.window, last: n - 1})
			}
			if err := r.Control.Blobs.Delete(ctx, segments.ChunkName(prefix, n)); err != nil {
				return err
			}
		}
	}
	if err := r.trimmed(ctx, item, x); err != nil || !x.whole {
		return err
	}
	return r.Control.Blobs.DeleteAll(ctx, prefix) // what was on its way; later ones are refused
}

// trimmed writes down what was removed, and has the archive be looked at again.
func (r *Recovery) trimmed(ctx context.Context, item due.Item, x rest) error {
	return r.step(ctx, item, func(s etcdschema.Snapshot, a *etcdschema.Archive) (time.Time, []etcdschema.Op, error) {
		now := r.Control.Now().UTC()
		w := a.Window(x.window)
		if w == nil {
			return now, nil, nil
		}
		w.First = x.last + 1
		held := w.Held - max(0, x.bytes-w.Freed)
		if x.whole {
			held = 0
		}
		ops, err := plan.ChargeWindow(s, a.Project, w, held)
		w.Freed = max(w.Freed, x.bytes)
		if x.whole {
			for i := range a.Windows {
				if a.Windows[i].ID == x.window {
					a.Windows = append(a.Windows[:i:i], a.Windows[i+1:]...)
					break
				}
			}
		}
		return now, ops, err
	})
}

// forget takes away the record of an archive that has nothing any more and gets nothing.
func (r *Recovery) forget(ctx context.Context, item due.Item, askFirst bool) error {
	if askFirst {
		return r.ask(ctx, item)
	}
	key := etcdschema.ArchiveKey(item.Project, item.ID)
	_, err := r.Control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Found || !rec.Value.Due.Equal(item.At) || len(rec.Value.Windows) > 0 {
			return nil, err
		}
		return append(plan.ArchiveDue(&rec.Value, never, r.Control.Now()), etcdschema.Delete(key)), nil
	})
	return err
}
