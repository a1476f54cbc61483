package cassandra

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

const maxYAML = 1 << 20

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string {
	defaults := map[string]string{}
	for _, p := range m.parameters() {
		defaults[p.Name] = fmt.Sprint(p.value)
	}
	return defaults
}

// UpdateOverrides implements [datastores.Configuration]. What the server runs with is what its file says: that is written while there is
// no server, and never else.
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	if err := m.CheckOverrides(ctx, values); err != nil {
		return false, err
	}
	if err := m.set.Save(values); err != nil {
		return false, err
	}
	if _, _, ok := m.service.Running(); !ok {
		return false, nil
	}
	in, err := m.loadMember()
	if err != nil {
		return false, err
	}
	runs, err := m.data.ReadFile(yamlFile, maxYAML)
	return !bytes.Equal(withoutSeeds(runs), withoutSeeds(m.yaml(values, in, in.isOut()))), err
}

// withoutSeeds is a configuration but for where the server looks for others when it starts.
func withoutSeeds(yaml []byte) []byte {
	return slices.Concat(slices.DeleteFunc(bytes.SplitAfter(yaml, []byte("\n")), func(line []byte) bool {
		return bytes.HasPrefix(line, []byte(seedsSetting+":"))
	})...)
}

// CheckOverrides implements [datastores.OverridesChecker]: with everything that it lets pass the server starts.
func (m *Manager) CheckOverrides(_ context.Context, values datastores.Values) error {
	problems := datastores.CheckValues(m.Parameters(), values)
	if len(problems) == 0 {
		problems = m.contradictions(values)
	}
	if err := errors.Join(problems...); err != nil {
		return datastores.Errorf(datastores.Invalid, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func (m *Manager) contradictions(values datastores.Values) (problems []error) {
	set := m.configuration(values)
	if most := m.memory().direct; bytesOf(set["row_cache_size"]) > int64(most)<<20 {
		problems = append(problems, fmt.Errorf("row_cache_size: %s is more than %dMiB, which an instance of this size has beside its heap", set["row_cache_size"], most))
	}
	for _, pair := range [][2]string{{"batch_size_warn_threshold", "batch_size_fail_threshold"}, {"tombstone_warn_threshold", "tombstone_failure_threshold"}} {
		if bytesOf(set[pair[0]]) > bytesOf(set[pair[1]]) {
			problems = append(problems, fmt.Errorf("%s: %v is more than %s, %v", pair[0], set[pair[0]], pair[1], set[pair[1]]))
		}
	}
	return problems
}

// configuration is every parameter as cassandra.yaml has it, overrides before defaults.
func (m *Manager) configuration(values datastores.Values) map[string]any {
	all := map[string]any{}
	for _, p := range m.parameters() {
		value, ok := values[p.Name]
		if !ok {
			value = p.value
		}
		switch v := value.(type) {
		case json.Number:
			value = plain(v)
		case string:
			if d, err := time.ParseDuration(v); p.Type == datastores.DurationParameter && err == nil {
				value = fmt.Sprintf("%dms", d.Milliseconds())
			}
		}
		all[p.Name] = value
	}
	return all
}

// plain makes 1 of 1.0 and +1.
func plain(n json.Number) any {
	if r, ok := new(big.Rat).SetString(n.String()); ok && r.IsInt() {
		return json.Number(r.Num().String())
	}
	return n
}

// bytesOf is a size, or a number, that the rules of a parameter allow.
func bytesOf(value any) int64 {
	text := fmt.Sprint(value)
	for unit, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "": 1} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			if n, err := strconv.ParseInt(n, 10, 64); err == nil {
				return n * factor
			}
		}
	}
	return 0
}
