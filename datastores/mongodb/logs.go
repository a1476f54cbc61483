package mongodb

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

const serverLog = "mongodb"

// Logs implements [datastores.Logs]. What is slow is in the server's log, too: there is no other file.
func (m *Manager) Logs() []datastores.Log {
	return []datastores.Log{{Name: serverLog, Type: datastores.SystemLog}}
}

// LogFile implements [datastores.Logs].
func (m *Manager) LogFile(name string) string {
	if name != serverLog {
		return ""
	}
	return m.dataPath(logFile)
}

// SetLog implements [datastores.Logs]. The server's log is always on.
func (m *Manager) SetLog(_ context.Context, name string, _ bool) (restart bool, err error) {
	if name != serverLog {
		return false, datastores.Errorf(datastores.NotFound, "there is no log %q", name)
	}
	return false, datastores.Errorf(datastores.Invalid, "log %q is the system's and always on", name)
}
