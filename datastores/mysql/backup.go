package mysql

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"regexp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/service"
)

const backupNamespace = "mysql_impl"

// BackupStrategies implements [datastores.Backups]: of the files, by the server's own tool or itself, and of the rows, as SQL.
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	all := append(m.copyStrategies(), m.dumpStrategy())
	for _, more := range m.extra {
		all = append(all, more(m))
	}
	return all
}

// backupMeta is the Meta of both strategies.
type backupMeta struct {
	Family  string `json:"family"`
	Version string `json:"version"`
	FromLSN string `json:"from_lsn,omitempty"`
	ToLSN   string `json:"to_lsn,omitempty"` // where an incremental one goes on
	// GTID is the position in the binary log that the backup is of.
	GTID string `json:"gtid,omitempty"`
}

// discardData takes the data directory away.
func (m *Manager) discardData(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	r, err := m.loadSide()
	if err == nil && r.Placed {
		err = m.own.SaveJSON(sideName, side{ReadOnly: r.ReadOnly})
	}
	if err != nil {
		return err
	}
	return m.data.Discard(dataDir)
}

// tool is a program that belongs to the server.
func (m *Manager) tool(name string) string { return filepath.Join(m.options.ToolsDir, name) }

const clientName = "client.cnf"

// withLogin runs do, in which a program of the server runs, with what that needs: see withGlobals for begun, and the option that
// tells a program how to log in; the password stands in a file that only the server's user, as which programs are run, can read.
// The socket is relative to the data directory, where programs must work: see volume.Dir.Dial.
func (m *Manager) withLogin(ctx context.Context, do func(option string, begun func()) error) error {
	password, err := m.adminPassword()
	if err != nil {
		return err
	}
	file, err := configfile.INI(configfile.Section{Name: "client", Settings: []configfile.Setting{
		{Name: "user", Value: adminUser},
		{Name: "password", Value: password.Reveal()},
		{Name: "socket", Value: "../" + socketName},
		m.variant.plain, // clients from 11.4 on check a server's certificate by its socket, too, against CAs of the machine's
	}})
	if err != nil {
		return err
	}
	if err := m.data.WriteFile(clientName, file); err != nil {
		return err
	}
	defer func() { _ = m.data.Remove(clientName) }()
	return m.withGlobals(ctx, func(begun func()) error { return do("--defaults-file="+m.path(clientName), begun) })
}

// runTool runs a program as the server's user, in the data directory.
func (m *Manager) runTool(ctx context.Context, argv []string, stdin io.Reader, stdout io.Writer) error {
	_, err := service.Run(ctx, argv, service.RunOptions{
		Stdin:      stdin,
		Stdout:     stdout,
		Dir:        m.toolsWorkDir(),
		Credential: m.service.Credential,
	})
	var failure *service.Failure
	if errors.As(err, &failure) && crowded.MatchString(failure.Words) {
		return datastores.Errorf(datastores.Unavailable, "%s: all connections are taken; a restart of the instance ends them", failure.Program)
	}
	return err
}

// crowded is how programs say [errTooManyConnections].
var crowded = regexp.MustCompile(`(?i)\berror:? 1040\b`)

func (m *Manager) toolsWorkDir() string {
	if there, _ := m.data.Exists(dataDir); there {
		return m.path(dataDir)
	}
	return m.env.DataDir
}

// hook is a writer that calls a function for whatever is written.
type hook func()

func (h hook) Write(p []byte) (int, error) {
	h()
	return len(p), nil
}
