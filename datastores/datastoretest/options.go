package datastoretest

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// complete are guest options with the plug-in's defaults for what they leave out, as they stand in etcd.
func (h Harness) complete(options []byte) ([]byte, error) {
	all := map[string]json.RawMessage{}
	for _, d := range h.Plugin.Manifest().Options {
		all[d.Name] = d.Default
	}
	if err := json.Unmarshal([]byte(cmp.Or(string(options), "{}")), &all); err != nil {
		return nil, fmt.Errorf("guest options: %w", err)
	}
	return json.Marshal(all)
}
