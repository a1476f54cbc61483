package guest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

func databases(names ...string) []datastores.Database {
	var list []datastores.Database
	for _, n := range names {
		list = append(list, datastores.Database{Name: n})
	}
	return list
}

func command(name string) agent.Command { return agent.Command{Method: name} }

func repeated(name string) agent.Command { return agent.Command{Method: name, Repeated: true} }

func TestListsHideReservedNamesAndComeInPages(t *testing.T) {
	b := newBench(t).prepared(t)
	b.do(t, command(datastores.MethodCreateDatabase), datastores.CreateDatabaseArgs{Databases: databases("c", "a", "b")})
	list := func(marker string, limit int) datastores.DatabasePage {
		args := datastores.ListArgs{Marker: marker, Limit: limit}
		return read[datastores.DatabasePage](t, b.do(t, command(datastores.MethodListDatabases), args))
	}
	for _, c := range []struct {
		marker string
		limit  int
		want   datastores.DatabasePage
	}{
		{"", 0, datastores.DatabasePage{Databases: databases("a", "b", "c")}},
		{"", 2, datastores.DatabasePage{Databases: databases("a", "b"), Next: "b"}},
		{"b", 2, datastores.DatabasePage{Databases: databases("c")}},
		{"aa", 1, datastores.DatabasePage{Databases: databases("b"), Next: "b"}}, // the marker was deleted since
		{"z", 1, datastores.DatabasePage{Databases: []datastores.Database{}}},
		{"%62", 1, datastores.DatabasePage{Databases: databases("c")}}, // quoted by the client
	} {
		if diff := cmp.Diff(c.want, list(c.marker, c.limit)); diff != "" {
			t.Errorf("page of %d after %q: %s", c.limit, c.marker, diff)
		}
	}
}

func TestPagesHoldEverythingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfDistinct(rapid.StringMatching(`[a-c@%]{1,3}`), rapid.ID[string]).Draw(t, "names")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		var got []string
		args := datastores.ListArgs{Limit: limit}
		for {
			part, next := page(databases(all...), databaseKeys, args)
			got = append(got, names(part)...)
			if args.Marker = next; next == "" {
				break
			}
		}
		want, _ := page(databases(all...), databaseKeys, datastores.ListArgs{})
		if diff := cmp.Diff(append([]string(nil), names(want)...), got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSeveralAreCheckedBeforeOneIsChanged(t *testing.T) {
	b := newBench(t).prepared(t)
	users := func(password string, names ...string) datastores.CreateUserArgs {
		var args datastores.CreateUserArgs
		for _, name := range names {
			args.Users = append(args.Users, datastores.User{Name: name, Host: "%", Password: datastores.NewSecret(password).ForSealing()})
		}
		return args
	}
	b.do(t, command(datastores.MethodCreateUser), users("first", "ann", "bob"))
	b.do(t, command(datastores.MethodCreateDatabase), datastores.CreateDatabaseArgs{Databases: databases("shop")})

	b.refused(t, command(datastores.MethodChangePasswords), users("second", "ann", "nobody", "bob"), agentpoll.NotFound)
	if err := b.memory.Connect(t.Context(), b.address, "ann", "first", ""); err != nil {
		t.Errorf("ann's password was changed although another user is missing: %v", err)
	}
	b.refused(t, command(datastores.MethodCreateUser), users("third", "cid", "bob"), agentpoll.Exists)
	b.refused(t, command(datastores.MethodGetUser), datastores.UserArgs{Name: "cid", Host: "%"}, agentpoll.NotFound)
	some := users("third", "cid", "dan")
	some.Users[0].Databases, some.Users[1].Databases = databases("shop"), databases("nowhere")
	b.refused(t, command(datastores.MethodCreateUser), some, agentpoll.NotFound)
	b.refused(t, command(datastores.MethodGetUser), datastores.UserArgs{Name: "cid", Host: "%"}, agentpoll.NotFound)
	b.refused(t, command(datastores.MethodCreateDatabase), datastores.CreateDatabaseArgs{Databases: databases("stock", "shop")}, agentpoll.Exists)
	page := read[datastores.DatabasePage](t, b.do(t, command(datastores.MethodListDatabases), nil))
	if diff := cmp.Diff(databases("shop"), page.Databases); diff != "" {
		t.Errorf("after a create of which a part was refused: %s", diff)
	}
}

// TestDatabasesThatTheServerTakesForOne are refused before one of them is made, in a call and at create; where the server tells them
// apart they are made.
func TestDatabasesThatTheServerTakesForOne(t *testing.T) {
	list := func(b *bench) []datastores.Database {
		return read[datastores.DatabasePage](t, b.do(t, command(datastores.MethodListDatabases), nil)).Databases
	}
	create := command(datastores.MethodCreateDatabase)
	b := newBench(t)
	b.memory.FoldsNames = true
	b.refused(t, command(datastores.MethodPrepare), datastores.PrepareArgs{Databases: databases("Shop", "shop")}, agentpoll.Invalid)
	b = b.prepared(t)
	b.refused(t, create, datastores.CreateDatabaseArgs{Databases: databases("a", "Stock", "stock")}, agentpoll.Invalid)
	b.refused(t, repeated(datastores.MethodCreateDatabase), datastores.CreateDatabaseArgs{Databases: databases("a", "Stock", "stock")}, agentpoll.Invalid)
	b.do(t, create, datastores.CreateDatabaseArgs{Databases: databases("Stock", "b")})
	b.refused(t, create, datastores.CreateDatabaseArgs{Databases: databases("c", "STOCK")}, agentpoll.Exists)
	if diff := cmp.Diff(databases("b", "stock"), list(b)); diff != "" {
		t.Error(diff)
	}
	b = newBench(t).prepared(t)
	b.do(t, create, datastores.CreateDatabaseArgs{Databases: databases("Stock", "stock")})
	if diff := cmp.Diff(databases("Stock", "stock"), list(b)); diff != "" {
		t.Error(diff)
	}
}

func TestReservedNamesAreRefused(t *testing.T) {
	b := newBench(t).prepared(t)
	admin := datastores.UserArgs{Name: "OS_ADMIN"}
	ann := datastores.UserArgs{Name: "ann"}
	users := func(name string, dbs ...string) datastores.CreateUserArgs {
		return datastores.CreateUserArgs{Users: []datastores.User{{Name: name, Databases: databases(dbs...)}}}
	}
	for _, c := range []struct {
		method string
		args   any
	}{
		{datastores.MethodCreateDatabase, datastores.CreateDatabaseArgs{Databases: databases("ok", "system")}},
		{datastores.MethodDeleteDatabase, datastores.DatabaseArgs{Name: "System"}},
		{datastores.MethodCreateUser, users("os_admin")},
		{datastores.MethodCreateUser, users("ann", "system")},
		{datastores.MethodGetUser, admin},
		{datastores.MethodDeleteUser, admin},
		{datastores.MethodChangePasswords, users("os_admin")},
		{datastores.MethodUpdateAttributes, datastores.UpdateUserArgs{UserArgs: admin}},
		{datastores.MethodUpdateAttributes, datastores.UpdateUserArgs{UserArgs: ann, Change: datastores.UserChange{Name: "os_admin"}}},
		{datastores.MethodListAccess, admin},
		{datastores.MethodGrantAccess, datastores.AccessArgs{UserArgs: ann, Databases: []string{"system"}}},
		{datastores.MethodRevokeAccess, datastores.AccessArgs{UserArgs: admin, Databases: []string{"shop"}}},
	} {
		b.refused(t, command(c.method), c.args, agentpoll.Invalid)
	}
	if page := read[datastores.UserPage](t, b.do(t, command(datastores.MethodListUsers), nil)); len(page.Users) > 0 {
		t.Errorf("users: %+v, want none to be seen", page.Users)
	}
	if page := read[datastores.DatabasePage](t, b.do(t, command(datastores.MethodListDatabases), nil)); len(page.Databases) > 0 {
		t.Errorf("databases: %+v, want none to be seen or made", page.Databases)
	}
}

// TestNamesFollowTheManagersRules: what the rules refuse never comes to the manager; what is there may have any name.
func TestNamesFollowTheManagersRules(t *testing.T) {
	b := newBench(t).prepared(t)
	secret := func(s string) datastores.Secret { return datastores.NewSecret(s).ForSealing() }
	user := func(name, password string) datastores.CreateUserArgs {
		return datastores.CreateUserArgs{Users: []datastores.User{{Name: "ok", Password: secret("pass")}, {Name: name, Password: secret(password)}}}
	}
	change := func(c datastores.UserChange) datastores.UpdateUserArgs {
		return datastores.UpdateUserArgs{UserArgs: datastores.UserArgs{Name: "ann"}, Change: c}
	}
	b.do(t, command(datastores.MethodCreateUser), datastores.CreateUserArgs{Users: []datastores.User{{Name: "ann", Password: secret("first")}}})
	for _, c := range []struct {
		method string
		args   any
	}{
		{datastores.MethodCreateDatabase, datastores.CreateDatabaseArgs{Databases: databases("ok", "a\nb")}},
		{datastores.MethodCreateUser, user("a\x00b", "pass")},
		{datastores.MethodCreateUser, user("eve", "pa\nss")},
		{datastores.MethodCreateUser, user("eve", "")},
		{datastores.MethodChangePasswords, user("ann", "pa\nss")},
		{datastores.MethodUpdateAttributes, change(datastores.UserChange{Name: "a\nb"})},
		{datastores.MethodUpdateAttributes, change(datastores.UserChange{Host: "a\nb"})},
		{datastores.MethodUpdateAttributes, change(datastores.UserChange{Password: secret("pa\nss")})},
		{datastores.MethodEnableRoot, datastores.RootArgs{Password: secret("pa\nss")}},
	} {
		if err := b.refused(t, command(c.method), c.args, agentpoll.Invalid); strings.Contains(err.Error(), "pa\nss") {
			t.Errorf("%s tells a password: %v", c.method, err)
		}
	}
	if err := b.memory.Connect(t.Context(), b.address, "ann", "first", ""); err != nil {
		t.Errorf("a call that was refused has changed the user: %v", err)
	}
	if page := read[datastores.UserPage](t, b.do(t, command(datastores.MethodListUsers), nil)); len(page.Users) != 1 {
		t.Errorf("users: %+v, want ann alone", page.Users)
	}
	b.refused(t, command(datastores.MethodDeleteDatabase), datastores.DatabaseArgs{Name: "a\nb"}, agentpoll.NotFound)
}

// TestRepeated cuts a guest between what it did and the answer: the command comes again.
func TestRepeated(t *testing.T) {
	b := newBench(t).prepared(t)
	pass := datastores.NewSecret("pass").ForSealing()
	shop := datastores.CreateDatabaseArgs{Databases: databases("shop")}
	ann := datastores.UserArgs{Name: "ann", Host: "%"}
	user := datastores.CreateUserArgs{Users: []datastores.User{{Name: "ann", Password: pass}}}
	access := datastores.AccessArgs{UserArgs: ann, Databases: []string{"shop"}}
	rename := datastores.UpdateUserArgs{UserArgs: ann, Change: datastores.UserChange{Name: "eve"}}
	for _, c := range []struct {
		method string
		args   any
		kind   agentpoll.ErrorKind // of a second command that is not a repeated one
	}{
		{datastores.MethodCreateDatabase, shop, agentpoll.Exists},
		{datastores.MethodCreateUser, user, agentpoll.Exists},
		{datastores.MethodGrantAccess, access, ""},
		{datastores.MethodRevokeAccess, access, agentpoll.NotFound},
		{datastores.MethodUpdateAttributes, rename, agentpoll.NotFound},
		{datastores.MethodDeleteUser, datastores.UserArgs{Name: "eve"}, agentpoll.NotFound},
		{datastores.MethodDeleteDatabase, datastores.DatabaseArgs{Name: "shop"}, agentpoll.NotFound},
	} {
		b.do(t, command(c.method), c.args)
		if c.kind != "" {
			b.refused(t, command(c.method), c.args, c.kind)
		}
		b.do(t, repeated(c.method), c.args)
	}
}

func TestRepeatedCreateGivesWhatIsMissing(t *testing.T) {
	b := newBench(t).prepared(t)
	b.do(t, command(datastores.MethodCreateDatabase), datastores.CreateDatabaseArgs{Databases: databases("shop")})
	pass := datastores.NewSecret("pass").ForSealing()
	half := datastores.User{Name: "ann", Password: pass}
	whole := datastores.User{Name: "ann", Password: pass, Databases: databases("shop")}
	b.do(t, command(datastores.MethodCreateUser), datastores.CreateUserArgs{Users: []datastores.User{half}})
	b.do(t, repeated(datastores.MethodCreateUser), datastores.CreateUserArgs{Users: []datastores.User{whole}})
	got := read[datastores.User](t, b.do(t, command(datastores.MethodGetUser), datastores.UserArgs{Name: "ann"}))
	if diff := cmp.Diff(names(whole.Databases), names(got.Databases)); diff != "" {
		t.Error(diff)
	}
}
