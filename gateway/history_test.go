package gateway_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestCompactionUnderTheGateway cuts a gateway off from etcd while another one enqueues a command for a guest that the
// first one holds, and compacts what it missed. When it is back the command must be delivered, and the result reach the
// caller on the other gateway.
func TestCompactionUnderTheGateway(t *testing.T) {
	etcd := etcdtest.Start(t)
	gatewaytest.Define(t, etcd.Store(t))
	proxy := etcd.Proxy(t)
	cut := gatewaytest.Start(t, etcdtest.Open(t, proxy.Endpoint()))
	other := gatewaytest.Start(t, etcd.Store(t))
	gatewaytest.StartHost(t, cut) // host and guests know this gateway only
	c := other.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)

	proxy.Cut()
	answer := make(chan gatewaytest.Answer, 1)
	go func() {
		a, _ := c.Try(http.MethodPost, gatewaytest.Instance(id)+"/databases", `{"databases":[{"name":"missed"}]}`)
		answer <- a
	}()
	until.True(t, soon, "the command is enqueued", func() bool { return len(etcd.All(t, "/guest/commands/"+id)) == 1 })
	revision := etcd.Put(t, "/unrelated", "x")
	etcd.Compact(t, revision)
	proxy.Mend()
	select {
	case a := <-answer:
		if a.Status != http.StatusAccepted {
			t.Errorf("the call over the compaction: %d %s", a.Status, a.Body)
		}
	case <-time.After(time.Minute):
		t.Fatal("the call did not end")
	}
	if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/databases", ""); got.Text("databases", 0, "name") != "missed" {
		t.Errorf("databases: %s", got.Body)
	}
}

// TestRestoredEtcd sets etcd back to a moment at which a command was pending that has been run since. The guest gets it
// again, must not run it again, and must go on with what comes after.
func TestRestoredEtcd(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store)
	host := gatewaytest.StartHost(t, g)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(id)

	host.StopGuest(id)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	saved := etcd.Save(t) // the restart is pending
	host.StartGuest(t, id)
	c.Await(t, id, "ACTIVE", time.Minute)
	starts := host.Memory.Starts(address)
	c.Want(t, 202, http.MethodPost, at+"/databases", `{"databases":[{"name":"after"}]}`)

	etcd.Restore(t, saved)
	until.True(t, soon, "a new epoch", func() bool {
		_, err := store.NewEpoch(t.Context(), "restored")
		return err == nil
	})
	c.Await(t, id, "ACTIVE", time.Minute) // the pending restart is answered from the journal
	if got := host.Memory.Starts(address); got != starts {
		t.Errorf("the restart was run again: %d starts, want %d", got, starts)
	}
	if left, err := etcdschema.Count(t.Context(), store, etcdschema.Commands(id)); err != nil || left != 0 {
		t.Errorf("%d commands still pending, %v", left, err)
	}
	c.Want(t, 202, http.MethodPost, at+"/databases", `{"databases":[{"name":"later"}]}`)
	if got := c.Want(t, 200, http.MethodGet, at+"/databases", ""); got.Text("databases", 1, "name") != "later" {
		t.Errorf("databases after the restore: %s", got.Body)
	}
}
