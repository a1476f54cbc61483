package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestConfigurationGroups goes through the life of a group on a running server.
func TestConfigurationGroups(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	for _, bad := range []struct {
		says, values string
	}{
		{"no such parameter", `{"plugin_dir":"/tmp"}`},
		{"more than 100000", `{"max_connections":100001}`},
		{"not of type integer", `{"max_connections":"many"}`},
		{"not of type integer", `{"max_connections":1.5}`},
		{"not one of fast, slow", `{"boot":"sideways"}`},
		{"does not match", `{"greeting":"a;b"}`},
		{"not of type boolean", `{"strict":1}`},
	} {
		a := c.Want(t, 422, http.MethodPost, "/configurations", `{"configuration":{"name":"bad","datastore":{"type":"memory"},"values":`+bad.values+`}}`)
		if !strings.Contains(string(a.Body), bad.says) {
			t.Errorf("values %s: %s; want a word of %q", bad.values, a.Body, bad.says)
		}
	}
	group := c.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g1","description":"d","datastore":{"type":"memory","version":"1"},"values":{"max_connections":7}}}`)
	id := group.Text("configuration", "id")
	if got := group.At("configuration", "instance_count"); got != 0.0 || group.Text("configuration", "datastore_name") != "memory" {
		t.Errorf("a new group: %s", group.Body)
	}

	instance := c.Create(t, "db1", fmt.Sprintf(`,"configuration":%q`, id))
	a := c.Await(t, instance, "ACTIVE", soon)
	if got := a.Text("instance", "configuration", "name"); got != "g1" {
		t.Errorf("the group of the instance: %q", got)
	}
	address := a.Text("instance", "ip", 0)
	at := gatewaytest.Instance(instance)
	in := func(name, want string) {
		t.Helper()
		if got := host.Memory.Parameter(address, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	in("max_connections", "7")

	c.Want(t, 200, http.MethodPatch, "/configurations/"+id, `{"configuration":{"values":{"strict":false}}}`)
	in("max_connections", "7")
	in("strict", "false")
	if got := c.Want(t, 200, http.MethodGet, at, "").Text("instance", "status"); got != "ACTIVE" {
		t.Errorf("status %s after a dynamic change", got)
	}
	c.Want(t, 202, http.MethodPut, "/configurations/"+id, `{"configuration":{"name":"g2","values":{"cache_mb":64}}}`)
	in("max_connections", "100")
	if got := c.Want(t, 200, http.MethodGet, at, "").Text("instance", "status"); got != "RESTART_REQUIRED" {
		t.Errorf("status %s after a static change", got)
	}
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, instance, "ACTIVE", soon)
	in("cache_mb", "64")

	if got := c.Want(t, 200, http.MethodGet, "/configurations/"+id+"/instances", "").Text("instances", 0, "name"); got != "db1" {
		t.Errorf("the instances of the group: %q", got)
	}
	c.Want(t, 400, http.MethodDelete, "/configurations/"+id, "")
	c.Want(t, 404, http.MethodDelete, "/configurations/0199d0a1-0000-7000-8000-000000000001", "")
	g.Client(gatewaytest.Other).Want(t, 403, http.MethodGet, "/configurations/"+id, "")
	if got := c.Want(t, 200, http.MethodGet, at+"/configuration", "").Text("instance", "configuration", "max_connections"); got != "100" {
		t.Errorf("default max_connections %q", got)
	}

	c.Want(t, 202, http.MethodPut, at, `{"instance":{"configuration":null}}`)
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"configuration":null}}`)
	if got := c.Want(t, 200, http.MethodGet, at, "").Text("instance", "status"); got != "RESTART_REQUIRED" {
		t.Errorf("status %s after a static value was taken away", got)
	}
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, instance, "ACTIVE", soon)
	in("cache_mb", "256")
	c.Want(t, 202, http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, id))
	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, instance, soon)
	c.Want(t, 202, http.MethodDelete, "/configurations/"+id, "")
}

// TestPatchWhileTheGuestIsAway: what a guest could not be told, its next restart brings.
func TestPatchWhileTheGuestIsAway(t *testing.T) {
	_, g, host := start(t, gatewaytest.Hold(0))
	c := g.Client(gatewaytest.Member)
	id := c.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","datastore":{"type":"memory"},"values":{}}}`).Text("configuration", "id")
	instance := c.Create(t, "db1", fmt.Sprintf(`,"configuration":%q`, id))
	address := c.Await(t, instance, "ACTIVE", soon).Text("instance", "ip", 0)
	host.Memory.Fail(address, "update_overrides", fmt.Errorf("the disk is full"))
	a := c.Do(t, http.MethodPatch, "/configurations/"+id, `{"configuration":{"values":{"max_connections":9}}}`)
	if a.Status < 400 || !strings.Contains(string(a.Body), "disk is full") {
		t.Errorf("patch: %d %s", a.Status, a.Body)
	}
	if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(instance), "").Text("instance", "status"); got != "RESTART_REQUIRED" {
		t.Errorf("status %s, want RESTART_REQUIRED", got)
	}
	host.Memory.Fail(address, "update_overrides", nil)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(instance)+"/action", `{"restart":{}}`)
	c.Await(t, instance, "ACTIVE", soon)
	if got := host.Memory.Parameter(address, "max_connections"); got != "9" {
		t.Errorf("max_connections = %s after the restart, want 9", got)
	}
}

// TestPatchBesideARestart: what a restart that is under way does not bring, the next one does.
func TestPatchBesideARestart(t *testing.T) {
	etcd, g, host := start(t)
	store, c := etcd.Store(t), g.Client(gatewaytest.Member)
	id := c.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","datastore":{"type":"memory"},"values":{}}}`).Text("configuration", "id")
	instance := c.Create(t, "db1", "")
	address := c.Await(t, instance, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(instance)
	for _, busy := range []struct{ held, greeting, method, path, body string }{
		{datastores.MethodUpdateOverrides, "one", http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, id)},
		{datastores.MethodStop, "two", http.MethodPost, at + "/action", `{"restart":{}}`},
	} {
		release, answer := host.Memory.Hold(address, busy.held), make(chan gatewaytest.Answer, 1)
		go func() {
			a, _ := c.Try(busy.method, busy.path, busy.body)
			answer <- a
		}()
		waitFor(t, func() bool {
			rec, err := etcdschema.Get(t.Context(), store, etcdschema.InstanceKey(gatewaytest.Project, instance))
			return err == nil && rec.Value.Operation != nil
		})
		c.Want(t, 200, http.MethodPatch, "/configurations/"+id, fmt.Sprintf(`{"configuration":{"values":{"greeting":%q}}}`, busy.greeting))
		release()
		if a := <-answer; a.Status != 202 {
			t.Errorf("%s %s: %d %s", busy.method, busy.body, a.Status, a.Body)
		}
		c.Await(t, instance, "RESTART_REQUIRED", soon)
		c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
		c.Await(t, instance, "ACTIVE", soon)
		if got := host.Memory.Parameter(address, "greeting"); got != busy.greeting {
			t.Errorf("greeting = %s after the restart, want %s", got, busy.greeting)
		}
	}
}

func TestParameters(t *testing.T) {
	_, g, _ := start(t)
	c, admin := g.Client(gatewaytest.Reader), g.Client(gatewaytest.Admin)
	version := c.Want(t, 200, http.MethodGet, "/datastores/memory/versions/1", "").Text("version", "id")
	byName := c.Want(t, 200, http.MethodGet, "/datastores/memory/versions/1/parameters/max_connections", "")
	byID := c.Want(t, 200, http.MethodGet, "/datastores/versions/"+version+"/parameters/max_connections", "")
	if string(byName.Body) != string(byID.Body) || byName.At("max") != 100000.0 || byName.Text("type") != "integer" || byName.At("restart_required") != false {
		t.Errorf("max_connections: %s and %s", byName.Body, byID.Body)
	}
	c.Want(t, 404, http.MethodGet, "/datastores/memory/versions/1/parameters/none", "")
	at := "/mgmt/datastores/versions/" + version + "/parameters"
	c.Want(t, 401, http.MethodGet, at, "")
	admin.Want(t, 200, http.MethodPost, at, `{"configuration-parameter":{"name":"speed","restart_required":1,"data_type":"integer","max_size":"9","min_size":"1"}}`)
	admin.Want(t, 400, http.MethodPost, at, `{"configuration-parameter":{"name":"speed","restart_required":1,"data_type":"integer"}}`)
	admin.Want(t, 400, http.MethodPost, at, `{"configuration-parameter":{"name":"x","restart_required":1,"data_type":"colour"}}`)
	if got := admin.Want(t, 200, http.MethodGet, at+"/speed", "").At("max"); got != 9.0 {
		t.Errorf("max of speed: %v", got)
	}
	admin.Want(t, 200, http.MethodPut, at+"/speed", `{"configuration-parameter":{"name":"speed","restart_required":0,"data_type":"string"}}`)
	admin.Want(t, 204, http.MethodDelete, at+"/speed", "")
	admin.Want(t, 400, http.MethodDelete, at+"/speed", "")
}
