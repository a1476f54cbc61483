package couchbase

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string { return m.configuration(nil) }

// configuration is every parameter as it is to be, overrides before defaults. Quotas that an instance has become too small for are not in it.
func (m *Manager) configuration(values datastores.Values) map[string]string {
	fits := m.fits(values)
	all := map[string]string{}
	for _, p := range m.table() {
		value, set := values[p.Name]
		if !set || !fits && (p.Name == memoryQuota || p.Name == indexMemoryQuota) {
			value = p.value
		}
		all[p.Name] = text(value)
	}
	return all
}

// text is a value as it is compared and told: 3.0 is 3.
func text(value any) string {
	t := fmt.Sprint(value)
	if f, err := strconv.ParseFloat(t, 64); err == nil {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return t
}

// fits reports whether the quotas, with those of values, are no more than the server may give.
func (m *Manager) fits(values datastores.Values) bool {
	sum := 0
	for name, mb := range m.quotas() {
		if n, ok := values[name].(json.Number); ok {
			set, err := n.Int64()
			if err != nil || set > 1<<30 {
				return false
			}
			mb = int(set)
		}
		sum += mb
	}
	return sum <= m.mostMemory()
}

// CheckOverrides implements [datastores.OverridesChecker].
func (m *Manager) CheckOverrides(_ context.Context, values datastores.Values) error {
	if !m.fits(values) {
		return datastores.Errorf(datastores.Invalid, "%s and %s together are more than the %d MB that a server of this size gives its services", memoryQuota, indexMemoryQuota, m.mostMemory())
	}
	return nil
}

// UpdateOverrides implements [datastores.Configuration].
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if err := m.CheckOverrides(ctx, values); err != nil {
		return false, err
	}
	_, _, running := m.service.Running()
	if running && values[memoryQuota] != nil {
		used, err := m.usedByBuckets(ctx)
		if err != nil {
			return false, err
		}
		if n, err := values[memoryQuota].(json.Number).Int64(); err == nil && n < used {
			return false, datastores.Errorf(datastores.Invalid, "%s: the databases have %d MB, and %d are less", memoryQuota, used, n)
		}
	}
	if err := m.set.Save(values); err != nil || !running {
		return false, err
	}
	return false, m.apply(ctx)
}

// usedByBuckets is the memory that all buckets have on a node, in MB.
func (m *Manager) usedByBuckets(ctx context.Context) (sum int64, err error) {
	list, err := m.buckets(ctx)
	for _, b := range list {
		sum += b.Quota.Raw >> 20
	}
	return sum, err
}

// apply brings to the server what it has otherwise than it is to be. Databases keep the memory that they have: a server that was made smaller than that has
// to be told so by somebody who deletes one.
func (m *Manager) apply(ctx context.Context) error {
	values, err := m.set.Load()
	if err != nil {
		return err
	}
	wanted := m.configuration(values)
	used, err := m.usedByBuckets(ctx)
	if err != nil {
		return err
	}
	if mb, err := strconv.ParseInt(wanted[memoryQuota], 10, 64); err == nil && mb < used {
		m.env.Log.Warn("databases take more memory than the data service is to have", "memory_mb", used, "wanted_mb", mb)
		wanted[memoryQuota] = strconv.FormatInt(used, 10)
	}
	for _, g := range m.groups() {
		running, err := m.running(ctx, g)
		if err != nil {
			return err
		}
		form, own := url.Values{}, map[string]string{}
		for _, p := range g.parameters {
			own[p.Name] = wanted[p.Name]
			form.Set(p.key, wanted[p.Name])
		}
		if len(service.Differ(own, running)) == 0 {
			continue
		}
		if err := m.call(ctx, "POST", g.write, form, nil); err != nil {
			return fmt.Errorf("cannot make the settings at %s: %w", g.write, err)
		}
	}
	return nil
}

// running is what the server has for the parameters of a group, as far as it says.
func (m *Manager) running(ctx context.Context, g group) (map[string]string, error) {
	var answer map[string]any
	if err := m.call(ctx, "GET", g.read, nil, &answer); err != nil {
		return nil, err
	}
	has := map[string]string{}
	flatten(has, "", answer)
	all := map[string]string{}
	for _, p := range g.parameters {
		value, ok := has[p.path]
		if !ok && p.value == "default" { // threads of which nobody has said anything
			value, ok = "default", true
		}
		if ok {
			all[p.Name] = value
		}
	}
	return all, nil
}

// runningConfiguration is what the server has for all parameters.
func (m *Manager) runningConfiguration(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	for _, g := range m.groups() {
		some, err := m.running(ctx, g)
		if err != nil {
			return nil, err
		}
		for name, value := range some {
			all[name] = value
		}
	}
	return all, nil
}

func flatten(all map[string]string, prefix string, values map[string]any) {
	for name, value := range values {
		if inner, ok := value.(map[string]any); ok {
			flatten(all, prefix+name+".", inner)
		} else {
			all[prefix+name] = text(value)
		}
	}
}
