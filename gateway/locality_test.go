package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestLocality: the replicas of a set go where its locality says, and when there is no such place the fault says so.
func TestLocality(t *testing.T) {
	_, g, first := start(t)
	second := gatewaytest.StartHost(t, g)
	c := g.Client(gatewaytest.Member)
	hostOf := func(id string) *gatewaytest.Host {
		if first.Launched(id).InstanceID == id {
			return first
		}
		return second
	}
	for _, test := range []struct {
		locality string
		together bool
	}{{"affinity", true}, {"anti-affinity", false}} {
		source := c.Create(t, "db", fmt.Sprintf(`,"locality":%q`, test.locality))
		if got := c.Await(t, source, "ACTIVE", soon).Text("instance", "locality"); got != test.locality {
			t.Errorf("locality %q, want %s", got, test.locality)
		}
		replica := func() string {
			t.Helper()
			return c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, source)).Text("instance", "id")
		}
		id := replica()
		// The servers in memory of two hosts do not reach each other: how the replica fares there is no matter here.
		waitFor(t, func() bool { return first.Launched(id).InstanceID+second.Launched(id).InstanceID == id })
		if got := hostOf(id) == hostOf(source); got != test.together {
			t.Errorf("%s: the replica is on the source's host: %v", test.locality, got)
		}
		if test.together {
			continue
		}
		waitFor(t, func() bool {
			a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(source), "")
			return a.Text("instance", "status") == "ACTIVE"
		})
		if got := c.Await(t, replica(), "ERROR", soon).Text("instance", "fault", "message"); !strings.Contains(got, "anti-affinity, permits none of the 2") {
			t.Errorf("a third member on two hosts: %q", got)
		}
	}
	c.Want(t, 400, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},"locality":"near"}}`)
}
