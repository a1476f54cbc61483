package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// runs has a schedule run at once and returns how that ended.
func runs(t *testing.T, c gatewaytest.Client, at string) gatewaytest.Answer {
	t.Helper()
	last := c.Want(t, 200, http.MethodGet, at, "").Text("schedule", "last_run", "backup_id")
	c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	return awaitRun(t, c, at, last)
}

// TestScheduleOfSet: a schedule of a set backs it up at a replica that has what its source has, goes on through a promotion and the end of the
// member at which it is kept, falls back on the source, and keeps what it keeps of the set.
func TestScheduleOfSet(t *testing.T) {
	_, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	ids, addresses := set(t, c, 2)
	at := schedule(t, c, ids[1], `,"scope":"set","every_hours":24,"keep":2`)
	a := c.Want(t, 200, http.MethodGet, at, "")
	if a.Text("schedule", "scope") != "set" || a.Text("schedule", "instance_id") != ids[0] {
		t.Errorf("it is not kept at the source: %s", a.Body)
	}
	wantAt := func(a gatewaytest.Answer, members ...string) {
		t.Helper()
		made := a.Text("schedule", "last_run", "instance_id")
		if a.Text("schedule", "last_run", "result") != "completed" || !strings.Contains(strings.Join(members, " "), made) || made == "" {
			t.Errorf("made at %q, want one of %v: %s", made, members, a.Body)
		}
	}
	wantAt(runs(t, c, at), ids[1])

	host.Memory.Fail(addresses[1], datastores.MethodCreateBackup, fmt.Errorf("a replica of this engine cannot"))
	if a := runs(t, c, at); a.Text("schedule", "last_run", "result") != "failed" {
		t.Errorf("a backup that fails: %s", a.Body)
	}
	wantAt(runs(t, c, at), ids[2])
	host.Memory.Fail(addresses[1], datastores.MethodCreateBackup, nil)

	release := host.Memory.Hold(addresses[1], datastores.MethodCreateBackup) // a promotion in the middle of a run
	c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	waitFor(t, func() bool {
		return c.Want(t, 200, http.MethodGet, at, "").Text("schedule", "last_run", "result") == "running"
	})
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[2])+"/action", `{"promote_to_replica_source":{}}`)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[2]), "")
		return a.Text("instance", "status") == "ACTIVE" && a.Text("instance", "replicas", 0, "id") != ""
	})
	release()
	wantAt(awaitRun(t, c, at, ""), ids[1])
	c.Await(t, ids[0], "ACTIVE", soon)
	a = runs(t, c, at)
	wantAt(a, ids[0], ids[1])
	if a.Text("schedule", "instance_id") != ids[2] {
		t.Errorf("it has not followed the source: %s", a.Body)
	}
	kept := 0
	for _, id := range ids {
		made, _ := lineage(t, c, id)
		kept += len(made)
	}
	if kept != 2 {
		t.Errorf("the set has %d backups, of 2 to be kept", kept)
	}

	for _, id := range ids[:2] {
		c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
		c.AwaitGone(t, id, soon)
	}
	wantAt(runs(t, c, at), ids[2])
	c.Want(t, 501, http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"d","instance":%q,"scope":"set","kind":"drill","every_hours":1}}`, ids[2]))
	c.Want(t, 400, http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"d","instance":%q,"scope":"all","every_hours":1}}`, ids[2]))
	c.Want(t, 501, http.MethodPatch, at, `{"schedule":{"kind":"drill"}}`)
}

// TestScheduleStaysWithItsSet: the member at which it is kept is promoted away and deleted, or ejected, before the next run.
func TestScheduleStaysWithItsSet(t *testing.T) {
	_, option := stored(t)
	_, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	ids, _ := set(t, c, 2)
	at := schedule(t, c, ids[0], `,"scope":"set","every_hours":24`)
	own := schedule(t, c, ids[0], `,"every_hours":24`)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[1])+"/action", `{"promote_to_replica_source":{}}`)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[0]), "")
		return a.Text("instance", "status") == "ACTIVE" && a.Text("instance", "replica_of", "id") == ids[1]
	})
	c.Await(t, ids[1], "ACTIVE", soon)
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(ids[0]), "")
	c.AwaitGone(t, ids[0], soon)
	if a := c.Want(t, 200, http.MethodGet, at, ""); a.Text("schedule", "instance_id") != ids[1] {
		t.Errorf("it is not kept at the new source: %s", a.Body)
	}
	c.Want(t, 404, http.MethodGet, own, "")
	if a := c.Want(t, 200, http.MethodGet, "/schedules?instance_id="+ids[1], ""); a.Text("schedules", 0, "id") == "" {
		t.Errorf("schedules of the new source: %s", a.Body)
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(ids[2]), "")
	c.AwaitGone(t, ids[2], soon)
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(ids[1]), "")
	c.AwaitGone(t, ids[1], soon)
	c.Want(t, 404, http.MethodGet, at, "")
}

// TestScheduleOfCluster: a schedule of a cluster makes backups of the whole of it, outlives its members, and ends with it. A datastore whose
// clusters cannot be backed up refuses it.
func TestScheduleOfCluster(t *testing.T) {
	g, _ := clusterHosts(t, 3)
	c := g.Client(gatewaytest.Member)
	id := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 3, "")).Text("cluster", "id")
	ids := wantActive(t, awaitCluster(t, c, id), 3)
	c.Want(t, 501, http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"s","instance":%q,"every_hours":1}}`, ids[0]))
	c.Want(t, 501, http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"s","instance":%q,"every_hours":1,"kind":"incremental"}}`, id))
	c.Want(t, 501, http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"s","instance":%q,"every_hours":1,"kind":"drill"}}`, id))
	at := schedule(t, c, id, `,"every_hours":24,"keep":1`)
	for range 2 {
		a := runs(t, c, at)
		backup := c.Want(t, 200, http.MethodGet, "/backups/"+a.Text("schedule", "last_run", "backup_id"), "")
		if a.Text("schedule", "last_run", "result") != "completed" || backup.Text("backup", "cluster_id") != id || a.Text("schedule", "scope") != "cluster" {
			t.Errorf("a run: %s\n%s", a.Body, backup.Body)
		}
		awaitCluster(t, c, id)
	}
	if a := c.Want(t, 200, http.MethodGet, "/backups?instance_id="+id, ""); a.At("backups", 1) != nil || a.At("backups", 0) == nil {
		t.Errorf("kept of the cluster: %s", a.Body)
	}
	kept := c.Want(t, 200, http.MethodGet, at, "").Text("schedule", "instance_id")
	c.Want(t, 202, http.MethodPost, "/clusters/"+id, fmt.Sprintf(`{"shrink":[{"id":%q}]}`, kept))
	awaitCluster(t, c, id)
	if a := c.Want(t, 200, http.MethodGet, "/schedules?instance_id="+id, ""); a.Text("schedules", 0, "instance_id") == kept || a.At("schedules", 0) == nil {
		t.Errorf("its member is gone: %s", a.Body)
	}
	c.Want(t, 202, http.MethodDelete, "/clusters/"+id, "")
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, "/clusters/"+id, "").Status == 404 })
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, at, "").Status == 404 })
}
