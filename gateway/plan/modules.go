package plan

import (
	"cmp"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// ReadModule reads a module that an instance of a project may have: one of the project's own, or one of all projects.
func ReadModule(s etcdschema.Snapshot, project, id string) (etcdschema.Module, error) {
	own, err := etcdschema.Read(s, etcdschema.ModuleKey(project, id))
	if err != nil || own.Found {
		return own.Value, err
	}
	shared, err := etcdschema.Read(s, etcdschema.SharedModuleKey(id))
	return fault.Found(shared, err, "Module", id)
}

// InOrder compares modules by when they are applied: those with priority first, then by their order, then the older first.
func InOrder(a, b etcdschema.Module) int {
	first := func(m etcdschema.Module) int {
		if m.PriorityApply {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(a.Order, b.Order), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
}

// SealContents seals what is in a module for its place.
func SealContents(keys *keyring.Keyring, id string, contents []byte) etcdschema.Op {
	key := etcdschema.ModuleContentsKey(id)
	return etcdschema.Put(key, etcdschema.ModuleContents{Sealed: keys.Seal(key.String(), contents)})
}

// modulesArgs are the modules that an operation changes.
func (p *Plan) modulesArgs(in etcdschema.Instance) (args datastores.ModulesArgs, err error) {
	change := in.Operation.Target.Modules
	for _, m := range in.Modules {
		if slices.Contains(change.Remove, m.ID) {
			args.Remove = append(args.Remove, datastores.ModuleArgs{ID: m.ID, Type: m.Type})
		}
	}
	args.Apply, err = p.toApply(in.Project, change.Apply)
	return args, err
}

// modulesOf are all modules that an instance has, for a server that is made anew.
func (p *Plan) modulesOf(in etcdschema.Instance) ([]datastores.ModuleArgs, error) {
	args, err := p.toApply(in.Project, in.Modules)
	for i, one := range args {
		at := slices.IndexFunc(in.Modules, func(m etcdschema.AppliedModule) bool { return m.ID == one.ID })
		if has := in.Modules[at]; has.Status == datastores.ModuleOK {
			args[i].Had = has.MD5
		}
	}
	return args, err
}

// toApply reads modules with what is in them, in the order in which they are applied.
func (p *Plan) toApply(project string, list []etcdschema.AppliedModule) (args []datastores.ModuleArgs, err error) {
	modules := make([]etcdschema.Module, len(list))
	for i, m := range list {
		if modules[i], err = ReadModule(p.Snap, project, m.ID); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(modules, InOrder)
	for _, m := range modules {
		key := etcdschema.ModuleContentsKey(m.ID)
		rec, err := etcdschema.Read(p.Snap, key)
		sealed, err := fault.Found(rec, err, "Module", m.ID)
		if err != nil {
			return nil, err
		}
		contents, err := p.keys.Open(key.String(), sealed.Sealed)
		if err != nil {
			return nil, err
		}
		one := datastores.NewModuleArgs(m.ID, m.Name, m.Type, m.MD5, contents)
		one.Root, one.Member = m.Admin, p.d.Set.Kind == etcdschema.SetCluster
		args = append(args, one)
	}
	return args, nil
}

// JoinModules counts a new instance in the modules that it is made with.
func JoinModules(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	return CountModules(s, in.Project, nil, in.Modules)
}

// recount keeps the number of instances in the modules that an instance begins or ceases to have.
func (p *Plan) recount(before, after []etcdschema.AppliedModule) error {
	ops, err := CountModules(p.Snap, p.project(), before, after)
	p.Snap = p.Snap.After(ops...)
	p.Put(ops...)
	return err
}

// CountModules counts an instance that has other modules than before. Who wants a module that was deleted meanwhile is refused.
func CountModules(s etcdschema.Snapshot, project string, before, after []etcdschema.AppliedModule) (ops []etcdschema.Op, err error) {
	has := func(all []etcdschema.AppliedModule, id string) bool {
		return slices.ContainsFunc(all, func(m etcdschema.AppliedModule) bool { return m.ID == id })
	}
	for _, m := range slices.Concat(before, after) {
		joins := has(after, m.ID)
		if joins == has(before, m.ID) {
			continue
		}
		module, err := ReadModule(s, project, m.ID)
		if !joins && fault.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if joins {
			module.Instances++
		} else {
			module.Instances = max(0, module.Instances-1)
		}
		ops = append(ops, etcdschema.Put(module.Key(), module))
	}
	return ops, nil
}
