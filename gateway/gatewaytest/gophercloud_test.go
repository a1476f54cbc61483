package gatewaytest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/configurations"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/databases"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/datastores"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/users"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// testGophercloud does all that gophercloud's db/v1 can do, in the manner of its own acceptance tests.
func testGophercloud(t *testing.T, s *stage) {
	provider := s.login(t, "alice", s.password, "shop")
	db, err := openstack.NewDBV1(provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	if err != nil {
		t.Fatal(err)
	}
	g := cloud{s, db}
	t.Run("flavors", g.flavors)
	t.Run("datastores", g.datastores)
	id := g.create(t)
	t.Run("databases", func(t *testing.T) { g.databases(t, id) })
	t.Run("users", func(t *testing.T) { g.users(t, id) })
	t.Run("configurations", func(t *testing.T) { g.configurations(t, id) })
	t.Run("instance", func(t *testing.T) { g.life(t, id) })
}

type cloud struct {
	stage *stage
	db    *gophercloud.ServiceClient
}

func (g cloud) create(t *testing.T) string {
	t.Helper()
	created, err := instances.Create(t.Context(), g.db, instances.CreateOpts{
		Name: "acceptance", FlavorRef: "1", Size: 1, Datastore: &instances.DatastoreOpts{Type: "mariadb", Version: "10.11"},
	}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	g.stage.owns(created.ID)
	t.Cleanup(func() { g.delete(t, created.ID) })
	g.await(t, created.ID)
	return created.ID
}

// await polls as gophercloud's tests do: exactly ACTIVE is good, ERROR is the end.
func (g cloud) await(t *testing.T, id string) *instances.Instance {
	t.Helper()
	var in *instances.Instance
	until.True(t, lifeTimeout, "ACTIVE", func() bool {
		var err error
		if in, err = instances.Get(t.Context(), g.db, id).Extract(); err != nil {
			t.Fatal(err)
		}
		if in.Status == "ERROR" {
			t.Fatalf("instance %s came to ERROR", id)
		}
		return in.Status == "ACTIVE"
	})
	return in
}

func (g cloud) delete(t *testing.T, id string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // in a cleanup it has ended
	gone := func(err error) bool { return gophercloud.ResponseCodeIs(err, http.StatusNotFound) }
	if err := instances.Delete(ctx, g.db, id).ExtractErr(); err != nil && !gone(err) {
		t.Error(err)
	}
	until.True(t, lifeTimeout, "the end of "+id, func() bool {
		_, err := instances.Get(ctx, g.db, id).Extract()
		return gone(err)
	})
}

func (g cloud) life(t *testing.T, id string) {
	ctx := t.Context()
	in := g.await(t, id)
	if in.Name != "acceptance" || in.Flavor.ID != "1" || in.Volume.Size != 1 || in.Datastore.Type != "mariadb" ||
		in.Datastore.Version != "10.11" || len(in.Addresses) != 1 || len(in.Links) != 2 || time.Since(in.Created) > time.Hour {
		t.Errorf("got %+v", in)
	}
	pages, err := instances.List(g.db).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all, err := instances.ExtractInstances(pages)
	if err != nil || !slices.ContainsFunc(all, func(i instances.Instance) bool { return i.ID == id }) {
		t.Errorf("the instance is not among %+v: %v", all, err)
	}
	root, err := instances.EnableRootUser(ctx, g.db, id).Extract()
	if err != nil {
		t.Fatal(err)
	}
	g.stage.secrets.know("root's password, of gophercloud", root.Password)
	if root.Name != "root" || root.Password == "" {
		t.Errorf("root is %q", root.Name)
	}
	if err := openMySQL(t, in.Addresses[0].Address, root.Name, root.Password, "").PingContext(ctx); err != nil {
		t.Errorf("root cannot connect: %v", err)
	}
	if enabled, err := instances.IsRootEnabled(ctx, g.db, id).Extract(); err != nil || !enabled {
		t.Errorf("root is enabled: %v, %v", enabled, err)
	}
	if err := instances.Restart(ctx, g.db, id).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	g.await(t, id)
	if err := instances.DetachConfigurationGroup(ctx, g.db, id).ExtractErr(); err != nil {
		t.Errorf("detach of a configuration group that is not there: %v", err)
	}
	if err := instances.Resize(ctx, g.db, id, "2").ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if in := g.await(t, id); in.Flavor.ID != "2" {
		t.Errorf("the flavor is %s after the resize", in.Flavor.ID)
	}
	if err := instances.ResizeVolume(ctx, g.db, id, 2).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if in := g.await(t, id); in.Volume.Size != 2 {
		t.Errorf("the volume has %d GB after the resize", in.Volume.Size)
	}
	g.delete(t, id)
}

// configurations makes a group, changes and attaches it, with the assertions of gophercloud's own tests.
func (g cloud) configurations(t *testing.T, id string) {
	ctx := t.Context()
	const version = "10.11"
	params, err := configurations.ListDatastoreParams(g.db, "mariadb", version).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	known, err := configurations.ExtractParams(params)
	if err != nil || !slices.ContainsFunc(known, func(p configurations.Param) bool { return p.Name == "max_connections" && p.Type == "integer" }) {
		t.Errorf("the parameters: %+v, %v", known, err)
	}
	made, err := configurations.Create(ctx, g.db, configurations.CreateOpts{
		Name: "ours", Description: "as it was", Values: map[string]any{"max_connections": 101, "collation_server": "latin1_swedish_ci"},
		Datastore: &configurations.DatastoreOpts{Type: "mariadb", Version: version},
	}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if err := instances.AttachConfigurationGroup(ctx, g.db, id, made.ID).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if err := configurations.Update(ctx, g.db, made.ID, configurations.UpdateOpts{Name: "theirs", Values: map[string]any{"max_connections": 102}}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	now, err := configurations.Get(ctx, g.db, made.ID).Extract()
	if err != nil || now.Name != "theirs" || now.Values["max_connections"] != 102.0 || now.Values["collation_server"] == nil {
		t.Errorf("after a patch: %+v, %v", now, err)
	}
	if err := configurations.Replace(ctx, g.db, made.ID, configurations.UpdateOpts{Values: map[string]any{"max_connections": 103}}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if now, err = configurations.Get(ctx, g.db, made.ID).Extract(); err != nil || len(now.Values) != 1 {
		t.Errorf("after a put: %+v, %v", now, err)
	}
	pages, err := configurations.ListInstances(g.db, made.ID).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if having, err := instances.ExtractInstances(pages); err != nil || len(having) != 1 || having[0].ID != id {
		t.Errorf("the instances that have it: %+v, %v", having, err)
	}
	if err := configurations.Delete(ctx, g.db, made.ID).ExtractErr(); err == nil {
		t.Error("a group that is attached was deleted")
	}
	if err := instances.DetachConfigurationGroup(ctx, g.db, id).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if err := configurations.Delete(ctx, g.db, made.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	g.await(t, id)
}

func (g cloud) databases(t *testing.T, id string) {
	ctx := t.Context()
	list := func() []string { return names(t, databases.List(g.db, id), extractDatabases) }
	if err := databases.Create(ctx, g.db, id, databases.BatchCreateOpts{{Name: "first", CharSet: "utf8", Collate: "utf8_general_ci"}}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if got := list(); !slices.Equal(got, []string{"first"}) {
		t.Fatalf("immediately after the create there is %q", got)
	}
	var more databases.BatchCreateOpts
	want := []string{"first"}
	for i := range 25 {
		more = append(more, databases.CreateOpts{Name: fmt.Sprintf("page-%02d", i)})
		want = append(want, more[i].Name)
	}
	if err := databases.Create(ctx, g.db, id, more).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("over all pages there is %q, want %q", got, want)
	}
	for _, name := range want[:24] {
		if err := databases.Delete(ctx, g.db, id, name).ExtractErr(); err != nil {
			t.Error(err)
		}
	}
	if got := list(); !slices.Equal(got, want[24:]) {
		t.Errorf("after the deletes there is %q, want %q", got, want[24:])
	}
}

func (g cloud) users(t *testing.T, id string) {
	ctx := t.Context()
	list := func() []string { return names(t, users.List(g.db, id), extractUsers) }
	var batch users.BatchCreateOpts
	var want []string
	for i := range 22 {
		batch = append(batch, users.CreateOpts{Name: fmt.Sprintf("user%02d", i), Password: g.stage.secrets.make("a user's password, of gophercloud")})
		want = append(want, batch[i].Name+"@%")
	}
	if err := users.Create(ctx, g.db, id, batch[:1]).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if got := list(); !slices.Equal(got, want[:1]) {
		t.Fatalf("immediately after the create there is %q", got)
	}
	if err := users.Create(ctx, g.db, id, batch[1:]).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("over all pages there is %q, want %q", got, want)
	}
	address := g.await(t, id).Addresses[0].Address
	if err := openMySQL(t, address, batch[3].Name, batch[3].Password, "").PingContext(ctx); err != nil {
		t.Errorf("%s cannot connect: %v", batch[3].Name, err)
	}
	for _, user := range batch {
		if err := users.Delete(ctx, g.db, id, user.Name).ExtractErr(); err != nil {
			t.Error(err)
		}
	}
	if got := list(); len(got) > 0 {
		t.Errorf("after the deletes there is %q", got)
	}
}

func (g cloud) flavors(t *testing.T) {
	pages, err := flavors.List(g.db).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := flavors.ExtractFlavors(pages)
	if err != nil || len(all) != 5 {
		t.Fatalf("got %+v, %v, want the five of the definitions", all, err)
	}
	for _, want := range all {
		got, err := flavors.Get(t.Context(), g.db, want.StrID).Extract()
		if err != nil || got.Name != want.Name || got.RAM != want.RAM {
			t.Errorf("flavor %s: got %+v, %v, want %+v", want.StrID, got, err, want)
		}
	}
}

func (g cloud) datastores(t *testing.T) {
	ctx := t.Context()
	pages, err := datastores.List(g.db).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all, err := datastores.ExtractDatastores(pages)
	if err != nil || len(all) < 3 {
		t.Fatalf("got %+v, %v, want the three of the definitions", all, err)
	}
	for _, want := range all {
		if strings.HasPrefix(want.Name, "opt-") {
			continue // other parts change theirs meanwhile
		}
		for _, ref := range []string{want.ID, want.Name} {
			got, err := datastores.Get(ctx, g.db, ref).Extract()
			if err != nil || got.ID != want.ID || got.Name != want.Name {
				t.Errorf("datastore %s: got %+v, %v", ref, got, err)
			}
		}
		pages, err := datastores.ListVersions(g.db, want.ID).AllPages(ctx)
		if err != nil {
			t.Fatal(err)
		}
		versions, err := datastores.ExtractVersions(pages)
		if err != nil || len(versions) == 0 || len(versions) != len(want.Versions) {
			t.Errorf("versions of %s: %+v, %v", want.Name, versions, err)
		}
		for _, version := range versions {
			got, err := datastores.GetVersion(ctx, g.db, want.ID, version.ID).Extract()
			if err != nil || got.Name != version.Name {
				t.Errorf("version %s of %s: got %+v, %v", version.Name, want.Name, got, err)
			}
		}
	}
}

// names are what all pages of a list hold.
func names(t *testing.T, pager pagination.Pager, extract func(pagination.Page) ([]string, error)) []string {
	t.Helper()
	var all []string
	err := pager.EachPage(t.Context(), func(_ context.Context, page pagination.Page) (bool, error) {
		some, err := extract(page)
		all = append(all, some...)
		return true, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func extractDatabases(page pagination.Page) (all []string, _ error) {
	dbs, err := databases.ExtractDBs(page)
	for _, db := range dbs {
		all = append(all, db.Name)
	}
	return all, err
}

// extractUsers reads name@host, of which gophercloud knows only the name.
func extractUsers(page pagination.Page) (all []string, _ error) {
	var body struct {
		Users []struct{ Name, Host string }
	}
	err := page.(users.UserPage).ExtractInto(&body)
	for _, u := range body.Users {
		all = append(all, u.Name+"@"+u.Host)
	}
	return all, err
}
