package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
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
		replica := fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, source)
		if !test.together {
			oneOfTwo(t, c, replica, first, second)
			continue
		}
		id := c.Want(t, 200, http.MethodPost, "/instances", replica).Text("instance", "id")
		// The servers in memory of two hosts do not reach each other: how the replica fares there is no matter here.
		waitFor(t, func() bool { return first.Launched(id).InstanceID+second.Launched(id).InstanceID == id })
		if got := hostOf(id) == hostOf(source); got != test.together {
			t.Errorf("%s: the replica is on the source's host: %v", test.locality, got)
		}
	}
	c.Want(t, 400, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},"locality":"near"}}`)
}

// oneOfTwo makes two replicas at once of a source that wants them on hosts of their own, and there is one: it gets one of them.
func oneOfTwo(t *testing.T, c gatewaytest.Client, replica string, hosts ...*gatewaytest.Host) {
	t.Helper()
	made := make(chan string)
	for range 2 {
		go func() {
			a, err := c.Try(http.MethodPost, "/instances", replica)
			if err != nil || a.Status != 200 {
				t.Errorf("a replica: %d %s, %v", a.Status, a.Body, err)
			}
			made <- a.Text("instance", "id")
		}()
	}
	placed := map[string]int{}
	for range 2 {
		id := <-made
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "")
		if strings.Contains(a.Text("instance", "fault", "message"), "anti-affinity, permits none of the 2") {
			placed["nowhere"]++
			continue
		}
		waitFor(t, func() bool {
			return slices.ContainsFunc(hosts, func(h *gatewaytest.Host) bool { return h.Launched(id).InstanceID == id })
		})
		for i, h := range hosts {
			if h.Launched(id).InstanceID == id {
				placed[fmt.Sprintf("host %d", i)]++
			}
		}
	}
	if placed["nowhere"] != 1 || len(placed) != 2 {
		t.Errorf("two replicas at once, and a place for one: %v", placed)
	}
}
