package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// elsewhere is a server that no guest has made: as mariadb-install-db and its administrator leave it. It returns a session of his.
func elsewhere(t *testing.T) (at *Manager, boss *sql.DB) {
	t.Helper()
	m := newManager(t, newEnv(t))
	dir := m.path("foreign")
	must(t, m.configure())
	must(t, m.data.MakeDir("foreign"))
	must(t, m.data.WriteFile("boss.sql", []byte("CREATE USER boss@'%' IDENTIFIED BY 'bosspass';\nGRANT ALL ON *.* TO boss@'%' WITH GRANT OPTION;\n")))
	_, err := service.Run(t.Context(), []string{
		m.tool("mariadb-install-db"), "--no-defaults", "--datadir=" + dir, "--auth-root-authentication-method=socket", "--skip-test-db", "--innodb-data-file-path=ibdata1:20M:autoextend",
	}, service.RunOptions{Credential: m.service.Credential, Dir: dir})
	must(t, err)
	s := service.New(m.env, "foreign", m.options.Program, "--no-defaults", "--datadir="+dir, "--socket=s", "--bind-address="+m.env.Address,
		"--log-bin", "--server-id=7", "--init-file="+m.path("boss.sql"), "--innodb-data-file-path=ibdata1:20M:autoextend", "--pid-file="+dir+"/pid")
	s.LogFile = "foreign.log"
	must(t, s.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		must(t, s.Stop(ctx))
	})
	boss, err = dial(m.env.Address, "boss", "bosspass", "")
	must(t, err)
	t.Cleanup(func() { _ = boss.Close() })
	if err := s.Await(t.Context(), boss.PingContext); err != nil {
		t.Fatal(err, s.LastWords())
	}
	return m, boss
}

// plainBackup is what mariadb-backup writes.
func plainBackup(t *testing.T, m *Manager, more ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	must(t, m.data.WriteFile("boss.cnf", []byte("[client]\nuser=boss\npassword=bosspass\n")))
	argv := append([]string{m.tool("mariadb-backup"), "--defaults-file=" + m.path("boss.cnf"), "--host=" + m.env.Address, "--backup", "--stream=xbstream",
		"--datadir=" + m.path("foreign"), "--target-dir=" + m.path(tmpDir)}, more...)
	if err := m.runTool(t.Context(), argv, nil, &out); err != nil {
		t.Fatal(err, err.(*service.Failure).Words)
	}
	return out.Bytes()
}

func plainLink(stream []byte) datastores.BackupLink {
	return datastores.BackupLink{ID: "b", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stream)), nil
	}}
}

// TestPlainBackup makes an instance of what mariadb-backup has written, of a server whose administrator has left what he could.
func TestPlainBackup(t *testing.T) {
	ctx := t.Context()
	from, boss := elsewhere(t)
	must(t, execute(ctx, boss,
		"CREATE DATABASE shop", "CREATE TABLE shop.items (n INT PRIMARY KEY)", "INSERT INTO shop.items SELECT seq FROM shop.seq_1_to_5000",
		"CREATE USER ann@'%' IDENTIFIED BY 'pass'", "GRANT ALL ON shop.* TO ann@'%'",
		"CREATE USER "+adminUser+"@'localhost' IDENTIFIED BY 'mine' ACCOUNT LOCK", "CREATE USER "+adminUser+"@'%' IDENTIFIED BY 'mine'",
		"GRANT ALL ON *.* TO "+adminUser+"@'%' WITH GRANT OPTION",
		"CREATE USER copy@'%' IDENTIFIED BY 'copypass'", "GRANT REPLICATION SLAVE ON *.* TO copy@'%'",
		"CREATE USER spy@'%' IDENTIFIED BY 'spypass'", "GRANT REPLICATION SLAVE, FILE, CREATE USER ON *.* TO spy@'%'",
		"CREATE USER root@'127.%' IDENTIFIED BY 'rootpass'", "GRANT ALL ON *.* TO root@'127.%' WITH GRANT OPTION",
		"CREATE DEFINER = root@localhost VIEW shop.seen AS SELECT n FROM shop.items",
		"CREATE EVENT shop.soon ON SCHEDULE EVERY 1 SECOND DO INSERT IGNORE INTO shop.items VALUES (-1)",
		"INSERT INTO mysql.plugin VALUES ('nowhere', 'nowhere.so')",
		"INSERT INTO mysql.func VALUES ('runs', 0, '../../nowhere.so', 'function')",
		"CREATE SERVER elsewhere FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1', USER 'boss')",
	))
	stream := plainBackup(t, from)

	m := newManager(t, newEnv(t))
	must(t, m.Prepare(ctx, restoring(m, plainLink(stream))))
	tenant, err := login(t, m, "ann", "pass", "shop")
	must(t, err)
	var n int
	must(t, tenant.QueryRow("SELECT COUNT(*) FROM items WHERE n > 0").Scan(&n))
	if n != 5000 {
		t.Errorf("%d items, want 5000", n)
	}
	must(t, execute(ctx, tenant, "INSERT INTO items VALUES (6000)"))
	must(t, tenant.QueryRow("SELECT COUNT(*) FROM seen WHERE n = 6000").Scan(&n)) // of an account that is locked
	_, err = m.EnableRoot(ctx, secret("ownroot"))
	must(t, err)
	if _, err := login(t, m, "root", "ownroot", ""); err != nil {
		t.Error(err)
	}
	for _, who := range [][2]string{{adminUser, "mine"}, {"copy", "copypass"}, {"spy", "spypass"}, {"root", "rootpass"}, {"boss", "wrong"}, {"ann", "wrong"}} {
		if _, err := login(t, m, who[0], who[1], ""); err == nil {
			t.Errorf("%s is let in", who[0])
		}
	}
	users, err := m.ListUsers(ctx)
	must(t, err)
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "ann") || !strings.Contains(got, "boss") {
		t.Errorf("users: %s", got)
	}
	must(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: secret("bobpass"), Databases: named("shop")}))
	if _, err := login(t, m, "bob", "bobpass", "shop"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"xtrabackup_info", "xtrabackup_checkpoints", "backup-my.cnf"} {
		if _, err := os.Lstat(m.path(dataDir + "/" + name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	full := backupOf(t, m, nil) // on which others can build
	backupOf(t, m, &full)

	var lsn string
	must(t, boss.QueryRow("SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_LSN_CURRENT'").Scan(&lsn))
	// What cannot become a server is refused, and says why.
	for why, bad := range map[string]struct {
		stream []byte
		say    string
	}{
		"an increment": {plainBackup(t, from, "--incremental-lsn="+lsn), "it is incremental"},
		"no xbstream":  {bytes.Repeat([]byte("-- dump\n"), 999), "mbstream"},
		"cut":          {stream[:len(stream)/2], ""},
		"nothing":      {nil, "is no backup of mariadb-backup"},
	} {
		to := newManager(t, newEnv(t))
		err := to.Prepare(ctx, restoring(to, plainLink(bad.stream)))
		if err == nil || !strings.Contains(err.Error(), bad.say) {
			t.Errorf("%s: %v, want %q", why, err, bad.say)
		}
		if there, _ := to.data.Exists(dataDir); there {
			t.Errorf("%s leaves a data directory", why)
		}
	}
}
