package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// inZone has a host say at its enrolment that it is in a zone, and has labels.
func inZone(zone string, labels datastores.Labels) func(*deployments.Announcement) {
	return func(a *deployments.Announcement) { a.Place = deployments.Place{Zone: zone, Labels: labels} }
}

// TestPlacesOfHosts: instances go to the zone that is asked for, and to hosts with the labels that their version requires. Where a
// host is it says when it enrols, and an operator from then on.
func TestPlacesOfHosts(t *testing.T) {
	etcd, g, first := start(t)
	north := gatewaytest.StartHostSaying(t, inZone("north", datastores.Labels{"disk": "nvme"}), g)
	south := gatewaytest.StartHostSaying(t, inZone("south", nil), g)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	create := func(extra string) gatewaytest.Answer {
		return c.Do(t, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"`+extra+`}}`)
	}
	goesTo := func(what string, host *gatewaytest.Host, extra string) {
		t.Helper()
		a := create(extra)
		id := a.Text("instance", "id")
		if a.Status != 200 {
			t.Fatalf("%s: %d %s", what, a.Status, a.Body)
		}
		c.Await(t, id, "ACTIVE", soon)
		if host.Launched(id).InstanceID != id {
			t.Errorf("%s: it is on another host", what)
		}
	}
	fails := func(what, why, extra string) {
		t.Helper()
		a := create(extra)
		if a = c.Await(t, a.Text("instance", "id"), "ERROR", soon); !strings.Contains(a.Text("instance", "fault", "message"), why) {
			t.Errorf("%s: %s", what, a.Body)
		}
	}
	for range 2 { // wherever there is more room
		goesTo("a zone", south, `},"availability_zone":"south"`)
	}
	if a := create(`},"region_name":"RegionTwo"`); a.Status != 400 || !strings.Contains(string(a.Body), "this is region RegionOne") {
		t.Errorf("another region: %d %s", a.Status, a.Body)
	}
	goesTo("the gateway's own region", south, `},"region_name":"RegionOne","availability_zone":"south"`)
	if a := create(`},"availability_zone":"nova"`); a.Status != 400 || !strings.Contains(string(a.Body), `Availability zone \"nova\" is unknown; there are: north, south.`) {
		t.Errorf("an unknown zone: %d %s", a.Status, a.Body)
	}
	etcd.Put(t, "/guest/datastores/memory/fast", `{"mount_point":"/d"}`)
	etcd.Put(t, "/server/datastores/memory/fast", `{"manager":"memory","volume_support":true,"requires":{"disk":7}}`)
	if got := string(admin.Want(t, 200, http.MethodGet, "/mgmt/datastore-problems", "").Body); !strings.Contains(got, `"path":"requires"`) {
		t.Errorf("a label that is no text is no problem: %s", got)
	}
	etcd.Put(t, "/server/datastores/memory/fast", `{"manager":"memory","volume_support":true,"requires":{"disk":"nvme"}}`)
	const fast = `,"version":"fast"}`
	for range 2 {
		goesTo("labels", north, fast)
	}
	fails("labels in another zone", "none of the 1 that could has the labels disk=nvme", fast+`,"availability_zone":"south"`)

	at := "/mgmt/hosts/" + first.ID
	admin.Want(t, 202, http.MethodPatch, at, `{"host":{"availability_zone":"east","labels":{"disk":"nvme"}}}`)
	goesTo("what an operator says", first, fast+`,"availability_zone":"east"`)
	for _, bad := range []string{`{}`, `{"labels":{"a b":"c"}}`, `{"availability_zone":"north pole"}`, `{"labels":[]}`} {
		admin.Want(t, 400, http.MethodPatch, at, `{"host":`+bad+`}`)
	}
	south.Says(inZone("east", datastores.Labels{"disk": "nvme"}))
	waitFor(t, func() bool {
		return strings.Contains(string(admin.Want(t, 200, http.MethodGet, "/mgmt/hosts", "").Body), "its own configuration says availability zone east and the labels disk=nvme; what counts is availability zone south and no labels")
	})
	admin.Want(t, 202, http.MethodPatch, at, `{"host":{"disabled":true}}`)
	fails("a host that says it is elsewhere", "none of the 2 that could is in availability zone east", `},"availability_zone":"east"`)
}

// TestReplicasSpreadOverZones: replicas that must not share a host go to other zones first.
func TestReplicasSpreadOverZones(t *testing.T) {
	_, g, first := start(t)
	hosts := []*gatewaytest.Host{first}
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	for range 3 {
		hosts = append(hosts, gatewaytest.StartHost(t, g))
	}
	zones := map[*gatewaytest.Host]string{}
	for i, h := range hosts {
		zones[h] = []string{"north", "north", "north", "south"}[i]
		admin.Want(t, 202, http.MethodPatch, "/mgmt/hosts/"+h.ID, fmt.Sprintf(`{"host":{"availability_zone":%q}}`, zones[h]))
	}
	zoneOf := func(id string) (zone string) {
		waitFor(t, func() bool {
			for _, h := range hosts {
				if h.Launched(id).InstanceID == id {
					zone = zones[h]
				}
			}
			return zone != ""
		})
		return zone
	}
	c.Create(t, "in the way", `,"availability_zone":"south"`) // the other hosts have more room
	source := c.Create(t, "db", `,"locality":"anti-affinity","availability_zone":"north"`)
	if got := c.Await(t, source, "ACTIVE", soon).Text("instance", "availability_zone"); got != "north" {
		t.Errorf("its zone is shown as %q", got)
	}
	replica := func(extra string) string {
		return c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q%s}}`, source, extra)).Text("instance", "id")
	}
	if got := zoneOf(replica("")); got != "south" {
		t.Errorf("the first replica is in zone %s, with its source", got)
	}
	if got := zoneOf(replica(`,"availability_zone":"north"`)); got != "north" {
		t.Errorf("a replica that was to be in zone north is in %s", got)
	}
}
