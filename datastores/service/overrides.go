package service

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// Overrides keeps the parameters that the tenant has set, for a manager that implements [datastores.Configuration] and
// renders them at each start.
type Overrides struct {
	// Dir is the guest's own directory, [datastores.Env].Dir.
	Dir string
	// File is the name of the file there; "" is overrides.json.
	File string
}

func (o Overrides) file() string { return cmp.Or(o.File, "overrides.json") }

// Save stores values in place of all that were stored before. None in place of none need no file.
func (o Overrides) Save(values datastores.Values) error {
	dir := volume.At(o.Dir)
	if len(values) == 0 {
		if there, err := dir.Exists(o.file()); err != nil || !there {
			return err
		}
		values = datastores.Values{}
	}
	return dir.SaveJSON(o.file(), values)
}

// Load returns what is stored; before the first Save it is empty.
func (o Overrides) Load() (datastores.Values, error) {
	values := datastores.Values{}
	err := volume.At(o.Dir).LoadJSON(o.file(), &values)
	return values, err
}

// Over returns defaults with what is stored in their place, as text. defaults stay as they are.
func (o Overrides) Over(defaults map[string]string) (map[string]string, error) {
	values, err := o.Load()
	merged := maps.Clone(defaults)
	for name, value := range values {
		merged[name] = fmt.Sprint(value)
	}
	return merged, err
}

// Differ returns the names, sorted, of the wanted parameters for which the running server has something else or nothing: 90s and
// 1m30s are the same. A manager's UpdateOverrides reports that a restart is needed when there are any.
func Differ(wanted, running map[string]string) []string {
	var names []string
	for name, value := range wanted {
		if has, ok := running[name]; !ok || !same(has, value) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func same(a, b string) bool {
	x, errX := time.ParseDuration(a)
	y, errY := time.ParseDuration(b)
	return a == b || errX == nil && errY == nil && x == y
}
