package influxdb

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// setting is a parameter with its default. Its name is the table and the key of the server's file.
type setting struct{ name, initial, min, max string }

// settings are what tenants may set. Addresses, directories, authentication and what makes the server call others are not among
// them. The server takes none of them while it runs.
func (m *Manager) settings() []setting {
	cache := 1 << 30
	if m.env.MemoryMB > 0 {
		cache = m.env.MemoryMB * m.options.CachePercent / 100 << 20
	}
	return []setting{
		{"http.max-connection-limit", "0", "0", "65535"},
		{"http.max-row-limit", "0", "0", "100000000"},
		{"coordinator.max-concurrent-queries", "0", "0", "10000"},
		{"coordinator.max-select-point", "0", "0", "1000000000"},
		{"coordinator.max-select-series", "0", "0", "1000000000"},
		{"coordinator.query-timeout", "0s", "0", "86400"},
		{"coordinator.write-timeout", "10s", "1", "600"},
		{"data.cache-max-memory-size", strconv.Itoa(cache), "1048576", "1099511627776"},
		{"data.max-series-per-database", "1000000", "0", "1000000000"},
		{"data.max-values-per-tag", "100000", "0", "1000000000"},
		{"retention.check-interval", "30m", "60", "86400"},
	}
}

func (s setting) duration() bool { return strings.Trim(s.initial, "0123456789") != "" }

// Parameters implements [datastores.Configuration].
func (m *Manager) Parameters() (all []datastores.Parameter) {
	for _, s := range m.settings() {
		p := datastores.Parameter{
			Name: s.name, Type: datastores.IntegerParameter, RestartRequired: true, Min: json.Number(s.min), Max: json.Number(s.max),
		}
		if s.duration() {
			p.Type = datastores.DurationParameter
		}
		all = append(all, p)
	}
	return all
}

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string {
	values := map[string]string{}
	for _, s := range m.settings() {
		values[s.name] = s.initial
	}
	return values
}

func (m *Manager) overrides() service.Overrides { return service.Overrides{Dir: m.env.Dir} }

// UpdateOverrides implements [datastores.Configuration].
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if err := m.overrides().Save(values); err != nil {
		return false, err
	}
	wanted, err := m.overrides().Over(m.DefaultConfiguration())
	if _, _, running := m.server.Running(); err != nil || !running {
		return false, err
	}
	has, err := m.runningSettings(ctx)
	return len(service.Differ(wanted, has)) > 0, err
}

// configure writes the server's file, with which it starts.
func (m *Manager) configure() error {
	values, err := m.overrides().Over(m.DefaultConfiguration())
	if err != nil {
		return err
	}
	secret, err := m.secret()
	if err != nil {
		return err
	}
	address := func(port int) string { return net.JoinHostPort(m.env.Address, strconv.Itoa(port)) }
	all := map[string]any{
		"reporting-enabled":            false,
		"bind-address":                 address(privatePort),
		"meta.dir":                     "meta",
		"data.dir":                     shardsDir,
		"data.wal-dir":                 "wal",
		"data.query-log-enabled":       false,
		"http.bind-address":            address(port),
		"http.auth-enabled":            true,
		"http.shared-secret":           secret,
		"http.unix-socket-enabled":     true,
		"http.unix-socket-permissions": "0700",
		"http.bind-socket":             socketFile,
		"http.log-enabled":             false,
		"http.pprof-enabled":           false,
		"monitor.store-enabled":        false,
		"subscriber.enabled":           false, // it sends data anywhere
	}
	for _, s := range m.settings() {
		if all[s.name] = values[s.name]; !s.duration() {
			all[s.name] = configfile.Bare(values[s.name])
		}
	}
	file, err := configfile.TOML(configfile.Tables(all)...)
	if err != nil {
		return err
	}
	return volume.Data(m.env).WriteFile(folder+"/"+configFile, file)
}

// runningSettings asks the server what it runs with.
func (m *Manager) runningSettings(ctx context.Context) (map[string]string, error) {
	all, err := m.series(ctx, "SHOW DIAGNOSTICS")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, s := range all {
		table := strings.TrimPrefix(s.Name, "config-")
		if table == "httpd" {
			table = "http"
		}
		for i, column := range s.Columns {
			values[table+"."+column] = fmt.Sprint(s.Values[0][i])
		}
	}
	return values, nil
}
