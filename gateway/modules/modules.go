// Package modules keeps Trove's modules: sealed bundles of configuration that instances can have beside what their datastore version says.
package modules

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Modules are the modules of all projects.
type Modules struct {
	Control *control.Plane
}

// List are the modules that a caller sees: those of the project and those of all, the ones to apply first in front.
func (ms *Modules) List(ctx context.Context, c control.Caller) (all []etcdschema.Module, err error) {
	for _, from := range []etcdschema.Prefix[etcdschema.Module]{etcdschema.Modules(c.Project), etcdschema.SharedModules()} {
		list, err := etcdschema.List(ctx, ms.Control.Store, from, etcdschema.Page{})
		if err != nil {
			return nil, err
		}
		for _, rec := range list.Records {
			if sees(c, rec.Value) {
				all = append(all, rec.Value)
			}
		}
	}
	slices.SortStableFunc(all, plan.InOrder)
	return all, nil
}

// Find reads the module of an id.
func (ms *Modules) Find(ctx context.Context, c control.Caller, id string) (m etcdschema.Module, err error) {
	_, err = ms.Control.Store.Look(ctx, 0, []etcdschema.Ref{etcdschema.ModuleKey(c.Project, id)}, func(s etcdschema.Snapshot) (err error) {
		m, err = seen(s, c, id)
		return err
	})
	return m, err
}

// sees reports whether a caller may know of a module of the project, or of all.
func sees(c control.Caller, m etcdschema.Module) bool { return !m.Hidden || c.Who.Admin() }

// seen reads a module that the caller may know of.
func seen(s etcdschema.Snapshot, c control.Caller, id string) (etcdschema.Module, error) {
	m, err := plan.ReadModule(s, c.Project, id)
	if err == nil && !sees(c, m) {
		err = fault.NotFound("Module", id)
	}
	return m, err
}

// New makes a module.
func (ms *Modules) New(ctx context.Context, c control.Caller, req Request) (etcdschema.Module, error) {
	now := ms.Control.Now().UTC()
	m := etcdschema.Module{ID: plan.NewID(), Project: c.Project, Admin: c.Who.Admin(), Order: defaultOrder, Created: now, Updated: now}
	if req.Name == nil || req.Type == nil || req.Contents == nil {
		return m, fault.Errorf(fault.BadRequest, "Validation error: module needs 'name', 'module_type' and 'contents'.")
	}
	catalogue, err := ms.Control.Catalogue(ctx)
	if err == nil {
		err = req.into(&m, catalogue, c.Who.Admin())
	}
	if err != nil {
		return m, err
	}
	contents, sum, err := req.contents()
	if err != nil {
		return m, err
	}
	m.MD5 = sum
	err = ms.inTurn(ctx, func(mayBe turn) error {
		_, err := ms.Control.Store.Update(ctx, nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
			its, err := mayBe(s, c, m)
			if err != nil {
				return nil, err
			}
			ops, err := ms.Control.Account(s, m.Project, func(u etcdschema.Usage) etcdschema.Usage { u.Modules++; return u })
			return append(ops, its, etcdschema.Put(m.Key(), m), plan.SealContents(ms.Control.Keys, m.ID, contents)), err
		})
		return err
	})
	return m, err
}

// Edit changes a module. Instances that have it keep what they have until it is applied again.
func (ms *Modules) Edit(ctx context.Context, c control.Caller, id string, req Request) (after etcdschema.Module, err error) {
	catalogue, err := ms.Control.Catalogue(ctx)
	if err != nil {
		return after, err
	}
	contents, sum, err := req.contents()
	if err != nil {
		return after, err
	}
	err = ms.inTurn(ctx, func(mayBe turn) error {
		return ms.change(ctx, c, id, func(s etcdschema.Snapshot, before etcdschema.Module) (ops []etcdschema.Op, err error) {
			after = before
			if err := req.into(&after, catalogue, c.Who.Admin()); err != nil {
				return nil, err
			}
			if err := mayBecome(before, after); err != nil {
				return nil, err
			}
			if after.Admin && !before.Admin && contents == nil { // what is in an admin's may have the rights of root
				return nil, fault.Errorf(fault.BadRequest, "What is in module %s a project has said. With a change that makes it an admin's, say 'contents' anew.", id)
			}
			if besides(before) != besides(after) {
				its, err := mayBe(s, c, after)
				if err != nil {
					return nil, err
				}
				ops = append(ops, its)
			}
			if contents != nil && sum != before.MD5 {
				after.MD5 = sum
				ops = append(ops, plan.SealContents(ms.Control.Keys, id, contents))
			}
			if before.Shared != after.Shared {
				ops = append(ops, etcdschema.Delete(before.Key()))
			}
			after.Updated = ms.Control.Now().UTC()
			return append(ops, etcdschema.Put(after.Key(), after)), nil
		})
	})
	return after, err
}

// Delete deletes a module that no instance has.
func (ms *Modules) Delete(ctx context.Context, c control.Caller, id string) error {
	return ms.change(ctx, c, id, func(s etcdschema.Snapshot, m etcdschema.Module) ([]etcdschema.Op, error) {
		if m.Instances > 0 {
			return nil, applied(m)
		}
		ops, err := ms.Control.Account(s, m.Project, func(u etcdschema.Usage) etcdschema.Usage { u.Modules = max(0, u.Modules-1); return u })
		return append(ops, etcdschema.Delete(m.Key()), etcdschema.Delete(etcdschema.ModuleContentsKey(id))), err
	})
}

// change decides over a module that the caller may change.
func (ms *Modules) change(ctx context.Context, c control.Caller, id string, decide func(etcdschema.Snapshot, etcdschema.Module) ([]etcdschema.Op, error)) error {
	_, err := ms.Control.Store.Update(ctx, []etcdschema.Ref{etcdschema.ModuleKey(c.Project, id)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		m, err := seen(s, c, id)
		if err == nil && !c.Who.Admin() && (m.Admin || m.Project != c.Project) {
			err = fault.Errorf(fault.Forbidden, "Module %s is an admin's; only an admin may change or delete it.", id)
		}
		if err != nil {
			return nil, err
		}
		return decide(s, m)
	})
	return err
}

// mayBecome refuses changes of a module that instances have: all of them unless it says live_update, and then those after which
// some of the instances could not have it.
func mayBecome(before, after etcdschema.Module) error {
	switch {
	case before.Instances == 0:
		return nil
	case !before.LiveUpdate:
		return applied(before)
	case before.Type != after.Type, before.Datastore != after.Datastore, before.Version != after.Version, before.Shared != after.Shared:
		return fault.Errorf(fault.Forbidden, "Module %s is applied to %d instances: its type, datastore and tenants cannot be changed; remove it from them first.", before.ID, before.Instances)
	}
	return nil
}

func applied(m etcdschema.Module) error {
	return fault.Errorf(fault.Forbidden, "Module %s is applied to %d instances; remove it from them first (GET modules/%s/instances lists them).", m.ID, m.Instances, m.ID)
}
