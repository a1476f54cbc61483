package keyring

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// Check refuses a key file that lacks a key with which something in etcd is sealed, and says in etcd that the first key of the file seals
// from now on. It reads the sealed records themselves only when the file lacks a key that was in use. Before the first Check of this
// release, [MarkInUse] has to look at what an earlier one has sealed.
func Check(ctx context.Context, s *etcdschema.Store, keys *Keyring) error {
	marked, err := etcdschema.List(ctx, s, etcdschema.SealingKeys(), etcdschema.Page{})
	if err != nil {
		return fmt.Errorf("cannot read etcd: %w", err)
	}
	for _, rec := range marked.Records {
		id := etcdschema.SealingKeys().Name(rec.Key)
		if _, have := keys.keys[id]; have {
			continue
		}
		if err := keys.without(ctx, s, id); err != nil {
			return err
		}
	}
	return mark(ctx, s, keys.ids[0])
}

// without refuses to do without a key that something is sealed with, and forgets one that nothing is sealed with any more.
func (k *Keyring) without(ctx context.Context, s *etcdschema.Store, id string) error {
	inUse, err := InUse(ctx, s)
	if err != nil {
		return fmt.Errorf("cannot read etcd: %w", err)
	}
	if n := inUse[id]; n > 0 {
		return fmt.Errorf("%d records in etcd are sealed with key %q, which the key file does not hold (it holds %s): put the key back, or what it seals is lost; "+
			`see "Keys" in docs/operations.md`, n, id, strings.Join(k.ids, ", "))
	}
	_, err = s.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(etcdschema.SealingKeyKey(id))}, nil
	})
	return err
}

// MarkInUse reads all that is sealed in etcd, and marks the keys that it is sealed with.
func MarkInUse(ctx context.Context, s *etcdschema.Store) error {
	inUse, err := InUse(ctx, s)
	if err != nil {
		return err
	}
	return mark(ctx, s, slices.Sorted(maps.Keys(inUse))...)
}

// mark says in etcd that something may be sealed with these keys from now on.
func mark(ctx context.Context, s *etcdschema.Store, ids ...string) error {
	var refs []etcdschema.Ref
	for _, id := range ids {
		refs = append(refs, etcdschema.SealingKeyKey(id))
	}
	_, err := s.Update(ctx, refs, func(snap etcdschema.Snapshot) (ops []etcdschema.Op, err error) {
		for _, id := range ids {
			rec, err := etcdschema.Read(snap, etcdschema.SealingKeyKey(id))
			if err != nil {
				return nil, err
			}
			if !rec.Found {
				ops = append(ops, etcdschema.Put(etcdschema.SealingKeyKey(id), etcdschema.SealingKey{Since: time.Now().UTC()}))
			}
		}
		return ops, nil
	})
	if err != nil {
		return fmt.Errorf("cannot mark in etcd which keys seal: %w", err)
	}
	return nil
}
