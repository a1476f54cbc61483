package datastores

import "context"

// Logs is implemented by a manager whose server writes logs that tenants may read.
type Logs interface {
	// Logs returns them. The Env may be the zero one.
	Logs() []Log
	// LogFile returns the absolute path of a log; the file need not be there.
	LogFile(name string) string
	// SetLog turns a log of type [UserLog] on or off, for later starts too. restart tells that it takes a restart.
	SetLog(ctx context.Context, name string, on bool) (restart bool, err error)
}

// Log is one log of a server.
type Log struct {
	Name string  `json:"name"`
	Type LogType `json:"type"`
}

// LogType tells who may turn a log on.
type LogType string

const (
	SystemLog LogType = "SYS"  // always on
	UserLog   LogType = "USER" // tenants turn it on and off, when guest_log_exposed_logs names it
)
