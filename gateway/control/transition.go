package control

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Commit makes a decision and writes it in one transaction. decide may be called several times: the moves that it returns last are
// committed.
func (cp *Plane) Commit(ctx context.Context, refs []etcdschema.Ref, decide func(etcdschema.Snapshot) (plan.Moves, error)) (plan.Moves, error) {
	var m plan.Moves
	_, err := cp.Store.Update(ctx, refs, func(s etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		m, err = decide(s)
		return m.Ops, err
	})
	if err != nil {
		return plan.Moves{}, err
	}
	return m, nil
}

// transition lets an event happen to an instance, in one transaction. Each of also checks more, or adds to what is written.
func (cp *Plane) transition(ctx context.Context, project, id string, event lifecycle.Event, also ...func(*plan.Plan) error) (lifecycle.Member, error) {
	key := etcdschema.InstanceKey(project, id)
	m, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := fault.Found(rec, err, "Instance", id)
		if err != nil {
			return plan.Moves{}, err
		}
		member, err := plan.MemberOf(s, in)
		if err != nil {
			return plan.Moves{}, err
		}
		if err := refusedToMember(member, event.Type); err != nil && event.Type != lifecycle.AskConfigure { // as when the values of its group change
			return plan.Moves{}, err
		}
		return decide(cp.Plan(s, member, event), also)
	})
	return m.After, err
}

// transitionSet lets an event happen to a set, in one transaction.
func (cp *Plane) transitionSet(ctx context.Context, project, id string, event lifecycle.Event, also ...func(*plan.Plan) error) error {
	key := etcdschema.SetKey(project, id)
	_, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		set, err := fault.Found(rec, err, "Set", id)
		if err != nil {
			return plan.Moves{}, err
		}
		return decide(cp.Plan(s, lifecycle.Member{Set: set}, event), also)
	})
	return err
}

func decide(p *plan.Plan, also []func(*plan.Plan) error) (plan.Moves, error) {
	for _, f := range also {
		if err := f(p); err != nil {
			return plan.Moves{}, err
		}
	}
	return p.Decide()
}

// Plan begins the plan of what happens to an instance, or to a set.
func (cp *Plane) Plan(s etcdschema.Snapshot, m lifecycle.Member, event lifecycle.Event) *plan.Plan {
	return plan.New(cp.Keys, cp.Signer, cp.Now(), s, m, event)
}

// dues are all kinds of what happens at its time.
func (cp *Plane) dues() []due.Kind {
	kinds := []due.Kind{
		{Name: plan.DueInstance, Happen: cp.instanceDue, Places: 8, Within: 10 * time.Second},
		{Name: plan.DueSet, Happen: cp.setDue, Places: 8, Within: 10 * time.Second},
	}
	if cp.Blobs != nil {
		kinds = append(kinds,
			due.Kind{Name: plan.DueBackup, Happen: cp.backupDue, Places: removals, Within: removalTimeout},
			due.Kind{Name: plan.DueLogs, Happen: cp.logsDue, Places: removals, Within: removalTimeout},
		)
	}
	return kinds
}

// Begin lets happen what is due from now on, until Close.
func (cp *Plane) Begin() {
	for _, kind := range cp.dues() {
		cp.Go(due.New(cp.Store, cp.Log, cp.Now, kind).Run)
	}
}

// instanceDue moves an instance on when its operation is overdue.
func (cp *Plane) instanceDue(ctx context.Context, item due.Item) error {
	key := etcdschema.InstanceKey(item.Project, item.ID)
	_, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return plan.Moves{}, err
		}
		in := rec.Value
		if !rec.Found || !in.Due.Equal(item.At) { // another gateway was first, or one of an earlier release has written the record
			ops, err := item.Drop(s, plan.DueInstance)
			return plan.Moves{Ops: ops}, err
		}
		if op := in.Operation; op != nil && !cp.Now().Before(op.Deadline) {
			m, err := plan.MemberOf(s, in)
			if err != nil {
				return plan.Moves{}, err
			}
			return cp.Plan(s, m, lifecycle.Event{Type: lifecycle.Overdue}).Decide()
		}
		ops := plan.Due(&in, cp.Now())
		return plan.Moves{Ops: append(ops, etcdschema.Put(key, in))}, nil
	})
	return err
}

// setDue is the same for a set.
func (cp *Plane) setDue(ctx context.Context, item due.Item) error {
	key := etcdschema.SetKey(item.Project, item.ID)
	_, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return plan.Moves{}, err
		}
		set := rec.Value
		if !rec.Found || !set.Due.Equal(item.At) {
			ops, err := item.Drop(s, plan.DueSet)
			return plan.Moves{Ops: ops}, err
		}
		if op := set.Operation; op != nil && !cp.Now().Before(op.Deadline) {
			return cp.Plan(s, lifecycle.Member{Set: set}, lifecycle.Event{Type: lifecycle.Overdue}).Decide()
		}
		ops := plan.SetDue(&set, cp.Now())
		return plan.Moves{Ops: append(ops, etcdschema.Put(key, set))}, nil
	})
	return err
}
