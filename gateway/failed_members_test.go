package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestReplicaThatCannotBeTold is named in failed_slaves where every server has users of its own: the call has done what it could.
// A server of the datastore "memory" refuses users as long as it is a replica.
func TestReplicaThatCannotBeTold(t *testing.T) {
	etcd, g, _ := start(t)
	offer := new(inmemory.Datastore).Plugin().Manifest().Offers[0]
	offer.Server.VolumeSupport, offer.Server.UsersPerServer = true, true
	server, err := json.Marshal(offer.Server)
	if err != nil {
		t.Fatal(err)
	}
	etcd.Put(t, "/server/datastores/memory/5", string(server))
	etcd.Put(t, "/guest/datastores/memory/5", string(offer.Guest))
	c := g.Client(gatewaytest.Member)
	source := c.Create(t, "db", `,"datastore":{"type":"memory","version":"5"}`)
	c.Await(t, source, "ACTIVE", soon)
	at := gatewaytest.Instance(source)
	none := func(a gatewaytest.Answer) {
		t.Helper()
		if strings.Contains(string(a.Body), "failed_slaves") {
			t.Errorf("without replicas some have failed: %s", a.Body)
		}
	}
	none(c.Want(t, 200, http.MethodPost, at+"/root", ""))
	none(c.Want(t, 202, http.MethodPost, at+"/users", `{"users":[{"name":"ann","password":"p"}]}`))
	none(c.Want(t, 204, http.MethodDelete, at+"/root", ""))

	replica := c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, source)).Text("instance", "id")
	c.Await(t, replica, "ACTIVE", soon)
	c.Await(t, source, "ACTIVE", soon)
	for _, call := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPost, "/root", "", 200},
		{http.MethodPost, "/users", `{"users":[{"name":"bob","password":"p"}]}`, 202},
		{http.MethodPut, "/users", `{"users":[{"name":"bob","password":"q"}]}`, 202},
		{http.MethodPut, "/users/bob", `{"user":{"password":"r"}}`, 202},
		{http.MethodDelete, "/users/bob", "", 202},
		{http.MethodDelete, "/root", "", 200},
	} {
		a := c.Want(t, call.status, call.method, at+call.path, call.body)
		if got := a.Text("failed_slaves", 0); got != replica || a.At("failed_slaves", 1) != nil {
			t.Errorf("%s %s: %s; want the replica %s named", call.method, call.path, a.Body, replica)
		}
	}
	if a := c.Want(t, 200, http.MethodGet, at+"/users", ""); a.Text("users", 0, "name") != "ann" || a.At("users", 1) != nil {
		t.Errorf("the source's users are %s", a.Body)
	}
}

// TestReplicaThatCannotFollow does not keep a promotion or an ejection from being done. It says what to do, and that is possible.
func TestReplicaThatCannotFollow(t *testing.T) {
	for _, eject := range []bool{false, true} {
		t.Run(fmt.Sprintf("eject %t", eject), func(t *testing.T) {
			_, g, host := start(t, quick)
			c := g.Client(gatewaytest.Member)
			ids, addresses := set(t, c, 2)
			if _, err := host.Memory.Write(t.Context(), login(addresses[0]), 0, 5); err != nil {
				t.Fatal(err)
			}
			// The second replica is behind, so the first one is elected.
			release := host.Memory.Hold(addresses[2], "following")
			if _, err := host.Memory.Write(t.Context(), login(addresses[0]), 5, 9); err != nil {
				t.Fatal(err)
			}
			host.Memory.Fail(addresses[2], "attach_replica", fmt.Errorf("no luck"))
			if eject {
				host.StopGuest(ids[0])
				host.Memory.Crash(addresses[0])
				waitFor(t, func() bool {
					return c.Do(t, http.MethodPost, gatewaytest.Instance(ids[0])+"/action", `{"eject_replica_source":{}}`).Status == 202
				})
			} else {
				c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[1])+"/action", `{"promote_to_replica_source":{}}`)
			}
			a := c.Await(t, ids[2], "ERROR", soon)
			release()
			for _, word := range []string{"no luck", "The action follow"} {
				if got := a.Text("instance", "fault", "message"); !strings.Contains(got, word) {
					t.Errorf("the fault is %q; want a word of %q", got, word)
				}
			}
			if a := c.Await(t, ids[1], "ACTIVE", soon); a.At("instance", "replica_of") != nil {
				t.Errorf("the new source still follows: %s", a.Body)
			}
			if n, err := host.Memory.Write(t.Context(), login(addresses[1]), 9, 12); n != 3 || err != nil {
				t.Errorf("the new source took %d of 3 writes: %v", n, err)
			}
			if _, err := host.Memory.Write(t.Context(), login(addresses[2]), 100, 101); err == nil {
				t.Error("the replica that could not follow takes writes")
			}
			follows := func(discard bool, becomes string) {
				c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[2])+"/action", fmt.Sprintf(`{"follow":{"discard":%t}}`, discard))
				c.Await(t, ids[2], becomes, soon)
			}
			c.Want(t, 400, http.MethodPost, gatewaytest.Instance(ids[2])+"/action", `{"follow":{"discards":true}}`)
			c.Want(t, 422, http.MethodPost, gatewaytest.Instance(ids[1])+"/action", `{"follow":{}}`)
			follows(false, "ERROR")
			host.Memory.Fail(addresses[2], "attach_replica", nil)
			follows(eject, "ACTIVE") // with what it has, or anew
			if _, err := host.Memory.Write(t.Context(), login(addresses[1]), 12, 13); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				n, _, err := host.Memory.Digest(t.Context(), login(addresses[2]))
				return err == nil && n == 13
			})
			c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(ids[2]), "")
			c.AwaitGone(t, ids[2], soon)
			again := c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, ids[1])).Text("instance", "id")
			address := c.Await(t, again, "ACTIVE", soon).Text("instance", "ip", 0)
			if n, _, err := host.Memory.Digest(t.Context(), login(address)); n != 13 || err != nil {
				t.Errorf("another replica has %d items, %v; want 13", n, err)
			}
		})
	}
}

// TestDatabasesThatAreOneAtCreate are refused before anything is made; a server that tells them apart gets them.
func TestDatabasesThatAreOneAtCreate(t *testing.T) {
	etcd, g, _ := start(t)
	etcd.Put(t, "/server/datastores/memory/6", `{"manager":"memory","volume_support":true,"capabilities":["databases","configuration"],"names":{"folded_by":"lower"},`+
		`"configuration_parameters":[{"name":"lower","type":"integer","min":0,"max":1,"create_only":true,"restart_required":true}]}`)
	etcd.Put(t, "/guest/datastores/memory/6", `{"mount_point":"/d","release":1}`)
	c := g.Client(gatewaytest.Member)
	create := func(want, lower int) gatewaytest.Answer {
		group := c.Want(t, 200, http.MethodPost, "/configurations", fmt.Sprintf(
			`{"configuration":{"name":"g","datastore":{"type":"memory","version":"6"},"values":{"lower":%d}}}`, lower)).Text("configuration", "id")
		return c.Want(t, want, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},`+
			`"datastore":{"type":"memory","version":"6"},"databases":[{"name":"Main"},{"name":"main"}],"configuration":%q}}`, group))
	}
	if a := create(400, 1); !strings.Contains(string(a.Body), "Main") {
		t.Errorf("refused with %s", a.Body)
	}
	create(200, 0)
}
