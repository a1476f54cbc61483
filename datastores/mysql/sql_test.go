package mysql

import (
	"database/sql"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

// One server for all that only speaks SQL to it; each test uses names of its own.
func TestSQL(t *testing.T) {
	m := prepared(t)
	for name, test := range map[string]func(*testing.T, *Manager){
		"Databases":             testDatabases,
		"Users":                 testUsers,
		"Passwords":             testPasswords,
		"Hosts":                 testHosts,
		"GrantsDoNotLeak":       testGrantsDoNotLeak,
		"TenantsOwnGrants":      testTenantsOwnGrants,
		"RightsEndWithDatabase": testRightsEndWithDatabase,
		"Root":                  testRoot,
		"NamesFromHell":         testNamesFromHell,
		"Quoting":               testQuoting,
		"NothingSecretIsLogged": testNothingSecretIsLogged,
	} {
		t.Run(name, func(t *testing.T) { test(t, m) })
	}
}

func secret(s string) datastores.Secret { return datastores.NewSecret(s) }

func named(names ...string) []datastores.Database {
	var list []datastores.Database
	for _, n := range names {
		list = append(list, datastores.Database{Name: n})
	}
	return list
}

func namesOf(list []datastores.Database) []string {
	var names []string
	for _, d := range list {
		names = append(names, d.Name)
	}
	return names
}

func testDatabases(t *testing.T, m *Manager) {
	ctx := t.Context()
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "plain"}))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "latin", CharacterSet: "latin1", Collate: "latin1_bin"}))
	all, err := m.ListDatabases(ctx)
	must(t, err)
	for _, want := range []datastores.Database{
		{Name: "plain", CharacterSet: "utf8mb4", Collate: "utf8mb4_general_ci"},
		{Name: "latin", CharacterSet: "latin1", Collate: "latin1_bin"},
	} {
		if !slices.Contains(all, want) {
			t.Errorf("%+v is not among %+v", want, all)
		}
	}
	wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: "plain"}), datastores.Exists)
	for _, bad := range []datastores.Database{
		{Name: "x", CharacterSet: "utf8mb4", Collate: "latin1_bin"},
		{Name: "x", CharacterSet: "klingon"},
		{Name: "x", Collate: "klingon"},
		{Name: "x", CharacterSet: "utf8 COLLATE utf8_bin"},
		{Name: "x", CharacterSet: "utf8'"},
		{Name: "INFORMATION_SCHEMA"},
		{Name: strings.Repeat("x", 65)},
	} {
		wantKind(t, makeDatabase(ctx, m, bad), datastores.Invalid)
	}
	wantKind(t, m.DeleteDatabase(ctx, "PLAIN"), datastores.NotFound)
	must(t, m.DeleteDatabase(ctx, "plain"))
	wantKind(t, m.DeleteDatabase(ctx, "plain"), datastores.NotFound)
}

func testUsers(t *testing.T, m *Manager) {
	ctx := t.Context()
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "u1"}))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "u2"}))
	bob := datastores.User{Name: "bob", Password: secret("one"), Databases: named("u1", "u2")}
	must(t, m.CreateUser(ctx, bob))
	wantKind(t, m.CreateUser(ctx, bob), datastores.Exists)
	wantKind(t, m.CreateUser(ctx, datastores.User{Name: "eve", Password: secret("x"), Databases: named("u1", "none")}), datastores.NotFound)
	wantKind(t, makeUser(ctx, m, datastores.User{Name: "eve"}), datastores.Invalid)
	for _, missing := range []string{"eve", "bob ", "BOB", ""} {
		_, err := m.GetUser(ctx, missing, "%")
		wantKind(t, err, datastores.NotFound)
		wantKind(t, m.DeleteUser(ctx, missing, ""), datastores.NotFound)
	}
	if _, err := login(t, m, "bob", "one", "u2"); err != nil {
		t.Error(err)
	}

	must(t, m.CreateUser(ctx, datastores.User{Name: "taken", Password: secret("x")}))
	wantKind(t, m.UpdateUser(ctx, "bob", "", datastores.UserChange{Name: "taken", Password: secret("two")}), datastores.Exists)
	wantKind(t, m.UpdateUser(ctx, "eve", "", datastores.UserChange{Password: secret("two")}), datastores.NotFound)
	must(t, m.UpdateUser(ctx, "bob", "%", datastores.UserChange{Name: "rob", Host: "127.%", Password: secret("two")}))
	if _, err := login(t, m, "rob", "two", "u1"); err != nil {
		t.Error(err)
	}
	got, err := m.GetUser(ctx, "rob", "127.%")
	must(t, err)
	if diff := cmp.Diff([]string{"u1", "u2"}, namesOf(got.Databases)); got.Host != "127.%" || diff != "" {
		t.Errorf("%+v %s", got, diff)
	}

	must(t, m.RevokeAccess(ctx, "rob", "127.%", "u1"))
	wantKind(t, m.RevokeAccess(ctx, "rob", "127.%", "u1"), datastores.NotFound)
	wantKind(t, m.GrantAccess(ctx, "rob", "127.%", []string{"u1", "none"}), datastores.NotFound)
	wantKind(t, m.GrantAccess(ctx, "rob", "", []string{"u1"}), datastores.NotFound)
	access, err := m.ListAccess(ctx, "rob", "127.%")
	must(t, err)
	if diff := cmp.Diff([]string{"u2"}, namesOf(access)); diff != "" {
		t.Error(diff)
	}
	must(t, m.DeleteUser(ctx, "rob", "127.%"))
	if _, err := login(t, m, "rob", "two", ""); err == nil {
		t.Error("a deleted user can log in")
	}
}

func testPasswords(t *testing.T, m *Manager) {
	for i, password := range []string{
		`'; DROP DATABASE mysql; -- `, `"`, "`", `\`, `\'`, `%s%d%%`, "пароль-密码-🔑", " blanks ", "tab\tand\nline", strings.Repeat("long", 60),
	} {
		name := "pw" + string(rune('a'+i))
		must(t, m.CreateUser(t.Context(), datastores.User{Name: name, Password: secret(password)}))
		if _, err := login(t, m, name, password, ""); err != nil {
			t.Errorf("password %q: %v", password, err)
		}
		if _, err := login(t, m, name, password+"x", ""); err == nil {
			t.Errorf("password %q is not the only one", password)
		}
	}
}

func testHosts(t *testing.T, m *Manager) {
	ctx := t.Context()
	for _, host := range []string{"10.0.0.%", "10.%", "10.0.%", "10.%.0.%", "192.168.1.7", "%"} {
		must(t, m.CreateUser(ctx, datastores.User{Name: "bob@host", Host: host, Password: secret("x")}))
		got, err := m.GetUser(ctx, "bob@host", host)
		must(t, err)
		if got.Host != host {
			t.Errorf("host %q became %q", host, got.Host)
		}
	}
	for _, host := range []string{"localhost", "10", "10.0.0", "256.1.1.1", "10.0.0.0/8", "a%", "%%", "10.0.0._", "1.2.3.4.5", "01.2.3.4", "10.0.0.1\n", "x' OR 'a'='a"} {
		wantKind(t, makeUser(ctx, m, datastores.User{Name: "bob@host", Host: host, Password: secret("x")}), datastores.Invalid)
	}
	must(t, m.CreateUser(ctx, datastores.User{Name: "far", Host: "10.0.0.%", Password: secret("x")}))
	if _, err := login(t, m, "far", "x", ""); err == nil {
		t.Error("a user of 10.0.0.% can log in from 127.x")
	}
}

func testGrantsDoNotLeak(t *testing.T, m *Manager) {
	ctx := t.Context()
	for _, name := range []string{"a_b", "axb", "a-b"} {
		must(t, m.CreateDatabase(ctx, datastores.Database{Name: name}))
	}
	must(t, m.CreateUser(ctx, datastores.User{Name: "ann", Password: secret("x"), Databases: named("a_b")}))
	if _, err := login(t, m, "ann", "x", "a_b"); err != nil {
		t.Error(err)
	}
	if _, err := login(t, m, "ann", "x", "axb"); err == nil {
		t.Error("a right on a_b is one on axb too")
	}
	access, err := m.ListAccess(ctx, "ann", "")
	must(t, err)
	if diff := cmp.Diff([]string{"a_b"}, namesOf(access)); diff != "" {
		t.Error(diff)
	}
}

func testTenantsOwnGrants(t *testing.T, m *Manager) {
	ctx, db := t.Context(), admin(t, m)
	for _, name := range []string{"own_1", "ownx1"} {
		must(t, m.CreateDatabase(ctx, datastores.Database{Name: name}))
	}
	must(t, m.CreateUser(ctx, datastores.User{Name: "own", Password: secret("x"), Databases: named("own_1")}))
	for _, s := range []string{
		"GRANT SELECT ON `own_1`.* TO 'own'@'%' WITH GRANT OPTION", // both, for _ is a wildcard
		"CREATE ROLE own_role", "GRANT own_role TO 'own'@'%'",
	} {
		_, err := db.Exec(s)
		must(t, err)
	}
	access, err := m.ListAccess(ctx, "own", "")
	must(t, err)
	if diff := cmp.Diff([]string{"own_1", "ownx1"}, namesOf(access)); diff != "" {
		t.Error(diff)
	}
	must(t, m.RevokeAccess(ctx, "own", "", "own_1"))
	if access, err = m.ListAccess(ctx, "own", ""); err != nil || len(access) > 0 {
		t.Errorf("after the revoke: %+v, %v", access, err)
	}
	_, err = m.GetUser(ctx, "own_role", "")
	wantKind(t, err, datastores.NotFound)
}

func testRightsEndWithDatabase(t *testing.T, m *Manager) {
	ctx := t.Context()
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "re_used"}))
	must(t, m.CreateUser(ctx, datastores.User{Name: "old", Password: secret("x"), Databases: named("re_used")}))
	must(t, m.DeleteDatabase(ctx, "re_used"))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "re_used"}))
	if _, err := login(t, m, "old", "x", "re_used"); err == nil {
		t.Error("a right on a deleted database is one on the next of that name")
	}
}

func testRoot(t *testing.T, m *Manager) {
	ctx := t.Context()
	must(t, m.DisableRoot(ctx))
	var session *sql.DB
	for _, password := range []string{"first", "it's second"} {
		name, err := m.EnableRoot(ctx, secret(password))
		must(t, err)
		session, err = login(t, m, name, password, "mysql")
		must(t, err)
	}
	for _, s := range []string{"CREATE DATABASE by_root", "CREATE USER by_root", "GRANT SELECT, INSERT, SUPER ON *.* TO by_root WITH GRANT OPTION", "GRANT ALL ON by_root.* TO by_root WITH GRANT OPTION"} {
		if _, err := session.Exec(s); err != nil {
			t.Errorf("root cannot %s: %v", s, err)
		}
	}
	if _, err := login(t, m, "root", "first", ""); err == nil {
		t.Error("root's old password works")
	}
	if _, err := session.Exec("SELECT 1 INTO OUTFILE " + text(m.path("outside"))); err == nil {
		t.Error("root can write anywhere")
	}
	conn, err := session.Conn(ctx)
	must(t, err)
	must(t, conn.PingContext(ctx))
	must(t, m.DisableRoot(ctx))
	if err := conn.PingContext(ctx); err == nil {
		t.Error("root's session goes on")
	}
	if _, err := login(t, m, "root", "it's second", ""); err == nil {
		t.Error("root can log in when disabled")
	}
	_, err = m.EnableRoot(ctx, secret("third"))
	must(t, err)
	_, err = login(t, m, "root", "third", "by_root")
	must(t, err)
	must(t, m.DisableRoot(ctx))
}

func testNothingSecretIsLogged(t *testing.T, m *Manager) {
	ctx, db := t.Context(), admin(t, m)
	_, err := db.Exec("SET GLOBAL general_log_file = 'general.log'")
	must(t, err)
	_, err = db.Exec("SET GLOBAL general_log = ON")
	must(t, err)
	must(t, m.CreateUser(ctx, datastores.User{Name: "quiet", Password: secret("Sesame-1")}))
	must(t, m.UpdateUser(ctx, "quiet", "", datastores.UserChange{Password: secret("Sesame-2")}))
	_, err = login(t, m, "quiet", "Sesame-2", "")
	must(t, err)
	_, err = db.Exec("SET GLOBAL general_log = OFF")
	must(t, err)
	general, err := os.ReadFile(m.path(dataDir + "/general.log"))
	must(t, err)
	own, err := os.ReadFile(m.LogFile(errorLog))
	must(t, err)
	if !strings.Contains(string(general), "quiet") {
		t.Fatal("the general log was off")
	}
	for _, word := range []string{"Sesame", nativeHash(secret("Sesame-1")), nativeHash(secret("Sesame-2"))} {
		if strings.Contains(string(general)+string(own), word) {
			t.Errorf("the server's logs hold %q", word)
		}
	}
	if err := m.CreateUser(ctx, datastores.User{Name: "quiet", Password: secret("Sesame-3")}); strings.Contains(err.Error(), "Sesame") {
		t.Error(err)
	}
}
