package postgresql

import (
	"context"
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// The logs. The general one is the server's csvlog, which is written while it is on; then every statement is logged. The
// server writes each message to every log that is on, so those are in the error log, too.
const (
	errorLog   = "error"
	generalLog = "general"

	logName     = "postgresql.log" // with its ending replaced for the other kinds
	generalName = "postgresql.csv"
	logsName    = "logs.json" // in the guest's directory
)

// maxLog is how large a log may be at a start; a larger one is put aside.
const maxLog = 64 << 20

// Logs implements [datastores.Logs].
func (m *Manager) Logs() []datastores.Log {
	return []datastores.Log{
		{Name: errorLog, Type: datastores.SystemLog},
		{Name: generalLog, Type: datastores.UserLog},
	}
}

// LogFile implements [datastores.Logs].
func (m *Manager) LogFile(name string) string {
	if name == generalLog {
		return m.path(logDir + "/" + generalName)
	}
	return m.path(logDir + "/" + logName)
}

// SetLog implements [datastores.Logs].
func (m *Manager) SetLog(ctx context.Context, name string, on bool) (restart bool, err error) {
	if name != generalLog {
		return false, datastores.Errorf(datastores.Invalid, "log %q cannot be turned on or off", name)
	}
	if err := m.own.SaveJSON(logsName, map[string]bool{generalLog: on}); err != nil {
		return false, err
	}
	return false, m.reload(ctx)
}

// addLogs adds what the logs need that are on.
func (m *Manager) addLogs(needs map[string]string) error {
	on := map[string]bool{}
	err := m.own.LoadJSON(logsName, &on)
	if on[generalLog] {
		needs["log_destination"] = "stderr,csvlog"
		needs["log_statement"] = "all"
	}
	return err
}

// trimLogs puts logs aside that have grown large.
func (m *Manager) trimLogs() error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	for _, name := range []string{logName, generalName} {
		name = logDir + "/" + name
		if info, err := tree.Lstat(name); err == nil && info.Size() > maxLog {
			if err := tree.Rename(name, name+".1"); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastWords is the end of what the server said of itself: before its log was open, and after.
func (m *Manager) lastWords() string {
	words := m.service.LastWords()
	log, _ := m.data.Tail(logDir+"/"+logName, 16<<10)
	return strings.TrimSpace(words + "\n" + ofItself(string(log)))
}

var level = regexp.MustCompile(`\b(ERROR|FATAL|PANIC|LOG|WARNING):  `)

// ofItself leaves out of a log what sessions did wrong, and what those were told who came while the server could not serve
// them: neither is a reason for it to end. A panic is, so nothing before the last one is kept.
func ofItself(log string) string {
	var kept []string
	for line := range strings.Lines(log) {
		found := level.FindStringSubmatch(line)
		switch {
		case found == nil || found[1] == "ERROR" || strings.Contains(line, "FATAL:  the database system is "):
			continue
		case found[1] == "PANIC":
			kept = nil
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

// withLog adds to an error of a start what the server has said in its own log.
func (m *Manager) withLog(err error) error {
	if err == nil {
		return nil
	}
	if _, _, running := m.service.Running(); running {
		return err
	}
	return &startError{err, m.lastWords()}
}

// startError is that of a server which did not start, with its last words.
type startError struct {
	err   error
	words string
}

func (e *startError) Error() string     { return e.err.Error() }
func (e *startError) Unwrap() error     { return e.err }
func (e *startError) LastWords() string { return e.words }
