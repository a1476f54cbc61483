// Package inmemory is a datastore whose servers are values in memory: for tests of what is around datastores, such as the gateway, and of the suite
// itself. It is a double, and the smallest that passes the suite with every capability.
package inmemory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// Datastore is a datastore with every capability whose servers are values in memory. As real servers they outlive their
// managers; they can be made to crash, to fail and to wait. The zero Datastore is ready; use it by pointer, and set its fields
// before its first use.
type Datastore struct {
	// ReplicaBackup has new replicas start from a backup of the strategy memory_impl/copy, instead of copying by themselves.
	ReplicaBackup bool
	// BackupBytes is how much more a backup of the strategy memory_impl/slow holds than it needs to.
	BackupBytes int64
	// FoldsNames has servers take large letters in names of databases for small ones.
	FoldsNames bool

	mu      sync.Mutex
	servers map[string]*server // by address
	changed chan struct{}      // closed at the next change of anything
}

// server is what is on a server's disk, and what its process has.
type server struct {
	contents
	running   bool
	since     time.Time
	starts    int
	memoryMB  int    // that it was started with
	instance  string // whose data it is
	release   int    // whose data format it has; 0: none yet
	dir       string // of its logs
	general   bool   // its log general is on
	born      string // when its data was made; with its instance that names its history
	kept      string // the history of which the log is kept; "": none is
	overrides datastores.Values
	inForce   datastores.Values // all values of the running process

	readOnly bool
	tls      tlsState
	accounts map[string]string // of replicas, name to password
	source   *followed         // of a replica
	told     string            // the cluster that it was prepared for
	cluster  string            // that it is in
	cut      bool              // from the other members
	outside  string            // why it takes nothing as a member; "": it does

	forgets   string // a defect, see Forget
	lingering bool   // a defect, see Linger
	heedless  bool   // a defect, see Heedless
	sharing   bool   // a defect, see ShareConnections
	sessions  int    // that are open
	stalled   string // why it does not go on until it is restarted; "": it does
	damage    string // what a check of its data finds, see Damage
	obstacle  string // what keeps databases and users from being deleted; "": nothing

	failures map[string]error // by method
	held     map[string]int   // by method
}

// Options are the guest options of [Datastore].
type Options struct {
	datastores.GuestOptions
	Colour  string `json:"colour,omitempty" doc:"means nothing"`
	Release int    `json:"release" doc:"the format of the data, 1 or more"`
}

// Problems implements [datastores.Options].
func (o Options) Problems() []error {
	problems := o.GuestOptions.Problems()
	if o.Release < 1 {
		problems = append(problems, fmt.Errorf("release: %d is not 1 or more", o.Release))
	}
	return problems
}

// Common implements [datastores.Options].
func (o Options) Common() datastores.GuestOptions { return o.GuestOptions }

// Plugin is the datastore "memory", versions 1 and 2. Users os_admin and databases system are reserved.
func (m *Datastore) Plugin() datastores.Plugin {
	defaults := Options{Release: 1, GuestOptions: datastores.GuestOptions{
		MountPoint: "/var/lib/memory", IgnoreUsers: []string{"os_admin"}, IgnoreDBs: []string{"system"},
		GuestLogExposedLogs: []string{generalLog},
	}}
	open := func(env datastores.Env, o Options) datastores.Manager {
		return &manager{memory: m, env: env, release: o.Release}
	}
	offer := func(release int) datastores.Offer {
		return datastores.Offer{
			Datastore: "memory", Version: fmt.Sprint(release), Description: "nothing is kept",
			Guest: fmt.Appendf(nil, `{"release":%d}`, release),
			Server: datastores.ServerOptions{
				TCPPorts:    []datastores.PortRange{{First: 1, Last: 1}},
				Connections: map[string]string{"primary": "memory://{source}/", "replicas": "memory://{replicas}/", "members": "memory://{members}/"},
			},
		}
	}
	return datastores.NewPlugin("memory", defaults, open, offer(1), offer(2))
}

// Crash ends the server at address as a fault does.
func (m *Datastore) Crash(address string) {
	m.with(address, func(s *server) {
		s.running = false
		s.passes(AtKill)
	})
}

// Starts tells how often the server at address was started.
func (m *Datastore) Starts(address string) (n int) {
	m.with(address, func(s *server) { n = s.starts })
	return n
}

// FailStarts makes every start of the server at address fail with err, until it is nil.
func (m *Datastore) FailStarts(address string, err error) {
	m.Fail(address, datastores.MethodStart, err)
}

// Fail makes a method (datastores.MethodCreateBackup and the like) of the server at address fail with err, until it is nil.
// A backup fails half way.
func (m *Datastore) Fail(address, method string, err error) {
	m.with(address, func(s *server) { s.failures[method] = err })
}

// Hold makes a method of the server at address wait until it is released or its context ends. A backup waits half way. What
// is held as [Following] is the stream of changes from its source to a replica.
func (m *Datastore) Hold(address, method string) (release func()) {
	m.with(address, func(s *server) { s.held[method]++ })
	return sync.OnceFunc(func() {
		m.with(address, func(s *server) { s.held[method]-- })
	})
}

// Following is what [Datastore.Hold] may hold beside methods.
const Following = "following"

// with calls f with the server at address; then replicas and members get what there is for them.
func (m *Datastore) with(address string, f func(*server)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.server(address)
	s.outside = m.outside(s)
	f(s)
	m.share()
	m.follow()
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// server must be called under the lock.
func (m *Datastore) server(address string) *server {
	if m.servers == nil {
		m.servers = map[string]*server{}
	}
	if m.servers[address] == nil {
		m.servers[address] = &server{
			contents: newContents(), accounts: map[string]string{},
			failures: map[string]error{}, held: map[string]int{},
		}
	}
	return m.servers[address]
}

// await waits until done says so of the server at address.
func (m *Datastore) await(ctx context.Context, address string, done func(*server) bool) error {
	for {
		m.mu.Lock()
		isDone := done(m.server(address))
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
		if isDone {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Connect is a [datastoretest.Harness]'s Connect.
func (m *Datastore) Connect(_ context.Context, address, user, password, database string) (err error) {
	m.with(address, func(s *server) {
		err = s.connect(datastoretest.Login{Address: address, User: user, Password: password, Database: database})
	})
	return err
}

// connect lets somebody in without TLS.
func (s *server) connect(l datastoretest.Login) error {
	if s.running && s.tls.mode == datastores.TLSEnforced {
		return errors.New("the server takes TLS alone")
	}
	return s.admit(l)
}

// admit lets somebody in.
func (s *server) admit(l datastoretest.Login) error {
	switch u := s.users[account{l.User, "%"}]; {
	case !s.running:
		return errors.New("connection refused")
	case l.User == "root" && len(s.root) > 0 && l.Password == string(s.root):
	case u == nil || string(u.Password) != l.Password:
		return errors.New("access denied")
	case l.Database != "" && !u.has(l.Database):
		return errors.New("no such database for this user")
	}
	s.log(generalLog, "connected: %q", l.User)
	return nil
}

// Write is a [datastoretest.Harness]'s Write.
func (m *Datastore) Write(ctx context.Context, l datastoretest.Login, from, to int) (acknowledged int, err error) {
	for n := from; n < to && err == nil; n++ {
		if err = ctx.Err(); err != nil {
			break
		}
		m.with(l.Address, func(s *server) {
			if err = s.connect(l); err == nil {
				err = s.change(change{PutItem: &item{l.Database, n, datastoretest.Item(n)}})
			}
		})
		if err == nil {
			acknowledged++
		}
	}
	return acknowledged, err
}

// Digest is a [datastoretest.Harness]'s Digest.
func (m *Datastore) Digest(_ context.Context, l datastoretest.Login) (items int, digest string, err error) {
	m.with(l.Address, func(s *server) {
		if err = s.connect(l); err == nil {
			items, digest = s.digest(l.Database)
		}
	})
	return items, digest, err
}

// Show is a [datastoretest.Harness]'s Show, of managers of this datastore.
func (m *Datastore) Show(ctx context.Context, of datastores.Manager, parameter string) (value string, err error) {
	mine, ok := of.(*manager)
	if !ok {
		return "", fmt.Errorf("%T is no manager of this datastore", of)
	}
	err = mine.ask(ctx, func(s *server) error {
		value = fmt.Sprint(s.inForce[parameter])
		return nil
	})
	return value, err
}
