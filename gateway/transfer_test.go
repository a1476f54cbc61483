package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/plan"
)

// content reads or writes what a backup holds.
func content(t *testing.T, c gatewaytest.Client, method, id, media string, body []byte) gatewaytest.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+"/v1.0/"+c.Project+"/backups/"+id+"/content", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", c.Token)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return gatewaytest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: got}
}

// order asks for an import of an item of a manifest.
func order(t *testing.T, c gatewaytest.Client, parent string, item any) gatewaytest.Answer {
	t.Helper()
	body, err := json.Marshal(map[string]any{"backup": map[string]any{"name": "in", "parent_id": parent, "restore_from": item}})
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(t, http.MethodPost, "/backups", string(body))
}

const packed = "application/zstd"

// TestTransfer has a chain leave one installation and come into another one, which has nothing of the first.
func TestTransfer(t *testing.T) {
	_, from, host := start(t)
	a := from.Client(gatewaytest.Member)
	id := a.Create(t, "db", tenant)
	address := a.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	for n, more := range []string{"", `,"incremental":1`, `,"incremental":1`} {
		if _, err := host.Memory.Write(t.Context(), login(address), n*50, n*50+50); err != nil {
			t.Fatal(err)
		}
		id = backUp(t, a, strings.TrimSpace(id), more).Text("backup", "instance_id")
	}
	last := a.Want(t, 200, http.MethodGet, "/backups", "").Text("backups", 0, "id")
	export := a.Want(t, 200, http.MethodGet, "/backups/"+last+"/export", "")
	items, _ := export.At("export", "backups").([]any)
	if len(items) != 3 || export.Text("export", "backups", 2, "id") != last {
		t.Fatalf("the manifest: %s", export.Body)
	}
	from.Client(gatewaytest.Reader).Want(t, 403, http.MethodGet, "/backups/"+last+"/export", "")
	if got := content(t, from.Client(gatewaytest.Reader), http.MethodGet, last, "", nil); got.Status != 403 {
		t.Errorf("a reader exports: %d", got.Status)
	}
	stranger := from.Client(gatewaytest.Other)
	stranger.Project = "p2"
	a.Want(t, 200, http.MethodPost, "/backups/"+last+"/grants", `{"grant":{"project_id":"p2"}}`)
	if got := content(t, stranger, http.MethodGet, last, "", nil); got.Status != 404 {
		t.Errorf("another project exports what was granted to it for restoring: %d", got.Status)
	}

	dir, option := stored(t)
	_, to, there := start(t, option)
	b := to.Client(gatewaytest.Member)
	parent := ""
	for _, item := range items {
		of := fmt.Sprint(item.(map[string]any)["id"])
		held := content(t, a, http.MethodGet, of, "", nil)
		if held.Status != 200 || bytes.Contains(held.Body, []byte("orders")) {
			t.Fatalf("what %s holds: %d", of, held.Status)
		}
		made := order(t, b, parent, item)
		if made.Status != 202 || made.Text("backup", "status") != "NEW" || made.Text("backup", "instance_id") != "" {
			t.Fatalf("%d: %s", made.Status, made.Body)
		}
		parent = made.Text("backup", "id")
		if got := content(t, b, http.MethodPut, parent, packed, held.Body); got.Status != 200 || got.Text("backup", "status") != "COMPLETED" {
			t.Fatalf("%d: %s", got.Status, got.Body)
		}
	}
	if got := verify(t, b, parent).Text("backup", "verification", "result"); got != "intact" {
		t.Errorf("the imported chain is %s", got)
	}
	copied := b.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(
		`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, parent)).Text("instance", "id")
	at := b.Await(t, copied, "ACTIVE", soon).Text("instance", "ip", 0)
	if n, _, err := there.Memory.Digest(t.Context(), login(at)); n != 150 || err != nil {
		t.Errorf("the copy has %d items, want 150 (err %v)", n, err)
	}
	again := b.Want(t, 200, http.MethodGet, "/backups/"+parent+"/export", "")
	if got, _ := again.At("export", "backups").([]any); len(got) != 3 {
		t.Errorf("an imported chain is exported as %s", again.Body)
	}
	for _, name := range files(t, dir) {
		if !strings.Contains(name, "/p1/") {
			t.Errorf("%s is nowhere that anybody owns", name)
		}
	}
	first := again.Text("export", "backups", 0, "id")
	b.Want(t, 202, http.MethodDelete, "/instances/"+copied, "")
	b.AwaitGone(t, copied, soon)
	b.Want(t, 202, http.MethodDelete, "/backups/"+first, "")
	waitFor(t, func() bool { return len(files(t, dir)) == 0 })
	spent(t, b, 0)
}

// spent wants so many backups to be in use, and none to take anything when that is none.
func spent(t *testing.T, c gatewaytest.Client, backups float64) {
	t.Helper()
	quotas := c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "")
	if got := quotas.At("quotas", 3, "in_use"); got != backups {
		t.Errorf("%v backups in use, want %v: %s", got, backups, quotas.Body)
	}
}

// pack compresses.
func pack(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(data, nil)
}

// TestImportIsRefused sends what is wrong in every way: nothing of it becomes a backup, and what is right does afterwards.
func TestImportIsRefused(t *testing.T) {
	dir, option := stored(t)
	etcd, g, _ := start(t, option)
	store, c := etcd.Store(t), g.Client(gatewaytest.Member)
	of := func(change func(map[string]any)) map[string]any {
		item := map[string]any{"datastore": "memory", "datastore_version": "1", "size": 0.5}
		change(item)
		return item
	}
	plain := func(map[string]any) {}
	for name, bad := range map[string]struct {
		status int
		change func(map[string]any)
	}{
		"a location":      {501, func(m map[string]any) { m["remote_location"] = "http://169.254.169.254/" }},
		"no size":         {400, func(m map[string]any) { delete(m, "size") }},
		"size":            {400, func(m map[string]any) { m["size"] = -1 }},
		"huge":            {400, func(m map[string]any) { m["size"] = 1e300 }},
		"bytes":           {400, func(m map[string]any) { m["bytes"] = -1 }},
		"meta":            {400, func(m map[string]any) { m["meta"] = []int{1} }},
		"long meta":       {400, func(m map[string]any) { m["meta"] = map[string]string{"x": strings.Repeat("x", 9000)} }},
		"fixed":           {400, func(m map[string]any) { m["fixed"] = map[string]any{"plugin_load": "x.so"} }},
		"fixed to others": {400, func(m map[string]any) { m["fixed"] = map[string]any{"format": "old\nx=1"} }},
		"not fixed":       {400, func(m map[string]any) { m["fixed"] = map[string]any{"limit": 1} }},
		"no version":      {400, func(m map[string]any) { delete(m, "datastore_version") }},
		"another version": {400, func(m map[string]any) { m["datastore_version"] = "7" }},
		"version id":      {400, func(m map[string]any) { m["local_datastore_version_id"] = "7" }},
		"strategy":        {400, func(m map[string]any) { m["strategy"] = "mysql_impl/mariabackup" }},
	} {
		if got := order(t, c, "", of(bad.change)); got.Status != bad.status {
			t.Errorf("%s: %d, want %d: %s", name, got.Status, bad.status, got.Body)
		}
	}
	if got := order(t, c, "0199d0a1-0000-7000-8000-00000000000b", of(plain)); got.Status != 404 {
		t.Errorf("a parent that is not there: %d", got.Status)
	}
	spent(t, c, 0)

	data := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	made := order(t, c, "", of(func(m map[string]any) { m["bytes"] = len(data) })).Text("backup", "id")
	damaged := pack(t, data)
	damaged[len(damaged)/2] ^= 1
	for name, bad := range map[string]struct {
		status int
		media  string
		body   []byte
	}{
		"media":     {415, "text/plain", data},
		"no zstd":   {422, packed, data},
		"damaged":   {422, packed, damaged},
		"truncated": {422, packed, pack(t, data)[:20]},
		"nothing":   {422, packed, nil},
		"shorter":   {422, packed, pack(t, data[1:])},
		"longer":    {422, "application/octet-stream", append(data[:len(data):len(data)], 0)},
		"a bomb":    {422, packed, pack(t, make([]byte, 200<<20))},
	} {
		got := content(t, c, http.MethodPut, made, bad.media, bad.body)
		if got.Status != bad.status {
			t.Errorf("%s: %d, want %d: %s", name, got.Status, bad.status, got.Body)
		}
		if is := c.Want(t, 200, http.MethodGet, "/backups/"+made, "").Text("backup", "status"); is != "NEW" {
			t.Errorf("%s: the backup is %s", name, is)
		}
	}
	if got := order(t, c, made, of(plain)); got.Status != 409 {
		t.Errorf("a parent that is not complete: %d", got.Status)
	}
	if got := content(t, c, http.MethodGet, made, "", nil); got.Status != 409 {
		t.Errorf("what is not there yet is exported: %d", got.Status)
	}
	if got := content(t, g.Client(gatewaytest.Reader), http.MethodPut, made, packed, pack(t, data)); got.Status != 403 {
		t.Errorf("a reader sends: %d", got.Status)
	}
	for _, status := range []int{200, 409} { // once is enough
		if got := content(t, c, http.MethodPut, made, packed, pack(t, data)); got.Status != status {
			t.Errorf("what is right: %d, want %d: %s", got.Status, status, got.Body)
		}
	}
	c.Want(t, 202, http.MethodDelete, "/backups/"+made, "")

	cancelled := order(t, c, "", of(plain)).Text("backup", "id")
	c.Want(t, 422, http.MethodDelete, "/backups/"+cancelled, "")
	c.Want(t, 202, http.MethodPost, "/backups/"+cancelled+"/action", `{"cancel":{}}`)
	late := order(t, c, "", of(plain)).Text("backup", "id")
	key := etcdschema.BackupKey(gatewaytest.Project, late)
	_, err := store.Update(t.Context(), nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		ops := plan.DueRemoval(&rec.Value, now, now)
		return append(ops, etcdschema.Put(key, rec.Value)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{cancelled, late} {
		if a := awaitBackup(t, c, id); a.Text("backup", "status") != "FAILED" || a.Text("backup", "fault") == "" {
			t.Errorf("%s", a.Body)
		}
		if got := content(t, c, http.MethodPut, id, packed, pack(t, data)); got.Status != 409 {
			t.Errorf("one that has failed is sent: %d", got.Status)
		}
		c.Want(t, 202, http.MethodDelete, "/backups/"+id, "")
	}
	waitFor(t, func() bool { return len(files(t, dir)) == 0 })
	spent(t, c, 0)
}

// TestImportWithinTheQuota: what is sent is charged as it comes, and refused when there is no more.
func TestImportWithinTheQuota(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	g.Client(gatewaytest.Admin).Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"backup_gigabytes":0}}`)
	if got := order(t, c, "", map[string]any{"datastore": "memory", "datastore_version": "1", "size": 1}); got.Status != 413 {
		t.Errorf("without any room: %d: %s", got.Status, got.Body)
	}
}
