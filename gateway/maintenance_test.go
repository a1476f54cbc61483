package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/plan"
)

// window is JSON of a maintenance window on every day that begins so long from now.
func window(in time.Duration, minutes int) string {
	return fmt.Sprintf(`{"days":["mon","tue","wed","thu","fri","sat","sun"],"start":%q,"duration_minutes":%d}`, time.Now().UTC().Add(in).Format("15:04"), minutes)
}

// comesUp has what waits of a subject be due, as if its time had come.
func comesUp(t *testing.T, store *etcdschema.Store, subject string) {
	t.Helper()
	key := etcdschema.MaintenanceKey(gatewaytest.Project, subject)
	_, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		return plan.PutMaintenance(rec.Value, time.Now().Add(-time.Second), time.Now().Add(1000*time.Hour)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMaintenance: what an operator asks for waits for the window of the instance or of its project, is shown, can be cancelled and begun by its
// tenant, and begins once at one of two gateways; a missed window is followed by the next.
func TestMaintenance(t *testing.T) {
	etcd, g, host := start(t)
	gatewaytest.Start(t, etcd.Store(t))
	c, operator := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at, mgmt := gatewaytest.Instance(id), "/mgmt/instances/"+id+"/action"
	ask := func(want int) gatewaytest.Answer {
		t.Helper()
		return operator.Want(t, want, http.MethodPost, mgmt, `{"upgrade":{"datastore_version":"2","when":"window"}}`)
	}
	show := func() gatewaytest.Answer { t.Helper(); return c.Want(t, 200, http.MethodGet, at, "") }

	if a := ask(422); !strings.Contains(string(a.Body), "maintenance window") {
		t.Errorf("without a window: %s", a.Body)
	}
	for _, bad := range []string{`{"days":[],"start":"02:00","duration_minutes":60}`, `{"day":"sat"}`, `"sat"`} {
		c.Want(t, 400, http.MethodPatch, at, `{"instance":{"maintenance_window":`+bad+`}}`)
		c.Want(t, 400, http.MethodPut, "/maintenance", `{"maintenance_window":`+bad+`}`)
	}
	c.Want(t, 202, http.MethodPut, "/maintenance", `{"maintenance_window":`+window(5*time.Hour, 60)+`}`)
	if a := show(); a.At("instance", "maintenance", "default") != true || a.At("instance", "maintenance", "pending") != nil {
		t.Errorf("with the project's: %s", a.Body)
	}
	c.Want(t, 401, http.MethodPost, mgmt, `{"upgrade":{"datastore_version":"2","when":"window"}}`)
	operator.Want(t, 400, http.MethodPost, mgmt, `{"upgrade":{"datastore_version":"9","when":"window"}}`)
	operator.Want(t, 400, http.MethodPost, mgmt, `{"upgrade":{"datastore_version":"2","when":"soon"}}`)
	ask(202)
	a := show()
	if a.Text("instance", "maintenance", "pending", "datastore_version") != "2" || a.Text("instance", "maintenance", "next") == "" || a.Text("instance", "status") != "ACTIVE" {
		t.Errorf("it waits: %s", a.Body)
	}
	comesUp(t, etcd.Store(t), id) // before its window: it goes on waiting
	key := etcdschema.MaintenanceKey(gatewaytest.Project, id)
	waitFor(t, func() bool {
		rec, err := etcdschema.Get(t.Context(), g.Store, key)
		return err == nil && rec.Value.Pending != nil && rec.Value.Due.After(time.Now().Add(time.Hour))
	})
	c.Want(t, 202, http.MethodPost, at+"/action", `{"cancel_maintenance":{}}`)
	c.Want(t, 422, http.MethodPost, at+"/action", `{"cancel_maintenance":{}}`)
	c.Want(t, 422, http.MethodPost, at+"/action", `{"begin_maintenance":{}}`)
	if dues := etcd.All(t, "/server/due/maintenance/"); len(dues) > 0 {
		t.Errorf("nothing waits, and %v is due", dues)
	}

	release := host.Memory.Hold(address, datastores.MethodStop)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	release()
	c.Await(t, id, "ACTIVE", soon)
	ask(202)
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"maintenance_window":`+window(-10*time.Minute, 60)+`}}`) // it is open
	waitFor(t, func() bool { return show().Text("instance", "datastore", "version") == "2" })
	c.Await(t, id, "ACTIVE", soon)
	if a := show(); a.At("instance", "maintenance", "pending") != nil || a.Text("instance", "maintenance", "last", "action") != "upgrade" {
		t.Errorf("it has begun: %s", a.Body)
	}
	events := string(c.Want(t, 200, http.MethodGet, at+"/events", "").Body)
	for _, says := range []string{"an operator wants an upgrade to version 2", "was cancelled by"} {
		if !strings.Contains(events, says) {
			t.Errorf("the timeline does not say %q: %s", says, events)
		}
	}
	if n := strings.Count(events, `"upgrade"`); strings.Count(events, "upgraded") > 1 {
		t.Errorf("it was upgraded %d times: %s", n, events)
	}

	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"maintenance_window":`+window(5*time.Hour, 60)+`}}`)
	operator.Want(t, 202, http.MethodPost, mgmt, `{"reboot":{"when":"window"}}`)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"begin_maintenance":{}}`)
	c.Await(t, id, "ACTIVE", soon)
	if a := show(); a.Text("instance", "maintenance", "last", "action") != "restart" {
		t.Errorf("begun by its tenant: %s", a.Body)
	}
	operator.Want(t, 202, http.MethodPost, mgmt, `{"reboot":{"when":"window"}}`)
	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, id, soon)
	if left := etcd.All(t, "/server/maintenance/"); len(left) != 1 { // the project's
		t.Errorf("of an instance that is gone there is %v", left)
	}
}

// TestMaintenanceWaitsForTheInstance: an instance that is busy as its window opens is tried again while that is open.
func TestMaintenanceWaitsForTheInstance(t *testing.T) {
	etcd, g, host := start(t)
	c, operator := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(id)
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"maintenance_window":`+window(5*time.Hour, 60)+`}}`)
	operator.Want(t, 202, http.MethodPost, "/mgmt/instances/"+id+"/action", `{"upgrade":{"datastore_version":"2","when":"window"}}`)
	release := host.Memory.Hold(address, datastores.MethodStart)
	t.Cleanup(release)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"maintenance_window":`+window(-10*time.Minute, 60)+`}}`)
	waitFor(t, func() bool {
		return c.Want(t, 200, http.MethodGet, at, "").Text("instance", "maintenance", "pending", "reason") != ""
	})
	release()
	c.Await(t, id, "ACTIVE", soon)
	comesUp(t, etcd.Store(t), id)
	waitFor(t, func() bool {
		return c.Want(t, 200, http.MethodGet, at, "").Text("instance", "datastore", "version") == "2"
	})
}

// TestMaintenanceOfSet: a window that was agreed with a member is its set's, goes with the source, and what waits is the set's.
func TestMaintenanceOfSet(t *testing.T) {
	_, g, _ := start(t)
	c, operator := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	ids, _ := set(t, c, 1)
	replica := gatewaytest.Instance(ids[1])
	c.Want(t, 202, http.MethodPatch, replica, `{"instance":{"maintenance_window":`+window(5*time.Hour, 60)+`}}`)
	operator.Want(t, 202, http.MethodPost, "/mgmt/instances/"+ids[1]+"/action", `{"upgrade":{"datastore_version":"2","when":"window"}}`)
	c.Want(t, 202, http.MethodPost, replica+"/action", `{"promote_to_replica_source":{}}`)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[0]), "")
		return a.Text("instance", "status") == "ACTIVE" && a.Text("instance", "replica_of", "id") == ids[1]
	})
	c.Await(t, ids[1], "ACTIVE", soon)
	for _, id := range ids {
		if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), ""); a.Text("instance", "maintenance", "pending", "action") != "upgrade" {
			t.Errorf("after a promotion nothing waits of %s: %s", id, a.Body)
		}
	}
	c.Want(t, 202, http.MethodPost, replica+"/action", `{"begin_maintenance":{}}`)
	for _, id := range ids {
		waitFor(t, func() bool {
			a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "")
			return a.Text("instance", "datastore", "version") == "2" && a.Text("instance", "status") == "ACTIVE"
		})
	}
}

// TestMaintenanceOfCluster: a window that was agreed with a member is its cluster's, all of which is upgraded, and ends with the cluster.
func TestMaintenanceOfCluster(t *testing.T) {
	g, _ := clusterHosts(t, 3)
	c, operator := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	id := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 3, "")).Text("cluster", "id")
	ids := wantActive(t, awaitCluster(t, c, id), 3)
	c.Want(t, 202, http.MethodPatch, gatewaytest.Instance(ids[2]), `{"instance":{"maintenance_window":`+window(5*time.Hour, 60)+`}}`)
	operator.Want(t, 202, http.MethodPost, "/mgmt/instances/"+ids[0]+"/action", `{"upgrade":{"datastore_version":"2","when":"window"}}`)
	if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[1]), ""); a.Text("instance", "maintenance", "pending", "action") != "upgrade" {
		t.Errorf("of another member: %s", a.Body)
	}
	c.Want(t, 202, http.MethodPatch, gatewaytest.Instance(ids[1]), `{"instance":{"maintenance_window":`+window(-10*time.Minute, 60)+`}}`) // it is open
	waitFor(t, func() bool {
		for _, m := range ids {
			if c.Want(t, 200, http.MethodGet, gatewaytest.Instance(m), "").Text("instance", "datastore", "version") != "2" {
				return false
			}
		}
		return true
	})
	awaitCluster(t, c, id)
	c.Want(t, 202, http.MethodDelete, "/clusters/"+id, "")
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, "/clusters/"+id, "").Status == 404 })
	if _, err := etcdschema.Get(t.Context(), g.Store, etcdschema.MaintenanceKey(gatewaytest.Project, id)); err == nil {
		t.Error("its maintenance is there still")
	}
}
