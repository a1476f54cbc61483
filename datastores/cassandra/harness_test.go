package cassandra

import (
	"cmp"
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// servers is where `task servers` makes the trees of servers that Debian does not have.
func servers() string { return cmp.Or(os.Getenv("COFFER_SERVERS"), "/var/cache/coffer/servers") }

// optionsOf are the options of a version, as it is here, quick to start and to log in to.
func optionsOf(t testing.TB, version string) Options {
	t.Helper()
	v, _ := findVariant(version)
	o := defaultsOf(v)
	o.Home = filepath.Join(servers(), "cassandra-"+version)
	o.Program = filepath.Join(o.Home, "bin/cassandra")
	o.JavaOptions = []string{"-XX:TieredStopAtLevel=1", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote", "-Dcassandra.test.messagingService.nonGracefulShutdown=true"}
	o.BcryptCost = 4
	datastoretest.Require(t, o.Program, "task servers")
	datastoretest.Require(t, o.Java, "openjdk-17-jre-headless")
	return o
}

// newEnv is a place for one server. Its memory is what the smallest flavor has.
func newEnv(t testing.TB) datastores.Env {
	t.Helper()
	env := datastoretest.NewEnvIn(t, datastoretest.InMemory())
	env.MemoryMB = leastMemory
	return env
}

func newManager(t testing.TB, env datastores.Env, o Options) *Manager {
	t.Helper()
	m := New(env, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		must(t, m.Stop(ctx))
	})
	return m
}

func prepared(t testing.TB, o Options) *Manager {
	t.Helper()
	m := newManager(t, newEnv(t), o)
	if err := m.Prepare(t.Context(), quietly()); err != nil {
		t.Fatalf("%v\n%s", err, m.service.LastWords())
	}
	return m
}

func quietly() datastores.PrepareRequest { return datastores.PrepareRequest{Progress: func(string) {}} }

// tenant logs in as a tenant's program does.
func tenant(ctx context.Context, l datastoretest.Login) (*session, error) {
	return secureTenant(ctx, l, nil)
}

func secureTenant(ctx context.Context, l datastoretest.Login, secure *tls.Config) (*session, error) {
	return New(datastores.Env{Address: l.Address}, DefaultOptions()).dial(ctx, l.Address, l.User, l.Password, secure)
}

func asTenant(ctx context.Context, l datastoretest.Login, do func(*session) error) error {
	s, err := tenant(ctx, l)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// visits is a table that every visitor makes: only who may use the keyspace can.
const visits = "visits"

func visit(ctx context.Context, s *session, database string) error {
	if database == "" {
		return s.exec(ctx, "SELECT key FROM system.local")
	}
	table := name(database) + "." + visits
	return s.exec(ctx, "CREATE TABLE IF NOT EXISTS "+table+" (n int PRIMARY KEY)", "SELECT n FROM "+table+" LIMIT 1")
}

func wantKind(t testing.TB, err error, kind datastores.ErrorKind) {
	t.Helper()
	if got := datastores.Told(err); got == nil || got.Kind != kind {
		t.Errorf("got error %T %v, want one of kind %s", err, err, kind)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
