package guest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// setModule gives the server the parameters of a module in place of those that it had of it; with none it takes them back.
func (g *Guest) setModule(ctx context.Context, m datastores.Manager, id string, values datastores.Values) (message string, restart bool, err error) {
	had := g.state.get().Overrides
	if _, has := had.Modules[id]; !has && len(values) == 0 {
		return "", false, nil
	}
	c, err := configurable(m)
	if err != nil {
		return "", false, err
	}
	next := maps.Clone(had.Modules)
	delete(next, id)
	if len(values) > 0 {
		if next, err = with(c, next, id, values); err != nil {
			return "", false, err
		}
	}
	if restart, err = g.setAll(ctx, c, had.group(), next); err != nil {
		return "", false, withoutValues(err, values)
	}
	return inForce(values, had.group(), restart), restart, nil
}

// with are the parameters of modules and those of one more. What is Invalid of that one tells names alone: what is in a module is shown to nobody.
func with(c datastores.Configuration, modules map[string]datastores.Values, id string, values datastores.Values) (map[string]datastores.Values, error) {
	var wrong []string
	parameters, unknown := c.Parameters(), 0
	for _, name := range sorted(values) {
		i := slices.IndexFunc(parameters, func(p datastores.Parameter) bool { return p.Name == name })
		if i < 0 {
			unknown++
		} else if parameters[i].Check(values[name]) != nil {
			wrong = append(wrong, "the value of "+name+" is none that it takes")
		}
		for other, its := range modules {
			if _, taken := its[name]; taken {
				wrong = append(wrong, fmt.Sprintf("module %s sets %s already", other, name))
			}
		}
	}
	if unknown > 0 {
		wrong = append(wrong, fmt.Sprintf("%d of its names are no parameters of this datastore version", unknown))
	}
	if len(wrong) > 0 {
		return nil, datastores.Errorf(datastores.Invalid, "%s", strings.Join(wrong, "; "))
	}
	all := map[string]datastores.Values{id: values}
	maps.Copy(all, modules)
	return all, nil
}

// withoutValues is an error of a server that does not take a module's parameters, without their values.
func withoutValues(err error, values datastores.Values) error {
	switch {
	case !isKind(err, datastores.Invalid):
		return err
	case len(values) == 0:
		return datastores.Errorf(datastores.Invalid, "no server starts with the values that are set without it")
	}
	return datastores.Errorf(datastores.Invalid, "no server starts with these values beside the others that are set: %s", strings.Join(sorted(values), ", "))
}

// inForce says what has become of a module's parameters.
func inForce(values, group datastores.Values, restart bool) string {
	message := fmt.Sprintf("it sets %s", strings.Join(sorted(values), ", "))
	both := slices.DeleteFunc(sorted(values), func(name string) bool { _, set := group[name]; return !set })
	if len(both) > 0 {
		message += "; the configuration group sets " + strings.Join(both, ", ") + ", too, and has precedence"
	}
	if restart {
		message += "; a restart is needed"
	}
	return message
}

// firstModules are the parameters of modules with which a new server is made. A module whose parameters cannot be had is left out: its error is
// told when all are applied.
func (g *Guest) firstModules(ctx context.Context, m datastores.Manager, o origin, list []datastores.ModuleArgs) map[string]datastores.Values {
	able, isAble := m.(datastores.Modules)
	c, ok := m.(datastores.Configuration)
	if !ok || !isAble {
		return nil
	}
	all := map[string]datastores.Values{}
	for _, one := range list {
		driver, err := datastores.FindModuleDriver(able, one.Type)
		if err != nil || driver.Parameters == nil {
			continue
		}
		values, err := parametersOf(driver, one)
		if err == nil && o.restore != nil {
			_, err = o.restore.overrides(m, values)
		}
		next := all
		if err == nil {
			next, err = with(c, all, one.ID, values)
		}
		if err == nil {
			err = g.tryOverrides(ctx, c, below(o.overrides, next))
		}
		if err == nil {
			all = next
		}
	}
	return all
}

func parametersOf(driver datastores.ModuleDriver, one datastores.ModuleArgs) (datastores.Values, error) {
	module, err := one.Module()
	if err != nil {
		return nil, err
	}
	return driver.Parameters(module)
}

func sorted(values datastores.Values) []string { return slices.Sorted(maps.Keys(values)) }
