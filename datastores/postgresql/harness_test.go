package postgresql

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// newEnv is a place for one server, with a user that has no name.
func newEnv(t testing.TB) datastores.Env {
	t.Helper()
	requireServer(t)
	env := datastoretest.NewEnvIn(t, datastoretest.InMemory())
	env.MemoryMB = 320
	return env
}

func requireServer(t testing.TB) {
	t.Helper()
	datastoretest.Require(t, filepath.Join(DefaultOptions().BinDir, "postgres"), "postgresql-15")
}

// image has both versions, as Debian packages them.
const image = "debian-13"

// newer are the options of PostgreSQL 17, which is in the image.
func newer(t testing.TB) Options {
	t.Helper()
	o := DefaultOptions()
	o.Version, o.BinDir = 17, "/usr/lib/postgresql/17/bin"
	datastoretest.Require(t, filepath.Join(o.BinDir, "postgres"), "postgresql-17, in the image: task image")
	return o
}

// newManager makes a manager of env, as a guest does that has just been started, and stops its server in the end.
func newManager(t testing.TB, env datastores.Env, options Options) *Manager {
	m := New(env, options)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

// prepared is a manager with a running server.
func prepared(t testing.TB) *Manager {
	t.Helper()
	return preparedWith(t, DefaultOptions(), quietly())
}

func preparedWith(t testing.TB, options Options, req datastores.PrepareRequest) *Manager {
	t.Helper()
	m := newManager(t, newEnv(t), options)
	if err := m.Prepare(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	return m
}

func quietly() datastores.PrepareRequest {
	return datastores.PrepareRequest{Progress: func(string) {}}
}

// dial is what a tenant does: by TCP, with a password.
func dial(ctx context.Context, address, user, password, database string) (*session, error) {
	config, err := networkConfig(address, user, password, database)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	return &session{conn}, err
}

// login dials; the session lasts as long as the test.
func login(t testing.TB, m *Manager, user, password, database string) (*session, error) {
	t.Helper()
	s, err := dial(t.Context(), m.env.Address, user, password, database)
	if err == nil {
		t.Cleanup(s.close)
	}
	return s, err
}

// admin is the guest's own session, for looking behind the manager.
func admin(t testing.TB, m *Manager) *session {
	t.Helper()
	s, err := m.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func wantKind(t rapid.TB, err error, kind datastores.ErrorKind) {
	t.Helper()
	if got := datastores.Told(err); got == nil || got.Kind != kind {
		t.Errorf("got error %T %v, want one of kind %s", err, err, kind)
	}
}

func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
