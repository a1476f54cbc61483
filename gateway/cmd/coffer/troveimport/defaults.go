package troveimport

import (
	_ "embed"
	"encoding/json"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

// defaults is what Trove takes for options that a configuration leaves out.
//
//go:embed trove-defaults.conf
var defaults []byte

// troveDefaults is a definition of a manager of which nothing is known but what Trove assumed of it.
func troveDefaults(t *target) draft {
	d := draft{
		server: datastores.ServerOptions{Manager: t.manager, Capabilities: []datastores.Capability{}},
		guest:  map[string]json.RawMessage{},
	}
	_ = d.setGuest("mount_point", "/var/lib/"+t.name)
	var conf troveconf.Conf
	conf.Read("trove-defaults.conf", defaults)
	for _, r := range groupRules() {
		if e, ok := conf.Last(t.name, r.option); ok && r.carry != nil {
			_ = r.carry(&d, e.Value) // a test holds every one of them good
		}
	}
	return d
}
