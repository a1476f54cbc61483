package datastoretest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
)

const (
	memoryGeneralLog = "general"
	memoryErrorLog   = "error"
)

func (m *memoryManager) Logs() []datastores.Log {
	return []datastores.Log{{Name: memoryErrorLog, Type: datastores.SystemLog}, {Name: memoryGeneralLog, Type: datastores.UserLog}}
}

func (m *memoryManager) LogFile(name string) string { return memoryLogFile(m.env.Dir, name) }

func memoryLogFile(dir, name string) string { return filepath.Join(dir, name+".log") }

func (m *memoryManager) SetLog(ctx context.Context, name string, on bool) (restart bool, err error) {
	if err := m.enter(ctx, datastores.MethodLogAction); err != nil {
		return false, err
	}
	if name != memoryGeneralLog {
		return false, datastores.Errorf(datastores.Invalid, "log %q cannot be turned on and off", name)
	}
	m.memory.with(m.env.Address, func(s *memoryServer) { s.general = on })
	return false, nil
}

// log writes a line to a log that is on.
func (s *memoryServer) log(name, format string, args ...any) {
	if s.dir == "" || name == memoryGeneralLog && !s.general {
		return
	}
	f, err := os.OpenFile(memoryLogFile(s.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // the directory has gone with its guest
	}
	_, _ = fmt.Fprintf(f, format+"\n", args...)
	_ = f.Close()
}
