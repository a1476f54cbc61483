package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestWayBackAfterAFailedRestart: a server does not start. Its group can be changed and detached, its volume be made larger,
// all without an operator; when it starts again, it runs without the group's values, and no word of the failure is left.
func TestWayBackAfterAFailedRestart(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	group := c.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","datastore":{"type":"memory"},"values":{"cache_mb":64}}}`).Text("configuration", "id")
	id := c.Create(t, "db", fmt.Sprintf(`,"configuration":%q`, group))
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(id)

	host.Memory.FailStarts(address, errors.New("no luck"))
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, id, "ERROR", soon)
	for _, call := range [][2]string{{http.MethodPost, "/backups"}, {http.MethodGet, at + "/databases"}} {
		a := c.Do(t, call[0], call[1], fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
		if says := a.Text("unprocessableEntity", "message"); a.Status != 422 || !strings.Contains(says, "(instance status was ERROR). ") || !strings.Contains(says, "restart it") {
			t.Errorf("%s %s: %d %s", call[0], call[1], a.Status, a.Body)
		}
	}
	c.Want(t, 200, http.MethodPatch, "/configurations/"+group, `{"configuration":{"values":{"max_connections":7}}}`)
	c.Want(t, 202, http.MethodPut, at, `{"instance":{}}`)
	if a := c.Want(t, 200, http.MethodGet, at, ""); a.At("instance", "configuration") != nil {
		t.Errorf("the group is still attached: %s", a.Body)
	}
	c.Want(t, 202, http.MethodDelete, "/configurations/"+group, "")

	host.Memory.FailStarts(address, nil)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"volume":{"size":2}}}`)
	a := c.Await(t, id, "ACTIVE", soon)
	if a.At("instance", "volume", "size") != 2.0 || a.At("instance", "fault") != nil {
		t.Errorf("after a resize that started it: %s", a.Body)
	}
	if got := host.Memory.Parameter(address, "cache_mb"); got != "256" {
		t.Errorf("cache_mb = %s without a group, want 256", got)
	}
}

// TestWhyOfACrashedServer says what is the matter, and what to do.
func TestWhyOfACrashedServer(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	host.Memory.FailStarts(address, errors.New("no luck"))
	host.Memory.Crash(address)
	until.True(t, soon, "the crash is seen", func() bool {
		return c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "operating_status") == "CRASHED"
	})
	why := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/why", "").Text("why", "summary")
	if !strings.Contains(why, "Its database server does not run: restart it.") {
		t.Errorf("why: %s", why)
	}
	host.Memory.FailStarts(address, nil)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(id)+"/action", `{"restart":{}}`)
	until.True(t, soon, "it is well", func() bool {
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "")
		return a.Text("instance", "status") == "ACTIVE" && a.Text("instance", "operating_status") == "HEALTHY"
	})
}
