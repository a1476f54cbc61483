package datastoretest

import (
	"slices"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func testDatabases(t *testing.T, s *server) {
	m, ctx := s.manager.(datastores.Databases), t.Context()
	before := databaseNames(t, m)
	s.must(t, "create", m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	wantKind(t, "create again", m.CreateDatabase(ctx, datastores.Database{Name: "shop"}), datastores.Exists)
	if got := databaseNames(t, m); !slices.Equal(got, sorted(append(slices.Clone(before), "shop"))) {
		t.Errorf("databases: %q, before %q", got, before)
	}
	s.stop(t)
	s.start(t)
	if got := databaseNames(t, m); !slices.Contains(got, "shop") {
		t.Errorf("databases after a restart: %q", got)
	}
	s.must(t, "delete", m.DeleteDatabase(ctx, "shop"))
	wantKind(t, "delete again", m.DeleteDatabase(ctx, "shop"), datastores.NotFound)
	if got := databaseNames(t, m); !slices.Equal(got, before) {
		t.Errorf("databases at the end: %q, before %q", got, before)
	}
}

func testUsers(t *testing.T, s *server) {
	m, ctx := s.manager.(datastores.Users), t.Context()
	databases := s.withDatabase(t, "shop")
	before := userNames(t, m)
	ann := datastores.User{Name: "ann", Password: datastores.NewSecret("first pass"), Databases: databases}
	s.must(t, "create", m.CreateUser(ctx, ann))
	again := ann
	again.Password = datastores.NewSecret("other")
	wantKind(t, "create again", m.CreateUser(ctx, again), datastores.Exists)
	s.letsIn(t, "ann", "first pass", databases.first())
	s.keepsOut(t, "ann", "other", databases.first())
	s.keepsOut(t, "ann", "", databases.first())

	if got := userNames(t, m); !slices.Equal(got, sorted(append(slices.Clone(before), "ann"))) {
		t.Errorf("users: %q, before %q", got, before)
	}
	u, err := m.GetUser(ctx, "ann", "%")
	if err != nil || u.Name != "ann" {
		t.Errorf("get = %+v, %v", u, err)
	}
	if _, ok := s.manager.(datastores.Databases); ok {
		wantNames(t, "databases of ann", names(u.Databases), names(databases))
	}
	if !u.Password.IsZero() {
		t.Error("get returns a password")
	}
	_, err = m.GetUser(ctx, "bob", "%")
	wantKind(t, "get nobody", err, datastores.NotFound)

	s.must(t, "delete", m.DeleteUser(ctx, "ann", "%"))
	wantKind(t, "delete again", m.DeleteUser(ctx, "ann", "%"), datastores.NotFound)
	s.keepsOut(t, "ann", "first pass", databases.first())
}

func testChangeUsers(t *testing.T, s *server) {
	m, ctx := s.manager.(datastores.Users), t.Context()
	databases := s.withDatabase(t, "shop")
	for _, name := range []string{"ann", "bob"} {
		u := datastores.User{Name: name, Password: datastores.NewSecret("first"), Databases: databases}
		s.must(t, "create "+name, m.CreateUser(ctx, u))
	}
	change := func(name string, c datastores.UserChange) error { return m.UpdateUser(ctx, name, "%", c) }

	name := "ann"
	s.part(t, "password", func(t *testing.T) {
		s.must(t, "change password", change("ann", datastores.UserChange{Password: datastores.NewSecret("second")}))
		s.keepsOut(t, "ann", "first", databases.first())
		s.letsIn(t, "ann", "second", databases.first())
	})
	s.part(t, "name", func(t *testing.T) {
		// Some servers cannot keep the password through a rename, so both are changed at once.
		s.must(t, "rename", change("ann", datastores.UserChange{Name: "eve", Password: datastores.NewSecret("third")}))
		name = "eve"
		s.keepsOut(t, "ann", "second", databases.first())
		s.letsIn(t, "eve", "third", databases.first())
		wantKind(t, "rename to one who is there", change("eve", datastores.UserChange{Name: "bob"}), datastores.Exists)
		wantKind(t, "change nobody", change("ann", datastores.UserChange{Name: "x"}), datastores.NotFound)
		s.letsIn(t, "eve", "third", databases.first())
	})
	for _, name := range []string{name, "bob"} {
		s.must(t, "delete "+name, m.DeleteUser(ctx, name, "%"))
	}
}

func testAccess(t *testing.T, s *server) {
	users, m, ctx := s.manager.(datastores.Users), s.manager.(datastores.Access), t.Context()
	shop, blog := s.withDatabase(t, "shop").first(), s.withDatabase(t, "blog").first()
	s.must(t, "create", users.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("pass")}))
	s.keepsOut(t, "ann", "pass", shop)

	for range 2 {
		s.must(t, "grant", m.GrantAccess(ctx, "ann", "%", []string{shop}))
	}
	s.letsIn(t, "ann", "pass", shop)
	s.keepsOut(t, "ann", "pass", blog)
	wantKind(t, "grant on nothing", m.GrantAccess(ctx, "ann", "%", []string{blog, "gone"}), datastores.NotFound)
	wantKind(t, "grant to nobody", m.GrantAccess(ctx, "bob", "%", []string{blog}), datastores.NotFound)
	s.keepsOut(t, "ann", "pass", blog)
	got, err := m.ListAccess(ctx, "ann", "%")
	if err != nil || !slices.Equal(names(got), []string{shop}) {
		t.Errorf("access = %v, %v; want %s alone", got, err, shop)
	}
	_, err = m.ListAccess(ctx, "bob", "%")
	wantKind(t, "access of nobody", err, datastores.NotFound)

	s.must(t, "revoke", m.RevokeAccess(ctx, "ann", "%", shop))
	wantKind(t, "revoke again", m.RevokeAccess(ctx, "ann", "%", shop), datastores.NotFound)
	s.keepsOut(t, "ann", "pass", shop)
	s.must(t, "delete", users.DeleteUser(ctx, "ann", "%"))
}

func testRoot(t *testing.T, s *server) {
	m, ctx := s.manager.(datastores.Root), t.Context()
	if on, err := m.RootEnabled(ctx); on || err != nil {
		t.Errorf("root is enabled before anybody asked for it: %t, %v", on, err)
	}
	name, err := m.EnableRoot(ctx, datastores.NewSecret("first root"))
	s.must(t, "enable", err)
	s.root, s.hadRoot = name, name
	defer func() { s.root = "" }()
	s.wantRoot(t, "first root", true)
	again, err := m.EnableRoot(ctx, datastores.NewSecret("second 'root\""))
	s.must(t, "enable again", err)
	if again != name {
		t.Errorf("root is called %q, then %q", name, again)
	}
	s.keepsOut(t, name, "first root", "")
	s.stop(t)
	s.start(t)
	s.wantRoot(t, "second 'root\"", true)

	for range 2 {
		s.must(t, "disable", m.DisableRoot(ctx))
		s.wantRoot(t, "second 'root\"", false)
		s.keepsOut(t, name, "", "")
	}
	s.stop(t)
	s.start(t)
	s.keepsOut(t, name, "second 'root\"", "")
}

// databases are none of a datastore that has none.
type databases []datastores.Database

// first is the name of the first; "" when there is none.
func (d databases) first() string {
	if len(d) == 0 {
		return ""
	}
	return d[0].Name
}

// withDatabase makes a database for the length of a test, where the datastore can.
func (s *server) withDatabase(t *testing.T, name string) databases {
	t.Helper()
	m, ok := s.manager.(datastores.Databases)
	if !ok {
		return nil
	}
	s.must(t, "create database", m.CreateDatabase(t.Context(), datastores.Database{Name: name}))
	ctx := t.Context()
	t.Cleanup(func() { s.must(t, "delete database", m.DeleteDatabase(withoutCancel(ctx), name)) })
	return databases{{Name: name}}
}
