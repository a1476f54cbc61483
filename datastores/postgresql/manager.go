package postgresql

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// What lies below [datastores.Env.DataDir].
const (
	dataDir    = "data"
	logDir     = "log"
	configName = "postgresql.conf"
	hbaName    = "pg_hba.conf"
	identName  = "pg_ident.conf"
	socketName = ".s.PGSQL.5432"
)

const (
	port        = 5432
	serviceName = "postgres"
	// stopTimeout is generous: a stop writes all dirty pages, and being killed costs a crash recovery.
	stopTimeout = 10 * time.Minute
	// pingTimeout is how long a server that answers needs at the very most.
	pingTimeout = 5 * time.Second
	// lookEvery is how often the server is asked whether it has come to what is waited for.
	lookEvery = 20 * time.Millisecond
)

// Manager runs one PostgreSQL server. It implements [datastores.Manager] and all capabilities.
type Manager struct {
	env     datastores.Env
	options Options
	service *service.Service
	data    volume.Dir // in the hands of the server's user
	own     volume.Dir // the guest's
	set     service.Overrides
	extra   []func(*Manager) datastores.BackupStrategy
}

// New makes the manager of the server in env; it touches nothing. extra are backup strategies beside its own.
func New(env datastores.Env, options Options, extra ...func(*Manager) datastores.BackupStrategy) *Manager {
	m := &Manager{env: env, options: options, extra: extra, data: volume.Data(env), own: volume.Own(env), set: service.Overrides{Dir: env.Dir}}
	m.service = service.New(env, serviceName, m.argv()...)
	m.service.LogFile = logDir + "/start.log" // until the server has opened its own
	m.service.StopSignal = syscall.SIGINT     // ends the sessions instead of waiting for them
	m.service.StopTimeout = stopTimeout
	return m
}

// path is that of a name on the volume, for programs that run as the server's user.
func (m *Manager) path(name string) string { return filepath.Join(m.env.DataDir, name) }

// program is the path of one of the server's programs.
func (m *Manager) program(name string) string { return filepath.Join(m.options.BinDir, name) }

// argv is the server's command line. What is set here no ALTER SYSTEM changes.
func (m *Manager) argv() []string {
	argv := []string{m.program("postgres"), "-D", m.path(dataDir)}
	for _, set := range [][2]string{
		{"config_file", m.path(configName)},
		{"hba_file", m.path(hbaName)},
		{"ident_file", m.path(identName)},
		{"external_pid_file", ""},
		{"listen_addresses", m.env.Address},
		{"port", strconv.Itoa(port)},
		{"unix_socket_directories", ".."}, // from data/, where the server works: see volume.Dir.Dial
		{"log_directory", m.path(logDir)},
		{"log_filename", logName},
		{"cluster_name", ""},
	} {
		argv = append(argv, "-c", set[0]+"="+set[1])
	}
	return argv
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	if req.Overrides != nil {
		if err := m.set.Save(req.Overrides); err != nil {
			return err
		}
	}
	if req.Restore != nil && !req.Restore.Strategy.Logical {
		if err := req.Restore.Run(ctx); err != nil {
			return err
		}
	}
	if req.Replicate != nil {
		return req.Replicate.Run(ctx)
	}
	if err := m.makeData(ctx, req.Progress); err != nil {
		return err
	}
	req.Progress("starting the server")
	if err := m.Start(ctx); err != nil {
		return err
	}
	if req.Restore == nil {
		return nil
	}
	if err := m.own.Remove(targetName); err != nil { // it has come there
		return err
	}
	if req.Restore.Strategy.Logical {
		if err := req.Restore.Run(ctx); err != nil {
			return err
		}
	}
	return m.keepReplicas(ctx, nil) // those of the server that the backup is of
}

// makeData makes an empty data directory, unless there is a complete one.
func (m *Manager) makeData(ctx context.Context, progress func(string)) error {
	installed, err := m.installed()
	if err != nil || installed {
		return err
	}
	if err := m.Stop(ctx); err != nil { // nobody of an earlier try writes on
		return err
	}
	progress("initialising the data directory")
	return m.install(ctx)
}

// installed reports whether there is a complete data directory.
func (m *Manager) installed() (bool, error) { return m.data.Exists(dataDir) }

// Start implements [datastores.Manager]. It waits until the server has recovered what it has to.
func (m *Manager) Start(ctx context.Context) error {
	return m.orFull(m.start(ctx))
}

func (m *Manager) start(ctx context.Context) error {
	raised, err := m.boot(ctx)
	if err == nil && raised { // for the recovery alone
		if err = m.Stop(ctx); err == nil {
			_, err = m.boot(ctx)
		}
	}
	if err != nil {
		return err
	}
	return m.with(ctx, func(s *session) error { return m.furnish(ctx, s) })
}

// bootTries is how often the data may ask for more than it did when the server was started.
const bootTries = 5

// boot starts the server with what the data demands, which may turn out to be more while the log is replayed. raised reports
// whether the server has more places than it will have the next time, for the recovery.
func (m *Manager) boot(ctx context.Context) (raised bool, err error) {
	if _, _, running := m.service.Running(); running {
		return false, m.launch(ctx)
	}
	if err := m.configure(); err != nil {
		return false, err
	}
	for try := 1; ; try++ {
		settings, raised, err := m.toStart(ctx)
		if err == nil {
			err = m.writeConfig(settings)
		}
		if err != nil {
			return false, err
		}
		if err = m.launch(ctx); err != nil {
			err = m.beyondLog(err)
		}
		if err == nil || ctx.Err() != nil || try == bootTries {
			return raised, err
		}
		if now, _, e := m.toStart(ctx); e != nil || maps.Equal(now, settings) {
			return false, err
		}
		m.env.Log.Info("the data demands more than it did; starting the server again", "err", err)
	}
}

// launch starts the server, unless it runs, and returns when it answers. When the guest is not let in any more it takes its
// account back; a standby gets it back from its source.
func (m *Manager) launch(ctx context.Context) error {
	r, err := m.loadSide()
	if err != nil {
		return err
	}
	err = m.launchOnce(ctx, r)
	if !isShutOut(err) || r.Standby {
		return m.withLog(err)
	}
	m.env.Log.Warn("taking the administration account back", "err", err)
	if err := m.service.Stop(ctx); err != nil {
		return err
	}
	if err := m.takeBack(ctx); err != nil {
		return err
	}
	return m.withLog(m.launchOnce(ctx, r))
}

func (m *Manager) launchOnce(ctx context.Context, r side) error {
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	var shutOut error
	err := m.service.Await(ctx, func(ctx context.Context) error {
		err := m.answers(ctx, r.Standby)
		if isShutOut(err) || isLockedOut(err) { // no patience helps
			shutOut = err
			return nil
		}
		return err
	})
	if err == nil {
		err = shutOut
	}
	return err
}

// errNotOurs is the error of a session whose role is not the server's first one, or not a superuser any more.
var errNotOurs = errors.New("the role " + adminUser + " is not the guest's any more: root has changed it")

// isShutOut reports whether the error says that root has taken the administration account.
func isShutOut(err error) bool {
	return is(err, stateNotAuthorised, stateWrongPassword, stateNotAllowed, stateNoDatabase, stateNotInState) || errors.Is(err, errNotOurs)
}

// answers returns when the server answers, and when it takes writes unless it is a standby.
func (m *Manager) answers(ctx context.Context, standby bool) error {
	return m.with(ctx, func(s *session) error {
		rows, err := s.query(ctx, "SELECT pg_is_in_recovery(), oid = 10 AND rolsuper FROM pg_roles WHERE rolname = current_user")
		switch {
		case err != nil:
			return err
		case len(rows) != 1 || !rows[0][1].bool():
			return errNotOurs
		case rows[0][0].bool() && !standby:
			return errors.New("the server recovers its data")
		}
		return nil
	})
}

// Stop implements [datastores.Manager]. A server in crash recovery that is asked to end waits for itself, so it is ended at once;
// nothing is lost, for it has its log.
func (m *Manager) Stop(ctx context.Context) error {
	if _, _, running := m.service.Running(); running && m.recovers(ctx) {
		if err := m.service.Signal(syscall.SIGQUIT); err != nil {
			return err
		}
	}
	return m.service.Stop(ctx)
}

// recovers reports whether the server is in crash recovery.
func (m *Manager) recovers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	err := m.with(ctx, func(*session) error { return nil })
	var said *pgconn.PgError
	return errors.As(err, &said) && said.Code == stateNotYet && strings.Contains(said.Message, "recovery mode")
}

// Status implements [datastores.Manager]. A server in crash recovery is blocked. A server that is gone is shut down, with its
// last words when Stop has not seen its end; whether anybody wanted that the runtime knows.
func (m *Manager) Status(ctx context.Context) datastores.Status {
	if installed, err := m.installed(); err == nil && !installed {
		return datastores.Status{Service: datastores.StatusNew}
	}
	_, since, running := m.service.Running()
	if !running {
		gone := datastores.Status{Service: datastores.StatusShutdown}
		if left, _ := m.own.Exists(serviceName + ".pid"); left {
			gone.Message = m.lastWords()
		}
		return gone
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	paused, err := m.paused(ctx)
	if err != nil {
		return datastores.Status{Service: datastores.StatusBlocked, Since: since, Message: datastores.Told(err).Message}
	}
	st := datastores.Status{Service: datastores.StatusHealthy, Since: since}
	if paused { // by root, or by the server itself
		if st.Restart, err = m.outgrown(ctx); err != nil {
			m.env.Log.Warn("cannot ask why the replay of the log is paused", "err", err)
		}
	}
	return st
}
