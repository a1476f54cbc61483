package memcached

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

const (
	port = 11211

	// Below Env.DataDir, in the hands of the server's user.
	folder       = "memcached"
	accountsFile = folder + "/accounts"
)

// Manager runs one memcached.
type Manager struct {
	env     datastores.Env
	options Options
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options) *Manager { return &Manager{env, options} }

// server is the process. memcached has no configuration file: its settings are its command line, which is made of what is
// stored, so every guest of the instance knows the same one.
func (m *Manager) server() (*service.Service, error) {
	settings, err := m.settings()
	server := service.New(m.env, "memcached", m.commandLine(settings)...)
	server.LogFile = "memcached.log"
	return server, err
}

func (m *Manager) commandLine(settings map[string]string) []string {
	argv := []string{
		m.options.Program,
		"-l", m.env.Address, "-p", strconv.Itoa(port), "-U", "0",
		"-Y", filepath.Join(m.env.DataDir, accountsFile),
		"-t", strconv.Itoa(m.options.Threads),
	}
	if m.env.MemoryMB > 0 {
		argv = append(argv, "-m", strconv.Itoa(m.env.MemoryMB*m.options.MemoryPercent/100))
	}
	for _, s := range allSettings {
		argv = append(argv, s.flags(settings[s.Name])...)
	}
	return argv
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("making the accounts")
	if err := ctx.Err(); err != nil {
		return err
	}
	err := errors.Join(
		volume.Data(m.env).MakeDir(folder),
		m.makeAdmin(),
		m.overrides().Save(req.Overrides),
	)
	if err != nil {
		return fmt.Errorf("cannot configure memcached: %w", err)
	}
	req.Progress("starting the server")
	return m.Start(ctx)
}

// Start implements [datastores.Manager].
func (m *Manager) Start(ctx context.Context) error {
	server, err := m.server()
	if err != nil {
		return err
	}
	if _, _, running := server.Running(); !running {
		if err := m.writeAccounts(); err != nil {
			return err
		}
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	return server.Await(ctx, m.ping)
}

// Stop implements [datastores.Manager].
func (m *Manager) Stop(ctx context.Context) error {
	server, err := m.server()
	if err != nil {
		return err
	}
	return server.Stop(ctx)
}

// Status implements [datastores.Manager].
func (m *Manager) Status(ctx context.Context) datastores.Status {
	server, _ := m.server()
	return server.Status(ctx, m.ping)
}

func (m *Manager) ping(ctx context.Context) error {
	_, err := m.call(ctx, "version")
	return err
}
