package mongodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
)

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string { return texts(m.configuration(nil)) }

// configuration is every parameter as it is to be, overrides before defaults. More cache than the instance's memory allows is never in it: the
// instance may be smaller than it was when the override was made.
func (m *Manager) configuration(values datastores.Values) map[string]any {
	all := map[string]any{}
	for _, p := range table() {
		all[p.Name] = p.value
		if value, set := values[p.Name]; set {
			all[p.Name] = value
		}
	}
	if n, ok := all[cacheSize].(json.Number); !ok || float(n) > m.mostCache() {
		all[cacheSize] = gigabytes(m.env.MemoryMB, m.options.CachePercent)
	}
	return all
}

// gigabytes is a share of the memory, at least what mongod takes.
func gigabytes(memoryMB, percent int) json.Number {
	size := max(float64(memoryMB)*float64(percent)/100/1024, leastCache)
	return json.Number(strconv.FormatFloat(size, 'f', 3, 64))
}

func (m *Manager) mostCache() float64 {
	if m.env.MemoryMB == 0 {
		return 10000
	}
	return float(gigabytes(m.env.MemoryMB, mostCache))
}

func float(n json.Number) float64 {
	f, err := n.Float64()
	if err != nil {
		return 0
	}
	return f
}

// texts are values as they are compared and told: 1.0 is 1.
func texts(values map[string]any) map[string]string {
	all := map[string]string{}
	for name, value := range values {
		text := fmt.Sprint(value)
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			text = strconv.FormatFloat(f, 'f', -1, 64)
		}
		all[name] = text
	}
	return all
}

// UpdateOverrides implements [datastores.Configuration].
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if err := m.checkOverrides(values); err != nil {
		return false, err
	}
	if err := m.set.Save(values); err != nil {
		return false, err
	}
	if _, _, ok := m.service.Running(); !ok {
		return false, nil
	}
	running, err := m.runningConfiguration(ctx)
	return len(service.Differ(texts(m.configuration(values)), running)) > 0, err
}

// runningConfiguration is what the server was started with, by dotted names.
func (m *Manager) runningConfiguration(ctx context.Context) (map[string]string, error) {
	all := map[string]any{}
	err := m.talk(ctx, func(c *opmsg.Client) error {
		reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "getCmdLineOpts", Value: 1}, anywhere()})
		if err != nil {
			return err
		}
		var opts struct {
			Parsed bson.D `bson:"parsed"`
		}
		err = bson.Unmarshal(reply, &opts)
		flatten(all, "", opts.Parsed)
		return err
	})
	return texts(all), err
}

func flatten(all map[string]any, prefix string, d bson.D) {
	for _, e := range d {
		if inner, ok := e.Value.(bson.D); ok {
			flatten(all, prefix+e.Key+".", inner)
		} else {
			all[prefix+e.Key] = e.Value
		}
	}
}

// CheckOverrides implements [datastores.OverridesChecker].
func (m *Manager) CheckOverrides(_ context.Context, values datastores.Values) error {
	return m.checkOverrides(values)
}

func (m *Manager) checkOverrides(values datastores.Values) error {
	problems := datastores.CheckValues(m.Parameters(), values)
	if n, ok := values[cacheSize].(json.Number); ok && float(n) > m.mostCache() {
		problems = append(problems, fmt.Errorf("%s: %s is more than %g, which is %d %% of the instance's memory", cacheSize, n, m.mostCache(), mostCache))
	}
	if err := errors.Join(problems...); err != nil {
		return datastores.Errorf(datastores.Invalid, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}
