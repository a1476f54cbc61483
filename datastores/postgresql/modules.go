package postgresql

import (
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
)

// ModuleDrivers implements [datastores.Modules]: what every server takes, parameters, and statements.
func (m *Manager) ModuleDrivers() []datastores.ModuleDriver {
	return append(modules.Common(m.env), modules.Parameters(), modules.SQL(m.runModule))
}
