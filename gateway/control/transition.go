package control

import (
	"context"

	"github.com/cofferdb/coffer/etcdschema"
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
