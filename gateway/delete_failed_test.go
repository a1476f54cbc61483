package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/plan"
)

// sticky is a store that does not always delete.
type sticky struct {
	blobstore.Store
	sticks atomic.Bool
}

func (s *sticky) DeleteAll(ctx context.Context, prefix string) error {
	if s.sticks.Load() {
		return errors.New("/var/backups is not to be named to a tenant")
	}
	return s.Store.DeleteAll(ctx, prefix)
}

// TestDeleteFailed: a backup that the store does not remove says so, costs nothing any more, is good for nothing, and goes when it is
// deleted again; so do the parts of one that failed, and what a replica began with.
func TestDeleteFailed(t *testing.T) {
	dir := t.TempDir()
	blobs, err := blobstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := &picky{Store: blobs}
	parts.takes.Store(1000)
	store := &sticky{Store: parts}
	etcd, g, host := start(t, func(c *gateway.Config) { c.Blobs = store })
	host.Memory.ReplicaBackup = true
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	id := c.Create(t, "db", tenant)
	c.Await(t, id, "ACTIVE", soon)
	used := func() any {
		return admin.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 3, "in_use")
	}
	good := backUp(t, c, id, "").Text("backup", "id")
	other := backUp(t, c, id, "").Text("backup", "id")
	store.sticks.Store(true)
	c.Want(t, 202, http.MethodDelete, "/backups/"+good, "")
	for _, who := range []gatewaytest.Client{c, admin} {
		var a gatewaytest.Answer
		waitFor(t, func() bool {
			a = who.Do(t, http.MethodGet, "/backups/"+good, "")
			return a.Text("backup", "status") == "DELETE_FAILED"
		})
		if fault := a.Text("backup", "fault"); !strings.Contains(fault, "delete it again") || strings.Contains(fault, "/var") {
			t.Errorf("the fault is %q", fault)
		}
	}
	if n := used(); n != 1.0 {
		t.Errorf("%v backups in use", n)
	}
	c.Want(t, 409, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, good))
	if a := c.Do(t, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q,"parent_id":%q}}`, id, good)); a.Status < 400 {
		t.Errorf("a backup builds on it: %s", a.Body)
	}
	parts.takes.Store(1)
	failed := backUp(t, c, id, "").Text("backup", "id")
	left := func() bool {
		return slices.ContainsFunc(files(t, dir), func(name string) bool { return strings.Contains(name, failed) })
	}
	if !left() {
		t.Error("the failed backup has no parts: this test shows nothing")
	}
	parts.takes.Store(1000)
	replica := c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, id)).Text("instance", "id")
	c.Await(t, replica, "ACTIVE", soon)
	c.Await(t, id, "ACTIVE", soon)
	if n := used(); n != 1.0 {
		t.Errorf("%v backups in use", n)
	}

	store.sticks.Store(false)
	c.Want(t, 202, http.MethodDelete, "/backups/"+good, "")
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, "/backups/"+good, "").Status == 404 })
	if n := used(); n != 1.0 {
		t.Errorf("%v backups in use: the one that failed to be deleted was given back twice", n)
	}
	removalDue(t, etcd.Store(t), failed) // what nobody has asked for is tried again
	waitFor(t, func() bool { return !left() })
	list := c.Want(t, 200, http.MethodGet, "/backups", "")
	for i := 0; list.At("backups", i) != nil; i++ {
		c.Want(t, 202, http.MethodDelete, "/backups/"+list.Text("backups", i, "id"), "")
	}
	for _, backup := range []string{good, failed, other} {
		c.Want(t, 404, http.MethodGet, "/backups/"+backup, "")
	}
	waitFor(t, func() bool { return len(files(t, dir)) == 0 })
	if n := used(); n != 0.0 {
		t.Errorf("%v backups in use at the end", n)
	}
}

// removalDue has the removal of a backup's segments be due.
func removalDue(t *testing.T, store *etcdschema.Store, id string) {
	t.Helper()
	key := etcdschema.BackupKey(gatewaytest.Project, id)
	if _, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || rec.Value.Due.IsZero() {
			return nil, err
		}
		ops := plan.DueRemoval(&rec.Value, time.Now(), time.Now())
		return append(ops, etcdschema.Put(key, rec.Value)), nil
	}); err != nil {
		t.Fatal(err)
	}
}
