package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// Manager runs one Redis or Valkey server.
type Manager struct {
	service.SystemLog
	env     datastores.Env
	options Options
	variant variant
	extra   []func(*Manager) datastores.BackupStrategy
	service *service.Service
	data    volume.Dir // in the hands of the server's user
	own     volume.Dir // the guest's
	set     service.Overrides

	logMu   sync.Mutex
	logSeen scannedLog
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options, extra ...func(*Manager) datastores.BackupStrategy) *Manager {
	m := &Manager{env: env, options: options, extra: extra, data: volume.Data(env), own: volume.Own(env),
		set: service.Overrides{Dir: env.Dir, File: "redis-overrides.json"}}
	m.variant, _ = findVariant(options.Server)
	m.service = service.New(env, "redis", options.Program, m.dataPath(configFile))
	m.service.LogFile = logFile
	m.SystemLog = service.NewSystemLog("redis", m.dataPath(logFile))
	return m
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("making the data folder")
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.checkOverrides(req.Overrides); err != nil {
		return err
	}
	if err := errors.Join(m.makeOwn(), m.set.Save(req.Overrides), m.beMember(req.Cluster)); err != nil {
		return fmt.Errorf("cannot configure the server: %w", err)
	}
	if req.Restore != nil {
		req.Progress("restoring the backup")
		if err := req.Restore.Run(ctx); err != nil {
			return fmt.Errorf("cannot restore the backup: %w", err)
		}
	}
	if req.Replicate != nil {
		req.Progress("copying from the source")
		if err := req.Replicate.Run(ctx); err != nil {
			return err
		}
	}
	req.Progress("starting the server")
	return m.Start(ctx)
}

// Start implements [datastores.Manager]. It waits until the server has loaded its data.
func (m *Manager) Start(ctx context.Context) error {
	if _, _, ok := m.service.Running(); !ok {
		if err := m.configure(); err != nil {
			return fmt.Errorf("cannot configure the server: %w", err)
		}
	}
	err := m.run(ctx)
	if _, _, ok := m.service.Running(); err != nil && !ok {
		mended, mendErr := m.mendLog(ctx)
		if mended {
			m.env.Log.Warn("the append-only file had holes, as a full volume leaves them; they are filled")
			err = m.run(ctx)
		}
		err = errors.Join(mendErr, err)
	}
	if err != nil {
		return err
	}
	return m.admitRoot(ctx)
}

// run starts the server and waits until it has loaded its data.
func (m *Manager) run(ctx context.Context) error {
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	return m.service.Await(ctx, func(ctx context.Context) error {
		err := m.ping(ctx)
		if refusesWrites(err) {
			return nil // it answers
		}
		return err
	})
}

// Stop implements [datastores.Manager]. The server writes what is left of its append-only file on SIGTERM. A server that has
// just copied a source ignores the signal until it has begun a new file.
func (m *Manager) Stop(ctx context.Context) error {
	if st, err := m.loadSide(); err == nil && st.Source != nil {
		waiting, cancel := context.WithTimeout(ctx, 30*time.Second)
		_ = m.awaitLog(waiting) // else it is killed in the end, and copies again
		cancel()
	}
	if _, _, ok := m.service.Running(); ok {
		m.flush(ctx)
	}
	return m.service.Stop(ctx)
}

// Status implements [datastores.Manager]. A server that loads its data is blocked.
func (m *Manager) Status(ctx context.Context) datastores.Status {
	return m.service.Status(ctx, func(ctx context.Context) error {
		err := m.ping(ctx)
		if refusesWrites(err) && strings.Contains(err.Error(), "No space left") {
			return errors.New("the volume is full and the server refuses writes; resize the volume")
		}
		if err == nil && m.isMember() {
			err = m.inCluster(ctx)
		}
		return err
	})
}

// ping fails while the server loads. A replica whose tenants want no stale data refuses PING while its source is away;
// it is well all the same.
func (m *Manager) ping(ctx context.Context) error {
	err := m.call(ctx, []string{"PING"})
	var refused replyError
	if errors.As(err, &refused) && strings.HasPrefix(string(refused), "MASTERDOWN") {
		return nil
	}
	return err
}

// refusesWrites reports whether the server refuses PING, as it does writes, because it could not write its append-only file.
func refusesWrites(err error) bool {
	var refused replyError
	return errors.As(err, &refused) && strings.HasPrefix(string(refused), "MISCONF")
}

// call runs commands in order under the guest's own account, until one fails.
func (m *Manager) call(ctx context.Context, commands ...[]string) error {
	return m.talk(ctx, func(c *conn) error {
		for _, command := range commands {
			if _, err := c.call(command...); err != nil {
				return fmt.Errorf("%s: %w", command[0], err)
			}
		}
		return nil
	})
}

// info asks for a section of INFO.
func (m *Manager) info(ctx context.Context, section string) (fields map[string]string, err error) {
	err = m.talk(ctx, func(c *conn) error {
		text, err := c.call("INFO", section)
		fields = parseInfo(text)
		return err
	})
	return fields, err
}

// talk runs do on a connection under the guest's own account. Each time it connects anew: that is seldom, and no
// connection can then be left over from before a restart.
func (m *Manager) talk(ctx context.Context, do func(*conn) error) error {
	password, err := m.adminPassword()
	if err != nil {
		return fmt.Errorf("the guest's password for the server cannot be read (is the instance prepared?): %w", err)
	}
	c, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.call("AUTH", adminUser, password); err != nil {
		if isCrowded(err) {
			return datastores.Errorf(datastores.Unavailable, "all connections are taken; a restart of the instance ends them")
		}
		return fmt.Errorf("AUTH: %w", err)
	}
	if err = do(c); err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// isCrowded reports whether the server has refused a connection because there are too many. It keeps no place for its guest.
func isCrowded(err error) bool {
	var refused replyError
	return errors.As(err, &refused) && strings.HasPrefix(string(refused), "ERR max number of clients")
}
