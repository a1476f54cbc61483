package gateway_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// rooted checks that what the API says of root is what a login shows.
func rooted(t *testing.T, c gatewaytest.Client, host *gatewaytest.Host, id, address, password string, want bool) {
	t.Helper()
	if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/root", "").At("rootEnabled"); got != want {
		t.Errorf("rootEnabled %v, want %t", got, want)
	}
	if err := host.Memory.Connect(t.Context(), address, "root", password, ""); (err == nil) != want {
		t.Errorf("root logs in: %v, want %t", err, want)
	}
}

// TestRootAfterRestore: root that a backup brings along is known, and can be disabled.
func TestRootAfterRestore(t *testing.T) {
	_, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	c.Await(t, id, "ACTIVE", soon)
	password := c.Want(t, 200, http.MethodPost, gatewaytest.Instance(id)+"/root", "").Text("user", "password")
	backup := backUp(t, c, id, "").Text("backup", "id")
	copied := c.Want(t, 200, http.MethodPost, "/instances",
		fmt.Sprintf(`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, backup)).Text("instance", "id")
	address := c.Await(t, copied, "ACTIVE", soon).Text("instance", "ip", 0)
	rooted(t, c, host, copied, address, password, true)
	history := g.Client(gatewaytest.Admin).Want(t, 200, http.MethodGet, "/mgmt"+gatewaytest.Instance(copied)+"/root", "")
	if got := history.Text("root_history", "user"); got != "backup "+backup {
		t.Errorf("root was enabled by %q, want the backup", got)
	}
	c.Want(t, 204, http.MethodDelete, gatewaytest.Instance(copied)+"/root", "")
	rooted(t, c, host, copied, address, password, false)
}

// TestRootAfterPromotion: root that was enabled on the source after its replicas were made is theirs as well.
func TestRootAfterPromotion(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	ids, addresses := set(t, c, 1)
	password := c.Want(t, 200, http.MethodPost, gatewaytest.Instance(ids[0])+"/root", "").Text("user", "password")
	rooted(t, c, host, ids[1], addresses[1], password, true)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[1])+"/action", `{"promote_to_replica_source":{}}`)
	for _, id := range ids {
		c.Await(t, id, "ACTIVE", soon)
	}
	rooted(t, c, host, ids[1], addresses[1], password, true)
	c.Want(t, 204, http.MethodDelete, gatewaytest.Instance(ids[1])+"/root", "")
	for i, id := range ids {
		rooted(t, c, host, id, addresses[i], password, false)
	}
}
