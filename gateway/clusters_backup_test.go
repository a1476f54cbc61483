package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// restoredCluster asks for a cluster that begins with a backup.
func restoredCluster(name string, members int, backup, more string) string {
	return clusterBody(name, members, fmt.Sprintf(`,"restorePoint":{"backupRef":%q}%s`, backup, more))
}

// TestClusterBackup: a cluster whose members are equal is backed up by one of them, which is not the first, and a cluster of another size is
// made of it: the first member of that begins with the backup, and the others have what it has.
func TestClusterBackup(t *testing.T) {
	g, hosts := clusterHosts(t, 3)
	c, memory := g.Client(gatewaytest.Member), hosts[0].Memory
	id := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 3, "")).Text("cluster", "id")
	ring := awaitCluster(t, c, id)
	ids := wantActive(t, ring, 3)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[0])+"/databases", `{"databases":[{"name":"orders"}]}`)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(ids[0])+"/users", `{"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]}]}`)
	c.Want(t, 200, http.MethodPost, "/clusters/"+id+"/root", "{}")
	if _, err := memory.Write(t.Context(), login(addressOf(ring, 1)), 0, 20); err != nil {
		t.Fatal(err)
	}

	a := c.Want(t, 501, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, ids[0]))
	if !strings.Contains(string(a.Body), "POST backups with the cluster's id") {
		t.Errorf("of a member: %s", a.Body)
	}
	c.Want(t, 501, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q,"incremental":1}}`, id))
	made := backUp(t, c, id, "")
	backup := made.Text("backup", "id")
	if made.Text("backup", "status") != "COMPLETED" || made.Text("backup", "cluster_id") != id || made.Text("backup", "instance_id") != ids[2] {
		t.Errorf("the backup of the cluster: %s", made.Body)
	}
	awaitCluster(t, c, id)
	if a := c.Want(t, 200, http.MethodGet, "/backups?instance_id="+id, ""); a.Text("backups", 0, "id") != backup {
		t.Errorf("backups of the cluster: %s", a.Body)
	}

	release := memory.Hold(addressOf(ring, 2), datastores.MethodCreateBackup)
	held := c.Want(t, 202, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id)).Text("backup", "id")
	if a := c.Want(t, 422, http.MethodPost, "/clusters/"+id, `{"restart":{}}`); !strings.Contains(string(a.Body), "backup_cluster") {
		t.Errorf("a restart beside a backup: %s", a.Body)
	}
	c.Want(t, 202, http.MethodPost, "/backups/"+held+"/action", `{"cancel":{}}`)
	release()
	if a := awaitBackup(t, c, held); a.Text("backup", "status") != "FAILED" || !strings.Contains(a.Text("backup", "fault"), "was cancelled by") {
		t.Errorf("a cancelled one: %s", a.Body)
	}
	memory.Fail(addressOf(ring, 2), datastores.MethodCreateBackup, errors.New("no luck"))
	if a := backUp(t, c, id, ""); a.Text("backup", "status") != "FAILED" || !strings.Contains(a.Text("backup", "fault"), "no luck") {
		t.Errorf("a failed one: %s", a.Body)
	}
	wantActive(t, awaitCluster(t, c, id), 3)

	c.Want(t, 202, http.MethodDelete, "/clusters/"+id, "")
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, "/clusters/"+id, "").Status == 404 })
	again := c.Want(t, 200, http.MethodPost, "/clusters", restoredCluster("again", 2, backup, "")).Text("cluster", "id")
	now := awaitCluster(t, c, again)
	for i, m := range wantActive(t, now, 2) {
		if n, _, err := memory.Digest(t.Context(), login(addressOf(now, i))); n != 20 || err != nil {
			t.Errorf("member %d has %d of 20 rows (%v)", i, n, err)
		}
		if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(m)+"/root", ""); a.At("rootEnabled") != true {
			t.Errorf("root of member %d: %s", i, a.Body)
		}
	}
	c.Want(t, 202, http.MethodPost, "/clusters/"+again, `{"grow":[`+clusterMember+`]}`)
	wantActive(t, awaitCluster(t, c, again), 3)
	if alone := c.Create(t, "alone", fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, backup)); c.Await(t, alone, "ACTIVE", soon).Status != 200 {
		t.Error("no instance is made of it")
	}
	c.Want(t, 202, http.MethodDelete, "/backups/"+backup, "")
}

func addressOf(cluster gatewaytest.Answer, member int) string {
	return cluster.Text("cluster", "instances", member, "ip", 0)
}

// sharded has the datastore in memory say that its clusters' backups are of each shard.
func sharded(t *testing.T, g *gatewaytest.Gateway) {
	t.Helper()
	offer := new(inmemory.Datastore).Plugin().Manifest().Offers[0]
	offer.Server.VolumeSupport = true
	offer.Server.Cluster.Backups = datastores.BackupOfShards
	_, err := g.Store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(etcdschema.VersionKey(offer.Datastore, offer.Version), offer.Server)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestShardedClusterBackup: each shard has its part, all of them are one backup or none, and a cluster of as many shards begins with them.
func TestShardedClusterBackup(t *testing.T) {
	g, hosts := clusterHosts(t, 2)
	sharded(t, g)
	c, admin, memory := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin), hosts[0].Memory
	id := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 4, `,"extended_properties":{"replicas":1}`)).Text("cluster", "id")
	ring := awaitCluster(t, c, id)
	wantActive(t, ring, 4)

	usage := func() (count int, bytes int64) {
		rec, err := etcdschema.Get(t.Context(), g.Store, etcdschema.UsageKey(gatewaytest.Project))
		if err != nil {
			t.Fatal(err)
		}
		return rec.Value.Backups, rec.Value.BackupBytes
	}
	ask := fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id)
	// The project's first: all parts are sealed with the one key that is made for it.
	c.Want(t, 202, http.MethodPost, "/backups/"+backUp(t, c, id, "").Text("backup", "id")+"/action", `{"verify":{}}`)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, "/backups?instance_id="+id, "")
		return a.Text("backups", 0, "verification", "state") == "ended"
	})
	first := c.Want(t, 200, http.MethodGet, "/backups?instance_id="+id, "")
	if got := first.Text("backups", 0, "verification", "result"); got != "intact" {
		t.Errorf("the project's first backup is %s: %s", got, first.Body)
	}
	c.Want(t, 202, http.MethodDelete, "/backups/"+first.Text("backups", 0, "id"), "")
	waitFor(t, func() bool { n, bytes := usage(); return n == 0 && bytes == 0 })
	awaitCluster(t, c, id)
	admin.Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"backups":1}}`)
	c.Want(t, 413, http.MethodPost, "/backups", ask)
	admin.Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"backups":4}}`)
	release := memory.Hold(addressOf(ring, 1), datastores.MethodCreateBackup)
	half := c.Want(t, 202, http.MethodPost, "/backups", ask).Text("backup", "id")
	c.Await(t, membersOf(ring)[0], "ACTIVE", soon)
	if n, _ := usage(); n != 2 || c.Want(t, 200, http.MethodGet, "/backups/"+half, "").Text("backup", "status") == "COMPLETED" {
		t.Errorf("a backup of which a part is not made counts %v", n)
	}
	memory.Fail(addressOf(ring, 1), datastores.MethodCreateBackup, errors.New("no luck"))
	release()
	if a := awaitBackup(t, c, half); a.Text("backup", "status") != "FAILED" || !strings.Contains(a.Text("backup", "fault"), "no luck") {
		t.Errorf("a backup of which a part has failed: %s", a.Body)
	}
	if n, bytes := usage(); n != 0 || bytes != 0 {
		t.Errorf("a failed backup counts %v, with %v bytes", n, bytes)
	}
	memory.Fail(addressOf(ring, 1), datastores.MethodCreateBackup, nil)
	awaitCluster(t, c, id)

	made := backUp(t, c, id, "")
	backup := made.Text("backup", "id")
	if made.Text("backup", "status") != "COMPLETED" || made.At("backup", "locationRef") == nil {
		t.Errorf("the backup of the cluster: %s", made.Body)
	}
	if a := c.Want(t, 200, http.MethodGet, "/backups?instance_id="+id, ""); a.At("backups", 2) != nil || a.At("backups", 1) == nil {
		t.Errorf("parts are listed: %s", a.Body)
	}
	var head etcdschema.Backup
	if rec, err := etcdschema.Get(t.Context(), g.Store, etcdschema.BackupKey(gatewaytest.Project, backup)); err != nil || len(rec.Value.Parts) != 1 {
		t.Fatalf("its record: %+v, %v", rec.Value, err)
	} else {
		head = rec.Value
	}
	for _, call := range []struct{ method, path, body string }{{http.MethodGet, "", ""}, {http.MethodDelete, "", ""}, {http.MethodPost, "/action", `{"verify":{}}`}} {
		c.Want(t, 404, call.method, "/backups/"+head.Parts[0].ID+call.path, call.body)
	}
	c.Want(t, 501, http.MethodPost, "/backups/"+backup+"/grants", `{"grant":{"project_id":"p2"}}`)
	c.Want(t, 202, http.MethodPost, "/backups/"+backup+"/action", `{"verify":{}}`)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, "/backups/"+backup, "")
		bytes, _ := a.At("backup", "verification", "bytes").(float64)
		return a.Text("backup", "verification", "result") == "intact" && bytes > float64(head.Stored)
	})
	c.Want(t, 400, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, backup))
	if a := c.Want(t, 400, http.MethodPost, "/clusters", restoredCluster("other", 3, backup, "")); !strings.Contains(string(a.Body), "one of 2 shards") {
		t.Errorf("of another size: %s", a.Body)
	}
	again := c.Want(t, 200, http.MethodPost, "/clusters", restoredCluster("again", 2, backup, ""))
	c.Want(t, 409, http.MethodDelete, "/backups/"+backup, "")
	var began []string
	for _, m := range membersOf(again) {
		rec, err := etcdschema.Get(t.Context(), g.Store, etcdschema.InstanceKey(gatewaytest.Project, m))
		if err != nil {
			t.Fatal(err)
		}
		began = append(began, rec.Value.Restore...)
	}
	if want := []string{backup, head.Parts[0].ID}; len(began) > 0 && !slices.Equal(began, want) {
		t.Errorf("the members begin with %v, want %v", began, want)
	}
	wantActive(t, awaitCluster(t, c, again.Text("cluster", "id")), 2)
	c.Want(t, 202, http.MethodDelete, "/backups/"+backup, "")
	waitFor(t, func() bool { n, bytes := usage(); return n == 0 && bytes == 0 })
}
