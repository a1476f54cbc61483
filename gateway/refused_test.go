package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestValuesThatNoServerStartsWith are refused at attach when that can be known. The others leave a server that runs, an
// answer that names them, and a way back.
func TestValuesThatNoServerStartsWith(t *testing.T) {
	_, g, host := start(t, gatewaytest.Hold(0))
	c := g.Client(gatewaytest.Member)
	group := func(values string) string {
		return c.Want(t, 200, http.MethodPost, "/configurations", fmt.Sprintf(`{"configuration":{"name":"g","datastore":{"type":"memory"},"values":%s}}`, values)).Text("configuration", "id")
	}
	attach := func(id string) string { return fmt.Sprintf(`{"instance":{"configuration":%q}}`, id) }
	instance := c.Create(t, "db1", "")
	address := c.Await(t, instance, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(instance)

	for values, word := range map[string]string{
		`{"cache_mb":1048576}`: "cache_mb", `{"ratio":1}`: "ratio", `{"format":"old"}`: "format",
	} {
		if a := c.Want(t, 422, http.MethodPut, at, attach(group(values))); !strings.Contains(string(a.Body), word) {
			t.Errorf("%s is refused with %s", values, a.Body)
		}
	}
	c.Want(t, 404, http.MethodPut, at, attach("0199d0a1-0000-7000-8000-000000000001"))
	c.Want(t, 404, http.MethodPost, "/instances", `{"instance":{"name":"db2","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},"configuration":"0199d0a1-0000-7000-8000-000000000001"}}`)

	never := group(`{"boot":"never"}`)
	c.Want(t, 202, http.MethodPut, at, attach(never))
	for range 2 {
		c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
		a := c.Await(t, instance, "RESTART_REQUIRED", soon)
		if !strings.Contains(a.Text("instance", "fault", "message"), "boot") {
			t.Errorf("the fault does not name the value: %s", a.Body)
		}
		if why := c.Want(t, 200, http.MethodGet, at+"/why", "").Text("why", "summary"); !strings.Contains(why, "boot") {
			t.Errorf("why: %s", why)
		}
		if got := host.Memory.Parameter(address, "boot"); got != "fast" {
			t.Errorf("boot = %s, want what was before", got)
		}
		c.Want(t, 200, http.MethodGet, at+"/databases", "")
	}
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"configuration":null}}`)
	if a := c.Want(t, 200, http.MethodGet, at, ""); a.Text("instance", "status") != "ACTIVE" || a.At("instance", "fault") != nil {
		t.Errorf("after a detach: %s", a.Body)
	}
}

// TestFormatIsChosenAtCreate: and stays, whatever becomes of the group.
func TestFormatIsChosenAtCreate(t *testing.T) {
	_, g, host := start(t, gatewaytest.Hold(0))
	c := g.Client(gatewaytest.Member)
	id := c.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","datastore":{"type":"memory"},"values":{"format":"old"}}}`).Text("configuration", "id")
	instance := c.Create(t, "db1", fmt.Sprintf(`,"configuration":%q`, id))
	address := c.Await(t, instance, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(instance)
	c.Want(t, 422, http.MethodPatch, "/configurations/"+id, `{"configuration":{"values":{"format":"new"}}}`)
	c.Want(t, 202, http.MethodPut, "/configurations/"+id, `{"configuration":{"values":{}}}`)
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"configuration":null}}`)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, instance, "ACTIVE", soon)
	if got := host.Memory.Parameter(address, "format"); got != "old" {
		t.Errorf("format = %s after the group was detached, want old: the data has it", got)
	}
	if got := c.Want(t, 200, http.MethodGet, "/datastores/memory/versions/1/parameters/format", "").At("create_only"); got != true {
		t.Errorf("create_only of format: %v", got)
	}
}

func TestBackupStrategyProperties(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	c.Want(t, 202, http.MethodPost, "/backup_strategies", `{"backup_strategy":{"swift_container":"mine"}}`)
	c.Want(t, 400, http.MethodPost, "/backup_strategies", `{"backup_strategy":{"swift_container":"mine","colour":"red"}}`)
	c.Want(t, 400, http.MethodPost, "/backup_strategies", `{"backup_strategy":{"swift_container":7}}`)
	c.Want(t, 400, http.MethodPost, "/backup_strategies", `{}`)
}
