package modules

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Applied is a module as an instance has it.
type Applied struct {
	etcdschema.Module // as it is now
	Has               etcdschema.AppliedModule
}

// Of are the modules that an instance has and the caller sees, in the order in which they are applied.
func (ms *Modules) Of(ctx context.Context, c control.Caller, instance string) (all []Applied, err error) {
	key := etcdschema.InstanceKey(c.Project, instance)
	_, err = ms.Control.Store.Look(ctx, 0, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) error {
		all = nil
		rec, err := etcdschema.Read(s, key)
		in, err := fault.Found(rec, err, "Instance", instance)
		if err != nil {
			return err
		}
		for _, has := range in.Modules {
			m, err := plan.ReadModule(s, c.Project, has.ID)
			if err != nil {
				return err
			}
			if sees(c, m) {
				all = append(all, Applied{m, has})
			}
		}
		return nil
	})
	slices.SortStableFunc(all, func(a, b Applied) int { return plan.InOrder(a.Module, b.Module) })
	return all, err
}

// Apply brings modules to an instance, also those that it has, and waits for its guest. It returns them as the instance has them then: one
// that could not be applied says why.
func (ms *Modules) Apply(ctx context.Context, c control.Caller, instance string, ids []string) ([]Applied, error) {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return nil, fault.Errorf(fault.BadRequest, "Validation error: 'modules' must name at least one module, like [{\"id\": …}].")
	}
	catalogue, err := ms.Control.Catalogue(ctx)
	if err != nil {
		return nil, err
	}
	change := &etcdschema.ModuleChange{}
	event := lifecycle.Event{Type: lifecycle.AskModules, Target: &etcdschema.Target{Modules: change}}
	err = ms.Control.Perform(ctx, c, instance, event, datastores.MethodModules, func(p *plan.Plan) error {
		change.Apply = nil
		for _, id := range ids {
			m, err := seen(p.Snap, c, id)
			if err == nil {
				err = fits(m, p.Before.Instance, typesOf(p.Before.Instance, catalogue))
			}
			if err != nil {
				return err
			}
			change.Apply = append(change.Apply, etcdschema.AppliedModule{ID: id, Type: m.Type, MD5: m.MD5})
		}
		return bounded(p.Before.Instance, ids)
	})
	if err != nil {
		return nil, err
	}
	all, err := ms.Of(ctx, c, instance)
	return slices.DeleteFunc(all, func(a Applied) bool { return !slices.Contains(ids, a.ID) }), err
}

// Remove takes a module from an instance, and waits for its guest.
func (ms *Modules) Remove(ctx context.Context, c control.Caller, instance, id string) error {
	event := lifecycle.Event{Type: lifecycle.AskModules, Target: &etcdschema.Target{Modules: &etcdschema.ModuleChange{Remove: []string{id}}}}
	err := ms.Control.Perform(ctx, c, instance, event, datastores.MethodModules, func(p *plan.Plan) error {
		_, err := seen(p.Snap, c, id)
		if err == nil && position(p.Before.Modules, id) < 0 {
			err = fault.Errorf(fault.ItemNotFound, "Module %s is not applied to instance %s.", id, instance)
		}
		return err
	})
	if err != nil {
		return err
	}
	all, err := ms.Of(ctx, c, instance)
	for _, m := range all {
		if m.ID == id {
			return fault.Errorf(fault.InstanceFault, "Module %s could not be removed: %s", id, m.Has.Message)
		}
	}
	return err
}

// typesOf are the types of modules that an instance takes. nil: its version is not defined any more; its guest knows.
func typesOf(in etcdschema.Instance, catalogue etcdschema.Catalogue) []string {
	v, known := catalogue.FindVersion(in.Datastore, in.Version)
	if !known {
		return nil
	}
	return append([]string{}, v.Server.ModuleTypes...)
}

// fits refuses a module that is for another datastore, or of none of the types that the instance's takes, unless those are nil.
func fits(m etcdschema.Module, in etcdschema.Instance, types []string) error {
	if m.Datastore != "" && m.Datastore != in.Datastore || m.Version != "" && m.Version != in.Version {
		return fault.Errorf(fault.BadRequest, "Module %s is for %s %s, and instance %s is %s %s.", m.ID, m.Datastore, m.Version, in.ID, in.Datastore, in.Version)
	}
	if types != nil && !slices.Contains(types, m.Type) {
		return fault.Errorf(fault.BadRequest, "Module %s is of type %s; instances of %s %s take: %v.", m.ID, m.Type, in.Datastore, in.Version, types)
	}
	return nil
}

// bounded refuses more modules than an instance may have.
func bounded(in etcdschema.Instance, more []string) error {
	n := len(in.Modules)
	for _, id := range more {
		if position(in.Modules, id) < 0 {
			n++
		}
	}
	if n > limits.MaxInstanceModules {
		return limits.Over("instance_modules", fault.OverLimit, "Instance %s would have %d modules; an instance may have %d.", in.ID, n, limits.MaxInstanceModules)
	}
	return nil
}

// offered refuses a type of modules that no datastore takes for which the module is.
func offered(m etcdschema.Module, catalogue etcdschema.Catalogue) error {
	var types []string
	for _, d := range catalogue.Datastores {
		for _, v := range d.Versions {
			if (m.Datastore == "" || m.Datastore == d.Name) && (m.Version == "" || m.Version == v.Name) {
				types = append(types, v.Server.ModuleTypes...)
			}
		}
	}
	if slices.Contains(types, m.Type) {
		return nil
	}
	slices.Sort(types)
	return fault.Errorf(fault.ItemNotFound, "Module type '%s' cannot be found; there is: %v.", m.Type, slices.Compact(types))
}

// Beginning has each of the new instances begin with the modules that its create names, and with those that every new instance of its datastore gets.
func (ms *Modules) Beginning(ctx context.Context, c control.Caller, creates ...*control.CreateRequest) error {
	admin := c
	admin.Who.Roles = []string{identity.Admin} // new instances get what their tenants do not see, too
	list, err := ms.List(ctx, admin)
	if err != nil {
		return err
	}
	for _, create := range creates {
		create.With = beginning(c, list, create.Modules)
	}
	return nil
}

// beginning chooses among all modules: those that are asked for, and those that apply by themselves.
func beginning(c control.Caller, list []etcdschema.Module, asked []control.ModuleRef) func(etcdschema.Instance, etcdschema.Version) ([]etcdschema.AppliedModule, error) {
	return func(in etcdschema.Instance, version etcdschema.Version) (begin []etcdschema.AppliedModule, err error) {
		types := append([]string{}, version.Server.ModuleTypes...)
		chosen := func(m etcdschema.Module) bool {
			return m.AutoApply && fits(m, in, types) == nil
		}
		for _, ref := range asked {
			i := slices.IndexFunc(list, func(m etcdschema.Module) bool { return m.ID == ref.ID && sees(c, m) })
			if i < 0 {
				return nil, fault.NotFound("Module", ref.ID)
			}
			if err := fits(list[i], in, types); err != nil {
				return nil, err
			}
		}
		var ids []string
		for _, m := range list {
			if chosen(m) || slices.Contains(asked, control.ModuleRef{ID: m.ID}) {
				ids = append(ids, m.ID)
				begin = append(begin, etcdschema.AppliedModule{
					ID: m.ID, Type: m.Type, MD5: m.MD5, Status: datastores.ModuleApplying, Created: in.Created, Updated: in.Created,
				})
			}
		}
		return begin, bounded(in, ids)
	}
}
