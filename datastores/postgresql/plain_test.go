package postgresql

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// elsewhere is a server that no guest has made: as initdb and its administrator leave it. It returns a session of its superuser.
func elsewhere(t *testing.T) (at *Manager, boss *session) {
	t.Helper()
	m := newManager(t, newEnv(t), DefaultOptions())
	dir := m.path("foreign")
	_, err := m.run(t.Context(), []string{m.program("initdb"), "-D", dir, "-U", "postgres", "--auth=trust", "--locale=C.UTF-8", "--wal-segsize=4"}, service.RunOptions{})
	must(t, err)
	must(t, m.data.WriteFile("foreign/pg_hba.conf", []byte("host all all all trust\nhost replication all all trust\n")))
	s := service.New(m.env, "foreign", m.program("postgres"), "-D", dir, "-c", "listen_addresses="+m.env.Address, "-c", "unix_socket_directories=", "-c", "max_connections=250", "-c", "wal_level=logical")
	s.LogFile = "foreign.log"
	must(t, s.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		must(t, s.Stop(ctx))
	})
	must(t, s.Await(t.Context(), func(ctx context.Context) error {
		session, err := dial(ctx, m.env.Address, "postgres", "", "postgres")
		boss = session
		return err
	}))
	t.Cleanup(func() { boss.close() })
	return m, boss
}

// baseBackup is what pg_basebackup writes.
func plainBackup(t *testing.T, m *Manager, more ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	argv := append([]string{m.program("pg_basebackup"), "-h", m.env.Address, "-U", "postgres", "-D", "-", "-Ft", "--checkpoint=fast"}, more...)
	_, err := m.run(t.Context(), argv, service.RunOptions{Stdout: &out})
	must(t, err)
	return out.Bytes()
}

// withFiles puts more files into a tar, before its others.
func withFiles(t *testing.T, archive []byte, files ...[2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		must(t, w.WriteHeader(&tar.Header{Name: f[0], Size: int64(len(f[1])), Mode: 0o600}))
		_, err := io.WriteString(w, f[1])
		must(t, err)
	}
	must(t, w.Flush())
	return append(out.Bytes(), archive...)
}

func restoringPlain(m *Manager, stream []byte) datastores.PrepareRequest {
	req := quietly()
	req.Restore = &datastores.Restore{Strategy: m.BackupStrategies()[0], Request: datastores.RestoreRequest{
		Progress: func(string) {}, Chain: []datastores.BackupLink{{ID: "b", Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(stream)), nil
		}}},
	}}
	return req
}

// TestPlainBackup makes an instance of what pg_basebackup has written, of a server whose superuser has left what he could.
func TestPlainBackup(t *testing.T) {
	ctx := t.Context()
	from, boss := elsewhere(t)
	for _, statement := range []string{
		"CREATE ROLE ann LOGIN PASSWORD 'pass'",
		"CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'chiefpass'",
		"ALTER ROLE postgres PASSWORD 'bosspass'",
		"CREATE ROLE " + adminUser + " LOGIN PASSWORD 'mine'",
		"CREATE ROLE " + dumpUser + " SUPERUSER LOGIN PASSWORD 'mine'",
		"CREATE ROLE " + replicasRole + " SUPERUSER LOGIN PASSWORD 'mine'",
		"CREATE ROLE spy SUPERUSER LOGIN PASSWORD 'mine' IN ROLE " + replicasRole,
		"CREATE DATABASE shop OWNER ann",
		"ALTER SYSTEM SET shared_preload_libraries = 'nowhere'",
		"ALTER SYSTEM SET archive_mode = on",
		"ALTER SYSTEM SET archive_command = 'touch /tmp/never'",
		"ALTER ROLE postgres SET session_preload_libraries = 'nowhere'",
		"REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
	} {
		must(t, boss.exec(ctx, statement))
	}
	inside, err := dial(ctx, from.env.Address, "ann", "", "shop")
	must(t, err)
	t.Cleanup(inside.close)
	must(t, inside.exec(ctx, "CREATE TABLE items AS SELECT generate_series(1, 5000) AS n"))
	stream := plainBackup(t, from, "-X", "fetch")

	m := newManager(t, newEnv(t), DefaultOptions())
	hostile := withFiles(t, stream, [2]string{"standby.signal", ""}, [2]string{"postmaster.pid", "1\n"}, [2]string{"pg_hba.conf", "host all all all trust\n"})
	must(t, m.Prepare(ctx, restoringPlain(m, hostile)))
	tenant, err := login(t, m, "ann", "pass", "shop")
	must(t, err)
	if n, err := tenant.one(ctx, "SELECT count(*) FROM items"); err != nil || n.int() != 5000 {
		t.Errorf("%v items, %v", n, err)
	}
	must(t, tenant.exec(ctx, "INSERT INTO items VALUES (0)"))
	for _, who := range [][2]string{{"postgres", "bosspass"}, {adminUser, "mine"}, {dumpUser, "mine"}, {replicasRole, "mine"}, {"spy", "mine"}, {"ann", "wrong"}} {
		for _, database := range []string{"shop", homeDatabase} {
			if _, err := login(t, m, who[0], who[1], database); err == nil {
				t.Errorf("%s is let into %s", who[0], database)
			}
		}
	}
	for setting, want := range map[string]string{"shared_preload_libraries": "", "archive_mode": "off", "wal_level": "replica"} {
		if is, err := admin(t, m).one(ctx, "SHOW "+setting); err != nil || is.String() != want {
			t.Errorf("%s is %q, %v", setting, is, err)
		}
	}
	users, err := m.ListUsers(ctx)
	must(t, err)
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "ann") || !strings.Contains(got, "chief") {
		t.Errorf("users: %s", got)
	}
	must(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: datastores.NewSecret("bobpass"), Databases: []datastores.Database{{Name: "shop"}}}))
	if _, err := login(t, m, "bob", "bobpass", "shop"); err != nil {
		t.Error(err)
	}
	own, err := taken(t, m, 0, nil)
	must(t, err)
	again := newManager(t, newEnv(t), DefaultOptions())
	req := restoringPlain(again, nil)
	req.Restore.Request.Chain = []datastores.BackupLink{own}
	must(t, again.Prepare(ctx, req))
	if _, err := login(t, again, "ann", "pass", "shop"); err != nil {
		t.Error(err)
	}

	// What cannot become a server is refused, and says why.
	for why, bad := range map[string]struct {
		stream []byte
		say    string
	}{
		"no log":          {plainBackup(t, from, "-X", "none"), "has not the log"},
		"another version": {withFiles(t, nil, [2]string{"PG_VERSION", "17\n"}), "is of PostgreSQL 17, and this server is 15"},
		"no backup":       {withFiles(t, nil, [2]string{"photo.jpg", "x"}), "PG_VERSION: it is not there"},
		"no label":        {withFiles(t, nil, [2]string{"PG_VERSION", "15\n"}), "backup_label: it is not there"},
		"tablespaces":     {withFiles(t, nil, [2]string{"PG_VERSION", "15\n"}, [2]string{"tablespace_map", "1 /tmp\n"}), "tablespaces"},
		"no tar":          {bytes.Repeat([]byte("x"), 2000), "cannot unpack"},
		"cut":             {stream[:len(stream)/2], "cannot unpack"},
	} {
		to := newManager(t, newEnv(t), DefaultOptions())
		err := to.Prepare(ctx, restoringPlain(to, bad.stream))
		if err == nil || !strings.Contains(err.Error(), bad.say) {
			t.Errorf("%s: %v, want %q", why, err, bad.say)
		}
		if left, _ := filepath.Glob(to.path(dataDir + "*")); len(left) > 0 {
			t.Errorf("%s leaves %v", why, left)
		}
	}
}
