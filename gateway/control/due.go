package control

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// dues are all kinds of what happens at its time.
func (cp *Plane) dues() []due.Kind {
	return []due.Kind{
		{Name: plan.DueInstance, Happen: cp.instanceDue, Places: 8, Within: 10 * time.Second},
	}
}

// Begin lets happen what is due from now on, until Close.
func (cp *Plane) Begin() {
	for _, kind := range cp.dues() {
		cp.Go(due.New(cp.Store, cp.Log, cp.Now, kind).Run)
	}
	cp.Go(cp.completeDues)
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
		if !rec.Found || !in.Due.Equal(item.At) { // a gateway of an earlier release has written the record
			return plan.Moves{Ops: []etcdschema.Op{etcdschema.Delete(etcdschema.DueKey(plan.DueInstance, item.At, item.Project, item.ID))}}, nil
		}
		if op := in.Operation; op != nil && !cp.Now().Before(op.Deadline) {
			return cp.Plan(s, in, lifecycle.Event{Type: lifecycle.Overdue}).Decide()
		}
		ops := plan.Due(&in, cp.Now())
		return plan.Moves{Ops: append(ops, etcdschema.Put(key, in))}, nil
	})
	return err
}

// completeEvery is how long a gateway waits, before it looks again for what has no key, while others do not give them.
const completeEvery = time.Minute

// completeDues gives a key to each instance that an earlier release has written, until no gateway of one is left that could write more.
func (cp *Plane) completeDues(ctx context.Context) {
	mark := etcdschema.DueKindKey(plan.DueInstance)
	for ctx.Err() == nil {
		rec, err := etcdschema.Get(ctx, cp.Store, mark)
		if err == nil && rec.Found {
			return
		}
		done, err := cp.completeOnce(ctx)
		if done {
			_, err = cp.Store.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
				return []etcdschema.Op{etcdschema.Put(mark, etcdschema.DueKind{Complete: cp.Now().UTC()})}, nil
			})
		}
		if done && err == nil {
			return
		}
		if err != nil && ctx.Err() == nil {
			cp.Log.Warn("what an earlier release has written could not all be entered into the due index; it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(completeEvery):
		}
	}
}

// completeOnce gives keys to all instances that have none, and reports whether all gateways that were there when it began do so themselves.
func (cp *Plane) completeOnce(ctx context.Context) (all bool, err error) {
	gateways, err := etcdschema.List(ctx, cp.Store, etcdschema.Gateways(), etcdschema.Page{})
	if err != nil {
		return false, err
	}
	all = true
	for _, other := range gateways.Records {
		all = all && other.Value.Dues
	}
	page := etcdschema.Page{Limit: 100}
	for more := true; more; {
		list, err := etcdschema.List(ctx, cp.Store, etcdschema.AllInstances(), page)
		if err != nil {
			return false, err
		}
		for _, rec := range list.Records {
			if rec.Value.Operation == nil || !rec.Value.Due.IsZero() {
				continue
			}
			if err := cp.enter(ctx, etcdschema.InstanceKey(rec.Value.Project, rec.Value.ID)); err != nil {
				return false, err
			}
		}
		more, page.After = list.More, list.Last
	}
	return all, nil
}

// enter gives an instance its key in the due index.
func (cp *Plane) enter(ctx context.Context, key etcdschema.Key[etcdschema.Instance]) error {
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Found {
			return nil, err
		}
		in := rec.Value
		ops := plan.Due(&in, cp.Now())
		if len(ops) == 0 {
			return nil, nil
		}
		return append(ops, etcdschema.Put(key, in)), nil
	})
	return err
}
