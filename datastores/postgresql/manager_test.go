package postgresql

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

func TestPrepareMakesASecuredServer(t *testing.T) {
	m := prepared(t)
	if s := m.Status(t.Context()); s.Service != datastores.StatusHealthy || time.Since(s.Since) > time.Minute {
		t.Fatalf("status %+v", s)
	}
	users, err := m.ListUsers(t.Context())
	must(t, err)
	if len(users) != 1 || users[0].Name != adminUser {
		t.Errorf("users %+v", users)
	}
	for _, user := range []string{"root", adminUser, rootUser, replicasRole, dumpUser} {
		for _, password := range []string{"", user} {
			if _, err := login(t, m, user, password, homeDatabase); err == nil {
				t.Errorf("%q can log in with password %q", user, password)
			}
		}
	}
	s := admin(t, m)
	for setting, want := range map[string]string{
		"listen_addresses": m.env.Address,
		"config_file":      m.path(configName),
		"hba_file":         m.path(hbaName),
		"data_checksums":   "on",
		"server_encoding":  "UTF8",
		"shared_buffers":   "80MB",
		"wal_level":        "replica",
	} {
		got, err := s.one(t.Context(), "SELECT current_setting($1)", setting)
		must(t, err)
		if got.String() != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	must(t, m.CreateUser(t.Context(), datastores.User{Name: "ann", Password: datastores.NewSecret("pass")}))
	for _, database := range []string{homeDatabase, "template1"} {
		if _, err := login(t, m, "ann", "pass", database); err == nil {
			t.Errorf("a user without access is let in to %s", database)
		}
	}
}

// A user who has been granted a database makes tables in it, and leaves them behind.
func TestUserAtWork(t *testing.T) {
	m := prepared(t)
	ctx := t.Context()
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "latin", CharacterSet: "LATIN1", Collate: "C"}))
	wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: "x", CharacterSet: "klingon"}), datastores.Invalid)
	wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: "x", Collate: "tlh_KX"}), datastores.Invalid)
	must(t, m.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("pass"),
		Databases: []datastores.Database{{Name: "shop"}, {Name: "latin"}}}))
	for _, database := range []string{"shop", "latin"} {
		s, err := login(t, m, "ann", "pass", database)
		must(t, err)
		must(t, s.exec(ctx, "CREATE TABLE t (n int); INSERT INTO t VALUES (1); CREATE SCHEMA own; CREATE TABLE own.t ()"))
	}
	must(t, m.UpdateUser(ctx, "ann", "%", datastores.UserChange{Name: "bob"}))
	bob, err := login(t, m, "bob", "pass", "shop")
	must(t, err)
	must(t, bob.exec(ctx, "SELECT * FROM t"))

	must(t, m.DeleteUser(ctx, "bob", "%"))
	if err := bob.exec(ctx, "SELECT 1"); err == nil {
		t.Error("the session of a deleted user goes on")
	}
	must(t, m.withIn(ctx, "shop", func(s *session) error {
		owner, err := s.one(ctx, "SELECT tableowner FROM pg_tables WHERE tablename = 't' AND schemaname = 'public'")
		if owner.String() != "os_owner_shop" {
			t.Errorf("the table of a deleted user belongs to %q", owner)
		}
		return err
	}))
	must(t, m.DeleteDatabase(ctx, "latin"))
	namesOfAnyKind(t, m)
}

// namesOfAnyKind: what root has named as it liked is shown, granted, changed and deleted as it is listed. Case is kept. What the
// server and the guest keep for themselves nobody is given.
func namesOfAnyKind(t *testing.T, m *Manager) {
	t.Helper()
	ctx := t.Context()
	root := admin(t, m)
	for _, name := range []string{"Main", "main", "ann@Example.com", `a "b' c\`, "bob@%", "os_own", "%s"} {
		must(t, root.exec(ctx, "CREATE ROLE "+identifier(name)+" LOGIN"+clause(t)))
		must(t, root.exec(ctx, "CREATE DATABASE "+identifier(name)))
		must(t, root.exec(ctx, "REVOKE ALL ON DATABASE "+identifier(name)+" FROM PUBLIC"))
	}
	listed, err := m.ListUsers(ctx)
	must(t, err)
	for _, u := range listed {
		if u.Name == adminUser {
			continue
		}
		if got, err := m.GetUser(ctx, u.Name, u.Host); err != nil || got.Name != u.Name {
			t.Errorf("get %q: %+v, %v", u.Name, got, err)
		}
		must(t, m.GrantAccess(ctx, u.Name, u.Host, []string{u.Name}))
		got, err := m.ListAccess(ctx, u.Name, u.Host)
		if err != nil || len(got) != 1 || got[0].Name != u.Name {
			t.Errorf("access of %q: %+v, %v", u.Name, got, err)
		}
		must(t, does(t, m, u.Name, u.Name, "CREATE TABLE t ()"))
		must(t, m.UpdateUser(ctx, u.Name, u.Host, datastores.UserChange{Password: datastores.NewSecret("new")}))
		must(t, m.RevokeAccess(ctx, u.Name, u.Host, u.Name))
		must(t, m.DeleteUser(ctx, u.Name, u.Host))
		must(t, m.DeleteDatabase(ctx, u.Name))
	}
	if len(listed) != 8 {
		t.Errorf("listed were %+v", listed)
	}
	for _, name := range []string{"os_own", "os_owner_shop", "pg_own"} {
		wantKind(t, m.Names().CheckUser(name, "%"), datastores.Invalid)
		wantKind(t, m.Names().CheckDatabase(name), datastores.Invalid)
	}
}

// A database that a killed guest has half made is made whole by the same call again.
func TestHalfMadeDatabase(t *testing.T) {
	m := prepared(t)
	must(t, admin(t, m).exec(t.Context(), createStatement(datastores.Database{Name: "shop"})))
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "shop"}))
	must(t, m.CreateUser(t.Context(), datastores.User{Name: "ann", Password: datastores.NewSecret("p"), Databases: []datastores.Database{{Name: "shop"}}}))
	s, err := login(t, m, "ann", "p", "shop")
	must(t, err)
	must(t, s.exec(t.Context(), "CREATE TABLE t ()"))
	wantKind(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "shop"}), datastores.Exists)
}

// Root may do anything inside; the guest comes back in, and what root tells the server for later is forgotten.
func TestRootAgainstTheGuest(t *testing.T) {
	for name, statements := range map[string][]string{
		"settings": {
			"ALTER SYSTEM SET listen_addresses = '*'", "ALTER SYSTEM SET hba_file = '/tmp/hba'", "ALTER SYSTEM SET archive_mode = 'on'",
		},
		"renamed":  {"ALTER ROLE os_admin RENAME TO gone", "ALTER ROLE gone NOLOGIN CONNECTION LIMIT 0", "ALTER ROLE gone SET search_path = public"},
		"shut out": {"ALTER ROLE os_admin NOLOGIN PASSWORD 'x'", "ALTER ROLE root NOLOGIN"},
		"replaced": {"ALTER ROLE os_admin RENAME TO gone", "CREATE ROLE os_admin LOGIN"},
		"no home": {
			"ALTER ROLE os_admin NOLOGIN", "ALTER DATABASE template1 IS_TEMPLATE false", "DROP DATABASE template1", "DROP DATABASE postgres",
		},
		"closed": {"ALTER DATABASE postgres ALLOW_CONNECTIONS false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := prepared(t)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
			name, err := m.EnableRoot(ctx, datastores.NewSecret("secret"))
			must(t, err)
			root, err := login(t, m, name, "secret", "shop")
			must(t, err)
			for _, statement := range statements {
				if err := root.exec(ctx, statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			must(t, m.Stop(ctx))
			must(t, m.Start(ctx))
			s := admin(t, m)
			for setting, want := range map[string]string{"listen_addresses": m.env.Address, "hba_file": m.path(hbaName), "archive_mode": "off"} {
				got, err := s.one(ctx, "SELECT current_setting($1)", setting)
				must(t, err)
				if got.String() != want {
					t.Errorf("%s = %q, want %q", setting, got, want)
				}
			}
			must(t, m.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("p"), Databases: []datastores.Database{{Name: "shop"}}}))
			must(t, m.DisableRoot(ctx))
			if _, err := login(t, m, name, "secret", "shop"); err == nil {
				t.Error("root is let in after it was disabled")
			}
		})
	}
}

// An instance of an earlier version has root as postgres: it lets in until root is enabled again, and keeps what it owns.
func TestFormerRoot(t *testing.T) {
	m := prepared(t)
	ctx := t.Context()
	clause, err := withPassword(datastores.NewSecret("old"))
	must(t, err)
	must(t, admin(t, m).exec(ctx, "CREATE ROLE postgres SUPERUSER LOGIN"+clause))
	former, err := login(t, m, formerRoot, "old", homeDatabase)
	must(t, err)
	must(t, former.exec(ctx, "CREATE TABLE public.mine ()"))
	enabled, err := m.RootEnabled(ctx)
	if !enabled || err != nil {
		t.Errorf("root that was enabled by an earlier version: %t, %v", enabled, err)
	}
	must(t, m.DisableRoot(ctx))
	if _, err := login(t, m, formerRoot, "old", homeDatabase); err == nil {
		t.Error("the former root is let in after it was disabled")
	}
	name, err := m.EnableRoot(ctx, datastores.NewSecret("new"))
	must(t, err)
	root, err := login(t, m, "root", "new", homeDatabase)
	must(t, err)
	owner, err := root.one(ctx, "SELECT tableowner FROM pg_tables WHERE tablename = 'mine'")
	if err != nil || name != "root" || owner.String() != "root" {
		t.Errorf("root is called %q, and its table belongs to %q (%v)", name, owner, err)
	}
	// Root may make a role postgres for itself; that is not the guest's to lock.
	must(t, root.exec(ctx, "CREATE ROLE postgres LOGIN"+clause))
	must(t, m.DisableRoot(ctx))
	if _, err := login(t, m, "postgres", "old", "template1"); err == nil || !strings.Contains(err.Error(), "permission denied for database") {
		t.Errorf("a role postgres of root's: %v", err)
	}
}

// No password is in any file of the guest or the server, however much is logged.
func TestPasswordsStayOutOfFiles(t *testing.T) {
	m := prepared(t)
	ctx := t.Context()
	_, err := m.UpdateOverrides(ctx, datastores.Values{"log_min_duration_statement": "0", "log_statement": "all", "log_min_messages": "debug1"})
	must(t, err)
	_, err = m.SetLog(ctx, generalLog, true)
	must(t, err)
	const secret = "verysecretindeed"
	must(t, m.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret(secret)}))
	must(t, m.UpdateUser(ctx, "ann", "", datastores.UserChange{Password: datastores.NewSecret(secret)}))
	_, err = m.EnableRoot(ctx, datastores.NewSecret(secret))
	must(t, err)
	for _, dir := range []string{m.env.Dir, m.env.DataDir} {
		must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), secret) || strings.HasPrefix(path, m.path(logDir)) && strings.Contains(string(b), "SCRAM-SHA-256$") {
				t.Errorf("%s holds a password", path)
			}
			return err
		}))
	}
}

func TestOptionsTellEveryProblem(t *testing.T) {
	_, err := Plugin().Open(datastores.Env{}, []byte(`{"mount_point":"data","version":9,"bin_dir":"bin","max_connections":3,"wal_keep_mb":1,"slot_keep_mb":1}`))
	for _, option := range []string{"mount_point", "version", "bin_dir", "max_connections", "wal_keep_mb", "slot_keep_mb"} {
		if err == nil || !strings.Contains(err.Error(), option+": ") {
			t.Errorf("%s is not among the problems: %v", option, err)
		}
	}
}

func TestOffers(t *testing.T) {
	var got []string
	for _, o := range Plugin().Manifest().Offers {
		got = append(got, o.Datastore+" "+o.Version+" "+o.Server.BackupStrategy+" "+o.Server.ReplicationStrategy)
	}
	want := []string{"postgresql 15 pg_basebackup PostgresqlReplicationStreaming", "postgresql 17 pg_basebackup PostgresqlReplicationStreaming"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	all := slices.DeleteFunc(datastores.AllCapabilities(), func(c datastores.Capability) bool {
		return c == datastores.CanCluster || c == datastores.CanBoundedFailover
	})
	if diff := cmp.Diff(all, Plugin().Manifest().Capabilities); diff != "" {
		t.Error(diff)
	}
}
