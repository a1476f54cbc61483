// Package takeover gives what an earlier release has written in etcd what this one expects of it.
package takeover

import (
	"context"
	"log/slog"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Dues enters into the due index what has a time and no key there, until no gateway is left that could write more of it, or ctx ends. A
// gateway that starts when that is over reads two marks.
func Dues(ctx context.Context, store *etcdschema.Store, log *slog.Logger) {
	instances := func() error {
		return enterAll(ctx, store, etcdschema.AllInstances(), func(in *etcdschema.Instance) (key etcdschema.Key[etcdschema.Instance], ops []etcdschema.Op) {
			if in.Operation != nil && in.Due.IsZero() {
				ops = plan.Due(in, time.Now())
			}
			return etcdschema.InstanceKey(in.Project, in.ID), ops
		})
	}
	backups := func() error {
		return enterAll(ctx, store, etcdschema.AllBackups(), func(b *etcdschema.Backup) (key etcdschema.Key[etcdschema.Backup], ops []etcdschema.Op) {
			if !b.Removing.IsZero() {
				b.Removing = time.Time{}
				ops = plan.DueRemoval(b, time.Now(), time.Now())
			}
			return etcdschema.BackupKey(b.Project, b.BackupID), ops
		})
	}
	for ctx.Err() == nil {
		done, err := complete(ctx, store, etcdschema.TakenDueInstances, instances)
		if done {
			done, err = complete(ctx, store, etcdschema.TakenDueBackups, backups)
		}
		if done {
			return
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("what an earlier release has written could not all be entered into the due index; it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// again is how long it takes until all is looked at again, while gateways of an earlier release run.
const again = time.Minute

// Keys marks the keys with which earlier releases have sealed something. A gateway does so before it checks its own, and seals anything.
func Keys(ctx context.Context, store *etcdschema.Store) error {
	_, err := complete(ctx, store, etcdschema.TakenSealingKeys, func() error { return keyring.MarkInUse(ctx, store) })
	return err
}

// complete reports whether something is marked as taken over, which it is after all was looked at while no gateway of an earlier release ran.
func complete(ctx context.Context, store *etcdschema.Store, what string, takeOver func() error) (bool, error) {
	mark := etcdschema.TakenOverKey(what)
	if rec, err := etcdschema.Get(ctx, store, mark); err == nil && rec.Found {
		return true, nil
	}
	gateways, err := etcdschema.List(ctx, store, etcdschema.Gateways(), etcdschema.Page{})
	if err != nil {
		return false, err
	}
	if err := takeOver(); err != nil {
		return false, err
	}
	for _, other := range gateways.Records {
		if !other.Value.Dues {
			return false, nil
		}
	}
	_, err = store.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(mark, etcdschema.TakenOver{Complete: time.Now().UTC()})}, nil
	})
	return err == nil, err
}

// enterAll enters every record under a prefix. enter changes it, and returns its key and what else changes with it; nothing when it needs nothing.
func enterAll[T any](ctx context.Context, store *etcdschema.Store, from etcdschema.Prefix[T], enter func(*T) (etcdschema.Key[T], []etcdschema.Op)) error {
	page := etcdschema.Page{Limit: 100}
	for more := true; more; {
		list, err := etcdschema.List(ctx, store, from, page)
		if err != nil {
			return err
		}
		for _, rec := range list.Records {
			key, ops := enter(&rec.Value)
			if len(ops) == 0 {
				continue
			}
			if _, err := store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
				rec, err := etcdschema.Read(s, key)
				if err != nil || !rec.Found {
					return nil, err
				}
				if _, ops := enter(&rec.Value); len(ops) > 0 {
					return append(ops, etcdschema.Put(key, rec.Value)), nil
				}
				return nil, nil
			}); err != nil {
				return err
			}
		}
		more, page.After = list.More, list.Last
	}
	return nil
}
