package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/etcdschema"
)

// directory keeps the records of one kind, users or projects: by id, with unique names claimed beside them.
type directory[T any] struct {
	store   *etcdschema.Store
	kind    string // "user"
	longest int    // characters of a name
	key     func(id string) etcdschema.Key[T]
	all     etcdschema.Prefix[T]
	idOf    func(T) string
	nameOf  func(T) string
}

func userDirectory(s *etcdschema.Store) directory[etcdschema.IdentityUser] {
	return directory[etcdschema.IdentityUser]{
		store: s, kind: "user", longest: 255, key: etcdschema.IdentityUserKey, all: etcdschema.IdentityUsers(),
		idOf:   func(u etcdschema.IdentityUser) string { return u.ID },
		nameOf: func(u etcdschema.IdentityUser) string { return u.Name },
	}
}

func projectDirectory(s *etcdschema.Store) directory[etcdschema.IdentityProject] {
	return directory[etcdschema.IdentityProject]{
		store: s, kind: "project", longest: 64, key: etcdschema.IdentityProjectKey, all: etcdschema.IdentityProjects(),
		idOf:   func(p etcdschema.IdentityProject) string { return p.ID },
		nameOf: func(p etcdschema.IdentityProject) string { return p.Name },
	}
}

// newID makes an id as Keystone's are: a UUID without dashes.
func newID() string {
	id := uuid.New()
	return hex.EncodeToString(id[:])
}

// read gives a decision the record with an id, or a 404 fault.
func (d directory[T]) read(snap etcdschema.Snapshot, id string) (T, error) {
	r, err := etcdschema.Read(snap, d.key(id))
	if bad := (*etcdschema.ErrBadKey)(nil); errors.As(err, &bad) || err == nil && !r.Found {
		return r.Value, d.missing(id)
	}
	return r.Value, err
}

func (d directory[T]) missing(id string) error {
	return faultf(http.StatusNotFound, "Could not find %s: %s.", d.kind, id)
}

// named gives a decision the record with a name. A claim whose record is gone or has another name holds no more.
func (d directory[T]) named(snap etcdschema.Snapshot, name string) (v T, found bool, err error) {
	claim, err := etcdschema.Read(snap, etcdschema.IdentityNameKey(d.kind, name))
	if err != nil || !claim.Found {
		return v, false, err
	}
	r, err := etcdschema.Read(snap, d.key(claim.Value.ID))
	if err != nil || !r.Found || !sameName(d.nameOf(r.Value), name) {
		return v, false, err
	}
	return r.Value, true, nil
}

// set decides to store v, and to claim its name when it is new. before is the record as it was, nil for none.
func (d directory[T]) set(snap etcdschema.Snapshot, before *T, v T) ([]etcdschema.Op, error) {
	name := d.nameOf(v)
	ops := []etcdschema.Op{etcdschema.Put(d.key(d.idOf(v)), v)}
	if before != nil && d.nameOf(*before) == name {
		return ops, nil
	}
	if !validName(name, d.longest) {
		return nil, faultf(http.StatusBadRequest, "The name of a %s must have 1 to %d printable characters, and no space at its ends.", d.kind, d.longest)
	}
	if other, taken, err := d.named(snap, name); err != nil {
		return nil, err
	} else if taken && d.idOf(other) != d.idOf(v) {
		return nil, faultf(http.StatusConflict, "Conflict occurred attempting to store %s: there is one with the name %s.", d.kind, name)
	}
	if before != nil && !sameName(d.nameOf(*before), name) {
		ops = append(ops, etcdschema.Delete(etcdschema.IdentityNameKey(d.kind, d.nameOf(*before))))
	}
	claim := etcdschema.IdentityName{ID: d.idOf(v), Kind: d.kind, Name: name}
	return append(ops, etcdschema.Put(etcdschema.IdentityNameKey(d.kind, name), claim)), nil
}

// sameName reports whether two names are one, as [etcdschema.IdentityNameKey] has it.
func sameName(a, b string) bool {
	return etcdschema.IdentityNameKey("", a).String() == etcdschema.IdentityNameKey("", b).String()
}

func validName(name string, longest int) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= longest &&
		strings.TrimSpace(name) == name && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// get reads the record with an id, or returns a 404 fault.
func (d directory[T]) get(ctx context.Context, id string) (T, error) {
	r, err := etcdschema.Get(ctx, d.store, d.key(id))
	if bad := (*etcdschema.ErrBadKey)(nil); errors.As(err, &bad) || errors.Is(err, etcdschema.ErrNotFound) {
		return r.Value, d.missing(id)
	}
	return r.Value, err
}

// find reads the record with a name.
func (d directory[T]) find(ctx context.Context, name string) (v T, found bool, err error) {
	_, err = d.store.Update(ctx, nil, func(snap etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		v, found, err = d.named(snap, name)
		return nil, err
	})
	return v, found, err
}

// list reads every record, in the order of names.
func (d directory[T]) list(ctx context.Context) ([]T, error) {
	l, err := etcdschema.List(ctx, d.store, d.all, etcdschema.Page{})
	if err != nil {
		return nil, err
	}
	vs := make([]T, 0, len(l.Records))
	for _, r := range l.Records {
		vs = append(vs, r.Value)
	}
	slices.SortFunc(vs, func(a, b T) int { return strings.Compare(d.nameOf(a), d.nameOf(b)) })
	return vs, errors.Join(l.Bad...)
}

// create stores a new record; 409 when its name is taken.
func (d directory[T]) create(ctx context.Context, v T) error {
	_, err := d.store.Update(ctx, nil, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return d.set(snap, nil, v)
	})
	return err
}

// change stores what edit makes of a record; 404 when it is not there. edit may be called many times.
func (d directory[T]) change(ctx context.Context, id string, edit func(etcdschema.Snapshot, *T) error) (after T, err error) {
	_, err = d.store.Update(ctx, nil, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		before, err := d.read(snap, id)
		if err != nil {
			return nil, err
		}
		if after, err = d.read(snap, id); err != nil { // decoded anew: edit may change what before points to
			return nil, err
		}
		if err := edit(snap, &after); err != nil {
			return nil, err
		}
		return d.set(snap, &before, after)
	})
	return after, err
}

// remove deletes a record and its claim; 404 when it is not there. allow may refuse.
func (d directory[T]) remove(ctx context.Context, id string, allow func(etcdschema.Snapshot, T) error) error {
	_, err := d.store.Update(ctx, nil, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		v, err := d.read(snap, id)
		if err != nil {
			return nil, err
		}
		if err := allow(snap, v); err != nil {
			return nil, err
		}
		return []etcdschema.Op{etcdschema.Delete(d.key(id)), etcdschema.Delete(etcdschema.IdentityNameKey(d.kind, d.nameOf(v)))}, nil
	})
	return err
}
