package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestDatastoreVersionsByTrovesAPI: what `openstack datastore version create|set|delete` and `datastore delete` send becomes the definitions
// that an operator would have put into etcd, and instances can be made of them.
func TestDatastoreVersionsByTrovesAPI(t *testing.T) {
	_, g, _ := start(t)
	admin, c := g.Client(gatewaytest.Admin), g.Client(gatewaytest.Member)
	const all = "/mgmt/datastore-versions"
	create := func(name, more string) string {
		return fmt.Sprintf(`{"version":{"name":%q,"datastore_name":"cache","datastore_manager":"memory","image_tags":[],"packages":[],"active":true,"default":false%s}}`, name, more)
	}
	c.Want(t, 401, http.MethodPost, all, create("one", ""))
	c.Want(t, 401, http.MethodGet, all, "")
	for _, bad := range []string{
		`{}`, `{"version":{}}`, create("Upper", ""), create("one", `,"datastore_manager":"nobody"`), create("one", `,"version":"99"`),
		create("one", `,"datastore_name":"a/b"`), create("one", `,"image":"../.."`),
	} {
		if a := admin.Do(t, http.MethodPost, all, bad); a.Status != 400 {
			t.Errorf("%s: %d %s", bad, a.Status, a.Body)
		}
	}
	admin.Want(t, 202, http.MethodPost, all, create("two", `,"active":false,"image_tags":["x","y"]`))
	admin.Want(t, 202, http.MethodPost, all, create("one", `,"default":true,"packages":"a-server, a-client"`))
	admin.Want(t, 400, http.MethodPost, all, create("one", ""))

	id := func(version string) string { return all + "/" + etcdschema.VersionID("cache", version) }
	one := admin.Want(t, 200, http.MethodGet, id("one"), "")
	for key, want := range map[string]any{
		"name": "one", "datastore_name": "cache", "datastore_id": etcdschema.DatastoreID("cache"), "datastore_manager": "memory", "active": true, "default": true,
	} {
		if got := one.At("version", key); got != want {
			t.Errorf("%s is %v; want %v", key, got, want)
		}
	}
	if got := fmt.Sprint(one.At("version", "packages")); got != "[a-server a-client]" {
		t.Errorf("packages are %s", got)
	}
	if got := string(admin.Want(t, 200, http.MethodGet, all, "").Body); strings.Count(got, `"datastore_name":"cache"`) != 2 || !strings.Contains(got, `"datastore_name":"memory"`) {
		t.Errorf("the versions: %s", got)
	}
	if got := c.Want(t, 200, http.MethodGet, "/datastores/cache", ""); got.Text("datastore", "versions", 0, "name") != "one" || got.At("datastore", "versions", 1) != nil {
		t.Errorf("tenants see %s", got.Body)
	}

	admin.Want(t, 202, http.MethodPatch, id("two"), `{"active":true,"default":true}`)
	admin.Want(t, 400, http.MethodPatch, id("two"), `{"name":"three"}`)
	admin.Want(t, 400, http.MethodPatch, id("two"), `{"datastore_manager":"other"}`)
	admin.Want(t, 404, http.MethodPatch, all+"/"+etcdschema.VersionID("cache", "none"), `{"active":true}`)
	if got := c.Want(t, 200, http.MethodGet, "/datastores/cache", ""); got.Text("datastore", "default_version") != etcdschema.VersionID("cache", "two") {
		t.Errorf("after the default was changed tenants see %s", got.Body)
	}
	admin.Want(t, 202, http.MethodPatch, id("one"), `{"packages":[]}`) // as python-troveclient says nothing
	if got := fmt.Sprint(admin.Want(t, 200, http.MethodGet, id("one"), "").At("version", "packages")); got != "[a-server a-client]" {
		t.Errorf("packages are %s", got)
	}
	admin.Want(t, 202, http.MethodPatch, id("one"), `{"packages":["a-server"]}`)

	instance := c.Want(t, 200, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"cache"}}}`)
	if got := instance.Text("instance", "datastore", "version"); got != "two" {
		t.Errorf("an instance of the default version is of %s", got)
	}
	at := instance.Text("instance", "id")
	c.Await(t, at, "ACTIVE", soon)
	if got := admin.Want(t, 409, http.MethodDelete, id("two"), "").Text("conflict", "message"); !strings.Contains(got, at) {
		t.Errorf("a version in use: %s", got)
	}
	backup := backUp(t, c, at, "").Text("backup", "id")
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(at), "")
	c.AwaitGone(t, at, soon)
	if got := admin.Want(t, 409, http.MethodDelete, id("two"), "").Text("conflict", "message"); !strings.Contains(got, backup) {
		t.Errorf("a version of which there is a backup: %s", got)
	}
	c.Want(t, 202, http.MethodDelete, "/backups/"+backup, "")

	admin.Want(t, 400, http.MethodDelete, "/datastores/cache", "")
	c.Want(t, 401, http.MethodDelete, id("two"), "")
	admin.Want(t, 202, http.MethodDelete, id("two"), "")
	admin.Want(t, 404, http.MethodDelete, id("two"), "")
	admin.Want(t, 202, http.MethodDelete, id("one"), "")
	admin.Want(t, 202, http.MethodDelete, "/datastores/"+etcdschema.DatastoreID("cache"), "")
	admin.Want(t, 404, http.MethodDelete, "/datastores/cache", "")
	c.Want(t, 404, http.MethodGet, "/datastores/cache", "")
	if got := string(admin.Want(t, 200, http.MethodGet, "/mgmt/datastore-problems", "").Body); got != "{\"problems\":[]}\n" {
		t.Errorf("problems: %s", got)
	}
}

// TestDefaultDatastore: a create that names no datastore is of the only one, or of the one that its operator calls the default.
func TestDefaultDatastore(t *testing.T) {
	etcd, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	body := `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1}}}`
	is := func() string {
		t.Helper()
		a := c.Do(t, http.MethodPost, "/instances", body)
		if a.Status == 400 && strings.Contains(string(a.Body), "memory, other") {
			return ""
		}
		return a.Text("instance", "datastore", "type")
	}
	if got := is(); got != "memory" {
		t.Errorf("the only datastore: %q", got)
	}
	etcd.Put(t, "/server/datastores/other/1", `{"manager":"memory","volume_support":true}`)
	etcd.Put(t, "/guest/datastores/other/1", `{"mount_point":"/d","release":1}`)
	if got := is(); got != "" {
		t.Errorf("one of two: %q", got)
	}
	etcd.Put(t, "/server/datastores/other", `{"default":true}`)
	if got := is(); got != "other" {
		t.Errorf("the default: %q", got)
	}
	etcd.Put(t, "/server/datastores/memory", `{"default":true,"default_version":"1"}`)
	if got := is(); got != "" {
		t.Errorf("one of two defaults: %q", got)
	}
}

// TestVolumeTypes: hosts make one kind of volume, for versions that have any.
func TestVolumeTypes(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	if a := c.Want(t, 200, http.MethodGet, "/datastores/memory/versions/1/volume-types", ""); a.Text("volume_types", 0, "id") != "default" || a.At("volume_types", 1) != nil {
		t.Errorf("%s", a.Body)
	}
	c.Want(t, 404, http.MethodGet, "/datastores/memory/versions/9/volume-types", "")
}

// TestKeysOfAdmins: an admin sees on what host an instance is and what its volume is; nobody else does.
func TestKeysOfAdmins(t *testing.T) {
	_, g, host := start(t)
	admin, c := g.Client(gatewaytest.Admin), g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	a := admin.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "")
	if a.Text("instance", "server_id") != host.ID || a.Text("instance", "volume_id") != id || a.At("instance", "encrypted_rpc_messaging") != true {
		t.Errorf("an admin sees %s", a.Body)
	}
	if b := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), ""); strings.Contains(string(b.Body), "server_id") || strings.Contains(string(b.Body), "encrypted_rpc") {
		t.Errorf("a member sees %s", b.Body)
	}
	waitFor(t, func() bool {
		b := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "")
		used, told := b.At("instance", "volume", "used_percent").(float64)
		return told && used > 0 && used <= 100
	})
}
