package service

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

// SystemLog implements [datastores.Logs] for a server with one log, which is the system's. A manager embeds it.
type SystemLog struct {
	name, file string
}

// NewSystemLog returns the log of that name, in a file with an absolute path.
func NewSystemLog(name, file string) SystemLog { return SystemLog{name, file} }

// Logs implements [datastores.Logs].
func (l SystemLog) Logs() []datastores.Log {
	return []datastores.Log{{Name: l.name, Type: datastores.SystemLog}}
}

// LogFile implements [datastores.Logs].
func (l SystemLog) LogFile(name string) string {
	if name != l.name {
		return ""
	}
	return l.file
}

// SetLog implements [datastores.Logs]. The system's log is always on.
func (l SystemLog) SetLog(_ context.Context, name string, _ bool) (restart bool, err error) {
	if name != l.name {
		return false, datastores.Errorf(datastores.NotFound, "there is no log %q", name)
	}
	return false, datastores.Errorf(datastores.Invalid, "log %q is the system's and always on", name)
}
