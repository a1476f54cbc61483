package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// quick lets a guest count as gone soon after it was last heard of. Polls are held for longer than a second all the same: to an
// agent answers that bring nothing and come sooner are a fault, and it asks ever less often.
func quick(c *gateway.Config) { c.Hold, c.Expiry = 2*time.Second, 5*time.Second }

// TestEject: the source's guest is gone, and the replica that has most takes its place.
func TestEject(t *testing.T) {
	_, g, host := start(t, quick)
	c := g.Client(gatewaytest.Member)
	ids, addresses := set(t, c, 2)
	if _, err := host.Memory.Write(t.Context(), login(addresses[0]), 0, 5); err != nil {
		t.Fatal(err)
	}
	release := host.Memory.Hold(addresses[1], "following")
	if _, err := host.Memory.Write(t.Context(), login(addresses[0]), 5, 9); err != nil {
		t.Fatal(err)
	}
	c.Want(t, 400, http.MethodPost, gatewaytest.Instance(ids[0])+"/action", `{"eject_replica_source":{}}`)
	host.StopGuest(ids[0])
	host.Memory.Crash(addresses[0])
	release()
	waitFor(t, func() bool {
		return c.Do(t, http.MethodPost, gatewaytest.Instance(ids[0])+"/action", `{"eject_replica_source":{}}`).Status == 202
	})
	c.Await(t, ids[0], "ERROR", soon)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[1]), "")
		b := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[2]), "")
		follows := a.Text("instance", "replica_of", "id") == ids[2] || b.Text("instance", "replica_of", "id") == ids[1]
		return follows && a.Text("instance", "status") == "ACTIVE" && b.Text("instance", "status") == "ACTIVE"
	})
	source := addresses[1]
	if c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[1]), "").At("instance", "replica_of") != nil {
		source = addresses[2]
	}
	if n, err := host.Memory.Write(t.Context(), login(source), 9, 12); n != 3 || err != nil {
		t.Errorf("the new source took %d of 3 writes: %v", n, err)
	}
	if n, _, err := host.Memory.Digest(t.Context(), login(source)); n != 12 || err != nil {
		t.Errorf("the new source has %d items, %v; want 12", n, err)
	}
	// The old source must not take writes when it comes back.
	host.StartGuest(t, ids[0])
	waitFor(t, func() bool {
		_, err := host.Memory.Write(t.Context(), login(addresses[0]), 100, 101)
		return err != nil && strings.Contains(err.Error(), "read-only")
	})
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	until.True(t, soon, "what the test has asked for has happened", done)
}

func TestResize(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(id)
	used := func(resource int) any {
		return c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", resource, "in_use")
	}
	for _, bad := range []struct {
		status int
		body   string
	}{
		{400, `{"resize":{}}`}, {400, `{"resize":{"volume":{"size":1}}}`}, {400, `{"resize":{"volume":{"size":"x"}}}`},
		{413, `{"resize":{"volume":{"size":11}}}`}, {400, `{"resize":{"flavorRef":"1"}}`}, {400, `{"resize":{"flavorRef":"9"}}`},
		{400, `{"resize":{"flavorRef":"2","volume":{"size":3}}}`},
	} {
		c.Want(t, bad.status, http.MethodPost, at+"/action", bad.body)
	}
	c.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"volume":{"size":3}}}`)
	a := c.Await(t, id, "ACTIVE", soon)
	if a.At("instance", "volume", "size") != 3.0 || host.Launched(id).VolumeGB != 3 || used(2) != 3.0 {
		t.Errorf("after the resize: %s, host %+v, in use %v", a.Body, host.Launched(id), used(2))
	}
	c.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"volume":4}}`)
	c.Await(t, id, "ACTIVE", soon)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"flavorRef":"http://h/v1.0/p1/flavors/2"}}`)
	a = c.Await(t, id, "ACTIVE", soon)
	if a.Text("instance", "flavor", "id") != "2" || used(1) != 2048.0 {
		t.Errorf("after another flavor: %s, in use %v", a.Body, used(1))
	}
	if got := host.Memory.Parameter(address, "cache_mb"); got != "1024" {
		t.Errorf("cache_mb = %s with 2048 MB, want 1024", got)
	}
	// A server that does not stop stays as it is, and what it would have taken is given back.
	host.Memory.Fail(address, "stop_db", fmt.Errorf("it hangs"))
	c.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"flavorRef":"1"}}`)
	a = c.Await(t, id, "ERROR", soon)
	if a.Text("instance", "flavor", "id") != "2" || used(1) != 2048.0 || !strings.Contains(a.Text("instance", "fault", "message"), "it hangs") {
		t.Errorf("after a resize that failed: %s, in use %v", a.Body, used(1))
	}
}

// TestUpgradeWithAValueThatIsUnknown: a version that does not know a parameter of the attached group is refused at once, and nothing is
// stopped for it.
func TestUpgradeWithAValueThatIsUnknown(t *testing.T) {
	etcd, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	etcd.Put(t, "/server/datastores/memory/3", `{"manager":"memory","volume_support":true,"capabilities":["configuration","upgrade"],
		"configuration_parameters":[{"name":"greeting","type":"string","pattern":"[a-z]*"}]}`)
	etcd.Put(t, "/guest/datastores/memory/3", `{"mount_point":"/var/lib/memory","release":2}`)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	group := c.Want(t, 200, http.MethodPost, "/configurations",
		`{"configuration":{"name":"g","values":{"max_connections":50,"greeting":"Hello"},"datastore":{"type":"memory","version":"1"}}}`).Text("configuration", "id")
	at := gatewaytest.Instance(id)
	c.Want(t, 202, http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, group))
	c.Await(t, id, "ACTIVE", soon)
	before := host.Memory.Starts(address)
	message := c.Want(t, 422, http.MethodPatch, at, `{"instance":{"datastore_version":"3"}}`).Text("unprocessableEntity", "message")
	for _, word := range []string{group, "max_connections", "greeting", "detach"} {
		if !strings.Contains(message, word) {
			t.Errorf("the answer does not name %s: %s", word, message)
		}
	}
	if a := c.Want(t, 200, http.MethodGet, at, ""); a.Text("instance", "status") != "ACTIVE" || host.Memory.Starts(address) != before {
		t.Errorf("%d starts, before %d: %s", host.Memory.Starts(address), before, a.Body)
	}
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"configuration":null}}`)
	c.Await(t, id, "ACTIVE", soon)
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"datastore_version":"3"}}`)
}

func TestUpgrade(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(id)
	if n, err := host.Memory.Write(t.Context(), login(address), 0, 5); n != 5 {
		t.Fatal(err)
	}
	c.Want(t, 400, http.MethodPatch, at, `{"instance":{"datastore_version":"9"}}`)
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"datastore_version":"1"}}`)
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"datastore_version":"2"}}`)
	a := c.Await(t, id, "ACTIVE", soon)
	if got := a.Text("instance", "datastore", "version"); got != "2" {
		t.Errorf("version %q, want 2", got)
	}
	if n, _, err := host.Memory.Digest(t.Context(), login(address)); n != 5 || err != nil {
		t.Errorf("%d items after the upgrade, %v", n, err)
	}
	host.StopGuest(id)
	host.StartGuest(t, id)
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"datastore_version":"1"}}`)
	a = c.Await(t, id, "ACTIVE", soon)
	if a.Text("instance", "datastore", "version") != "2" || !strings.Contains(a.Text("instance", "fault", "message"), "release 1 cannot take over") {
		t.Errorf("a downgrade that was refused: %s", a.Body)
	}
	if n, err := host.Memory.Write(t.Context(), login(address), 5, 6); n != 1 {
		t.Errorf("after a downgrade that was refused: %v", err)
	}
}
