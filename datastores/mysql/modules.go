package mysql

import (
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
)

// ModuleDrivers implements [datastores.Modules]: the server takes what every server can.
func (m *Manager) ModuleDrivers() []datastores.ModuleDriver { return modules.Common(m.env) }
