package mysql

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// overrides are what the tenant has set, as it is kept in the guest's own directory.
type overrides struct {
	Values datastores.Values `json:"values"`
	// Touched names what calls have changed, or were going to, since the server was started: a call that was cut before it
	// could store its values is undone by the next.
	Touched []string `json:"touched,omitempty"`
}

const overridesName = "overrides.json"

func (m *Manager) loadOverrides() (o overrides, err error) {
	return o, m.own.LoadJSON(overridesName, &o)
}

// rendered is what values and defaults make of the option file.
func (m *Manager) rendered(values datastores.Values) []configfile.Setting {
	settings := bringPartners(m.defaults(), values)
	for _, p := range m.parameters() {
		value, set := values[p.Name]
		if !set || p.runtimeOnly {
			continue
		}
		setting := configfile.Setting{Name: p.Name, Value: valueText(value)}
		if i := slices.IndexFunc(settings, func(s configfile.Setting) bool { return s.Name == p.Name }); i >= 0 {
			settings[i] = setting
		} else {
			settings = append(settings, setting)
		}
	}
	for _, p := range m.parameters() {
		if i := slices.IndexFunc(settings, func(s configfile.Setting) bool { return s.Name == p.Name }); i >= 0 && p.also != "" {
			settings = append(settings, configfile.Setting{Name: p.also, Value: settings[i].Value})
		}
	}
	return settings
}

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string {
	configuration := map[string]string{}
	for _, s := range m.defaults() {
		configuration[s.Name] = s.Value
	}
	return configuration
}

// UpdateOverrides implements [datastores.Configuration]. When the server refuses a value, it goes on with what was stored
// before.
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if problems := datastores.CheckValues(m.Parameters(), values); len(problems) > 0 {
		return false, datastores.Errorf(datastores.Invalid, "%v", errors.Join(problems...))
	}
	stored, err := m.loadOverrides()
	if err != nil {
		return false, err
	}
	_, _, running := m.service.Running()
	if !running {
		return false, m.own.SaveJSON(overridesName, overrides{Values: values})
	}
	touched := slices.Sorted(maps.Keys(values))
	touched = append(append(touched, slices.Sorted(maps.Keys(stored.Values))...), stored.Touched...)
	touched = withPartners(touched)
	slices.Sort(touched)
	touched = slices.Compact(touched)
	if err := m.own.SaveJSON(overridesName, overrides{stored.Values, touched}); err != nil {
		return false, err
	}
	err = m.sessionWith(rounding(), func(db *sql.DB) error {
		if err := m.apply(ctx, db, touched, values); err != nil {
			if undo := m.apply(context.WithoutCancel(ctx), db, touched, stored.Values); undo != nil {
				m.env.Log.Warn("cannot go back to the configuration before", "err", undo)
			}
			return err
		}
		if err := m.own.SaveJSON(overridesName, overrides{values, touched}); err != nil {
			return err
		}
		restart, err = m.differs(ctx, db, values)
		return err
	})
	return restart, err
}

// rounding is a session in which the server rounds a value as it does at a start; in the guest's mode it would refuse it.
func rounding() map[string]string {
	return map[string]string{"sql_mode": text("NO_BACKSLASH_ESCAPES")}
}

// apply has the running server use values, and for those names that have none the default, as far as it can.
func (m *Manager) apply(ctx context.Context, db *sql.DB, names []string, values datastores.Values) error {
	r, err := m.loadSide()
	if err != nil {
		return err
	}
	defaults := m.DefaultConfiguration()
	for _, p := range m.parameters() {
		if p.RestartRequired || !slices.Contains(names, p.Name) || broughtByPartner(p.Name, values) {
			continue
		}
		literal := "DEFAULT"
		if p.sourceOnly && r.ReadOnly {
			literal = p.literal("OFF")
		} else if value, ok := values[p.Name]; ok {
			literal = p.literal(valueText(value))
		} else if value, ok := defaults[p.Name]; ok {
			literal = p.literal(value)
		}
		statement := "SET GLOBAL " + p.Name + " = " + literal
		if p.also != "" {
			statement += ", GLOBAL " + p.also + " = " + literal
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return refusedValue(err, p.Name)
		}
	}
	return nil
}

// applyRuntime sets, after a start, what the option file cannot.
func (m *Manager) applyRuntime(ctx context.Context) error {
	stored, err := m.loadOverrides()
	if err != nil {
		return err
	}
	var names []string
	for _, p := range m.parameters() {
		if _, set := stored.Values[p.Name]; set && p.runtimeOnly {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return m.sessionWith(rounding(), func(db *sql.DB) error { return m.apply(ctx, db, names, stored.Values) })
}

func refusedValue(err error, name string) error {
	err = failed(err, "cannot set %s", name)
	if e, ok := err.(*datastores.Error); ok {
		e.Kind = datastores.Invalid
	}
	return err
}

// literal is the value's text in a statement.
func (p parameter) literal(value string) string {
	if p.Type == datastores.StringParameter {
		return text(value)
	}
	return value
}

// differs reports whether the running server has something else than values, for parameters that take a restart. What it was
// started with counts as what it has: the server rounds.
func (m *Manager) differs(ctx context.Context, db *sql.DB, values datastores.Values) (bool, error) {
	shown := map[string]string{}
	err := query(ctx, db, func(scan func(...any) error) error {
		var name, value string
		err := scan(&name, &value)
		shown[name] = value
		return err
	}, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return false, failed(err, "cannot read the server's variables")
	}
	file, err := m.data.ReadFile(configName, maxConfig)
	if err != nil {
		return false, err
	}
	wanted := map[string]string{}
	for _, s := range m.rendered(values) {
		wanted[s.Name] = s.Value
	}
	for _, p := range m.parameters() {
		if !p.RestartRequired {
			continue
		}
		value, set := wanted[p.Name]
		started, was := renderedValue(string(file), p.Name)
		if set == was && value == started || set && sameValue(shown[p.Name], value) {
			continue
		}
		return true, nil
	}
	return false, nil
}

// renderedValue finds a setting in a file that [configfile.INI] has written. No parameter that takes a restart has a value
// with escapes.
func renderedValue(file, name string) (string, bool) {
	_, rest, found := strings.Cut("\n"+file, "\n"+name+" = \"")
	value, _, _ := strings.Cut(rest, "\"\n")
	return value, found
}

// sameValue compares a value as the server shows it with one as it was told.
func sameValue(shown, told string) bool {
	plain := func(s string) string {
		switch s = strings.ToLower(s); s {
		case "on", "true", "yes":
			return "1"
		case "off", "false", "no":
			return "0"
		}
		return s
	}
	a, b := plain(shown), plain(told)
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return a == b || err1 == nil && err2 == nil && x == y
}
