package influxdb

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

const (
	port        = 8086
	privatePort = 8088 // for backups; it asks for no password

	// folder, below Env.DataDir, is the server's working directory: the rest is in it.
	folder     = "influxdb"
	configFile = "influxdb.conf"
	socketFile = "influxdb.sock"
	metaFile   = "meta/meta.db" // databases and users
	shardsDir  = "data"         // database/retention policy/shard

	logFile = "influxdb.log" // below Env.DataDir

	maxMeta = 64 << 20 // bytes of metaFile
)

// Manager runs one InfluxDB.
type Manager struct {
	service.SystemLog
	env     datastores.Env
	options Options
	server  *service.Service
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options) *Manager {
	m := &Manager{env: env, options: options}
	m.server = service.New(env, "influxdb", options.Program, "run", "-config", m.path(configFile))
	m.server.WorkDir, m.server.LogFile = m.path(""), logFile
	m.SystemLog = service.NewSystemLog("influxdb", filepath.Join(env.DataDir, logFile))
	return m
}

func (m *Manager) path(name string) string { return filepath.Join(m.env.DataDir, folder, name) }

// Prepare implements [datastores.Manager]. The directory is made by a restore, or is empty but for the guest's account; wholly or
// not at all in both cases.
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("making the data directory")
	err := ctx.Err()
	if err == nil && req.Restore != nil {
		err = req.Restore.Run(ctx)
	} else if err == nil {
		err = volume.Data(m.env).Make(folder, func(*volume.Tree) error { return nil })
	}
	if err == nil {
		err = m.overrides().Save(req.Overrides)
	}
	if err != nil {
		return err
	}
	req.Progress("starting the server")
	return m.Start(ctx)
}

// Start implements [datastores.Manager].
func (m *Manager) Start(ctx context.Context) error {
	if _, _, running := m.server.Running(); !running {
		if err := errors.Join(m.makeAccount(), m.configure()); err != nil {
			return err
		}
	}
	if err := m.server.Start(ctx); err != nil {
		return err
	}
	return m.server.Await(ctx, m.ping)
}

// Stop implements [datastores.Manager].
func (m *Manager) Stop(ctx context.Context) error { return m.server.Stop(ctx) }

// Status implements [datastores.Manager].
func (m *Manager) Status(ctx context.Context) datastores.Status { return m.server.Status(ctx, m.ping) }

func (m *Manager) ping(ctx context.Context) error {
	_, err := m.query(ctx, "SHOW DATABASES")
	return err
}
