package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestFailedShrinkIsGivenBack: while an instance becomes smaller, its project's quota is lowered to what is used then, and
// another instance takes the memory that was freed. The resize fails, and the instance keeps the size that it had.
func TestFailedShrinkIsGivenBack(t *testing.T) {
	_, g, host := start(t)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(id)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"flavorRef":"2"}}`)
	c.Await(t, id, "ACTIVE", soon)

	release := host.Memory.Hold(address, "stop_db")
	host.Memory.Fail(address, "stop_db", fmt.Errorf("it hangs"))
	c.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"flavorRef":"1"}}`)
	admin.Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"ram":512}}`)
	release()
	a := c.Await(t, id, "ERROR", soon)
	if a.Text("instance", "flavor", "id") != "2" || !strings.Contains(a.Text("instance", "fault", "message"), "it hangs") {
		t.Errorf("after a shrink that failed: %s", a.Body)
	}
	if used := c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 1, "in_use"); used != 2048.0 {
		t.Errorf("RAM in use: %v, want 2048: what it had", used)
	}
	c.Want(t, 200, http.MethodGet, "/instances", "")
	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, id, soon)
}

// TestFailedShrinkIsGivenBackOnAFullHost: the memory that a shrink would have freed is another instance's when the shrink fails. The
// first has its size again, in its project's quota and in its host's record, which is then owed more than it has; nothing more goes there
// until that is over.
func TestFailedShrinkIsGivenBackOnAFullHost(t *testing.T) {
	_, g, host := start(t)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	free := func() any {
		return admin.Want(t, 200, http.MethodGet, "/mgmt/hosts", "").At("hosts", 0, "free", "memory_mb")
	}
	host.Says(func(a *deployments.Announcement) { a.Capacity.MemoryMB = 2048 })
	waitFor(t, func() bool { return free() == 2048.0 })
	id := c.Want(t, 200, http.MethodPost, "/instances", `{"instance":{"name":"db","flavorRef":2,"volume":{"size":1},"datastore":{"type":"memory"}}}`).Text("instance", "id")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	release := host.Memory.Hold(address, "stop_db")
	host.Memory.Fail(address, "stop_db", fmt.Errorf("it hangs"))
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(id)+"/action", `{"resize":{"flavorRef":"1"}}`)
	var others []string
	for range 3 {
		other := c.Create(t, "other", "")
		c.Await(t, other, "ACTIVE", soon)
		others = append(others, other)
	}
	release()
	if a := c.Await(t, id, "ERROR", soon); a.Text("instance", "flavor", "id") != "2" {
		t.Errorf("after a shrink that failed: %s", a.Body)
	}
	if used := c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 1, "in_use"); used != 2048.0+3*512 {
		t.Errorf("RAM in use: %v", used)
	}
	if got := free(); got != -3.0*512 {
		t.Errorf("the host has %v MB left; want three instances less than nothing", got)
	}
	failed := c.Create(t, "no room", "")
	if a := c.Await(t, failed, "ERROR", soon); !strings.Contains(a.Text("instance", "fault", "message"), "has 512 MB of memory") {
		t.Errorf("an instance more: %s", a.Body)
	}
	for _, gone := range append(others, failed, id) {
		c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(gone), "")
		c.AwaitGone(t, gone, soon)
	}
	if got := free(); got != 2048.0 {
		t.Errorf("after all are gone the host has %v MB left", got)
	}
}

// TestStepThatCannotBeTaken: what a step needs is gone when an instance comes to it. The instance fails with that as its
// reason, and its guest, which has enrolled, is not told to ask again for ever.
func TestStepThatCannotBeTaken(t *testing.T) {
	etcd, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	release := host.HoldLaunches()
	id := c.Create(t, "db", "")
	key := etcdschema.InstanceKey(gatewaytest.Project, id)
	_, err := etcd.Store(t).Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		rec.Value.Restore = []string{"0199d0a1-0000-7000-8000-00000000000b"} // a backup that was deleted meanwhile
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	release()
	a := c.Await(t, id, "ERROR", soon)
	if got := a.Text("instance", "fault", "message"); !strings.HasPrefix(got, "Backup 0199d0a1-0000-7000-8000-00000000000b cannot be found.") {
		t.Errorf("fault %q", got)
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.AwaitGone(t, id, soon)
}
