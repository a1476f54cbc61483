package modules

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Bounds of applying a module again, Trove's module_reapply_max_batch_size and module_reapply_min_batch_delay.
const (
	maxBatch = 50
	minDelay = 2    // seconds
	maxDelay = 3600 // seconds
)

// ReapplyRequest says to which instances that have a module it is applied again: to those that have something else than what is in it now.
type ReapplyRequest struct {
	MD5       string      `json:"md5"`               // to those that have this alone
	Batch     *int        `json:"batch_size"`        // how many at a time
	Delay     *int        `json:"batch_delay"`       // seconds between two batches
	Force     control.Bit `json:"force"`             // to all, whatever they have
	Clustered control.Bit `json:"include_clustered"` // also to members of clusters
}

// Reapply begins to apply a module again to the instances that have it. Another such request takes the place of one that is under way.
func (ms *Modules) Reapply(ctx context.Context, c control.Caller, id string, req ReapplyRequest) error {
	r := etcdschema.Reapply{MD5: req.MD5, Force: bool(req.Force), Clustered: bool(req.Clustered), Batch: maxBatch, Delay: minDelay, By: c.Who.UserName}
	set(&r.Batch, req.Batch)
	set(&r.Delay, req.Delay)
	switch {
	case r.Batch < 1 || r.Batch > maxBatch:
		return fault.Errorf(fault.BadRequest, "Validation error: reapply['batch_size'] must be from 1 to %d.", maxBatch)
	case r.Delay < minDelay || r.Delay > maxDelay:
		return fault.Errorf(fault.BadRequest, "Validation error: reapply['batch_delay'] must be from %d to %d seconds.", minDelay, maxDelay)
	case len(r.MD5) > 32:
		return fault.Errorf(fault.BadRequest, "Validation error: reapply['md5'] must be the md5 of a module.")
	}
	return ms.change(ctx, c, id, func(_ etcdschema.Snapshot, m etcdschema.Module) ([]etcdschema.Op, error) {
		now := ms.Control.Now()
		if m.Reapply != nil {
			r.Due = m.Reapply.Due
		}
		m.Reapply = &r
		return dueAt(m, now, now), nil
	})
}

// dueAt writes a module that goes on being applied at a time, zero for never.
func dueAt(m etcdschema.Module, at, now time.Time) (ops []etcdschema.Op) {
	r := *m.Reapply
	r.Due, ops = plan.MoveDue(plan.DueModule, m.Project, m.ID, r.Due, at, now)
	if m.Reapply = &r; at.IsZero() {
		m.Reapply = nil
	}
	return append(ops, etcdschema.Put(m.Key(), m))
}

// Kind is what the due index does about modules.
func (ms *Modules) Kind() due.Kind {
	return due.Kind{Name: plan.DueModule, Happen: ms.happen, Places: 2, Within: time.Minute}
}

// happen applies a module to the next batch of instances. An instance that cannot take it now is left out: it stays outdated, which its list of modules
// and the counts of the module tell.
func (ms *Modules) happen(ctx context.Context, item due.Item) error {
	store := ms.Control.Store
	var m etcdschema.Module
	_, err := store.Look(ctx, 0, []etcdschema.Ref{etcdschema.ModuleKey(item.Project, item.ID)}, func(s etcdschema.Snapshot) (err error) {
		m, err = plan.ReadModule(s, item.Project, item.ID)
		return err
	})
	switch {
	case fault.IsNotFound(err), err == nil && (m.Reapply == nil || !m.Reapply.Due.Equal(item.At)):
		_, err := store.Update(ctx, []etcdschema.Ref{m.Key()}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
			m, err := plan.ReadModule(s, item.Project, item.ID)
			if err != nil && !fault.IsNotFound(err) || err == nil && m.Reapply != nil && m.Reapply.Due.Equal(item.At) {
				return nil, err
			}
			return item.Drop(s, plan.DueModule)
		})
		return err
	case err != nil:
		return err
	}
	batch, last, more, err := ms.next(ctx, m)
	if err != nil {
		return err
	}
	for _, in := range batch {
		if err := ms.again(ctx, m, in); err != nil {
			return err
		}
	}
	_, err = store.Update(ctx, []etcdschema.Ref{m.Key()}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		m, err := plan.ReadModule(s, item.Project, item.ID)
		if err != nil || m.Reapply == nil || !m.Reapply.Due.Equal(item.At) {
			return nil, err
		}
		now, at := ms.Control.Now(), time.Time{}
		if r := *m.Reapply; more {
			r.After, at = last, now
			if m.Reapply = &r; len(batch) > 0 {
				at = now.Add(time.Duration(r.Delay) * time.Second)
			}
		}
		return dueAt(m, at, now), nil
	})
	return err
}

// next finds the next instances that a module is applied to again, in one look at the list.
func (ms *Modules) next(ctx context.Context, m etcdschema.Module) (batch []etcdschema.Instance, last string, more bool, err error) {
	r, from := m.Reapply, etcdschema.Instances(m.Project)
	if m.Shared {
		from = etcdschema.AllInstances()
	}
	list, err := etcdschema.List(ctx, ms.Control.Store, from, etcdschema.Page{Limit: holderPage, After: r.After})
	if err != nil {
		return nil, "", false, err
	}
	for _, rec := range list.Records {
		if len(batch) == r.Batch {
			return batch, last, true, nil
		}
		last = from.Name(rec.Key)
		if i := position(rec.Value.Modules, m.ID); i >= 0 {
			if has := rec.Value.Modules[i]; (r.MD5 == "" || has.MD5 == r.MD5) && (r.Force || has.MD5 != m.MD5 || has.Status != datastores.ModuleOK) {
				batch = append(batch, rec.Value)
			}
		}
	}
	return batch, list.Last, list.More, nil
}

// again asks the guest of an instance to apply a module, and does not wait for it. An error is of etcd, or of a project that has written too much
// for now: then the batch is tried again.
func (ms *Modules) again(ctx context.Context, m etcdschema.Module, in etcdschema.Instance) error {
	c := control.Caller{Project: in.Project, Who: identity.Who{UserName: m.Reapply.By}}
	change := &etcdschema.ModuleChange{Apply: []etcdschema.AppliedModule{{ID: m.ID, Type: m.Type, MD5: m.MD5}}}
	event := lifecycle.Event{Type: lifecycle.AskModules, Target: &etcdschema.Target{Modules: change}}
	_, err := ms.Control.AskFor(ctx, c, in.ID, event, datastores.MethodModules, func(p *plan.Plan) error {
		if position(p.Before.Modules, m.ID) < 0 { // somebody has taken it away meanwhile
			return fault.NotFound("Module", m.ID)
		}
		if p.Before.Clustered() && !m.Reapply.Clustered {
			return fault.Errorf(fault.Unprocessable, "Instance %s is a member of a cluster, and include_clustered was not said.", p.Before.ID)
		}
		return nil
	})
	if why := fault.Refusal(err); err == nil || why != nil && why.Kind != fault.TooManyRequests {
		if err != nil {
			ms.Control.Log.Info("a module was not applied again", "module_id", m.ID, "instance_id", in.ID, "err", err)
		}
		return nil
	}
	return err
}
