package mysql

import (
	"context"
	"database/sql"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// The names of the logs are Trove's.
const (
	generalLog   = "general"
	slowQueryLog = "slow_query"
	errorLog     = "error"
)

const (
	logsDir  = "logs"      // on the volume
	logsName = "logs.json" // which are on, in the guest's own directory
)

// userLogs has the server's variable that turns a log of tenants on.
func userLogs() map[string]string {
	return map[string]string{generalLog: "general_log", slowQueryLog: "slow_query_log"}
}

// Logs implements [datastores.Logs].
func (m *Manager) Logs() []datastores.Log {
	return []datastores.Log{
		{Name: errorLog, Type: datastores.SystemLog},
		{Name: generalLog, Type: datastores.UserLog},
		{Name: slowQueryLog, Type: datastores.UserLog},
	}
}

// LogFile implements [datastores.Logs]. What is slow the parameter long_query_time says, and the option
// guest_log_long_query_time where a tenant has not set it.
func (m *Manager) LogFile(name string) string {
	switch name {
	case errorLog, generalLog, slowQueryLog:
		return m.path(logsDir + "/" + name + ".log")
	}
	return ""
}

// SetLog implements [datastores.Logs]. It never takes a restart.
func (m *Manager) SetLog(ctx context.Context, name string, on bool) (restart bool, err error) {
	variable, ok := userLogs()[name]
	if !ok {
		return false, datastores.Errorf(datastores.Invalid, "log %q cannot be turned on or off; %s and %s can", name, generalLog, slowQueryLog)
	}
	logs, err := m.loadLogs()
	if err != nil {
		return false, err
	}
	logs[name] = on
	if err := m.own.SaveJSON(logsName, logs); err != nil {
		return false, err
	}
	if _, _, running := m.service.Running(); !running {
		return false, nil
	}
	return false, m.session(func(db *sql.DB) error {
		return failed(execute(ctx, db, "SET GLOBAL "+variable+" = "+onOff(on)), "cannot turn log %q %s", name, onOff(on))
	})
}

func (m *Manager) loadLogs() (map[string]bool, error) {
	logs := map[string]bool{}
	return logs, m.own.LoadJSON(logsName, &logs)
}

func (m *Manager) logSettings(on map[string]bool) []configfile.Setting {
	return []configfile.Setting{
		{Name: "log_output", Value: "FILE"},
		{Name: "general_log", Value: onOff(on[generalLog])},
		{Name: "general_log_file", Value: m.LogFile(generalLog)},
		{Name: "slow_query_log", Value: onOff(on[slowQueryLog])},
		{Name: "slow_query_log_file", Value: m.LogFile(slowQueryLog)},
	}
}

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}
