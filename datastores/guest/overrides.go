package guest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// overrides are the parameters of a server as the guest knows them, beside what the manager has stored for its next start:
// that is Set, or, while Refused is not "", values with which the server starts.
type overrides struct {
	// Set is all that was set: by modules, over them by the tenant, over both Fixed.
	Set datastores.Values `json:"set,omitempty"`
	// Modules is what modules set, by their ids; no two set the same. Group is what the tenant has set while there are any; without,
	// that is Set.
	Modules map[string]datastores.Values `json:"modules,omitempty"`
	Group   datastores.Values            `json:"group,omitempty"`
	// Good are the values with which the server started last.
	Good datastores.Values `json:"good,omitempty"`
	// Fixed are those that fix the format of the data. They are Set's and Good's, too.
	Fixed datastores.Values `json:"fixed,omitempty"`
	// Refused says, for a tenant, why the server has other values than Set.
	Refused string `json:"refused,omitempty"`
}

// group is what the tenant has set.
func (o overrides) group() datastores.Values {
	if len(o.Modules) == 0 {
		return o.Set
	}
	return o.Group
}

// checkTimeout is how long a manager may look at values before it is asked to use them.
const checkTimeout = 30 * time.Second

func (g *Guest) updateOverrides(ctx context.Context, _ call, m datastores.Configuration, args datastores.OverridesArgs) (datastores.OverridesReply, error) {
	restart, err := g.setOverrides(ctx, m, args.Values)
	return datastores.OverridesReply{RestartRequired: restart}, err
}

// setOverrides gives the server values of the tenant's, beside those of modules, when they can be had.
func (g *Guest) setOverrides(ctx context.Context, m datastores.Configuration, values datastores.Values) (restart bool, err error) {
	return g.setAll(ctx, m, values, g.state.get().Overrides.Modules)
}

// setAll gives the server what the tenant and modules set, when all of it can be had together.
func (g *Guest) setAll(ctx context.Context, m datastores.Configuration, group datastores.Values, modules map[string]datastores.Values) (restart bool, err error) {
	fixed, values := g.state.get().Overrides.Fixed, below(group, modules)
	if err := checkOverrides(m, values); err != nil {
		return false, err
	}
	if err := checkFixed(m, values, fixed); err != nil {
		return false, err
	}
	values = union(values, fixed)
	if err := g.tryOverrides(ctx, m, values); err != nil {
		return false, err
	}
	if restart, err = m.UpdateOverrides(ctx, values); err != nil {
		return false, err
	}
	return restart, g.state.change(func(s *state) {
		s.Overrides.Set, s.Overrides.Group, s.Overrides.Modules, s.Overrides.Refused = values, group, modules, ""
	})
}

// below are the values of modules with those of the tenant over them.
func below(group datastores.Values, modules map[string]datastores.Values) datastores.Values {
	all := datastores.Values{}
	for _, values := range modules {
		maps.Copy(all, values)
	}
	return union(all, group)
}

// checkFixed refuses to change what fixes the format of the data.
func checkFixed(m datastores.Configuration, values, fixed datastores.Values) error {
	defaults := m.DefaultConfiguration()
	for _, p := range m.Parameters() {
		value, set := values[p.Name]
		if !set || !p.CreateOnly {
			continue
		}
		has := defaults[p.Name]
		if v, ok := fixed[p.Name]; ok {
			has = fmt.Sprint(v)
		}
		if fmt.Sprint(value) != has {
			return datastores.Errorf(datastores.Conflict,
				"%s fixes the format of the data, which keeps %q, with which it was created; take it out of the configuration group, or create an instance without this data", p.Name, has)
		}
	}
	return nil
}

// firstOverrides are those of a server that was made with values.
func firstOverrides(m datastores.Manager, values datastores.Values) overrides {
	first := overrides{Set: values, Good: values}
	c, ok := m.(datastores.Configuration)
	if !ok {
		return first
	}
	for _, p := range c.Parameters() {
		if value, set := values[p.Name]; set && p.CreateOnly {
			first.Fixed = union(first.Fixed, datastores.Values{p.Name: value})
		}
	}
	return first
}

func union(values, more datastores.Values) datastores.Values {
	all := datastores.Values{}
	maps.Copy(all, values)
	maps.Copy(all, more)
	return all
}

// tryOverrides refuses values of which the manager knows that no server starts with them. When it cannot find out, the start
// will.
func (g *Guest) tryOverrides(ctx context.Context, m datastores.Configuration, values datastores.Values) error {
	checker, ok := m.(datastores.OverridesChecker)
	if !ok || len(values) == 0 {
		return nil
	}
	trial, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := checker.CheckOverrides(trial, values)
	if err == nil || isKind(err, datastores.Invalid) || ctx.Err() != nil {
		return err
	}
	g.log.Warn("it is not known whether a server would start with the new parameters", "err", err)
	return nil
}

// bringOverrides gives the server, before a start, what the tenant has set: values, or with nil what an earlier start could
// not be made with. What cannot be had is noted, for a server that runs is worth more than one that has everything.
func (g *Guest) bringOverrides(ctx context.Context, m datastores.Manager, values *datastores.Values) error {
	if now := g.state.get().Overrides; values == nil && now.Refused != "" {
		group := now.group()
		values = &group
	}
	if values == nil {
		return nil
	}
	c, err := configurable(m)
	if err != nil {
		return err
	}
	_, err = g.setOverrides(ctx, c, *values)
	if isKind(err, datastores.Invalid) || isKind(err, datastores.Conflict) {
		return g.state.change(func(s *state) {
			s.Overrides.Set, s.Overrides.Group, s.Overrides.Refused = below(*values, s.Overrides.Modules), *values, refusal(err.Error())
		})
	}
	return err
}

// launch has start start the server with what the tenant has set. When the server does not start, it is started with the
// values that it had before, or with none. refused says so, for a tenant.
func (g *Guest) launch(ctx context.Context, s *served, start func(context.Context) error) (refused string, err error) {
	before := s.manager.Status(ctx).Since
	if err := g.beginTLS(s); err != nil {
		return "", err
	}
	if err := g.bringTLS(ctx, s, signStarting); err != nil {
		return "", err
	}
	if err := start(ctx); err != nil {
		c, ok := s.manager.(datastores.Configuration)
		if !ok || ctx.Err() != nil {
			return "", err
		}
		return g.fallBack(ctx, s, c, err)
	}
	g.trouble.Store(nil)
	anew := !s.manager.Status(ctx).Since.Equal(before)
	if anew {
		g.tlsTold.Store(g.certificates.get())
	}
	err = g.state.change(func(s *state) {
		if anew && s.Overrides.Refused == "" {
			s.Overrides.Good = s.Overrides.Set
		}
	})
	return g.state.get().Overrides.Refused, err
}

// fallBack starts a server that does not start with other values, until one does. It is noted first that they are not those
// that the tenant has set: the guest may be killed at any moment.
func (g *Guest) fallBack(ctx context.Context, s *served, c datastores.Configuration, failure error) (refused string, err error) {
	had := g.state.get().Overrides
	for _, values := range had.others() {
		g.log.Error("the database server does not start; trying it with other parameters", "without", changed(had.Set, values), "err", failure)
		refused := refusal("the database server does not start with the values of " + strings.Join(changed(had.Set, values), ", "))
		if err := g.state.change(func(s *state) { s.Overrides.Refused = refused }); err != nil {
			return "", errors.Join(failure, err)
		}
		err := g.startWith(ctx, s, c, values)
		if err == nil {
			g.trouble.Store(nil)
			return refused, nil
		}
		if ctx.Err() != nil {
			return "", failure
		}
		g.log.Error("the database server does not start with other parameters either", "err", err)
	}
	// The parameters are not to blame.
	err = s.manager.Stop(ctx)
	if err == nil {
		_, err = c.UpdateOverrides(ctx, had.Set)
	}
	if err == nil {
		err = g.state.change(func(s *state) { s.Overrides.Refused = "" })
	}
	return "", errors.Join(failure, err)
}

func (g *Guest) startWith(ctx context.Context, s *served, c datastores.Configuration, values datastores.Values) error {
	if err := s.manager.Stop(ctx); err != nil {
		return err
	}
	if _, err := c.UpdateOverrides(ctx, values); err != nil {
		return err
	}
	return s.manager.Start(ctx)
}

// others are the values to start with in place of Set, the best first.
func (o overrides) others() []datastores.Values {
	var all []datastores.Values
	for _, values := range []datastores.Values{o.Good, union(nil, o.Fixed)} {
		if len(changed(o.Set, values)) > 0 && !slices.ContainsFunc(all, func(v datastores.Values) bool { return len(changed(v, values)) == 0 }) {
			all = append(all, values)
		}
	}
	return all
}

// changed are the names whose values differ.
func changed(a, b datastores.Values) []string {
	var names []string
	for name := range union(a, b) {
		if !reflect.DeepEqual(a[name], b[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// refusal is what a tenant is told of parameters that are not in force.
func refusal(reason string) string {
	return reason + "; the server runs with other values: change the configuration group, or detach it"
}
