package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// zoneInfo is where the package tzdata keeps what is known of time zones.
const zoneInfo = "/usr/share/zoneinfo"

// zones is the SQL that makes the named time zones, which the binary log does not hold: every server makes its own, or has its source's
// from a copy. It is empty where the tool fails or there is none: a server does without.
func (m *Manager) zones(ctx context.Context) io.Reader {
	var script bytes.Buffer
	if err := m.writeZones(ctx, &script); err != nil {
		m.env.Log.Warn("the server will have no named time zones", "err", err)
		return bytes.NewReader(nil)
	}
	return &script
}

// writeZones has the server's tool read a folder without those that tzdata has for other uses: every zone again, one time as it
// is, and one time with leap seconds, which no server counts.
func (m *Manager) writeZones(ctx context.Context, into io.Writer) error {
	temp, remove, err := volume.Temp(m.env)
	if err != nil {
		return err
	}
	defer remove()
	entries, err := os.ReadDir(zoneInfo)
	if err != nil {
		return err
	}
	links, err := temp.Open()
	if err != nil {
		return err
	}
	defer func() { _ = links.Close() }()
	for _, e := range entries {
		if name := e.Name(); name != "posix" && name != "right" {
			if err := links.Symlink(filepath.Join(zoneInfo, name), name); err != nil {
				return err
			}
		}
	}
	_, err = service.Run(ctx, append(append([]string{m.tool(m.variant.zones)}, m.variant.zoneOptions...), temp.Path), service.RunOptions{
		Stdout: into, Credential: m.service.Credential,
	})
	return err
}

// loadZones gives them to a running server that has none: its data is older than this, or was restored from such data.
func (m *Manager) loadZones(ctx context.Context) error {
	var known bool
	err := m.session(func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT EXISTS (SELECT * FROM mysql.time_zone_name)").Scan(&known)
	})
	if err != nil || known {
		return err
	}
	script := m.zones(ctx)
	return m.withLogin(ctx, func(login string, _ func()) error {
		return m.runTool(ctx, []string{m.tool(m.variant.client), login, "--batch", "--init-command=SET sql_log_bin = 0", "mysql"}, script, nil)
	})
}
