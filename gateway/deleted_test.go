package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestDeletedInstancesAreKept: admins can list and show what was deleted lately; tenants see nothing of it, and it costs them nothing.
func TestDeletedInstancesAreKept(t *testing.T) {
	_, g, _ := start(t)
	admin, c := g.Client(gatewaytest.Admin), g.Client(gatewaytest.Member)
	ids, _ := set(t, c, 1)
	source, replica := ids[0], ids[1]
	for _, id := range []string{replica, source} {
		c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
		c.AwaitGone(t, id, soon)
	}
	list := admin.Want(t, 200, http.MethodGet, "/mgmt/instances?deleted=true&limit=1", "")
	if list.Text("instances", 0, "id") != source || list.At("instances", 1) != nil || len(list.Text("links", 0, "href")) == 0 {
		t.Errorf("the first page of one: %s", list.Body)
	}
	list = admin.Want(t, 200, http.MethodGet, "/mgmt/instances?deleted=true&marker="+source, "")
	if list.Text("instances", 0, "id") != replica || list.At("instances", 1) != nil {
		t.Errorf("the second page: %s", list.Body)
	}
	for path, want := range map[string]int{"?deleted=true&project_id=" + gatewaytest.Project: 2, "?deleted=true&project_id=p2": 0, "?deleted=false": 0, "": 0} {
		if a := admin.Want(t, 200, http.MethodGet, "/mgmt/instances"+path, ""); strings.Count(string(a.Body), `"deleted":`) != want {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	shown := admin.Want(t, 200, http.MethodGet, "/mgmt"+gatewaytest.Instance(source)+"?deleted=true", "")
	for key, want := range map[string]any{"id": source, "deleted": true, "status": "SHUTDOWN", "service_status": "SHUTDOWN", "tenant_id": gatewaytest.Project} {
		if got := shown.At("instance", key); got != want {
			t.Errorf("%s is %v; want %v: %s", key, got, want, shown.Body)
		}
	}
	if at, created := shown.Text("instance", "deleted_at"), shown.Text("instance", "created"); at == "" || at < created || strings.HasSuffix(at, "Z") {
		t.Errorf("created %s, deleted %s", created, at)
	}
	admin.Want(t, 404, http.MethodGet, "/mgmt"+gatewaytest.Instance(source), "")
	c.Want(t, 401, http.MethodGet, "/mgmt/instances?deleted=true", "")
	if a := c.Want(t, 200, http.MethodGet, "/instances?deleted=true", ""); a.At("instances", 0) != nil {
		t.Errorf("a tenant sees %s", a.Body)
	}
}
