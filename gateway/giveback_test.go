package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

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
