package postgresql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

// TestOwners: what earlier versions, root and tenants do to databases by the server's own means does not divide those with access.
func TestOwners(t *testing.T) {
	m := prepared(t)
	ctx := t.Context()
	root := admin(t, m)
	restart := func() {
		t.Helper()
		must(t, m.Stop(ctx))
		must(t, m.Start(ctx))
		root = admin(t, m)
	}
	long := strings.Repeat("l", 60)
	for _, name := range []string{"shop", "blog", long} {
		must(t, m.CreateDatabase(ctx, datastores.Database{Name: name}))
	}
	member(t, m, "ann", "shop", "blog", long)
	member(t, m, "bob", "shop", "blog")
	earlier(t, m, root)
	// Their tools reset sessions in many ways, and still they work for all.
	must(t, does(t, m, "ann", "shop", "DISCARD ALL", "CREATE TABLE a (n int)"))
	must(t, does(t, m, "ann", "shop", "SET SESSION AUTHORIZATION DEFAULT", "RESET ALL", "CREATE TABLE b (n int)"))
	must(t, does(t, m, "bob", "shop", "INSERT INTO a VALUES (1)", "ALTER TABLE b ADD m int", "DROP TABLE b"))
	// Who takes the right to connect from the role, with all that it owns, has it back after a start.
	must(t, does(t, m, "bob", "shop", "DROP OWNED BY CURRENT_USER"))
	// What somebody makes as nobody but himself is everybody's after a start.
	must(t, does(t, m, "ann", "blog", "SET ROLE NONE", "CREATE TABLE hers (n int)", "CREATE TYPE mood AS ENUM ('fine')"))
	restart()
	must(t, does(t, m, "ann", "shop", "CREATE SCHEMA public", "CREATE TABLE a (n int)"))
	must(t, does(t, m, "bob", "shop", "INSERT INTO a VALUES (1)"))
	must(t, does(t, m, "bob", "blog", "INSERT INTO hers VALUES (1)", "ALTER TYPE mood ADD VALUE 'well'"))
	must(t, does(t, m, "bob", "old", "INSERT INTO left_behind VALUES (1)", "INSERT INTO own.deep VALUES (1)", "ALTER TABLE hers ADD m int"))
	must(t, does(t, m, "bob", "old", "CREATE TABLE his (n int)"))
	must(t, does(t, m, "eve", "old", "TABLE his", "TABLE roots", "ALTER TABLE hers ADD o int"))

	// A database keeps its owner under another name, and its name is free for another one.
	must(t, root.exec(ctx, "ALTER DATABASE shop RENAME TO store"))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	member(t, m, "cid", "shop")
	must(t, does(t, m, "cid", "shop", "CREATE TABLE a (n int)"))
	must(t, does(t, m, "bob", "store", "TABLE a"))
	if _, err := login(t, m, "bob", "pass", "shop"); err == nil {
		t.Error("who has access to a database is let in to another that has its former name")
	}
	// A copy is another database. Whom root lets connect is not let write.
	must(t, root.exec(ctx, "CREATE DATABASE copy TEMPLATE blog"))
	must(t, m.GrantAccess(ctx, "cid", "%", []string{"copy"}))
	must(t, root.exec(ctx, "CREATE ROLE reader LOGIN"+clause(t)+"; GRANT CONNECT ON DATABASE blog TO reader"))
	restart()
	must(t, does(t, m, "cid", "copy", "INSERT INTO hers VALUES (2)"))
	must(t, does(t, m, "bob", "blog", "INSERT INTO hers VALUES (2)"))
	if err := does(t, m, "reader", "blog", "INSERT INTO hers VALUES (3)"); !is(err, stateNotAllowed) {
		t.Errorf("a user whom root lets connect writes: %v", err)
	}

	must(t, m.DeleteDatabase(ctx, "shop"))
	must(t, m.DeleteDatabase(ctx, long))
	must(t, root.exec(ctx, "DROP DATABASE copy"))
	dump, err := taken(t, m, 1, nil)
	must(t, err)
	must(t, m.load(ctx, datastores.RestoreRequest{Chain: []datastores.BackupLink{dump}, Progress: func(string) {}}))
	root = admin(t, m)
	roles, err := root.column(ctx, "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'os_o') ORDER BY 1")
	must(t, err)
	if diff := cmp.Diff([]string{"os_owner_blog", "os_owner_old", "os_owner_shop"}, roles); diff != "" {
		t.Errorf("owner roles after some databases were dropped, and a restore: %s", diff)
	}
	must(t, does(t, m, "ann", "store", "CREATE TABLE restored (n int)"))
	must(t, does(t, m, "bob", "store", "ALTER TABLE restored ADD m int"))

	must(t, m.RevokeAccess(ctx, "ann", "%", "old"))
	if _, err := login(t, m, "ann", "pass", "old"); err == nil {
		t.Error("a user is let in after a revoke")
	}
	wantKind(t, m.DeleteUser(ctx, "os_owner_blog", "%"), datastores.NotFound)
	wantKind(t, m.GrantAccess(ctx, "os_owner_blog", "%", []string{"store"}), datastores.NotFound)
	wantKind(t, m.UpdateUser(ctx, "os_owner_blog", "%", datastores.UserChange{Password: datastores.NewSecret("pass")}), datastores.NotFound)
}

// earlier makes the database old, as an earlier version has left it.
func earlier(t *testing.T, m *Manager, root *session) {
	t.Helper()
	ctx := t.Context()
	must(t, root.exec(ctx, "CREATE ROLE os_orphans"))
	must(t, root.exec(ctx, "CREATE DATABASE old OWNER os_orphans"))
	must(t, root.exec(ctx, "REVOKE ALL ON DATABASE old FROM PUBLIC; GRANT ALL ON DATABASE old TO ann; GRANT ALL ON DATABASE old TO bob"))
	must(t, m.withIn(ctx, "old", func(inside *session) error {
		return inside.exec(ctx, "GRANT ALL ON SCHEMA public TO PUBLIC; CREATE TABLE public.left_behind (n int); ALTER TABLE public.left_behind OWNER TO os_orphans")
	}))
	must(t, does(t, m, "ann", "old", "CREATE TABLE hers (n serial PRIMARY KEY)", "CREATE SCHEMA own CREATE TABLE deep (n int)", "GRANT ALL ON hers TO bob"))
	must(t, root.exec(ctx, "CREATE ROLE eve LOGIN"+clause(t)+"; GRANT ALL ON DATABASE old TO eve"))
	must(t, m.withIn(ctx, "old", func(inside *session) error {
		return inside.exec(ctx, "CREATE TABLE public.roots (n int); GRANT SELECT ON public.roots TO eve")
	}))
}

// member makes a user with access to databases.
func member(t *testing.T, m *Manager, name string, databases ...string) {
	t.Helper()
	u := datastores.User{Name: name, Password: datastores.NewSecret("pass")}
	for _, d := range databases {
		u.Databases = append(u.Databases, datastores.Database{Name: d})
	}
	must(t, m.CreateUser(t.Context(), u))
}

// does runs statements as a user, one after the other.
func does(t *testing.T, m *Manager, user, database string, statements ...string) error {
	t.Helper()
	s, err := dial(t.Context(), m.env.Address, user, "pass", database)
	must(t, err)
	defer s.close()
	for _, statement := range statements {
		if err := s.exec(t.Context(), statement); err != nil {
			return err
		}
	}
	return nil
}

func clause(t *testing.T) string {
	t.Helper()
	c, err := withPassword(datastores.NewSecret("pass"))
	must(t, err)
	return c
}
