package couchbase

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

// logFiles are the logs that tenants may read, by name. The server has more, which tell operators of Couchbase's own.
func logFiles() []struct{ name, file string } {
	return []struct{ name, file string }{{"couchbase", outputFile}, {"info", "lib/couchbase/logs/info.log"}}
}

// Logs implements [datastores.Logs].
func (m *Manager) Logs() (all []datastores.Log) {
	for _, l := range logFiles() {
		all = append(all, datastores.Log{Name: l.name, Type: datastores.SystemLog})
	}
	return all
}

// LogFile implements [datastores.Logs].
func (m *Manager) LogFile(name string) string {
	for _, l := range logFiles() {
		if l.name == name {
			return m.dataPath(l.file)
		}
	}
	return ""
}

// SetLog implements [datastores.Logs].
func (m *Manager) SetLog(_ context.Context, name string, _ bool) (restart bool, err error) {
	if m.LogFile(name) == "" {
		return false, datastores.Errorf(datastores.NotFound, "there is no log %q", name)
	}
	return false, datastores.Errorf(datastores.Invalid, "log %q is the system's and always on", name)
}
