package gateway_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

const soon = 20 * time.Second

// start runs an etcd, a gateway and a host, with the datastore "memory" defined.
func start(t *testing.T, options ...gatewaytest.Option) (*etcdtest.Server, *gatewaytest.Gateway, *gatewaytest.Host) {
	t.Helper()
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store, options...)
	return etcd, g, gatewaytest.StartHost(t, g)
}

func TestWholeLife(t *testing.T) {
	etcd, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db1", `,"databases":[{"name":"orders"}],"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]}]`)
	a := c.Await(t, id, "ACTIVE", soon)
	if got := a.Text("instance", "operating_status"); got != "HEALTHY" {
		t.Errorf("operating_status %q, want HEALTHY", got)
	}
	address := a.Text("instance", "ip", 0)
	if err := host.Memory.Connect(t.Context(), address, "bob", "s3cret", "orders"); err != nil {
		t.Errorf("bob cannot connect: %v", err)
	}
	at := gatewaytest.Instance(id)

	c.Want(t, 202, http.MethodPost, at+"/databases", `{"databases":[{"name":"stock"},{"name":"log"}]}`)
	c.Want(t, 400, http.MethodPost, at+"/databases", `{"databases":[{"name":"stock"}]}`)
	if got := c.Want(t, 200, http.MethodGet, at+"/databases", "").Text("databases", 0, "name"); got != "log" {
		t.Errorf("first database %q, want log", got)
	}
	page := c.Want(t, 200, http.MethodGet, at+"/databases?limit=2", "")
	if page.At("links", 0, "href") == nil || page.At("databases_links", 0, "href") == nil {
		t.Errorf("no next link on the first of two pages: %s", page.Body)
	}
	c.Want(t, 202, http.MethodDelete, at+"/databases/log", "")
	c.Want(t, 404, http.MethodDelete, at+"/databases/log", "")
	c.Want(t, 501, http.MethodGet, at+"/databases/stock", "")

	c.Want(t, 202, http.MethodPost, at+"/users", `{"users":[{"name":"eve","password":"pw","host":"10.0.0.%"}]}`)
	if got := c.Want(t, 200, http.MethodGet, at+"/users/eve%4010.0.0.%25", "").Text("user", "host"); got != "10.0.0.%" {
		t.Errorf("host of eve %q", got)
	}
	c.Want(t, 404, http.MethodGet, at+"/users/eve", "")
	c.Want(t, 400, http.MethodGet, at+"/users/os_admin", "")
	c.Want(t, 202, http.MethodPut, at+"/users/eve%4010.0.0.%25/databases", `{"databases":[{"name":"stock"}]}`)
	c.Want(t, 202, http.MethodDelete, at+"/users/eve%4010.0.0.%25/databases/stock", "")
	c.Want(t, 404, http.MethodDelete, at+"/users/eve%4010.0.0.%25/databases/stock", "")
	c.Want(t, 202, http.MethodPut, at+"/users/bob", `{"user":{"password":"new"}}`)
	if err := host.Memory.Connect(t.Context(), address, "bob", "new", "orders"); err != nil {
		t.Errorf("bob cannot connect with the new password: %v", err)
	}

	if got := c.Want(t, 200, http.MethodGet, at+"/root", "").At("rootEnabled"); got != false {
		t.Errorf("rootEnabled %v before it was enabled", got)
	}
	c.Want(t, 404, http.MethodDelete, at+"/root", "")
	root := c.Want(t, 200, http.MethodPost, at+"/root", "")
	if err := host.Memory.Connect(t.Context(), address, root.Text("user", "name"), root.Text("user", "password"), ""); err != nil {
		t.Errorf("root cannot connect: %v", err)
	}
	if got := c.Want(t, 200, http.MethodGet, at+"/root", "").At("rootEnabled"); got != true {
		t.Errorf("rootEnabled %v after it was enabled", got)
	}
	c.Want(t, 204, http.MethodDelete, at+"/root", "")

	starts := host.Memory.Starts(address)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, id, "ACTIVE", soon)
	if got := host.Memory.Starts(address); got != starts+1 {
		t.Errorf("%d starts after one restart, want %d", got, starts+1)
	}
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"name":"renamed"}}`)
	c.Want(t, 202, http.MethodPut, at, `{"instance":{}}`)
	c.Want(t, 400, http.MethodPut, at, `{"instance":{"colour":"red"}}`)
	if got := c.Await(t, id, "ACTIVE", soon).Text("instance", "name"); got != "renamed" {
		t.Errorf("name %q", got)
	}
	why := c.Want(t, 200, http.MethodGet, at+"/why", "")
	if got := why.Text("why", "summary"); got != "Nothing is being done." {
		t.Errorf("why: %s", got)
	}
	if events := c.Want(t, 200, http.MethodGet, at+"/events", ""); events.At("events", 4) == nil {
		t.Errorf("fewer than five events in a whole life: %s", events.Body)
	}

	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, id, soon)
	usage := c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "")
	for i := 0; usage.At("quotas", i) != nil; i++ {
		if got := usage.At("quotas", i, "in_use"); got != 0.0 {
			t.Errorf("%s in use after the delete: %v", usage.Text("quotas", i, "resource"), got)
		}
	}
	for _, prefix := range []string{"/guest/commands/", "/guest/instances/", "/server/instances/"} {
		if left := etcd.All(t, prefix); len(left) > 0 {
			t.Errorf("left behind under %s: %v", prefix, left)
		}
	}
}
