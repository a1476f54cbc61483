package datastoretest

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Memory is a datastore with every capability whose servers are values in memory. As real servers they outlive their
// managers; they can be made to crash and to fail. The zero Memory is ready; use it by pointer.
type Memory struct {
	mu      sync.Mutex
	servers map[string]*memoryServer // by address
}

type memoryServer struct {
	running   bool
	since     time.Time
	starts    int
	failure   error // of the next start
	databases map[string]datastores.Database
	users     map[account]*memoryUser
	root      string // its password; "": off
}

type account struct{ name, host string }

type memoryUser struct {
	password string
	access   map[string]bool
}

// MemoryOptions are the guest options of [Memory].
type MemoryOptions struct {
	datastores.GuestOptions
	Colour string `json:"colour,omitempty" doc:"means nothing"`
}

// Common implements [datastores.Options].
func (o MemoryOptions) Common() datastores.GuestOptions { return o.GuestOptions }

// Plugin is the datastore "memory", version 1. Users os_admin and databases system are reserved.
func (m *Memory) Plugin() datastores.Plugin {
	defaults := MemoryOptions{GuestOptions: datastores.GuestOptions{
		MountPoint: "/var/lib/memory", IgnoreUsers: []string{"os_admin"}, IgnoreDBs: []string{"system"},
	}}
	open := func(env datastores.Env, _ MemoryOptions) datastores.Manager {
		return &memoryManager{memory: m, env: env}
	}
	return datastores.NewPlugin("memory", defaults, open, datastores.Offer{
		Datastore: "memory", Version: "1", Description: "nothing is kept",
		Server: datastores.ServerOptions{TCPPorts: []datastores.PortRange{{First: 1, Last: 1}}},
	})
}

// Crash ends the server at address as a fault does.
func (m *Memory) Crash(address string) {
	m.with(address, func(s *memoryServer) { s.running = false })
}

// FailStarts makes every start of the server at address fail with err, until it is nil.
func (m *Memory) FailStarts(address string, err error) {
	m.with(address, func(s *memoryServer) { s.failure = err })
}

// Starts tells how often the server at address was started.
func (m *Memory) Starts(address string) (n int) {
	m.with(address, func(s *memoryServer) { n = s.starts })
	return n
}

// Connect is a [Harness]'s Connect.
func (m *Memory) Connect(_ context.Context, address, user, password, database string) (err error) {
	m.with(address, func(s *memoryServer) { err = s.connect(user, password, database) })
	return err
}

func (s *memoryServer) connect(user, password, database string) error {
	switch u := s.users[account{user, "%"}]; {
	case !s.running:
		return errors.New("connection refused")
	case user == "root" && s.root != "" && password == s.root:
		return nil
	case u == nil || u.password != password:
		return errors.New("access denied")
	case database != "" && !u.access[database]:
		return errors.New("no such database for this user")
	}
	return nil
}

func (m *Memory) with(address string, f func(*memoryServer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.servers == nil {
		m.servers = map[string]*memoryServer{}
	}
	if m.servers[address] == nil {
		m.servers[address] = &memoryServer{
			databases: map[string]datastores.Database{"system": {Name: "system"}},
			users:     map[account]*memoryUser{{"os_admin", "%"}: {password: "\x00"}},
		}
	}
	f(m.servers[address])
}

// memoryManager implements every capability of [datastores].
type memoryManager struct {
	memory *Memory
	env    datastores.Env
}

// ask calls f with the running server. The error of f is returned.
func (m *memoryManager) ask(ctx context.Context, f func(*memoryServer) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.memory.with(m.env.Address, func(s *memoryServer) {
		if !s.running {
			err = errors.New("connection refused")
			return
		}
		err = f(s)
	})
	return err
}

func (m *memoryManager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	for _, step := range []string{"writing nothing", "starting nothing"} {
		req.Progress(step)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return m.Start(ctx)
}

func (m *memoryManager) Start(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.memory.with(m.env.Address, func(s *memoryServer) {
		if s.running {
			return
		}
		s.starts++
		if err = s.failure; err == nil {
			s.running, s.since = true, time.Now()
		}
	})
	return err
}

func (m *memoryManager) Stop(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.memory.Crash(m.env.Address)
	return nil
}

func (m *memoryManager) Status(context.Context) datastores.Status {
	st := datastores.Status{Service: datastores.StatusShutdown}
	m.memory.with(m.env.Address, func(s *memoryServer) {
		if s.running {
			st = datastores.Status{Service: datastores.StatusHealthy, Since: s.since}
		}
	})
	return st
}

func (m *memoryManager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	return "root", m.ask(ctx, func(s *memoryServer) error {
		s.root = password.Reveal()
		return nil
	})
}

func (m *memoryManager) DisableRoot(ctx context.Context) error {
	return m.ask(ctx, func(s *memoryServer) error {
		s.root = ""
		return nil
	})
}

func (m *memoryManager) CreateDatabase(ctx context.Context, db datastores.Database) error {
	return m.ask(ctx, func(s *memoryServer) error {
		if _, ok := s.databases[db.Name]; ok {
			return datastores.Errorf(datastores.Exists, "database %q exists", db.Name)
		}
		if err := checkName("database", db.Name); err != nil {
			return err
		}
		s.databases[db.Name] = db
		return nil
	})
}

func (m *memoryManager) ListDatabases(ctx context.Context) (list []datastores.Database, err error) {
	err = m.ask(ctx, func(s *memoryServer) error {
		for _, db := range s.databases {
			list = append(list, db)
		}
		return nil
	})
	return list, err
}

func (m *memoryManager) DeleteDatabase(ctx context.Context, name string) error {
	return m.ask(ctx, func(s *memoryServer) error {
		if err := s.hasDatabases([]string{name}); err != nil {
			return err
		}
		delete(s.databases, name)
		for _, u := range s.users {
			delete(u.access, name)
		}
		return nil
	})
}

func (s *memoryServer) hasDatabases(names []string) error {
	for _, name := range names {
		if _, ok := s.databases[name]; !ok {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", name)
		}
	}
	return nil
}

var memoryName = regexp.MustCompile(`^[A-Za-z0-9_.@%+-]{1,64}$`)

func checkName(what, name string) error {
	if !memoryName.MatchString(name) {
		return datastores.Errorf(datastores.Invalid, "%s %q: want 1 to 64 letters, digits and _ . @ %% + -", what, name)
	}
	return nil
}

func (s *memoryServer) user(name, host string) (*memoryUser, error) {
	if u := s.users[at(name, host)]; u != nil {
		return u, nil
	}
	return nil, datastores.Errorf(datastores.NotFound, "there is no user %q", name)
}

// at is the key of a user; no host is any host.
func at(name, host string) account {
	if host == "" {
		host = "%"
	}
	return account{name, host}
}

func (u *memoryUser) databases() []datastores.Database {
	var list []datastores.Database
	for name := range u.access {
		list = append(list, datastores.Database{Name: name})
	}
	slices.SortFunc(list, func(a, b datastores.Database) int { return strings.Compare(a.Name, b.Name) })
	return list
}
