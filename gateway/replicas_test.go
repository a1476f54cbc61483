package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// login is that of the user that set makes.
func login(address string) datastoretest.Login {
	return datastoretest.Login{Address: address, User: "bob", Password: "s3cret", Database: "orders"}
}

const tenant = `,"databases":[{"name":"orders"}],"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]}]`

// set makes a source with n replicas and returns their ids and addresses, the source's first.
func set(t *testing.T, c gatewaytest.Client, n int) (ids, addresses []string) {
	t.Helper()
	source := c.Create(t, "db", tenant+`,"access":{"allowed_cidrs":["10.0.0.0/8"]}`)
	addresses = append(addresses, c.Await(t, source, "ACTIVE", soon).Text("instance", "ip", 0))
	c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q,"replica_count":%d}}`, source, n))
	a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(source), "")
	ids = append(ids, source)
	for i := range n {
		id := a.Text("instance", "replicas", i, "id")
		ids = append(ids, id)
		addresses = append(addresses, c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0))
	}
	c.Await(t, source, "ACTIVE", soon)
	return ids, addresses
}

func TestPromote(t *testing.T) {
	for _, withBackup := range []bool{false, true} {
		t.Run(fmt.Sprintf("a replica begins with a backup: %v", withBackup), func(t *testing.T) {
			_, g, host := start(t)
			host.Memory.ReplicaBackup = withBackup
			c := g.Client(gatewaytest.Member)
			ids, addresses := set(t, c, 2)
			at := gatewaytest.Instance(ids[1])
			if got := c.Want(t, 200, http.MethodGet, at, "").Text("instance", "replica_of", "id"); got != ids[0] {
				t.Errorf("replica_of %q, want %s", got, ids[0])
			}
			if got := host.Launched(ids[0]).Firewall.Peers; len(got) != 2 {
				t.Errorf("the source lets through %v, want its two replicas", got)
			}
			if n, err := host.Memory.Write(t.Context(), login(addresses[0]), 0, 10); n != 10 || err != nil {
				t.Fatalf("wrote %d: %v", n, err)
			}
			if _, err := host.Memory.Write(t.Context(), login(addresses[1]), 0, 1); err == nil {
				t.Error("a replica takes writes")
			}
			c.Want(t, 422, http.MethodPost, at+"/databases", `{"databases":[{"name":"x"}]}`)
			c.Want(t, 401, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, ids[1]))
			c.Want(t, 403, http.MethodDelete, gatewaytest.Instance(ids[0]), "")
			c.Want(t, 400, http.MethodPost, gatewaytest.Instance(ids[0])+"/action", `{"promote_to_replica_source":{}}`)
			c.Want(t, 400, http.MethodPost, gatewaytest.Instance(ids[0])+"/action", `{"eject_replica_source":{}}`)

			c.Want(t, 202, http.MethodPost, at+"/action", `{"promote_to_replica_source":{}}`)
			for _, id := range []string{ids[1], ids[0], ids[2]} {
				c.Await(t, id, "ACTIVE", soon)
			}
			for _, id := range []string{ids[0], ids[2]} {
				if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "replica_of", "id"); got != ids[1] {
					t.Errorf("%s follows %q, want %s", id, got, ids[1])
				}
			}
			for _, id := range ids { // whichever member is asked, clients find the new source
				a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "")
				want := "memory://" + addresses[1] + ":1/"
				if got := a.Text("instance", "connections", "primary"); got != want || strings.Contains(a.Text("instance", "connections", "replicas"), addresses[1]) ||
					!strings.HasPrefix(a.Text("instance", "connections", "members"), "memory://"+addresses[1]+":1,") {
					t.Errorf("%s: clients connect to %s; want %s", id, a.Body, want)
				}
			}
			if n, err := host.Memory.Write(t.Context(), login(addresses[1]), 10, 20); n != 10 || err != nil {
				t.Errorf("the new source took %d writes: %v", n, err)
			}
			for i, address := range addresses {
				if n, _, err := host.Memory.Digest(t.Context(), login(address)); n != 20 || err != nil {
					t.Errorf("member %d has %d items, %v; want 20", i, n, err)
				}
			}
			if a := c.Want(t, 200, http.MethodGet, "/backups", ""); a.At("backups", 0) != nil {
				t.Errorf("a snapshot is left: %s", a.Body)
			}
		})
	}
}

// TestPromoteThatFails leaves the source as it was, and writable.
func TestPromoteThatFails(t *testing.T) {
	for _, method := range []string{"make_read_only", "wait_for_txn", "enable_as_master"} {
		t.Run(method, func(t *testing.T) {
			_, g, host := start(t)
			c := g.Client(gatewaytest.Member)
			ids, addresses := set(t, c, 1)
			for _, address := range addresses {
				host.Memory.Fail(address, method, fmt.Errorf("no luck"))
			}
			c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[1])+"/action", `{"promote_to_replica_source":{}}`)
			a := c.Await(t, ids[1], "ERROR", soon)
			if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "no luck") {
				t.Errorf("fault %q", got)
			}
			if method == "make_read_only" { // nor can it be told to take writes again
				a := c.Await(t, ids[0], "ERROR", soon)
				if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "reset_status") {
					t.Errorf("fault of the source %q", got)
				}
				host.Memory.Fail(addresses[0], method, nil)
				c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[0])+"/action", `{"reset_status":{}}`)
			}
			c.Await(t, ids[0], "ACTIVE", soon)
			if n, err := host.Memory.Write(t.Context(), login(addresses[0]), 0, 3); n != 3 || err != nil {
				t.Errorf("the source took %d of 3 writes after the failure: %v", n, err)
			}
			c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[1])+"/action", `{"reset_status":{"force_delete":true}}`)
			c.Await(t, ids[1], "ACTIVE", soon)
			c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(ids[1]), "")
			c.AwaitGone(t, ids[1], soon)
			if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[0]), ""); a.At("instance", "replicas") != nil {
				t.Errorf("the source still has replicas: %s", a.Body)
			}
		})
	}
}

func TestDetach(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	ids, addresses := set(t, c, 1)
	c.Want(t, 202, http.MethodPut, gatewaytest.Instance(ids[1]), `{"instance":{"replica_of":null}}`)
	c.Await(t, ids[1], "ACTIVE", soon)
	c.Want(t, 400, http.MethodPut, gatewaytest.Instance(ids[1]), `{"instance":{"replica_of":null}}`)
	if n, err := host.Memory.Write(t.Context(), login(addresses[1]), 0, 3); n != 3 || err != nil {
		t.Errorf("a detached replica took %d writes: %v", n, err)
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(ids[0]), "")
	c.AwaitGone(t, ids[0], soon)
}

// TestUpgradeOfASet: the source is asked, replicas are upgraded before it, what is in the way at one of them keeps all as they are, what fails
// half way goes on when it is asked for again, and what was acknowledged meanwhile is at every member.
func TestUpgradeOfASet(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	ids, addresses := set(t, c, 2)
	at := gatewaytest.Instance(ids[0])
	ask := func() { c.Want(t, 202, http.MethodPatch, at, `{"instance":{"datastore_version":"2"}}`) }
	versions := func() (all []string) {
		for _, id := range ids {
			all = append(all, c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "datastore", "version"))
		}
		return all
	}
	if n, err := host.Memory.Write(t.Context(), login(addresses[0]), 0, 5); n != 5 {
		t.Fatal(err)
	}
	if got := c.Want(t, 422, http.MethodPatch, gatewaytest.Instance(ids[1]), `{"instance":{"datastore_version":"2"}}`).Text("unprocessableEntity", "message"); !strings.Contains(got, ids[0]) {
		t.Errorf("a replica's own upgrade is refused with %q", got)
	}
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"datastore_version":"1"}}`) // anew, for all

	host.Memory.Fail(addresses[2], datastores.MethodUpgrade, fmt.Errorf("no luck"))
	ask()
	waitFor(t, func() bool {
		in := c.Want(t, 200, http.MethodGet, at, "")
		return in.Text("instance", "status") == "ACTIVE" && in.At("instance", "fault") != nil
	})
	if got := c.Want(t, 200, http.MethodGet, at, "").Text("instance", "fault", "message"); !strings.Contains(got, ids[2]) || !strings.Contains(got, "no luck") {
		t.Errorf("the fault does not name the member that failed: %q", got)
	}
	if got := versions(); !slices.Equal(got, []string{"1", "2", "1"}) {
		t.Errorf("after a failure half way: versions %v", got)
	}
	if n, err := host.Memory.Write(t.Context(), login(addresses[0]), 5, 10); n != 5 {
		t.Errorf("the source, half way: %v", err)
	}
	host.Memory.Fail(addresses[2], datastores.MethodUpgrade, nil)
	ask()
	for _, id := range ids {
		c.Await(t, id, "ACTIVE", soon)
	}
	waitFor(t, func() bool { return slices.Equal(versions(), []string{"2", "2", "2"}) })
	for i, address := range addresses {
		if n, _, err := host.Memory.Digest(t.Context(), login(address)); n != 10 || err != nil {
			t.Errorf("member %d has %d items, %v; want 10", i, n, err)
		}
	}
	if in := c.Want(t, 200, http.MethodGet, at, ""); in.At("instance", "fault") != nil {
		t.Errorf("the fault stays: %s", in.Body)
	}
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[1])+"/action", `{"promote_to_replica_source":{}}`)
	c.Await(t, ids[1], "ACTIVE", soon)
}

// TestUpgradeOfASetThatCannotFollow: versions of which a newer replica cannot follow an older source are refused, with what to do.
func TestUpgradeOfASetThatCannotFollow(t *testing.T) {
	etcd, g, _ := start(t)
	etcd.Put(t, "/server/datastores/memory/3", `{"manager":"memory","volume_support":true,"capabilities":["replication","upgrade"],"replication_stream":"other"}`)
	etcd.Put(t, "/guest/datastores/memory/3", `{"mount_point":"/var/lib/memory","release":2}`)
	c := g.Client(gatewaytest.Member)
	ids, _ := set(t, c, 1)
	got := c.Want(t, 422, http.MethodPatch, gatewaytest.Instance(ids[0]), `{"instance":{"datastore_version":"3"}}`).Text("unprocessableEntity", "message")
	if !strings.Contains(got, "cannot follow") || !strings.Contains(got, "make the replicas anew") {
		t.Errorf("refused with %q", got)
	}
}
