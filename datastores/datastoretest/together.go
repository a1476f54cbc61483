package datastoretest

import (
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testTogether: access to a database is access to everything that anybody with access has made there, also of a user who was
// deleted and made again; without access nothing is left of it.
func testTogether(t *testing.T, s *server) {
	if _, ok := s.manager.(datastores.Databases); !ok || s.Write == nil || s.Digest == nil {
		t.Log("the datastore has no databases, or the harness no Write and Digest: not tested")
		return
	}
	users, access := s.manager.(datastores.Users), s.manager.(datastores.Access)
	shop := s.withDatabase(t, "shop")
	login := func(name string) Login { return Login{s.env.Address, name, "pass", shop[0].Name} }
	create := func(name string) {
		t.Helper()
		u := datastores.User{Name: name, Password: datastores.NewSecret("pass"), Databases: shop}
		s.must(t, "create "+name, users.CreateUser(s.within(t), u))
	}
	next := 0
	writes := func(name string) {
		t.Helper()
		if n, err := s.Write(s.within(t), login(name), next, next+5); err != nil || n != 5 {
			t.Fatalf("%s writes where others have written: %d acknowledged, %v", name, n, err)
		}
		next += 5
	}
	read := func(names ...string) {
		t.Helper()
		var first contents
		for i, name := range names {
			got := s.contentsOf(t, login(name))
			if i == 0 {
				first = got
			}
			if got.items != next || got != first {
				t.Fatalf("%s reads %v; %s %v; there are %d items", name, got, names[0], first, next)
			}
		}
	}
	create("ann")
	create("bob")
	writes("bob")
	writes("ann")
	read("bob", "ann")
	s.must(t, "delete bob", users.DeleteUser(s.within(t), "bob", "%"))
	read("ann")
	create("bob")
	writes("bob")
	read("bob", "ann")
	s.must(t, "revoke", access.RevokeAccess(s.within(t), "bob", "%", shop[0].Name))
	if n, err := s.Write(s.within(t), login("bob"), next, next+1); err == nil || n != 0 {
		t.Errorf("a user without access writes: %d acknowledged, %v", n, err)
	}
	s.keepsOut(t, "bob", "pass", shop[0].Name)
	writes("ann")
	s.must(t, "grant", access.GrantAccess(s.within(t), "bob", "%", []string{shop[0].Name}))
	writes("bob")
	read("ann", "bob")
	for _, name := range []string{"ann", "bob"} {
		s.must(t, "delete "+name, users.DeleteUser(s.within(t), name, "%"))
	}
}
