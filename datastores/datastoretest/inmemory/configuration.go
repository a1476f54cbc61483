package inmemory

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// Parameters implements [datastores.Configuration]. A server whose parameter boot is never does not start, and nobody knows
// that before; nor does one with other values that [manager.CheckOverrides] refuses.
func (m *manager) Parameters() []datastores.Parameter {
	return []datastores.Parameter{
		{Name: "boot", Type: datastores.StringParameter, RestartRequired: true, Values: []string{"fast", "slow", "never"}},
		{Name: "cache_mb", Type: datastores.IntegerParameter, RestartRequired: true, Min: "1", Max: "1048576"},
		{Name: "format", Type: datastores.StringParameter, RestartRequired: true, CreateOnly: true, Values: []string{"old", "new"}},
		{Name: "greeting", Type: datastores.StringParameter, Pattern: "[A-Za-z ]*"},
		{Name: "max_connections", Type: datastores.IntegerParameter, Min: "1", Max: "100000"},
		{Name: "ratio", Type: datastores.FloatParameter, Min: "0", Max: "1"},
		{Name: "strict", Type: datastores.BooleanParameter},
	}
}

// configuration is what a server has that was started with overrides.
func (m *manager) configuration(overrides datastores.Values) datastores.Values {
	values := datastores.Values{
		"boot": "fast", "format": "new", "cache_mb": json.Number(strconv.Itoa(m.env.MemoryMB / 2)), "greeting": "hello",
		"max_connections": json.Number("100"), "ratio": json.Number("0.5"), "strict": true,
	}
	maps.Copy(values, overrides)
	return values
}

func (m *manager) DefaultConfiguration() map[string]string {
	texts := map[string]string{}
	for name, value := range m.configuration(nil) {
		texts[name] = fmt.Sprint(value)
	}
	return texts
}

// CheckOverrides implements [datastores.OverridesChecker]: a cache fits into the memory, and no strict server has a ratio of 1.
func (m *manager) CheckOverrides(ctx context.Context, overrides datastores.Values) error {
	values := m.configuration(overrides)
	if cache, err := strconv.Atoi(fmt.Sprint(values["cache_mb"])); err == nil && m.env.MemoryMB > 0 && cache > m.env.MemoryMB {
		return datastores.Errorf(datastores.Invalid, "cache_mb: %d MB are more than the %d MB that the instance has; lower it", cache, m.env.MemoryMB)
	}
	if fmt.Sprint(values["ratio"]) == "1" && values["strict"] == true {
		return datastores.Errorf(datastores.Invalid, "ratio: a strict server cannot have 1; lower it, or set strict to false")
	}
	return ctx.Err()
}

func (m *manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if err := m.enter(ctx, datastores.MethodUpdateOverrides); err != nil {
		return false, err
	}
	m.memory.with(m.env.Address, func(s *server) {
		s.overrides = maps.Clone(values)
		if s.running {
			restart = m.apply(s)
		}
	})
	return restart, nil
}

// apply has the running server use its overrides as far as it can, and reports whether there are others.
func (m *manager) apply(s *server) (restart bool) {
	want, has := m.configuration(s.overrides), s.inForce
	for _, p := range m.Parameters() {
		if p.RestartRequired {
			restart = restart || want[p.Name] != has[p.Name]
			want[p.Name] = has[p.Name]
		}
	}
	s.inForce = want
	return restart
}
