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
