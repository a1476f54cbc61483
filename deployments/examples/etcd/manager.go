package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

const (
	clientPort = 2379
	peerPort   = 2380

	// Below Env.DataDir. folder is the server's working directory, in which it makes dataDir.
	folder     = "etcd"
	dataDir    = "data"
	socketFile = "guest.sock:0" // etcd wants a port, and makes it a part of the name
	logFile    = "etcd.log"

	stateFile = "state.json" // below Env.Dir

	maxDatabase = 8 << 10 // MiB that etcd itself advises
)

// state is what the guest keeps of its server, where the server's user cannot read it.
type state struct {
	// Ready: the server's directory is whole, and asks for passwords.
	Ready    bool   `json:"ready,omitempty"`
	Password string `json:"password"`          // of guestUser
	Cluster  string `json:"cluster,omitempty"` // that the server is a member of
	// Others are the members that a server which joins begins with, itself among them: name=URL. "": it begins alone.
	Others string `json:"others,omitempty"`
}

// Manager runs one etcd.
type Manager struct {
	service.SystemLog
	env     datastores.Env
	options Options
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options) *Manager {
	return &Manager{service.NewSystemLog("etcd", filepath.Join(env.DataDir, logFile)), env, options}
}

func (m *Manager) load() (s state, err error) { return s, volume.Own(m.env).LoadJSON(stateFile, &s) }

func (m *Manager) save(s state) error { return volume.Own(m.env).SaveJSON(stateFile, s) }

func peerURL(address string) string   { return fmt.Sprintf("http://%s:%d", address, peerPort) }
func clientURL(address string) string { return fmt.Sprintf("http://%s:%d", address, clientPort) }

// server is the process. Without open only the guest can reach it.
func (m *Manager) server(s state, open bool) *service.Service {
	self, others, known := peerURL(m.env.Address), m.env.Address+"="+peerURL(m.env.Address), "new"
	if s.Others != "" {
		others, known = s.Others, "existing"
	}
	listen := "unix://" + socketFile
	if open {
		listen += "," + clientURL(m.env.Address)
	}
	argv := []string{
		m.options.Program, "--name", m.env.Address, "--data-dir", dataDir, "--logger", "zap", "--log-outputs", "stderr",
		"--listen-client-urls", listen, "--advertise-client-urls", clientURL(m.env.Address),
		"--listen-peer-urls", self, "--initial-advertise-peer-urls", self, "--initial-cluster", others, "--initial-cluster-state", known,
		"--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h",
	}
	if m.env.MemoryMB > 0 {
		most := min(m.env.MemoryMB*m.options.DatabasePercent/100, maxDatabase)
		argv = append(argv, "--quota-backend-bytes", strconv.Itoa(most<<20))
	}
	server := service.New(m.env, "etcd", argv...)
	server.WorkDir, server.LogFile = filepath.Join(m.env.DataDir, folder), logFile
	return server
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	s, err := m.load()
	if err != nil {
		return err
	}
	if !s.Ready {
		s.Password = rand.Text()
		if req.Cluster != nil { // every member's guest knows it
			s.Password = req.Cluster.Secret.Reveal()
		}
		req.Progress("making the accounts")
		if err := m.begin(ctx, s); err != nil {
			return err
		}
	}
	req.Progress("starting the server")
	return m.Start(ctx)
}

// begin makes an empty server that asks for passwords. Until it does only the guest can reach it.
func (m *Manager) begin(ctx context.Context, s state) error {
	if err := m.clear(ctx, &s); err != nil {
		return err
	}
	closed := m.server(s, false)
	if err := m.run(ctx, closed); err != nil {
		return err
	}
	if err := closed.Await(ctx, m.healthy); err != nil {
		return err
	}
	if err := m.makeAccounts(ctx, s.Password); err != nil {
		return fmt.Errorf("cannot make the accounts: %w", err)
	}
	if err := closed.Stop(ctx); err != nil {
		return err
	}
	s.Ready = true
	return m.save(s)
}

// clear ends the server and takes away what it has. What is left is not ready to start.
func (m *Manager) clear(ctx context.Context, s *state) error {
	s.Ready = false
	if err := errors.Join(m.save(*s), m.server(*s, true).Stop(ctx)); err != nil {
		return err
	}
	data := volume.Data(m.env)
	return errors.Join(data.Discard(folder), data.MakeDir(folder))
}

// Start implements [datastores.Manager]. A member of a cluster serves when it reaches enough of the others.
func (m *Manager) Start(ctx context.Context) error {
	s, err := m.load()
	if err == nil && !s.Ready {
		err = datastores.Errorf(datastores.Unavailable, "the server's directory was not made to its end; what made it has to be asked for again")
	}
	if err != nil {
		return err
	}
	server := m.server(s, true)
	if err := m.run(ctx, server); err != nil {
		return err
	}
	return server.Await(ctx, m.healthy)
}

// run starts the server, unless it runs. A killed server has left its socket, and etcd does not begin where there is one.
func (m *Manager) run(ctx context.Context, server *service.Service) error {
	if _, _, running := server.Running(); !running {
		if err := volume.Data(m.env).Remove(folder + "/" + socketFile); err != nil {
			return err
		}
	}
	return server.Start(ctx)
}

// Stop implements [datastores.Manager].
func (m *Manager) Stop(ctx context.Context) error {
	s, err := m.load()
	if err != nil {
		return err
	}
	return m.server(s, true).Stop(ctx)
}

// Status implements [datastores.Manager].
func (m *Manager) Status(ctx context.Context) datastores.Status {
	s, _ := m.load()
	return m.server(s, true).Status(ctx, m.healthy)
}
