package modules

import (
	"context"
	"errors"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// maxAuto is how many modules of a project, and how many of all, new instances get without being asked: together no more than one may have.
const maxAuto = limits.MaxInstanceModules / 2

// turn refuses a module that may not be beside the others of its project, or of all, as they are in the decision's snapshot. Its op belongs to
// the transaction: whoever changes what is beside at the same moment decides again.
type turn func(s etcdschema.Snapshot, c control.Caller, m etcdschema.Module) (etcdschema.Op, error)

// errTurn asks for the modules beside, as of now.
var errTurn = errors.New("the modules beside have changed")

// mostTurns is how often others may come between.
const mostTurns = 50

// inTurn makes a change that needs a turn, again for as long as others come between. A transaction guards records, and no list: so those who change what
// a module may not have beside others all write one record, and a list is as it was read for as long as that is not newer.
func (ms *Modules) inTurn(ctx context.Context, do func(turn) error) error {
	lists := map[string]etcdschema.Listing[etcdschema.Module]{}
	for range mostTurns {
		var of etcdschema.Module
		err := do(func(s etcdschema.Snapshot, c control.Caller, m etcdschema.Module) (etcdschema.Op, error) {
			of = m
			last, err := etcdschema.Read(s, etcdschema.ModuleTurnKey())
			if err != nil {
				return etcdschema.Op{}, err
			}
			list, read := lists[scope(m)]
			if !read || last.Changed > list.Revision {
				return etcdschema.Op{}, errTurn
			}
			return etcdschema.Put(etcdschema.ModuleTurnKey(), etcdschema.ModuleTurn{Module: m.ID, Turn: plan.NewID()}), alone(list, c, m)
		})
		if !errors.Is(err, errTurn) {
			return err
		}
		from := etcdschema.SharedModules()
		if !of.Shared {
			from = etcdschema.Modules(of.Project)
		}
		if lists[scope(of)], err = etcdschema.List(ctx, ms.Control.Store, from, etcdschema.Page{}); err != nil {
			return err
		}
	}
	return etcdschema.ErrConflict
}

// scope names the list that a module is in: a project, or "" for those of all.
func scope(m etcdschema.Module) string {
	if m.Shared {
		return ""
	}
	return m.Project
}

// place is what others may not have as well.
type place struct {
	scope, name, kind, datastore, version string
	auto                                  bool
}

func besides(m etcdschema.Module) place {
	return place{scope(m), m.Name, m.Type, m.Datastore, m.Version, m.AutoApply}
}

// alone refuses a second module that is for the same and has the same name, as Trove does: clients name modules by it. It refuses more
// that new instances get than they may have.
func alone(list etcdschema.Listing[etcdschema.Module], c control.Caller, m etcdschema.Module) error {
	auto := 0
	for _, rec := range list.Records {
		o := rec.Value
		if o.ID == m.ID {
			continue
		}
		if o.Name == m.Name && o.Type == m.Type && o.Datastore == m.Datastore && o.Version == m.Version && sees(c, o) {
			return fault.Errorf(fault.BadRequest, "There is a module %q of type %s for the same datastore: %s.", m.Name, m.Type, o.ID)
		}
		if o.AutoApply {
			auto++
		}
	}
	if m.AutoApply && auto >= maxAuto {
		return limits.Over("auto_modules", fault.OverLimit, "There are %d modules with auto_apply already; of a project there may be %d, and as many of all projects.", auto, maxAuto)
	}
	return nil
}
