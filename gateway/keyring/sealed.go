package keyring

import (
	"context"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/etcdschema"
)

// sealedPlaces are all kinds of records in which something is sealed with the gateways' key. A new one belongs here, or `coffer keys
// reseal` would leave it behind; a test looks for it.
func sealedPlaces() []sealedPlace {
	return []sealedPlace{
		placeOf(etcdschema.AllInstances(), func(name string) (etcdschema.Key[etcdschema.Instance], bool) {
			project, id, ok := strings.Cut(name, "/")
			return etcdschema.InstanceKey(project, id), ok
		}, func(in *etcdschema.Instance) []*[]byte { return []*[]byte{&in.Sealed} }),
		placeOf(etcdschema.AllSets(), func(name string) (etcdschema.Key[etcdschema.Set], bool) {
			project, id, ok := strings.Cut(name, "/")
			return etcdschema.SetKey(project, id), ok
		}, func(set *etcdschema.Set) []*[]byte {
			if set.Operation == nil {
				return []*[]byte{&set.Secret}
			}
			return []*[]byte{&set.Secret, &set.Operation.Accounts}
		}),
		placeOf(etcdschema.AllSchedules(), func(name string) (etcdschema.Key[etcdschema.Schedule], bool) {
			project, id, ok := strings.Cut(name, "/")
			return etcdschema.ScheduleKey(project, id), ok
		}, func(sch *etcdschema.Schedule) []*[]byte { return []*[]byte{&sch.Question} }),
		placeOf(etcdschema.AllDrills(), func(name string) (etcdschema.Key[etcdschema.Drills], bool) {
			project, instance, ok := strings.Cut(name, "/")
			return etcdschema.DrillsKey(project, instance), ok
		}, func(d *etcdschema.Drills) []*[]byte { return []*[]byte{&d.Question} }),
		placeOf(etcdschema.AllModuleContents(), func(name string) (etcdschema.Key[etcdschema.ModuleContents], bool) {
			return etcdschema.ModuleContentsKey(name), true
		}, func(m *etcdschema.ModuleContents) []*[]byte { return []*[]byte{&m.Sealed} }),
		placeOf(etcdschema.ProjectStreamKeys(), func(name string) (etcdschema.Key[etcdschema.StreamKey], bool) {
			project, ok := strings.CutSuffix(name, "/backup-key")
			return etcdschema.StreamKeyKey(project), ok
		}, func(k *etcdschema.StreamKey) []*[]byte { return []*[]byte{&k.Sealed} }),
		placeOf(etcdschema.ProjectAuthorities(), func(name string) (etcdschema.Key[etcdschema.Authority], bool) {
			project, ok := strings.CutSuffix(name, "/authority")
			return etcdschema.ProjectAuthorityKey(project), ok
		}, func(a *etcdschema.Authority) []*[]byte { return []*[]byte{&a.Sealed} }),
		placeOf(etcdschema.Authorities(), func(name string) (etcdschema.Key[etcdschema.Authority], bool) {
			return etcdschema.AuthorityKey(name), true
		}, func(a *etcdschema.Authority) []*[]byte { return []*[]byte{&a.Sealed} }),
	}
}

// sealedPlace is one kind of them.
type sealedPlace struct {
	// ids counts the key ids that its records are sealed with.
	ids func(context.Context, *etcdschema.Store, map[string]int) error
	// reseal seals each of them with the first key of the ring, and returns how many were not.
	reseal func(context.Context, *etcdschema.Store, *Keyring) (int, error)
}

// sealedPage is how many records are read at once.
const sealedPage = 500

// placeOf is the place of the records below a prefix. keyOf finds the key of a name, false for another kind's; parts are what may be
// sealed in a record.
func placeOf[T any](all etcdschema.Prefix[T], keyOf func(name string) (etcdschema.Key[T], bool), parts func(*T) []*[]byte) sealedPlace {
	each := func(ctx context.Context, s *etcdschema.Store, f func(etcdschema.Key[T], T) error) error {
		for page := (etcdschema.Page{Limit: sealedPage}); ; {
			list, err := etcdschema.List(ctx, s, all, page)
			if err != nil {
				return err
			}
			for _, rec := range list.Records {
				if key, ours := keyOf(all.Name(rec.Key)); ours {
					if err := f(key, rec.Value); err != nil {
						return err
					}
				}
			}
			if !list.More {
				return nil
			}
			page.After, page.Revision = list.Last, list.Revision
		}
	}
	return sealedPlace{
		ids: func(ctx context.Context, s *etcdschema.Store, count map[string]int) error {
			return each(ctx, s, func(_ etcdschema.Key[T], v T) error {
				for _, part := range parts(&v) {
					if len(*part) > 0 {
						count[keyIDOf(*part)]++
					}
				}
				return nil
			})
		},
		reseal: func(ctx context.Context, s *etcdschema.Store, keys *Keyring) (changed int, err error) {
			err = each(ctx, s, func(key etcdschema.Key[T], v T) error {
				if !slices.ContainsFunc(parts(&v), keys.outdated) {
					return nil
				}
				_, err := s.Update(ctx, []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
					rec, err := etcdschema.Read(snap, key)
					if err != nil || !rec.Found {
						return nil, err
					}
					for _, part := range parts(&rec.Value) {
						if !keys.outdated(part) {
							continue
						}
						text, err := keys.Open(key.String(), *part)
						if err != nil {
							return nil, err
						}
						*part = keys.Seal(key.String(), text)
					}
					return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
				})
				changed++
				return err
			})
			return changed, err
		},
	}
}

// keyIDOf is the id of the key that something was sealed with.
func keyIDOf(sealed []byte) string {
	id, _, _ := strings.Cut(string(sealed), ":")
	return id
}

// outdated reports whether something is sealed, and not with the first key.
func (k *Keyring) outdated(part *[]byte) bool { return len(*part) > 0 && keyIDOf(*part) != k.ids[0] }

// IDs are the ids of the keys, the one that seals first.
func (k *Keyring) IDs() []string { return slices.Clone(k.ids) }

// InUse counts what is sealed in etcd by the id of its key.
func InUse(ctx context.Context, s *etcdschema.Store) (map[string]int, error) {
	count := map[string]int{}
	for _, place := range sealedPlaces() {
		if err := place.ids(ctx, s, count); err != nil {
			return nil, err
		}
	}
	return count, nil
}

// Reseal seals everything in etcd with the first key, and returns how many records it has changed. It may be run again, and while
// gateways run that have this key.
func Reseal(ctx context.Context, s *etcdschema.Store, keys *Keyring) (changed int, err error) {
	if err := mark(ctx, s, keys.ids[0]); err != nil {
		return 0, err
	}
	for _, place := range sealedPlaces() {
		n, err := place.reseal(ctx, s, keys)
		changed += n
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}
