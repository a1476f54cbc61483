package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// What lies below [datastores.Env.DataDir].
const (
	dataDir       = "data"
	filesDir      = "files"
	tmpDir        = "tmp"
	configName    = "my.cnf"
	socketName    = "mysqld.sock"
	serverPIDName = "mysqld.pid"
)

const (
	serviceName = "mariadbd"
	// maxConfig and maxTold are the bytes that are read of the option file, and of what a tool tells of a backup.
	maxConfig = 1 << 20
	maxTold   = 1 << 20
	// stopTimeout is generous: InnoDB writes its dirty pages, and being killed costs a crash recovery.
	stopTimeout = 10 * time.Minute
	// pingTimeout is how long a server that answers needs at the very most.
	pingTimeout = 5 * time.Second
)

// Manager runs one server of the family. It implements [datastores.Manager] and every capability.
type Manager struct {
	env     datastores.Env
	options Options
	variant variant
	service *service.Service
	data    volume.Dir // in the hands of the server's user
	own     volume.Dir // the guest's
	extra   []func(*Manager) datastores.BackupStrategy
}

// New makes the manager of the server in env; it touches nothing. extra are backup strategies beside its own.
func New(env datastores.Env, options Options, extra ...func(*Manager) datastores.BackupStrategy) *Manager {
	m := &Manager{env: env, options: options, extra: extra, data: volume.Data(env), own: volume.Own(env)}
	m.variant, _ = variantOf(options.Variant, options.Version)
	m.service = service.New(env, serviceName, m.argv()...)
	m.service.LogFile, m.service.StopTimeout, m.service.AnswerTimeout = logsDir+"/"+errorLog+".log", stopTimeout, 3*pingTimeout
	return m
}

// path is that of a name on the volume, for programs that run as the server's user.
func (m *Manager) path(name string) string { return filepath.Join(m.env.DataDir, name) }

// argv is the server's command line, with more options after those of the configuration file.
func (m *Manager) argv(more ...string) []string {
	return append([]string{m.options.Program, "--defaults-file=" + m.path(configName)}, more...)
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	if err := m.own.SaveJSON(overridesName, overrides{Values: req.Overrides}); err != nil {
		return err
	}
	replays := req.Restore != nil && req.Restore.Request.Log != nil
	if req.Replicate != nil || replays { // before its first start, so that it never takes a write that is not its source's, or its log's
		if err := m.becomeReadOnly(); err != nil {
			return err
		}
	}
	if err := m.makeData(ctx, req); err != nil {
		return err
	}
	req.Progress("starting the server")
	if err := m.Start(ctx); err != nil {
		return err
	}
	if req.Restore != nil && req.Restore.Strategy.Logical {
		if err := req.Restore.Run(ctx); err != nil {
			return err
		}
	}
	if req.Restore != nil && !req.Restore.Strategy.Logical {
		if err := m.upgradeRestored(ctx, req.Restore.Request); err != nil {
			return err
		}
	}
	if req.Replicate != nil {
		return req.Replicate.Run(ctx)
	}
	if replays {
		if err := m.replay(ctx, req.Restore.Request); err != nil {
			return err
		}
	}
	if req.Restore != nil { // it may be of a replica
		return m.ownEvents(ctx)
	}
	return nil
}

// makeData makes the data directory, empty or from a backup, unless it is there.
func (m *Manager) makeData(ctx context.Context, req datastores.PrepareRequest) error {
	physical := req.Restore != nil && !req.Restore.Strategy.Logical
	if physical {
		if err := req.Restore.Run(ctx); err != nil {
			return err
		}
	}
	installed, err := m.data.Exists(dataDir)
	if err != nil {
		return err
	}
	known, err := m.own.Exists(adminPasswordName)
	if err != nil {
		return err
	}
	switch {
	case !installed && physical:
		return fmt.Errorf("the strategy %s has restored no data directory", req.Restore.Strategy.StrategyName)
	case !installed:
		req.Progress("initialising the data directory")
		return m.install(ctx)
	case !known:
		req.Progress("taking over the data directory")
		return m.adopt(ctx)
	}
	return nil
}

// Start implements [datastores.Manager]. It is no error that the volume is full, if the server answers.
func (m *Manager) Start(ctx context.Context) error { return m.orFull(m.start(ctx)) }

func (m *Manager) start(ctx context.Context) error {
	_, _, running := m.service.Running()
	if !running {
		if m.full() != nil {
			if err := m.removeBinlogs(); err != nil {
				m.env.Log.Warn("cannot remove binary logs from the full volume", "err", err)
			}
		}
		if err := m.findPlace(ctx); err != nil {
			return err
		}
		if err := firstError(m.forgets(), m.configure()); err != nil {
			return err
		}
	}
	err := m.launch(ctx)
	if isUndecided(err) {
		m.env.Log.Warn("the server has not looked up in its binary log which transactions to commit; it is made to")
		if err = m.reopenBinlog(); err == nil {
			err = m.launch(ctx)
		}
	}
	if err != nil {
		return err
	}
	if running {
		return m.comeBack(ctx)
	}
	if err := m.leaveOrigin(ctx); err != nil {
		return err
	}
	if err := m.applyFenced(ctx); err != nil {
		return err
	}
	// While it was stopped its guest may have been told to follow in another way.
	if err := m.turn(ctx, func(db *sql.DB) error { return m.secureSource(ctx, db) }); err != nil {
		return err
	}
	if m.full() != nil {
		m.env.Log.Warn("the volume is full: the server's named time zones stay as they are")
	} else if err := m.loadZones(ctx); err != nil {
		m.env.Log.Warn("the server has no named time zones", "err", err)
	}
	if err := m.applyRuntime(ctx); err != nil {
		return err
	}
	return m.comeBack(ctx)
}

// launch starts the server, unless it runs, and returns when it answers.
func (m *Manager) launch(ctx context.Context) error {
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	var denied error
	err := m.service.Await(ctx, func(ctx context.Context) error {
		err := m.ping(ctx)
		if e := new(datastores.Error); errors.As(err, &e) && e.Kind == datastores.Conflict { // the guest is not let in
			denied = err
			return nil
		}
		return err
	})
	return firstError(err, denied)
}

// Stop implements [datastores.Manager]. On a full volume a statement that waits for space ends after a minute.
func (m *Manager) Stop(ctx context.Context) error {
	if err := m.rememberLast(ctx); err != nil {
		m.env.Log.Warn("the server did not say whom it was together with last", "err", err)
	}
	m.close(ctx)
	return m.service.Stop(ctx)
}

// Status implements [datastores.Manager]. A server in crash recovery is blocked, and so is one without space. A server that is
// gone is shut down, with the end of its log when Stop has not seen its end; whether anybody wanted that the runtime knows.
func (m *Manager) Status(ctx context.Context) datastores.Status {
	if installed, err := m.data.Exists(dataDir); err == nil && !installed {
		return datastores.Status{Service: datastores.StatusNew}
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return m.service.Status(ctx, m.answers)
}

// configure makes what every start needs.
func (m *Manager) configure() error {
	for _, dir := range []string{filesDir, tmpDir, logsDir} {
		if err := m.data.MakeDir(dir); err != nil {
			return err
		}
	}
	if err := m.writeInit(); err != nil {
		return err
	}
	stored, err := m.loadOverrides()
	if err != nil {
		return err
	}
	config, err := m.config(stored.Values)
	if err != nil {
		return err
	}
	if err := m.data.WriteFile(configName, config); err != nil {
		return err
	}
	if len(stored.Touched) == 0 {
		return nil
	}
	return m.own.SaveJSON(overridesName, overrides{Values: stored.Values}) // a new process has nothing of what was touched
}
