package redis

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// Manager runs one Redis server.
type Manager struct {
	env     datastores.Env
	options Options
	service *service.Service
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options) *Manager {
	m := &Manager{env: env, options: options}
	m.service = &service.Service{
		Name:       "redis",
		Dir:        env.Dir,
		Argv:       []string{options.Program, m.dataPath(configFile)},
		Credential: service.Credential(env.UID, env.GID),
		CgroupDirs: env.CgroupDirs,
		LogFile:    filepath.Join(env.Dir, "redis.log"),
	}
	return m
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("making the data folder")
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.settle(); err != nil {
		return fmt.Errorf("cannot configure redis: %w", err)
	}
	req.Progress("starting the server")
	return m.Start(ctx)
}

// Start implements [datastores.Manager]. It waits until the server has loaded its data.
func (m *Manager) Start(ctx context.Context) error {
	if _, _, ok := m.service.Running(); !ok {
		if err := m.configure(); err != nil {
			return fmt.Errorf("cannot configure redis: %w", err)
		}
	}
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	return m.service.Await(ctx, m.ping)
}

// Stop implements [datastores.Manager]. Redis writes what is left of its append-only file on SIGTERM.
func (m *Manager) Stop(ctx context.Context) error { return m.service.Stop(ctx) }

// Status implements [datastores.Manager]. A server that loads its data is blocked.
func (m *Manager) Status(ctx context.Context) datastores.Status {
	_, since, running := m.service.Running()
	if !running {
		return datastores.Status{Service: datastores.StatusShutdown}
	}
	if err := m.ping(ctx); err != nil {
		return datastores.Status{Service: datastores.StatusBlocked, Since: since, Message: err.Error()}
	}
	return datastores.Status{Service: datastores.StatusHealthy, Since: since}
}

func (m *Manager) ping(ctx context.Context) error {
	return m.call(ctx, []string{"PING"})
}

// call runs commands in order under the guest's own account, until one fails. Each time it connects anew: that is
// seldom, and no connection can then be left over from before a restart.
func (m *Manager) call(ctx context.Context, commands ...[]string) error {
	password, err := m.adminPassword()
	if err != nil {
		return fmt.Errorf("the guest's password for redis cannot be read (is the instance prepared?): %w", err)
	}
	c, err := dial(ctx, m.dataPath(socketFile))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.call("AUTH", adminUser, password); err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	for _, command := range commands {
		if _, err := c.call(command...); err != nil {
			return fmt.Errorf("%s: %w", command[0], err)
		}
	}
	return nil
}
