package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestHostWithManyPlugIns: a host offers forty managers, each with a definition of two hundred parameters. It serves, and what is
// written with each instance that comes and goes has nothing of all that.
func TestHostWithManyPlugIns(t *testing.T) {
	const many, parameters = 40, 200
	etcd, g, host := start(t)
	store := etcd.Store(t)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	host.Says(func(a *deployments.Announcement) {
		a.Digests = map[string]string{}
		for n := range many {
			a.Managers = append(a.Managers, manager(n))
			a.Digests[manager(n)] = strings.Repeat("0123456789abcdef", 4)
			a.Notes = append(a.Notes, fmt.Sprintf("%s-guest: %s", manager(n), strings.Repeat("what it lacks ", 20)))
		}
	})
	server := datastores.ServerOptions{VolumeSupport: true}
	for n := range parameters {
		server.Parameters = append(server.Parameters, datastores.Parameter{Name: fmt.Sprintf("parameter_%03d", n), Type: datastores.IntegerParameter, Min: "0", Max: "1000000"})
	}
	for n := range many {
		server.Manager = manager(n)
		text, err := json.Marshal(server)
		if err != nil {
			t.Fatal(err)
		}
		etcd.Put(t, "/server/datastores/"+manager(n)+"/1", string(text))
		etcd.Put(t, "/guest/datastores/"+manager(n)+"/1", `{"mount_point":"/d"}`)
	}
	waitFor(t, func() bool {
		hosts := admin.Want(t, 200, http.MethodGet, "/mgmt/hosts", "")
		return hosts.At("hosts", 0, "managers", many) != nil && hosts.At("hosts", 0, "notes", many-1) != nil && strings.Contains(string(hosts.Body), manager(many-1)+" 1")
	})

	offer := etcdschema.HostCheckKey(host.ID)
	// The host may still be asked about the last definitions while the first instance is made: it is asked once of each.
	waitFor(t, func() bool {
		before, err := etcdschema.Get(t.Context(), store, offer)
		if err != nil {
			t.Fatal(err)
		}
		id := c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":%q}}}`, manager(7))).Text("instance", "id")
		c.Await(t, id, "ACTIVE", soon)
		record, offered := len(etcd.All(t, etcdschema.HostKey(host.ID).String())[etcdschema.HostKey(host.ID).String()]), len(etcd.All(t, offer.String())[offer.String()])
		t.Logf("a create writes %d bytes of a host with %d plug-ins, and none of the %d that say what it offers", record, many, offered)
		if record == 0 || record > 512 || offered < 16<<10 {
			t.Errorf("the host's record has %d bytes, what it offers %d; want the former small", record, offered)
		}
		c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
		c.AwaitGone(t, id, soon)
		after, err := etcdschema.Get(t.Context(), store, offer)
		if err != nil {
			t.Fatal(err)
		}
		return after.Changed == before.Changed // neither the create nor the delete wrote it
	})
}

func manager(n int) string { return fmt.Sprintf("plug-in-%02d", n) }
