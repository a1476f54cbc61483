package cassandra

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestAccounts goes through what users may, and how that ends, with one server.
func TestAccounts(t *testing.T) {
	m, ctx := prepared(t, optionsOf(t, "5.0")), t.Context()
	if st := m.Status(ctx); st.Service != datastores.StatusHealthy {
		t.Errorf("status: %+v", st)
	}
	for _, database := range []string{"shop", "Blog"} {
		must(t, m.CreateDatabase(ctx, datastores.Database{Name: database}))
		wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: database}), datastores.Exists)
	}
	wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: "latin", CharacterSet: "latin1"}), datastores.Invalid)
	both := []datastores.Database{{Name: "Blog"}, {Name: "shop"}}
	for _, user := range []string{"ann", "bob"} {
		must(t, m.CreateUser(ctx, datastores.User{Name: user, Password: datastores.NewSecret("first"), Databases: both}))
	}
	login := func(user, password, database string) datastoretest.Login {
		return datastoretest.Login{Address: m.env.Address, User: user, Password: password, Database: database}
	}
	letsIn := func(l datastoretest.Login, want bool) {
		t.Helper()
		err := asTenant(ctx, l, func(s *session) error { return visit(ctx, s, l.Database) })
		if (err == nil) != want {
			t.Errorf("%s with %q in %s: %v; want let in %t", l.User, l.Password, l.Database, err, want)
		}
	}
	for _, stranger := range [][2]string{{"cassandra", "cassandra"}, {adminUser, ""}, {adminUser, "cassandra"}, {"", ""}} {
		letsIn(login(stranger[0], stranger[1], ""), false)
	}
	t.Run("revoke takes what is inside", func(t *testing.T) {
		letsIn(login("ann", "first", "shop"), true)
		ann, err := tenant(ctx, login("ann", "first", ""))
		must(t, err)
		defer ann.Close()
		must(t, ann.exec(ctx, "CREATE TABLE shop.hers (n int PRIMARY KEY)", "INSERT INTO shop.hers (n) VALUES (1)"))
		must(t, m.RevokeAccess(ctx, "ann", "%", "shop"))
		for _, statement := range []string{"SELECT n FROM shop.hers", "INSERT INTO shop.hers (n) VALUES (2)", "DROP TABLE shop.hers", "GRANT SELECT ON shop.hers TO bob"} {
			if ann.exec(ctx, statement) == nil {
				t.Errorf("after the revoke %s works", statement)
			}
		}
		wantKind(t, m.RevokeAccess(ctx, "ann", "%", "shop"), datastores.NotFound)
		got, err := m.GetUser(ctx, "ann", "%")
		if err != nil || !slices.Equal(got.Databases, []datastores.Database{{Name: "Blog"}}) {
			t.Errorf("ann has %+v, %v", got, err)
		}
	})
	t.Run("sessions end", func(t *testing.T) {
		for _, change := range []struct {
			password string // before it
			is       datastores.UserChange
		}{
			{"first", datastores.UserChange{Password: datastores.NewSecret("second")}},
			{"second", datastores.UserChange{Name: "eve"}},
		} {
			s, err := tenant(ctx, login("bob", change.password, ""))
			must(t, err)
			defer s.Close()
			must(t, s.exec(ctx, "SELECT key FROM system.local"))
			must(t, m.UpdateUser(ctx, "bob", "%", change.is))
			if s.exec(ctx, "SELECT key FROM system.local") == nil {
				t.Error("a session goes on after what let it in was changed")
			}
		}
		letsIn(login("bob", "second", ""), false)
		letsIn(login("eve", "second", "shop"), true) // the password lives on, and so does what she may
	})
	t.Run("root", func(t *testing.T) {
		name, err := m.EnableRoot(ctx, datastores.NewSecret("root's"))
		must(t, err)
		letsIn(login(name, "root's", "shop"), true)
		must(t, m.DisableRoot(ctx))
		letsIn(login(name, "root's", ""), false)
		if on, err := m.RootEnabled(ctx); on || err != nil {
			t.Errorf("root enabled: %t, %v", on, err)
		}
	})
	t.Run("private ports", func(t *testing.T) {
		plain, err := net.Dial("tcp", net.JoinHostPort(m.env.Address, strconv.Itoa(storagePort)))
		must(t, err)
		defer func() { _ = plain.Close() }()
		if err := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake(); err == nil {
			t.Error("the port of neighbours takes one without a certificate")
		}
		must(t, m.nodetool(ctx, "info"))
		args := m.toolArgs()
		args[slices.Index(args, "-u")+1] = "stranger"
		must(t, m.data.WriteFile(toolsFile, lines(args)))
		if m.nodetool(ctx, "info") == nil {
			t.Error("nodetool gets in as somebody else")
		}
	})
	t.Run("the guest's account comes back", func(t *testing.T) {
		must(t, m.with(ctx, func(ctx context.Context, s *session) error { return s.exec(ctx, "DROP ROLE "+name("eve")) }))
		_, err := m.EnableRoot(ctx, datastores.NewSecret("root's"))
		must(t, err)
		must(t, asTenant(ctx, login(rootUser, "root's", ""), func(s *session) error { return s.exec(ctx, "DROP ROLE "+name(adminUser)) }))
		if st := m.Status(ctx); st.Service != datastores.StatusBlocked {
			t.Errorf("status without the guest's account: %+v", st)
		}
		must(t, m.Start(ctx))
		if st := m.Status(ctx); st.Service != datastores.StatusHealthy {
			t.Errorf("status: %+v", st)
		}
		letsIn(login(rootUser, "root's", "shop"), true)
	})
}
