package takeover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Sets makes sets of what the release before them has written. A gateway does so before it serves.
// It may be done again, and by several gateways at once.
func Sets(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) error {
	_, err := complete(ctx, store, etcdschema.TakenSets, func() error { return makeSets(ctx, store, keys) })
	return err
}

func makeSets(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) error {
	done := map[string]bool{}
	for page := (etcdschema.Page{Limit: 500}); ; {
		list, err := etcdschema.List(ctx, store, etcdschema.FormerInstances(), page)
		if err != nil {
			return fmt.Errorf("cannot read etcd: %w", err)
		}
		for _, rec := range list.Records {
			in := rec.Value
			source := cmp.Or(in.ReplicaOf, in.ID)
			if !in.Former() || done[source] {
				continue
			}
			done[source] = true
			set := former{project: in.Project, source: source, found: in.ID}
			_, err := store.Update(ctx, nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
				return set.takeOver(s, keys, time.Now().UTC())
			})
			if err != nil {
				return fmt.Errorf("the set of instance %s cannot be taken over: %w", source, err)
			}
		}
		if !list.More {
			return nil
		}
		page.After, page.Revision = list.Last, list.Revision
	}
}

// former is a set as the release before sets wrote it.
type former struct {
	project       string
	source, found string // the instance that the others follow, and one of them that says so
}

// takeOver makes a set of it, also in the middle of a promotion. When that was done before it changes nothing.
func (t former) takeOver(s etcdschema.Snapshot, keys *keyring.Keyring, now time.Time) ([]etcdschema.Op, error) {
	members, err := t.members(s)
	if err != nil {
		return nil, err
	}
	set := etcdschema.Set{ID: plan.NewID(), Project: t.project, Kind: etcdschema.SetReplication, Created: now, Updated: now}
	if len(members) < 2 {
		set.ID = "" // it is alone
	}
	var ops []etcdschema.Op
	for _, m := range members {
		in := m.Instance
		in.SetID = set.ID
		set.Locality = cmp.Or(set.Locality, in.Locality)
		set.ReplicationStrategy = cmp.Or(set.ReplicationStrategy, in.ReplicationStrategy)
		set.Datastore = in.Datastore
		if set.ID != "" {
			in.Locality, in.ReplicationStrategy = "", ""
		}
		set.Members = append(set.Members, t.place(m))
		if m.Failed == lifecycle.Promote && members[0].Failed == lifecycle.Fence {
			set.GivenUp = m.ID
		}
		if op := m.Operation; op != nil {
			in.Operation = &op.Operation
		}
		if set.ID != "" && ofSet(m.Operation) {
			in.Operation = nil
			moved, err := t.operation(s, keys, &set, m)
			if err != nil {
				return nil, err
			}
			ops = append(ops, moved...)
		}
		ops = append(ops, plan.Due(&in, now)...)
		ops = append(ops, etcdschema.Put(etcdschema.InstanceKey(t.project, in.ID), in))
	}
	if set.ID == "" {
		return ops, nil
	}
	ops = append(ops, plan.SetDue(&set, now)...)
	return append(ops, etcdschema.Put(etcdschema.SetKey(t.project, set.ID), set)), nil
}

// members are those of the set, the source first. A record that says nothing of the past any more is not one of them.
func (t former) members(s etcdschema.Snapshot) (members []etcdschema.FormerInstance, err error) {
	ids := []string{t.source, t.found}
	for i := 0; i < len(ids); i++ {
		if slices.Contains(ids[:i], ids[i]) {
			continue
		}
		rec, err := etcdschema.Read(s, etcdschema.FormerInstanceKey(t.project, ids[i]))
		if err != nil {
			return nil, err
		}
		in := rec.Value
		if !rec.Found || !in.Former() || in.ID != t.source && in.ReplicaOf != t.source {
			continue
		}
		members = append(members, in)
		ids = append(ids, in.Replicas...)
	}
	return members, nil
}

// place is a member's place in the set.
func (t former) place(in etcdschema.FormerInstance) etcdschema.SetMember {
	m := etcdschema.SetMember{ID: in.ID, Role: etcdschema.RoleReplica, Address: in.Address}
	if in.ID == t.source {
		m.Role = etcdschema.RoleSource
	}
	switch op := in.Operation; {
	case op != nil && op.Kind == lifecycle.Delete:
		m.State = etcdschema.MemberLeaving
	case op != nil && lifecycle.Step(op.Step) == lifecycle.Snapshotting:
		m.State = etcdschema.MemberCopying
	case !in.Prepared:
		m.State = etcdschema.MemberMaking
	}
	return m
}

// ofSet reports whether an operation is one of the set's today.
func ofSet(op *etcdschema.FormerOperation) bool {
	return op != nil && slices.Contains([]string{lifecycle.Promote, lifecycle.Eject}, op.Kind) && lifecycle.Step(op.Step) != lifecycle.Following
}

// operation makes a member's operation the set's, and has the result of its command be the set's.
func (t former) operation(s etcdschema.Snapshot, keys *keyring.Keyring, set *etcdschema.Set, in etcdschema.FormerInstance) ([]etcdschema.Op, error) {
	op := in.Operation
	set.Operation = &etcdschema.SetOperation{
		Operation: op.Operation, Lead: in.ID, Former: t.source, Waiting: op.Waiting, Votes: op.Votes, Position: op.Position,
	}
	if len(op.Sealed) > 0 {
		accounts, err := keys.Open(etcdschema.InstanceKey(t.project, in.ID).String(), op.Sealed)
		if err != nil {
			return nil, err
		}
		set.Operation.Accounts = keys.Seal(etcdschema.SetKey(t.project, set.ID).String(), accounts)
	}
	key := etcdschema.CommandKey(op.Agent, op.Command)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	rec.Value.Set = set.ID
	return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
}
