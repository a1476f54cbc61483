package definitions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
)

// record is one definition, ready to be put: a value, or two that go together.
type record struct {
	key   string // of the first value
	refs  []etcdschema.Ref
	ops   []etcdschema.Op
	diffs []func(context.Context, *etcdschema.Store) ([]string, error)
}

func recordOf[T any](k etcdschema.Key[T], v T) record {
	return record{
		key:  k.String(),
		refs: []etcdschema.Ref{k},
		ops:  []etcdschema.Op{etcdschema.Put(k, v)},
		diffs: []func(context.Context, *etcdschema.Store) ([]string, error){
			func(ctx context.Context, s *etcdschema.Store) ([]string, error) { return diff(ctx, s, k, v) },
		},
	}
}

// with joins another record to this one's transaction.
func (r record) with(other record) record {
	r.refs, r.ops, r.diffs = append(r.refs, other.refs...), append(r.ops, other.ops...), append(r.diffs, other.diffs...)
	return r
}

func (r record) put(ctx context.Context, s *etcdschema.Store) error {
	_, err := s.Update(ctx, r.refs, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return r.ops, nil })
	return err
}

// compare says how the record differs from etcd's.
func (r record) compare(ctx context.Context, s *etcdschema.Store) ([]string, error) {
	var lines []string
	for _, f := range r.diffs {
		more, err := f(ctx, s)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// diff compares a value with the one in etcd, option by option.
func diff[T any](ctx context.Context, s *etcdschema.Store, k etcdschema.Key[T], v T) ([]string, error) {
	rec, err := etcdschema.Get(ctx, s, k)
	var bad *etcdschema.ErrBadRecord
	switch {
	case errors.Is(err, etcdschema.ErrNotFound):
		return []string{"+ " + k.String()}, nil
	case errors.As(err, &bad):
		return []string{fmt.Sprintf("~ %s: what is in etcd cannot be read: %v", k, bad.Err)}, nil
	case err != nil:
		return nil, err
	}
	here, err := options(v)
	if err != nil {
		return nil, err
	}
	there, err := options(rec.Value)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(here)
	maps.Copy(all, there)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !reflect.DeepEqual(here[name], there[name]) {
			lines = append(lines, fmt.Sprintf("~ %s: %s: %s here, %s in etcd", k, name, show(here, name), show(there, name)))
		}
	}
	return lines, nil
}

// options is a value's members.
func options(v any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	return m, json.Unmarshal(b, &m)
}

func show(m map[string]any, name string) string {
	v, ok := m[name]
	if !ok {
		return "not set"
	}
	b, _ := json.Marshal(v) // it was read from JSON
	return string(b)
}

// onlyInEtcd lists what etcd offers and have does not.
func onlyInEtcd(ctx context.Context, s *etcdschema.Store, have map[string]bool) ([]string, error) {
	catalogue, err := s.Catalogue(ctx)
	if err != nil {
		return nil, err
	}
	flavors, _, err := s.FlavorList(ctx)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, d := range catalogue.Datastores {
		for _, v := range d.Versions {
			if key := etcdschema.VersionKey(d.Name, v.Name).String(); !have[key] {
				lines = append(lines, "- "+key)
			}
		}
	}
	for _, f := range flavors {
		if key := etcdschema.FlavorKey(f.ID).String(); !have[key] {
			lines = append(lines, "- "+key)
		}
	}
	return lines, nil
}
