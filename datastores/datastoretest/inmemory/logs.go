package inmemory

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
)

const (
	generalLog = "general"
	errorLog   = "error"
)

func (m *manager) Logs() []datastores.Log {
	return []datastores.Log{{Name: errorLog, Type: datastores.SystemLog}, {Name: generalLog, Type: datastores.UserLog}}
}

func (m *manager) LogFile(name string) string { return logFile(m.env.Dir, name) }

func logFile(dir, name string) string { return filepath.Join(dir, name+".log") }

func (m *manager) SetLog(ctx context.Context, name string, on bool) (restart bool, err error) {
	if err := m.enter(ctx, datastores.MethodLogAction); err != nil {
		return false, err
	}
	if name != generalLog {
		return false, datastores.Errorf(datastores.Invalid, "log %q cannot be turned on and off", name)
	}
	m.memory.with(m.env.Address, func(s *server) { s.general = on })
	return false, nil
}

// log writes a line to a log that is on.
func (s *server) log(name, format string, args ...any) {
	if s.dir == "" || name == generalLog && !s.general {
		return
	}
	f, err := os.OpenFile(logFile(s.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // the directory has gone with its guest
	}
	_, _ = fmt.Fprintf(f, format+"\n", args...)
	_ = f.Close()
}
