package plan

import (
	"cmp"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
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
