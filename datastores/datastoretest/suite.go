package datastoretest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Harness is what a datastore brings to the suite.
type Harness struct {
	Plugin datastores.Plugin
	// Options are the guest half to test with; nil is the plug-in's defaults.
	Options []byte
	// NewEnv makes a place of its own for one server and takes it away with the test, see [NewEnv].
	NewEnv func(t *testing.T) datastores.Env
	// Connect logs in over the network as a tenant's program does, uses the database when one is named, asks the
	// server something and disconnects. The error says why it was not let in.
	Connect func(ctx context.Context, address, user, password, database string) error

	// Write stores the items of numbers from to to-1, each of some 100 bytes that follow from its number, one after the
	// other, making what they need when it is missing. It returns how many the server has acknowledged, also with an error.
	// Needed for backups and replication.
	Write func(ctx context.Context, login Login, from, to int) (acknowledged int, err error)
	// Digest tells how many items there are, and a digest of everything that is in login's database.
	Digest func(ctx context.Context, login Login) (items int, digest string, err error)

	// Dynamic and Static are values of parameters that can be changed at run time, and only by a restart. Show tells what
	// the running server has for a parameter, in the words of the values. Needed for configuration.
	Dynamic, Static datastores.Values
	Show            func(ctx context.Context, m datastores.Manager, parameter string) (string, error)

	// Older are the guest options of an older version, whose data Options can take over. nil: upgrade is not tested.
	Older []byte

	// Exceptions are what this datastore cannot do as the suite has it. Each is printed; one that excuses nothing is an
	// error.
	Exceptions []Exception
}

// Login is how a tenant's program comes to its data.
type Login struct{ Address, User, Password, Database string }

// Exception names a test of the suite that is not run, and why.
type Exception struct{ Test, Reason string }

// Run runs the suite: what every datastore must do, and what this one says that it can do.
func Run(t *testing.T, h Harness) {
	t.Run("prepare cut short", func(t *testing.T) { testPrepareCutShort(t, h) })
	s := prepared(t, h)
	for _, c := range []struct {
		name  string
		needs datastores.Capability
		test  func(*testing.T, *server)
	}{
		{"prepare again", "", testPrepareAgain},
		{"closed to strangers", "", testClosed},
		{"start and stop", "", testStartAndStop},
		{"outlives its manager", "", testOutlivesManager},
		{"status beside anything", "", testStatusBesideAnything},
		{"cancelled", "", testCancelled},
		{"databases", datastores.CanDatabases, testDatabases},
		{"database names", datastores.CanDatabases, testDatabaseNames},
		{"users", datastores.CanUsers, testUsers},
		{"change users", datastores.CanUsers, testChangeUsers},
		{"user names", datastores.CanUsers, testUserNames},
		{"passwords", datastores.CanUsers, testPasswords},
		{"access", datastores.CanAccess, testAccess},
		{"root", datastores.CanRoot, testRoot},
	} {
		if c.needs == "" || slices.Contains(h.Plugin.Manifest().Capabilities, c.needs) {
			t.Run(c.name, func(t *testing.T) { c.test(t, s) })
		}
	}
}

// server is one prepared, running server; each test leaves it so.
type server struct {
	Harness
	env     datastores.Env
	manager datastores.Manager
}

const patience = time.Minute // for one call, on a slow machine

// prepared returns a new server that is stopped when the test ends.
func prepared(t *testing.T, h Harness) *server {
	t.Helper()
	s := &server{Harness: h, env: h.NewEnv(t)}
	s.manager = s.open(t)
	t.Cleanup(func() { s.stop(t) })
	s.must(t, "prepare", s.prepare(t, func(string) {}))
	return s
}

// open makes another manager of the same server, as a new guest does.
func (s *server) open(t *testing.T) datastores.Manager {
	t.Helper()
	m, err := s.Plugin.Open(s.env, s.Options)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return m
}

func (s *server) prepare(t *testing.T, progress func(string)) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	return s.manager.Prepare(ctx, datastores.PrepareRequest{Progress: progress})
}

func (s *server) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.must(t, "start", s.manager.Start(ctx))
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	// Not the test's context, which has ended when a cleanup runs.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.must(t, "stop", s.manager.Stop(ctx))
}

func (s *server) status(t *testing.T) datastores.Status {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.manager.Status(ctx)
}

func (s *server) wantStatus(t *testing.T, want datastores.ServiceStatus) datastores.Status {
	t.Helper()
	st := s.status(t)
	if st.Service != want {
		t.Errorf("status = %+v, want %s", st, want)
	}
	return st
}

func (s *server) connect(t *testing.T, user, password, database string) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.Connect(ctx, s.env.Address, user, password, database)
}

func (s *server) letsIn(t *testing.T, user, password, database string) {
	t.Helper()
	if err := s.connect(t, user, password, database); err != nil {
		t.Errorf("user %q is not let in to database %q: %v", user, database, err)
	}
}

func (s *server) keepsOut(t *testing.T, user, password, database string) {
	t.Helper()
	if err := s.connect(t, user, password, database); err == nil {
		t.Errorf("user %q is let in to database %q", user, database)
	}
}

func (*server) must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantKind checks that err is a [datastores.Error] of that kind.
func wantKind(t *testing.T, what string, err error, kind datastores.ErrorKind) {
	t.Helper()
	var e *datastores.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("%s = %v, want an error of kind %s", what, err, kind)
	}
}
