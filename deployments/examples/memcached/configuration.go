package memcached

import (
	"context"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// setting is a parameter, with how memcached is told of it and how it tells it.
type setting struct {
	datastores.Parameter
	initial string
	flags   func(value string) []string // of the command line
	stat    string                      // its name in `stats settings`
	command string                      // changes it at run time; "": nothing does
}

func flag(name string) func(string) []string {
	return func(value string) []string { return []string{name, value} }
}

func extended(name string) func(string) []string {
	return func(value string) []string { return []string{"-o", name + "=" + value} }
}

var allSettings = []setting{
	{
		Parameter: datastores.Parameter{Name: "connections", Type: datastores.IntegerParameter, RestartRequired: true, Min: "16", Max: "4096"},
		initial:   "1024", flags: flag("-c"), stat: "maxconns",
	},
	{
		Parameter: datastores.Parameter{Name: "max_item_size", Type: datastores.IntegerParameter, RestartRequired: true, Min: "1024", Max: "33554432"},
		initial:   "1048576", flags: flag("-I"), stat: "item_size_max",
	},
	{
		Parameter: datastores.Parameter{Name: "idle_timeout", Type: datastores.IntegerParameter, RestartRequired: true, Min: "0", Max: "86400"},
		initial:   "0", flags: extended("idle_timeout"), stat: "idle_timeout",
	},
	{
		Parameter: datastores.Parameter{Name: "evictions", Type: datastores.StringParameter, RestartRequired: true, Values: []string{"on", "off"}},
		initial:   "on", stat: "evictions",
		flags: func(value string) []string {
			if value == "off" {
				return []string{"-M"}
			}
			return nil
		},
	},
	{
		Parameter: datastores.Parameter{Name: "lru_crawler_sleep", Type: datastores.IntegerParameter, Min: "0", Max: "1000000"},
		initial:   "100", flags: extended("lru_crawler_sleep"), stat: "lru_crawler_sleep", command: "lru_crawler sleep ",
	},
}

// Parameters implements [datastores.Configuration].
func (m *Manager) Parameters() []datastores.Parameter {
	var all []datastores.Parameter
	for _, s := range allSettings {
		all = append(all, s.Parameter)
	}
	return all
}

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string {
	values := map[string]string{}
	for _, s := range allSettings {
		values[s.Name] = s.initial
	}
	return values
}

// settings are the defaults and what overrides them.
func (m *Manager) settings() (map[string]string, error) {
	return m.overrides().Over(m.DefaultConfiguration())
}

func (m *Manager) overrides() service.Overrides { return service.Overrides{Dir: m.env.Dir} }

// UpdateOverrides implements [datastores.Configuration].
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if err := m.overrides().Save(values); err != nil {
		return false, err
	}
	wanted, err := m.settings()
	if err != nil {
		return false, err
	}
	server, err := m.server()
	if err != nil {
		return false, err
	}
	if _, _, running := server.Running(); !running {
		return false, nil
	}
	for _, s := range allSettings {
		if s.command == "" {
			continue
		}
		if _, err := m.call(ctx, s.command+wanted[s.Name]); err != nil {
			return false, err
		}
	}
	has, err := m.runningSettings(ctx)
	return len(service.Differ(wanted, has)) > 0, err
}

// runningSettings asks the server what it runs with.
func (m *Manager) runningSettings(ctx context.Context) (map[string]string, error) {
	lines, err := m.call(ctx, "stats settings")
	if err != nil {
		return nil, err
	}
	stats := map[string]string{}
	for _, l := range lines {
		if name, value, ok := strings.Cut(strings.TrimPrefix(l, "STAT "), " "); ok {
			stats[name] = value
		}
	}
	values := map[string]string{}
	for _, s := range allSettings {
		values[s.Name] = stats[s.stat]
	}
	return values, nil
}
