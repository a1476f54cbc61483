package guest

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

// changeModules takes modules away and applies others. The others go on when one fails. Without arguments it tells
// what there is.
func (g *Guest) changeModules(ctx context.Context, c call, m datastores.Modules, args datastores.ModulesArgs) (reply datastores.ModulesReply, err error) {
	var removed []datastores.ModuleState
	for _, one := range args.Remove {
		restart, err := g.removeModule(ctx, c, m, one)
		is := stateOf(one, g.moduleType(one), err)
		if is.Removed = is.Status == datastores.ModuleOK; is.Removed {
			removed = append(removed, is)
		}
		reply.RestartRequired = reply.RestartRequired || restart
		if err := g.keepModule(ctx, is); err != nil {
			return reply, err
		}
	}
	for _, one := range args.Apply {
		message, restart, err := g.applyModule(ctx, c, m, one)
		is := stateOf(one, one.Type, err)
		if err == nil {
			is.Message = message
		}
		reply.RestartRequired = reply.RestartRequired || restart
		if err := g.keepModule(ctx, is); err != nil {
			return reply, err
		}
	}
	reply.Modules = slices.Concat(removed, g.state.get().Modules)
	return reply, nil
}

// moduleType is the type of a module that the server has, or else what is said of it.
func (g *Guest) moduleType(one datastores.ModuleArgs) string {
	has := g.state.get().Modules
	if i := position(has, one.ID); i >= 0 {
		return has[i].Type
	}
	return one.Type
}

func (g *Guest) removeModule(ctx context.Context, c call, m datastores.Modules, one datastores.ModuleArgs) (restart bool, err error) {
	driver, err := datastores.FindModuleDriver(m, g.moduleType(one))
	switch {
	case err != nil:
		return false, nil // what no driver knows, none has brought
	case driver.Parameters != nil:
		_, restart, err = g.setModule(ctx, c.manager, one.ID, nil)
		return restart, err
	}
	return false, driver.Remove(ctx, one.ID)
}

// applyModule has the driver of the module's type apply it. What another driver has brought, when it was of another type, goes first.
func (g *Guest) applyModule(ctx context.Context, c call, m datastores.Modules, one datastores.ModuleArgs) (message string, restart bool, err error) {
	driver, err := datastores.FindModuleDriver(m, one.Type)
	if err != nil {
		return "", false, err
	}
	if g.moduleType(one) != one.Type {
		if restart, err = g.removeModule(ctx, c, m, one); err != nil {
			return "", restart, err
		}
	}
	if driver.Parameters != nil {
		values, err := parametersOf(driver, one)
		if err != nil {
			return "", restart, err
		}
		message, again, err := g.setModule(ctx, c.manager, one.ID, values)
		return message, restart || again, err
	}
	module, err := one.Module()
	if err != nil {
		return "", restart, err
	}
	if driver.Once && one.Member {
		return "", restart, datastores.Errorf(datastores.Conflict, "a member of a cluster takes no modules of type %s: the data are not its own", one.Type)
	}
	if driver.Once {
		if done, message, err := g.begunOnce(ctx, c, one); done || err != nil {
			return message, restart, err
		}
	}
	message, err = driver.Apply(ctx, module)
	return message, restart, err
}

const hadBefore = "it had been done to the data of which the server was made"

// begunOnce reports what has become of a module that is applied once, if it is done. If not it notes, before anything is, that it has begun: a command that
// was cut and comes again must not do it twice.
func (g *Guest) begunOnce(ctx context.Context, c call, one datastores.ModuleArgs) (done bool, message string, err error) {
	const cut = "it is not known whether all of it has been done: it was interrupted. Apply it again to do it again"
	has := g.state.get().Modules
	if i := position(has, one.ID); i >= 0 && has[i].MD5 == one.MD5 && has[i].Type == one.Type {
		switch {
		case has[i].Status == datastores.ModuleOK:
			return true, has[i].Message, nil
		case c.repeated:
			return true, "", datastores.Errorf(datastores.Conflict, "%s", has[i].Message)
		}
	}
	if one.Had != "" && one.Had == one.MD5 {
		return true, hadBefore, nil
	}
	begun := stateOf(one, one.Type, datastores.Errorf(datastores.Conflict, cut))
	return false, "", g.keepModule(ctx, begun)
}

// stateOf is what has become of a module, with an error as everybody may read it.
func stateOf(one datastores.ModuleArgs, kind string, err error) datastores.ModuleState {
	is := datastores.ModuleState{ID: one.ID, Name: one.Name, Type: kind, MD5: one.MD5, Status: datastores.ModuleOK}
	if err != nil {
		is.Status, is.Message = datastores.ModuleError, datastores.Told(err).Message
	}
	return is
}

// keepModule notes durably what has become of a module, unless the command was cut short: then it comes again, or nobody wants it.
func (g *Guest) keepModule(ctx context.Context, is datastores.ModuleState) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return g.state.change(func(s *state) {
		i := position(s.Modules, is.ID)
		if i >= 0 && is.MD5 == "" { // it could not be taken away: it is as it was
			is.MD5, is.Name = s.Modules[i].MD5, s.Modules[i].Name
		}
		s.Modules = slices.DeleteFunc(slices.Clone(s.Modules), func(m datastores.ModuleState) bool { return m.ID == is.ID })
		if !is.Removed {
			s.Modules = append(s.Modules, is)
		}
	})
}

func position(all []datastores.ModuleState, id string) int {
	return slices.IndexFunc(all, func(m datastores.ModuleState) bool { return m.ID == id })
}
