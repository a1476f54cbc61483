package gateway_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// stored runs a gateway whose backups lie in a directory that the test knows.
func stored(t *testing.T) (dir string, option gatewaytest.Option) {
	t.Helper()
	dir = t.TempDir()
	blobs, err := blobstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, func(c *gateway.Config) { c.Blobs = blobs }
}

// backUp asks for a backup and waits until it is at an end.
func backUp(t *testing.T, c gatewaytest.Client, instance, more string) gatewaytest.Answer {
	t.Helper()
	a := c.Want(t, 202, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q%s}}`, instance, more))
	if got := a.Text("backup", "status"); got != "NEW" {
		t.Errorf("a new backup is %s", got)
	}
	return awaitBackup(t, c, a.Text("backup", "id"))
}

func awaitBackup(t *testing.T, c gatewaytest.Client, id string) (a gatewaytest.Answer) {
	t.Helper()
	waitFor(t, func() bool {
		a = c.Want(t, 200, http.MethodGet, "/backups/"+id, "")
		status := a.Text("backup", "status")
		return status != "NEW" && status != "BUILDING"
	})
	return a
}

// files are the names of everything below dir.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we look
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestBackupAndRestore(t *testing.T) {
	dir, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	write := func(from, to int) {
		t.Helper()
		if _, err := host.Memory.Write(t.Context(), login(address), from, to); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 100)
	full := backUp(t, c, id, `,"description":"the first"`)
	if full.Text("backup", "status") != "COMPLETED" || full.Text("backup", "locationRef") == "" || full.Text("backup", "strategy") != "memory_impl/copy" {
		t.Fatalf("the full backup: %s", full.Body)
	}
	write(100, 150)
	first := backUp(t, c, id, `,"incremental":1`)
	write(150, 160)
	second := backUp(t, c, id, fmt.Sprintf(`,"parent_id":%q`, first.Text("backup", "id")))
	for _, b := range []struct{ child, parent gatewaytest.Answer }{{first, full}, {second, first}} {
		if b.child.Text("backup", "parent_id") != b.parent.Text("backup", "id") {
			t.Errorf("the parent of %s is not %s", b.child.Body, b.parent.Text("backup", "id"))
		}
	}
	for _, want := range []struct {
		of    gatewaytest.Answer
		items int
	}{{full, 100}, {second, 160}} {
		copied := c.Want(t, 200, http.MethodPost, "/instances",
			fmt.Sprintf(`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":"http://h/v1.0/p1/backups/%s"}}}`, want.of.Text("backup", "id"))).Text("instance", "id")
		at := c.Await(t, copied, "ACTIVE", soon).Text("instance", "ip", 0)
		if n, _, err := host.Memory.Digest(t.Context(), login(at)); n != want.items || err != nil {
			t.Errorf("the copy has %d items, want %d (err %v)", n, want.items, err)
		}
	}
	if list := c.Want(t, 200, http.MethodGet, "/instances/"+id+"/backups?limit=2", ""); list.Text("backups", 0, "id") != second.Text("backup", "id") || list.At("links", 0) == nil {
		t.Errorf("the newest two of the instance: %s", list.Body)
	}
	if list := c.Want(t, 200, http.MethodGet, "/backups?marker=2&limit=2", ""); list.Text("backups", 0, "id") != full.Text("backup", "id") || list.At("backups", 1) != nil {
		t.Errorf("after the newest two: %s", list.Body)
	}
	for _, name := range files(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.Contains(string(text), "orders") {
			t.Errorf("%s is not sealed (err %v)", name, err)
		}
	}
	other := g.Client(gatewaytest.Other)
	other.Project = "p2"
	other.Want(t, 404, http.MethodGet, "/backups/"+full.Text("backup", "id"), "")
	other.Want(t, 404, http.MethodDelete, "/backups/"+full.Text("backup", "id"), "")

	// With the full one go those that build on it, and everything in the store.
	c.Want(t, 202, http.MethodDelete, "/backups/"+full.Text("backup", "id"), "")
	for _, b := range []gatewaytest.Answer{full, first, second} {
		c.Want(t, 404, http.MethodGet, "/backups/"+b.Text("backup", "id"), "")
	}
	waitFor(t, func() bool { return len(files(t, dir)) == 0 })
	if got := c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 3, "in_use"); got != 0.0 {
		t.Errorf("%v backups in use after all were deleted", got)
	}
}

// TestRestoreAsAnotherVersion: a newer version of the datastore takes what a logical strategy made, and nothing else.
func TestRestoreAsAnotherVersion(t *testing.T) {
	etcd, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	store := etcd.Store(t)
	create := func(version, backup string) (int, string) {
		t.Helper()
		a := c.Do(t, http.MethodPost, "/instances", fmt.Sprintf(
			`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory","version":%q},"restorePoint":{"backupRef":%q}}}`, version, backup))
		return a.Status, a.Text("instance", "id")
	}
	backups := map[string]string{}
	for _, version := range []string{"1", "2"} {
		id := c.Create(t, "db", tenant)
		if version == "2" {
			c.Await(t, id, "ACTIVE", soon)
			c.Want(t, 202, http.MethodPatch, gatewaytest.Instance(id), `{"instance":{"datastore_version":"2"}}`)
		}
		at := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
		if _, err := host.Memory.Write(t.Context(), login(at), 0, 7); err != nil {
			t.Fatal(err)
		}
		for _, strategy := range []string{"copy", "slow"} {
			key := etcdschema.VersionKey("memory", version)
			if _, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
				rec, err := etcdschema.Read(s, key)
				rec.Value.BackupStrategy = strategy
				return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
			}); err != nil {
				t.Fatal(err)
			}
			b := backUp(t, c, id, "")
			if b.Text("backup", "status") != "COMPLETED" || b.Text("backup", "strategy") != "memory_impl/"+strategy {
				t.Fatalf("%s", b.Body)
			}
			backups[version+strategy] = b.Text("backup", "id")
		}
	}
	for _, refused := range []struct{ version, backup string }{{"2", "1copy"}, {"1", "2copy"}, {"1", "2slow"}} {
		if status, _ := create(refused.version, backups[refused.backup]); status != 400 {
			t.Errorf("backup %s restored as version %s: status %d, want 400", refused.backup, refused.version, status)
		}
	}
	key := etcdschema.VersionKey("memory", "2") // whose files those of version 1 can become
	if _, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		rec.Value.BackupStrategies = slices.Clone(rec.Value.BackupStrategies)
		rec.Value.BackupStrategies[0].Upgrades = true
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
	}); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"1slow", "1copy"} {
		status, id := create("2", backups[made])
		if status != 200 {
			t.Fatalf("backup %s restored as version 2: status %d", made, status)
		}
		a := c.Await(t, id, "ACTIVE", soon)
		if n, _, err := host.Memory.Digest(t.Context(), login(a.Text("instance", "ip", 0))); n != 7 || err != nil || a.Text("instance", "datastore", "version") != "2" {
			t.Errorf("made of %s it has %d items (err %v): %s", made, n, err, a.Body)
		}
	}
}

func TestBackupRefused(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Want(t, 422, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
	c.Await(t, id, "ACTIVE", soon)
	none := "0199d0a1-0000-7000-8000-00000000000b"
	for _, bad := range []struct {
		status int
		body   string
	}{
		{400, `{}`}, {400, `{"backup":{"instance":"` + id + `"}}`}, {400, `{"backup":{"name":"b"}}`},
		{404, `{"backup":{"name":"b","instance":"` + none + `"}}`}, {404, `{"backup":{"name":"b","instance":"` + id + `","parent_id":"` + none + `"}}`},
		{400, `{"backup":{"name":"b","instance":"` + id + `","incremental":"yes"}}`},
		{400, `{"backup":{"name":"b","instance":"` + id + `","swift_container":"../x"}}`},
		{400, `{"backup":{"name":"b","restore_from":{}}}`},
		{501, `{"backup":{"name":"b","restore_from":{"remote_location":"https://swift/b","size":1}}}`},
	} {
		c.Want(t, bad.status, http.MethodPost, "/backups", bad.body)
	}
	c.Want(t, 202, http.MethodPost, "/backup_strategies", `{"backup_strategy":{"swift_container":"mine"}}`)
	if got := backUp(t, c, id, "").Text("backup", "locationRef"); !strings.HasPrefix(got, "mine/") {
		t.Errorf("the backup is at %s, want it in the project's container", got)
	}
	if a := c.Want(t, 200, http.MethodGet, "/backup_strategies", ""); a.Text("backup_strategies", 0, "swift_container") != "mine" {
		t.Errorf("strategies: %s", a.Body)
	}
	c.Want(t, 202, http.MethodDelete, "/backup_strategies", "")
	admin := g.Client(gatewaytest.Admin)
	admin.Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"backups":1}}`)
	c.Want(t, 413, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
}

// TestBackupCancelled ends one that is being made: it is FAILED at once and can be deleted, and the next one is made.
func TestBackupCancelled(t *testing.T) {
	dir, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	release := host.Memory.Hold(address, "create_backup")
	a := c.Want(t, 202, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
	backup := "/backups/" + a.Text("backup", "id")
	c.Await(t, id, "BACKUP", soon)
	c.Want(t, 422, http.MethodDelete, backup, "")
	c.Want(t, 422, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b2","instance":%q}}`, id))
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(id)+"/databases", `{"databases":[{"name":"beside"}]}`)
	c.Want(t, 409, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, a.Text("backup", "id")))
	c.Want(t, 202, http.MethodPost, backup+"/action", `{"cancel":{}}`)
	if got := c.Want(t, 200, http.MethodGet, backup, ""); got.Text("backup", "status") != "FAILED" || !strings.Contains(got.Text("backup", "fault"), "cancelled by") {
		t.Errorf("a cancelled backup: %s", got.Body)
	}
	c.Want(t, 422, http.MethodPost, backup+"/action", `{"cancel":{}}`)
	c.Await(t, id, "ACTIVE", soon)
	release()
	c.Want(t, 202, http.MethodDelete, backup, "")
	if got := backUp(t, c, id, "").Text("backup", "status"); got != "COMPLETED" {
		t.Errorf("the backup after a cancelled one is %s", got)
	}
	host.Memory.Fail(address, "create_backup", fmt.Errorf("the disk is full"))
	failed := backUp(t, c, id, "")
	if failed.Text("backup", "status") != "FAILED" || !strings.Contains(failed.Text("backup", "fault"), "the disk is full") {
		t.Errorf("a failed backup: %s", failed.Body)
	}
	if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "status"); got != "ACTIVE" {
		t.Errorf("the instance of a failed backup is %s", got)
	}
	list := c.Want(t, 200, http.MethodGet, "/backups", "")
	for i := 0; list.At("backups", i) != nil; i++ {
		c.Want(t, 202, http.MethodDelete, "/backups/"+list.Text("backups", i, "id"), "")
	}
	waitFor(t, func() bool { return len(files(t, dir)) == 0 })
}

// TestDamagedBackup changes a byte of a segment in the store: the restore fails, and names it.
func TestDamagedBackup(t *testing.T) {
	dir, option := stored(t)
	_, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	c.Await(t, id, "ACTIVE", soon)
	backup := backUp(t, c, id, "").Text("backup", "id")
	for _, name := range files(t, dir) {
		if !strings.HasSuffix(name, "00000001") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied := c.Create(t, "copy", fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, backup))
	fault := c.Await(t, copied, "ERROR", soon).Text("instance", "fault", "message")
	if !strings.Contains(fault, backup) || !strings.Contains(fault, "segment 1") {
		t.Errorf("the fault does not name the damaged segment: %q", fault)
	}
}

func TestLogs(t *testing.T) {
	dir, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(id) + "/log"
	list := c.Want(t, 200, http.MethodGet, at, "")
	if !strings.Contains(string(list.Body), `"general"`) || list.At("logs", 0, "container") != nil {
		t.Errorf("logs: %s", list.Body)
	}
	for _, bad := range []string{`{}`, `{"name":"general","enable":1,"disable":1}`, `{"name":"nothing","publish":1}`, `{"name":"error","disable":1}`} {
		if a := c.Do(t, http.MethodPost, at, bad); a.Status != 400 && a.Status != 404 {
			t.Errorf("%s: %d %s", bad, a.Status, a.Body)
		}
	}
	c.Want(t, 200, http.MethodPost, at, `{"name":"general","enable":1}`)
	if _, err := host.Memory.Write(t.Context(), login(address), 0, 3); err != nil {
		t.Fatal(err)
	}
	a := c.Want(t, 200, http.MethodPost, at, `{"name":"general","publish":1}`)
	if a.Text("log", "status") != "Published" || a.Text("log", "container") != "database_logs" || a.At("log", "published") == 0.0 {
		t.Errorf("published: %s", a.Body)
	}
	if text := c.Want(t, 200, http.MethodGet, at+"/general", ""); float64(len(text.Body)) != a.At("log", "published") || text.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d bytes were published, %s; read back %d", len(text.Body), a.Body, len(text.Body))
	}
	c.Want(t, 200, http.MethodPost, at, `{"name":"general","discard":1}`)
	c.Want(t, 404, http.MethodGet, at+"/general", "")
	c.Want(t, 404, http.MethodGet, at+"/..%2f..%2fx", "")
	if names := files(t, dir); len(names) > 0 {
		t.Errorf("left in the store: %v", names)
	}
}
