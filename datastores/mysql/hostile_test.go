package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// TestRootCannotKeepTheGuestOut: whatever root does to the guest's account and the server's variables, the guest says so and a
// restart heals it.
func TestRootCannotKeepTheGuestOut(t *testing.T) {
	m := prepared(t)
	_, err := m.EnableRoot(t.Context(), secret("pass"))
	must(t, err)
	works := func() error {
		if err := m.CreateDatabase(t.Context(), datastores.Database{Name: "made"}); err != nil {
			return err
		}
		return m.DeleteDatabase(t.Context(), "made")
	}
	for name, statements := range map[string][]string{
		"drop":              {"DROP USER os_admin@localhost"},
		"rename":            {"RENAME USER os_admin@localhost TO mine@localhost"},
		"password":          {"SET PASSWORD FOR os_admin@localhost = PASSWORD('x')"},
		"lock":              {"ALTER USER os_admin@localhost ACCOUNT LOCK"},
		"expire":            {"ALTER USER os_admin@localhost PASSWORD EXPIRE"},
		"rights":            {"REVOKE ALL PRIVILEGES, GRANT OPTION FROM os_admin@localhost"},
		"limits":            {"ALTER USER os_admin@localhost WITH MAX_QUERIES_PER_HOUR 1"},
		"encryption":        {"ALTER USER os_admin@localhost REQUIRE X509"},
		"by hand":           {"DELETE FROM mysql.global_priv WHERE User = 'os_admin'", "FLUSH PRIVILEGES"},
		"a plug-in":         {"INSTALL SONAME 'simple_password_check'", "SET GLOBAL strict_password_validation = ON"},
		"connections":       {"SET GLOBAL max_connections = 10, GLOBAL extra_max_connections = 1"},
		"a role":            {"CREATE ROLE weak", "GRANT weak TO os_admin@localhost", "SET DEFAULT ROLE weak FOR os_admin@localhost"},
		"an init statement": {"SET GLOBAL init_connect = 'DO SLEEP(100)'"},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := login(t, m, rootUser, "pass", "")
			must(t, err)
			must(t, execute(t.Context(), db, statements...))
			_ = works()
			must(t, m.Stop(t.Context()))
			must(t, m.Start(t.Context()))
			must(t, works())
			_ = execute(t.Context(), admin(t, m), "UNINSTALL SONAME 'simple_password_check'") // the server remembers it
		})
	}
}

// TestGlobalsDoNotReachTheGuest: what root or a parameter sets for all sessions does not hold for the guest's.
func TestGlobalsDoNotReachTheGuest(t *testing.T) {
	m := prepared(t)
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "kept"}))
	db := admin(t, m)
	for _, set := range []string{
		"max_statement_time = 0.000001", "sql_select_limit = 1", "tx_read_only = ON", "autocommit = OFF", "sql_mode = 'ANSI_QUOTES,ORACLE'",
		"lock_wait_timeout = 1", "wait_timeout = 1",
	} {
		must(t, execute(t.Context(), db, "SET GLOBAL "+set))
	}
	all, err := m.ListDatabases(t.Context())
	must(t, err)
	if len(all) < 4 {
		t.Errorf("databases: %v", namesOf(all))
	}
	must(t, m.CreateUser(t.Context(), datastores.User{Name: "ann", Password: secret("pass"), Databases: named("kept")}))
	must(t, m.DeleteUser(t.Context(), "ann", ""))
	must(t, m.DeleteDatabase(t.Context(), "kept"))
}

// TestDatabaseInTheWay: a database is deleted with whoever uses it, or stays as it was and the answer says why.
func TestDatabaseInTheWay(t *testing.T) {
	m := prepared(t)
	ctx := t.Context()
	_, err := m.EnableRoot(ctx, secret("pass"))
	must(t, err)
	for name, row := range map[string]struct {
		begin []string
		clear []string // none: nothing is in the way
		says  string
	}{
		"a transaction":          {begin: []string{"START TRANSACTION", "UPDATE shop.t SET i = 2"}},
		"a locked table":         {begin: []string{"LOCK TABLES shop.t WRITE"}},
		"everything is locked":   {begin: []string{"FLUSH TABLES WITH READ LOCK"}},
		"its own references":     {begin: []string{"CREATE TABLE shop.own (i INT REFERENCES shop.t (i))"}},
		"a prepared transaction": {[]string{"XA START 'x','y',3", "UPDATE shop.t SET i = 2", "XA END 'x','y',3", "XA PREPARE 'x','y',3"}, []string{"XA ROLLBACK 'x','y',3"}, "'x','y',3"},
		"a reference":            {[]string{"CREATE DATABASE `the other`", "CREATE TABLE `the other`.`c-d` (i INT, FOREIGN KEY (i) REFERENCES shop.t (i))"}, []string{"DROP DATABASE `the other`"}, `table "c-d" of database "the other"`},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
			must(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: secret("pass"), Databases: named("shop")}))
			db, err := login(t, m, rootUser, "pass", "")
			must(t, err)
			must(t, execute(ctx, db, "CREATE TABLE shop.a (i INT)", "CREATE TABLE shop.t (i INT PRIMARY KEY)", "INSERT INTO shop.t VALUES (1)", "CREATE TABLE shop.z (i INT)"))
			session, err := db.Conn(ctx)
			must(t, err)
			defer func() { _ = session.Close() }()
			for _, s := range row.begin {
				_, err := session.ExecContext(ctx, s)
				must(t, err)
			}
			err = m.DeleteDatabase(ctx, "shop")
			if len(row.clear) > 0 {
				wantKind(t, err, datastores.Conflict)
				if err == nil || !strings.Contains(err.Error(), row.says) {
					t.Errorf("it says %v, want %s", err, row.says)
				}
				if tables := tablesOf(t, admin(t, m), "shop"); len(tables) != 3 {
					t.Errorf("of the database %q are left", tables)
				}
				if user, err := m.GetUser(ctx, "bob", ""); err != nil || len(user.Databases) != 1 {
					t.Errorf("the user has %v, %v", user.Databases, err)
				}
				must(t, execute(ctx, admin(t, m), row.clear...))
				err = m.DeleteDatabase(ctx, "shop")
			}
			must(t, err)
			wantKind(t, m.DeleteDatabase(ctx, "shop"), datastores.NotFound)
			must(t, m.DeleteUser(ctx, "bob", ""))
		})
	}
}

func tablesOf(t *testing.T, db *sql.DB, database string) (tables []string) {
	t.Helper()
	must(t, query(context.Background(), db, func(scan func(...any) error) error {
		var table string
		err := scan(&table)
		tables = append(tables, table)
		return err
	}, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?", database))
	return tables
}

// H11: the guest read its option file by path, and for good when a tenant had put a pipe or a device in its place.
func TestTheOptionFileHasAnEnd(t *testing.T) {
	m := prepared(t)
	for name, make := range map[string]func(path string) error{
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		must(t, os.Remove(m.path(configName)))
		must(t, make(m.path(configName)))
		if _, err := m.UpdateOverrides(t.Context(), datastores.Values{"max_connections": json.Number("123")}); err == nil {
			t.Errorf("%s in place of the option file is read", name)
		}
	}
	must(t, m.Stop(t.Context()))
	must(t, m.Start(t.Context()))
}
