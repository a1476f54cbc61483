package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// define puts a version of the datastore "memory" with this guest half.
func define(t *testing.T, etcd *etcdtest.Server, version, guest string) {
	t.Helper()
	etcd.Put(t, "/server/datastores/memory/"+version, `{"manager":"memory","volume_support":true}`)
	etcd.Put(t, "/guest/datastores/memory/"+version, guest)
}

// versions are the names of what is on offer.
func versions(t *testing.T, c gatewaytest.Client) string {
	t.Helper()
	a := c.Want(t, 200, http.MethodGet, "/datastores/memory/versions", "")
	var names []string
	for i := 0; a.At("versions", i) != nil; i++ {
		names = append(names, a.Text("versions", i, "name"))
	}
	return strings.Join(names, " ")
}

func createVersion(version string) string {
	return fmt.Sprintf(`{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory","version":%q}}}`, version)
}

// TestOptionsAreJudgedByHosts: what only a plug-in knows of its options, names, types and values, is a problem of the
// definition, and what was good before stays in force.
func TestOptionsAreJudgedByHosts(t *testing.T) {
	etcd, g, _ := start(t)
	admin, c := g.Client(gatewaytest.Admin), g.Client(gatewaytest.Member)
	problems := func() string {
		t.Helper()
		return string(admin.Want(t, 200, http.MethodGet, "/mgmt/datastore-problems", "").Body)
	}
	if got := problems(); got != "{\"problems\":[]}\n" {
		t.Errorf("problems of good definitions: %s", got)
	}
	define(t, etcd, "3", `{"mount_point":"/d","release":3,"hue":"red"}`)
	if got := problems(); !strings.Contains(got, `"path":"hue"`) || !strings.Contains(got, "unknown option") || !strings.Contains(got, `"in_force":false`) {
		t.Errorf("a misspelt option: %s", got)
	}
	if got := versions(t, c); got != "1 2" {
		t.Errorf("offered are %s", got)
	}
	c.Want(t, 400, http.MethodPost, "/instances", createVersion("3"))

	define(t, etcd, "3", `{"mount_point":"/d","release":2}`)
	if got := problems(); got != "{\"problems\":[]}\n" {
		t.Errorf("problems after it was mended: %s", got)
	}
	if got := versions(t, c); got != "1 2 3" {
		t.Errorf("offered are %s", got)
	}
	for _, bad := range []string{`{"mount_point":"/d","release":"two"}`, `{"mount_point":"/d","release":-1}`} {
		define(t, etcd, "3", bad)
		if got := problems(); !strings.Contains(got, `"path":"release"`) || !strings.Contains(got, `"in_force":true`) {
			t.Errorf("%s: %s", bad, got)
		}
	}
	id := c.Want(t, 200, http.MethodPost, "/instances", createVersion("3")).Text("instance", "id")
	c.Await(t, id, "ACTIVE", soon)
}

// TestWhatNoHostCanServe is not offered to tenants, and refused at once with the reason.
func TestWhatNoHostCanServe(t *testing.T) {
	const why = "the package green-server is not to be had"
	etcd, g, host := start(t)
	admin, c := g.Client(gatewaytest.Admin), g.Client(gatewaytest.Member)
	host.Lacks("green", why)
	etcd.Put(t, "/server/datastores/memory", `{"default_version":"3"}`)
	define(t, etcd, "3", `{"mount_point":"/d","release":1,"colour":"green"}`)
	if a := c.Want(t, 400, http.MethodPost, "/instances", createVersion("3")); !strings.Contains(string(a.Body), why) {
		t.Errorf("refused with %s", a.Body)
	}
	if got := versions(t, c); got != "1 2" {
		t.Errorf("offered to a tenant are %s", got)
	}
	a := admin.Want(t, 200, http.MethodGet, "/datastores/memory/versions/3", "")
	if a.Text("version", "unserved") != why {
		t.Errorf("an admin is told %s", a.Body)
	}
	show := c.Want(t, 200, http.MethodGet, "/datastores/memory", "")
	if got := show.Text("datastore", "default_version"); got != etcdschema.VersionID("memory", "2") {
		t.Errorf("the default is %q, want what can be had: %s", got, show.Body)
	}
	if a := admin.Want(t, 200, http.MethodGet, "/mgmt/datastore-problems", ""); !strings.Contains(string(a.Body), why) {
		t.Errorf("the default that cannot be had is no problem: %s", a.Body)
	}
	hosts := admin.Want(t, 200, http.MethodGet, "/mgmt/hosts", "")
	if got := hosts.Text("hosts", 0, "cannot_serve", "memory 3"); got != why {
		t.Errorf("of the host is told %s", hosts.Body)
	}

	// A second host can: it gets the instance, whatever room the first has.
	second := gatewaytest.StartHost(t, g)
	waitFor(t, func() bool { return versions(t, c) == "1 2 3" })
	id := c.Want(t, 200, http.MethodPost, "/instances", createVersion("3")).Text("instance", "id")
	c.Await(t, id, "ACTIVE", soon)
	if second.Launched(id).InstanceID != id {
		t.Error("it is not on the host that can serve it")
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.AwaitGone(t, id, soon)

	// An upgrade to what the instance's own host cannot serve is refused before anything is stopped.
	for range 2 {
		id := c.Create(t, "db", `,"datastore":{"type":"memory","version":"1"}`)
		c.Await(t, id, "ACTIVE", soon)
		want := 202
		if host.Launched(id).InstanceID == id {
			want = 422
		}
		c.Want(t, want, http.MethodPut, gatewaytest.Instance(id), `{"instance":{"datastore_version":"3"}}`)
	}
	second.Lacks("green", why)
	waitFor(t, func() bool { return versions(t, c) == "1 2" })

	// What a host lacked has come.
	host.Lacks("green", "")
	waitFor(t, func() bool { return versions(t, c) == "1 2 3" })
}

// TestMachinesCanServeWhatHostsCannot: where guests may run on machines of their own nothing is hidden, but only such a
// machine can be created.
func TestMachinesCanServeWhatHostsCannot(t *testing.T) {
	etcd, g, host := start(t, func(c *gateway.Config) { c.AgentURLs = []string{"http://127.0.0.1:1"} })
	c := g.Client(gatewaytest.Member)
	host.Lacks("green", "it is not green")
	define(t, etcd, "3", `{"mount_point":"/d","release":1,"colour":"green"}`)
	c.Want(t, 400, http.MethodPost, "/instances", createVersion("3"))
	if got := versions(t, c); got != "1 2 3" {
		t.Errorf("offered are %s", got)
	}
	c.Want(t, 200, http.MethodPost, "/instances", strings.Replace(createVersion("3"), `"name"`, `"user_data":true,"name"`, 1))
}

// TestGuestWithBadOptions: where no host could judge a definition, its guest says what is wrong as soon as it has enrolled.
func TestGuestWithBadOptions(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store, func(c *gateway.Config) { c.AgentURLs = []string{"http://127.0.0.1:1"} })
	c := g.Client(gatewaytest.Member)
	boot := func(status string) gatewaytest.Answer {
		t.Helper()
		a := c.Want(t, 200, http.MethodPost, "/instances", strings.Replace(createVersion("3"), `"name"`, `"user_data":true,"name"`, 1))
		gatewaytest.StartMachine(t, g, a.Text("instance", "user_data"))
		return c.Await(t, a.Text("instance", "id"), status, soon)
	}
	define(t, etcd, "3", `{"mount_point":"/d","release":1,"hue":"red"}`)
	a := boot("ERROR")
	if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "hue: unknown option") {
		t.Errorf("fault %q", got)
	}
	at := gatewaytest.Instance(a.Text("instance", "id"))
	c.Want(t, 202, http.MethodDelete, at, "")
	c.Want(t, 404, http.MethodGet, at, "")
	define(t, etcd, "3", `{"mount_point":"/d","release":1}`)
	boot("ACTIVE")
}

// TestImageThatNoHostHas: a version whose image is nowhere is not on offer, and operators are told.
func TestImageThatNoHostHas(t *testing.T) {
	etcd, g, _ := start(t)
	etcd.Put(t, "/server/datastores/memory/3", `{"manager":"memory","volume_support":true,"image":"debian-13"}`)
	etcd.Put(t, "/guest/datastores/memory/3", `{"mount_point":"/d"}`)
	if got := versions(t, g.Client(gatewaytest.Member)); got != "1 2" {
		t.Errorf("offered are %s", got)
	}
	refused := g.Client(gatewaytest.Member).Want(t, 400, http.MethodPost, "/instances", createVersion("3"))
	hosts := g.Client(gatewaytest.Admin).Want(t, 200, http.MethodGet, "/mgmt/hosts", "")
	const why = "there is no image debian-13"
	if got := hosts.Text("hosts", 0, "cannot_serve", "memory 3"); got != why || !strings.Contains(string(refused.Body), why) {
		t.Errorf("the host cannot, for %q; the create was refused with %s", got, refused.Body)
	}
}
