package gateway_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// moduleBody is a request for a module with something in it; more are further keys.
func moduleBody(name, kind, contents, more string) string {
	return fmt.Sprintf(`{"module":{"name":%q,"module_type":%q,"contents":%q%s}}`, name, kind, base64.StdEncoding.EncodeToString([]byte(contents)), more)
}

// TestModules goes through the life of modules that no instance has: what may be said of them, who may say it, who sees them.
func TestModules(t *testing.T) {
	etcd, g, _ := start(t)
	c, reader, admin, other := g.Client(gatewaytest.Member), g.Client(gatewaytest.Reader), g.Client(gatewaytest.Admin), g.Client(gatewaytest.Other)
	other.Project = "p2"
	for _, bad := range []struct {
		status int
		says   string
		body   string
	}{
		{400, "required property", `{}`},
		{400, "needs 'name'", `{"module":{"name":"m","module_type":"ping"}}`},
		{400, "letter or digit", moduleBody("-", "ping", "x", "")},
		{400, "type of modules", moduleBody("m", "Ping Pong", "x", "")},
		{400, "not be empty", moduleBody("m", "ping", "", "")},
		{400, "base64", `{"module":{"name":"m","module_type":"ping","contents":"not base64!"}}`},
		{400, "32768 bytes", moduleBody("m", "ping", strings.Repeat("x", 32<<10+1), "")},
		{400, "from 0 to 9", moduleBody("m", "ping", "x", `,"apply_order":10`)},
		{400, "description", moduleBody("m", "ping", "x", `,"description":"`+strings.Repeat("x", 1025)+`"`)},
		{404, "Datastore nothing", moduleBody("m", "ping", "x", `,"datastore":{"type":"nothing"}`)},
		{400, "version", moduleBody("m", "ping", "x", `,"datastore":{"type":"memory","version":"99"}`)},
		{400, "say the 'type'", moduleBody("m", "ping", "x", `,"datastore":{"version":"1"}`)},
		{403, "auto_apply", moduleBody("m", "ping", "x", `,"auto_apply":1`)},
		{403, "all_tenants", moduleBody("m", "ping", "x", `,"all_tenants":1`)},
		{403, "visible", moduleBody("m", "ping", "x", `,"visible":0`)},
		{403, "priority_apply", moduleBody("m", "ping", "x", `,"priority_apply":1`)},
		{403, "full_access", moduleBody("m", "ping", "x", `,"full_access":1`)},
	} {
		if a := c.Want(t, bad.status, http.MethodPost, "/modules", bad.body); !strings.Contains(string(a.Body), bad.says) {
			t.Errorf("%s; want a word of %q", a.Body, bad.says)
		}
	}
	admin.Want(t, 400, http.MethodPost, "/modules", moduleBody("m", "ping", "x", `,"full_access":1,"auto_apply":1`))
	c.Want(t, 200, http.MethodPost, "/modules", moduleBody("full", "ping", strings.Repeat("x", 32<<10), ""))

	made := c.Want(t, 200, http.MethodPost, "/modules", moduleBody("licence", "key_file", "the secret of p1", `,"datastore":{"type":"memory","version":"1"},"apply_order":2`))
	id := made.Text("module", "id")
	at := "/modules/" + id
	for key, want := range map[string]any{
		"name": "licence", "type": "key_file", "tenant": gatewaytest.Project, "datastore": "memory", "datastore_version": "1", "is_admin": false, "visible": true,
		"apply_order": 2.0, "instance_count": 0.0, "md5": "90d9b3357cba992d4b690c795ede1fca", "contents": nil,
	} {
		if got := made.At("module", key); got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
	for key, value := range etcd.All(t, "/server/") {
		if strings.Contains(value, "the secret") || strings.Contains(value, base64.StdEncoding.EncodeToString([]byte("the secret of p1"))) {
			t.Errorf("%s holds what is in the module, in clear", key)
		}
	}
	c.Want(t, 400, http.MethodPost, "/modules", moduleBody("licence", "key_file", "x", `,"datastore":{"type":"memory","version":"1"}`))
	reader.Want(t, 200, http.MethodGet, at, "")
	if a := reader.Want(t, 200, http.MethodGet, at+"/instances", ""); a.At("instances", 0) != nil {
		t.Errorf("nobody has it: %s", a.Body)
	}
	reader.Want(t, 403, http.MethodDelete, at, "")
	other.Want(t, 404, http.MethodGet, at, "")
	other.Want(t, 404, http.MethodDelete, at, "")

	was := made.Text("module", "md5")
	a := c.Want(t, 200, http.MethodPut, at, `{"module":{"contents":"bmV3","all_datastore_versions":1,"description":"of ours"}}`)
	if a.Text("module", "md5") == was || a.Text("module", "md5") != "22af645d1859cb5ca6da0c484f1f37ea" || a.Text("module", "datastore_version") != "all" || a.Text("module", "description") != "of ours" {
		t.Errorf("after a change: %s", a.Body)
	}
	c.Want(t, 400, http.MethodPut, at, `{"module":{"all_datastores":1,"datastore":{"type":"memory"}}}`)
	c.Want(t, 403, http.MethodPut, at, `{"module":{"visible":0}}`)

	// An admin's module of all projects: seen by all, changed by admins.
	shared := admin.Want(t, 200, http.MethodPost, "/modules", moduleBody("agent", "key_file", "of all", `,"all_tenants":1`)).Text("module", "id")
	if a := other.Want(t, 200, http.MethodGet, "/modules/"+shared, ""); a.Text("module", "tenant") != "all" || a.At("module", "is_admin") != true {
		t.Errorf("of all: %s", a.Body)
	}
	c.Want(t, 403, http.MethodPut, "/modules/"+shared, `{"module":{"description":"mine"}}`)
	c.Want(t, 403, http.MethodDelete, "/modules/"+shared, "")
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"all_tenants":0,"visible":0}}`)
	c.Want(t, 404, http.MethodGet, "/modules/"+shared, "")
	other.Want(t, 404, http.MethodGet, "/modules/"+shared, "")
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"priority_apply":1,"visible":1,"apply_order":9}}`)
	if a := c.Want(t, 200, http.MethodGet, "/modules", ""); a.Text("modules", 0, "name") != "agent" || a.Text("modules", 1, "name") != "licence" || a.Text("modules", 2, "name") != "full" || a.At("modules", 3) != nil {
		t.Errorf("the list: %s", a.Body)
	}
	for of, want := range map[string]string{"memory": "licence", "all": "agent"} {
		if a := c.Want(t, 200, http.MethodGet, "/modules?datastore="+of, ""); a.Text("modules", 0, "name") != want {
			t.Errorf("of %s: %s", of, a.Body)
		}
	}
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"priority_apply":0,"full_access":1}}`)
	c.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"description":"mine"}}`)
	c.Want(t, 200, http.MethodDelete, "/modules/"+shared, "")

	admin.Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"modules":2}}`)
	c.Want(t, 413, http.MethodPost, "/modules", moduleBody("one more", "ping", "x", ""))
	c.Want(t, 200, http.MethodDelete, at, "")
	c.Want(t, 404, http.MethodGet, at, "")
	c.Want(t, 200, http.MethodPost, "/modules", moduleBody("one more", "ping", "x", ""))
	if left := etcd.All(t, "/server/module-contents/"); len(left) != 2 {
		t.Errorf("%d contents are left of 2 modules", len(left))
	}
}
