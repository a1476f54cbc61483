package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string {
	defaults := map[string]string{}
	for _, p := range m.variant.parameters() {
		defaults[p.Name] = p.text
	}
	for name, value := range m.ownDefaults() {
		defaults[name] = value
	}
	return defaults
}

// ownDefaults are the parameters whose defaults are the guest's and not the server's.
func (m *Manager) ownDefaults() map[string]string {
	return map[string]string{
		"appendfsync":      m.options.AppendFsync,
		"maxmemory-policy": m.options.MaxMemoryPolicy,
		"maxmemory":        strconv.FormatInt(m.maxMemory(), 10),
	}
}

// maxMemory is how much the data may take at most, in bytes; 0: not limited.
func (m *Manager) maxMemory() int64 {
	return int64(m.env.MemoryMB*m.options.MaxMemoryPercent/100) << 20
}

// UpdateOverrides implements [datastores.Configuration]. The running server takes all that it can at once, or, when it
// refuses one value, nothing.
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if err := m.checkOverrides(values); err != nil {
		return false, err
	}
	if _, _, ok := m.service.Running(); ok {
		if restart, err = m.applyOverrides(ctx, values); err != nil {
			return false, err
		}
	}
	return restart, m.set.Save(values)
}

// CheckOverrides implements [datastores.OverridesChecker]: with everything else that its parameters allow the server starts.
func (m *Manager) CheckOverrides(_ context.Context, values datastores.Values) error {
	return m.checkOverrides(values)
}

func (m *Manager) checkOverrides(values datastores.Values) error {
	problems := datastores.CheckValues(m.Parameters(), values)
	for _, limit := range []struct {
		name  string
		bytes int64
		share string
	}{
		{"maxmemory", m.maxMemory(), fmt.Sprintf("%d %%", m.options.MaxMemoryPercent)},
		{"repl-backlog-size", int64(m.env.MemoryMB) << 20 / 4, "a quarter"},
	} {
		n, ok := values[limit.name].(json.Number)
		if !ok || len(problems) > 0 || limit.bytes <= 0 {
			continue
		}
		if bytes, err := strconv.ParseInt(plain(n), 10, 64); err != nil || bytes < 1 || bytes > limit.bytes {
			problems = append(problems, fmt.Errorf("%s: %s is not 1 to %d, which is %s of the instance's memory", limit.name, n, limit.bytes, limit.share))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return datastores.Errorf(datastores.Invalid, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// applyOverrides sets what is different and can be set, and reports whether anything else is different.
func (m *Manager) applyOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	st, err := m.loadSide()
	if err != nil {
		return false, err
	}
	wanted := m.configuration(values, st)
	err = m.talk(ctx, func(c *conn) error {
		pairs, err := c.list("CONFIG", "GET", "*")
		if err != nil {
			return fmt.Errorf("CONFIG GET: %w", err)
		}
		set := []string{"CONFIG", "SET"}
		for _, p := range m.variant.parameters() {
			switch now, ok := valueOf(pairs, p.Name); {
			case !ok || now == wanted[p.Name]:
			case p.RestartRequired:
				restart = true
			default:
				set = append(set, p.Name, wanted[p.Name])
			}
		}
		if len(set) == 2 {
			return nil
		}
		_, err = c.call(set...)
		if refused := replyError(""); errors.As(err, &refused) {
			return datastores.Errorf(datastores.Invalid, "the server refuses the configuration: %s", refused)
		}
		return err
	})
	return restart, err
}

func valueOf(pairs []string, name string) (string, bool) {
	for pair := range slices.Chunk(pairs, 2) {
		if len(pair) == 2 && pair[0] == name {
			return pair[1], true
		}
	}
	return "", false
}

// reconfigure has the running server take what has changed of its side.
func (m *Manager) reconfigure(ctx context.Context) error {
	values, err := m.set.Load()
	if err == nil {
		_, err = m.applyOverrides(ctx, values)
	}
	return err
}

// configuration is every parameter as it is to be, overrides before defaults. More memory than the instance has is never
// in it: the instance may be smaller than it was when the override was made.
func (m *Manager) configuration(values datastores.Values, st side) map[string]string {
	all := m.DefaultConfiguration()
	for name, value := range values {
		if _, known := all[name]; known {
			all[name] = textOf(value)
		}
	}
	most := m.maxMemory()
	if n, err := strconv.ParseInt(all["maxmemory"], 10, 64); most > 0 && (err != nil || n < 1 || n > most) {
		all["maxmemory"] = strconv.FormatInt(most, 10)
	}
	maps.Copy(all, st.awaiting(all))
	return all
}

// textOf is a value as the server writes it.
func textOf(value any) string {
	switch v := value.(type) {
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case json.Number:
		return plain(v)
	case string:
		return v
	}
	return ""
}

// plain writes 1.0 and +1 as 1.
func plain(n json.Number) string {
	if r, ok := new(big.Rat).SetString(n.String()); ok && r.IsInt() {
		return r.Num().String()
	}
	return n.String()
}
