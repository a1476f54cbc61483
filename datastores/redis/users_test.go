package redis

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func TestUsers(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		ann := datastores.User{Name: "ann", Password: datastores.NewSecret("first >nopass")}
		must(t, m.CreateUser(ctx, ann))
		wantKind(t, "create again", m.CreateUser(ctx, ann), datastores.Exists)
		c := client(t, m, "ann", "first >nopass")
		must(t, c.Set(ctx, "k", "v", 0).Err())
		for _, command := range []string{"CONFIG GET masterauth", "ACL LIST", "SHUTDOWN", "REPLICAOF NO ONE", "CLIENT KILL USER os_admin"} {
			if err := c.Do(ctx, words(command)...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
				t.Errorf("a user may %s: %v", command, err)
			}
		}
		must(t, m.UpdateUser(ctx, "ann", "%", datastores.UserChange{Name: "eve"}))
		if client(t, m, "ann", "first >nopass").Ping(ctx).Err() == nil {
			t.Error("ann is there after her name was changed")
		}
		must(t, m.Stop(ctx))
		must(t, m.Start(ctx))
		must(t, client(t, m, "eve", "first >nopass").Ping(ctx).Err())
		list, err := m.ListUsers(ctx)
		if err != nil || len(list) != 1 || list[0].Name != "eve" {
			t.Errorf("users: %v, %v", list, err)
		}
		must(t, m.DeleteUser(ctx, "eve", ""))
		wantKind(t, "delete again", m.DeleteUser(ctx, "eve", ""), datastores.NotFound)
		_, err = m.GetUser(ctx, "eve", "")
		wantKind(t, "get", err, datastores.NotFound)
	})
}

func TestUsersThatCannotBe(t *testing.T) {
	m, ctx := running(t), t.Context()
	pass := datastores.NewSecret("pass")
	for _, u := range []datastores.User{
		{Name: "a +@all", Password: pass}, {Name: "a\nuser b on nopass ~* +@all", Password: pass}, {Name: "", Password: pass}, {Name: "-", Password: pass},
		{Name: "os_admin", Password: pass}, {Name: "default", Password: pass}, {Name: "ann"}, {Name: "ann", Password: pass, Host: "10.0.0.1"},
		{Name: "ann", Password: pass, Databases: []datastores.Database{{Name: "shop"}}},
	} {
		err := m.Names().CheckUser(u.Name, u.Host)
		if err == nil {
			err = m.Names().CheckPassword(u.Name, u.Password)
		}
		if err == nil {
			err = m.CreateUser(ctx, u)
		}
		wantKind(t, u.Name, err, datastores.Invalid)
	}
	replica := datastores.ReplicaAccount{User: "rep", Password: pass}
	must(t, m.addReplica(ctx, replica))
	wantKind(t, "a replica's account", m.DeleteUser(ctx, "rep", ""), datastores.Invalid)
	must(t, m.CreateUser(ctx, datastores.User{Name: "ann", Password: pass}))
	replica.User = "ann"
	wantKind(t, "a tenant's name for a replica", m.addReplica(ctx, replica), datastores.Conflict)
	wantKind(t, "removing a tenant as a replica", m.removeReplica(ctx, replica), datastores.Conflict)
	list, err := m.ListUsers(ctx)
	if err != nil || !slices.Equal([]string{list[0].Name}, []string{"ann"}) || len(list) != 1 {
		t.Errorf("users: %v, %v", list, err)
	}
}
