package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

const rpo3 = `,"pitr":{"enabled":true,"rpo":3}`

// restorable waits until an instance can be restored to any time, and returns what is said of that.
func restorable(t *testing.T, c gatewaytest.Client, id string, windows int) (a gatewaytest.Answer) {
	t.Helper()
	waitFor(t, func() bool {
		a = c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/restorable", "")
		return a.At("restorable", "windows", windows-1) != nil
	})
	return a
}

// restoredAt makes an instance as another one was; point is JSON of the restore point beside the instance.
func restoredAt(t *testing.T, c gatewaytest.Client, id, point string) string {
	t.Helper()
	made := c.Create(t, "then", fmt.Sprintf(`,"restorePoint":{"instance_id":%q,%s}`, id, point))
	c.Await(t, made, "ACTIVE", soon)
	return made
}

func databasesOf(t *testing.T, c gatewaytest.Client, id string) (names string) {
	t.Helper()
	a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/databases", "")
	for i := 0; a.At("databases", i) != nil; i++ {
		names += a.Text("databases", i, "name") + " "
	}
	return strings.TrimSpace(names)
}

// TestPointInTime: an instance whose log is shipped can be had as it was at any moment, and after it was deleted.
func TestPointInTime(t *testing.T) {
	_, option := stored(t)
	server, g, _ := start(t, option)
	store := server.Store(t)
	c := g.Client(gatewaytest.Member)
	other := c.Create(t, "other", "") // whose backups are no base of anything
	c.Await(t, other, "ACTIVE", soon)
	ordinary := backUp(t, c, other, "").Text("backup", "id")
	id := c.Create(t, "db", rpo3)
	c.Await(t, id, "ACTIVE", soon)
	if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), ""); a.At("instance", "pitr", "rpo") != 3.0 {
		t.Errorf("%s", a.Body)
	}
	restorable(t, c, id, 1)
	c.Want(t, 202, http.MethodDelete, "/backups/"+ordinary, "")
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	var times []string
	for _, name := range []string{"one", "two", "three"} {
		c.Want(t, 202, http.MethodPost, at+"/databases", fmt.Sprintf(`{"databases":[{"name":%q}]}`, name))
		times = append(times, fmt.Sprintf(`"time":%q`, time.Now().UTC().Format(time.RFC3339Nano)))
	}
	for i, want := range []string{"one", "one two", "one three two"} {
		if got := databasesOf(t, c, restoredAt(t, c, id, times[i])); got != want {
			t.Errorf("at %s it has %q; want %q", times[i], got, want)
		}
	}
	a := restorable(t, c, id, 1)
	if got := databasesOf(t, c, restoredAt(t, c, id, fmt.Sprintf(`"position":%q`, a.Text("restorable", "windows", 0, "until_position")))); got != "one three two" {
		t.Errorf("at the end of its log it has %q", got)
	}
	for point, says := range map[string]string{
		`"time":"2001-01-01T00:00:00Z"`: "restorable", `"time":"2101-01-01T00:00:00Z"`: "future", `"time":"noon"`: "like",
		`"time":"2026-01-01T00:00:00Z","position":"1"`: "either", `"backupRef":"x"`: "either",
	} {
		body := fmt.Sprintf(`{"instance":{"name":"then","flavorRef":"1","volume":{"size":1},"restorePoint":{"instance_id":%q,%s}}}`, id, point)
		if a := c.Do(t, http.MethodPost, "/instances", body); a.Status/100 != 4 || !strings.Contains(string(a.Body), says) {
			t.Errorf("%s: %d %s", point, a.Status, a.Body)
		}
	}
	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, id, soon)
	if got := databasesOf(t, c, restoredAt(t, c, id, times[1])); got != "one two" {
		t.Errorf("after it was deleted it has %q", got)
	}
	// What no backup needs any more goes, with the quota.
	backup := a.Text("restorable", "windows", 0, "backups", 0)
	c.Want(t, 202, http.MethodDelete, "/backups/"+backup, "")
	waitFor(t, func() bool {
		_, err := etcdschema.Get(t.Context(), store, etcdschema.ArchiveKey(gatewaytest.Project, id))
		return err != nil
	})
	if u, err := etcdschema.Get(t.Context(), store, etcdschema.UsageKey(gatewaytest.Project)); err != nil || u.Value.BackupBytes != 0 {
		t.Errorf("%d bytes are charged: %v", u.Value.BackupBytes, err)
	}
}

// TestPointInTimeGap: a log that has a gap goes on in a window of its own, with a base backup that nobody asks for; and it is told.
func TestPointInTimeGap(t *testing.T) {
	_, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"pitr":{"enabled":true,"rpo":3}}}`)
	restorable(t, c, id, 1)
	host.Memory.ForgetLog(host.Launched(id).Address)
	a := restorable(t, c, id, 2)
	if a.Text("restorable", "windows", 0, "closed_reason") == "" || a.At("restorable", "windows", 1, "open") != true {
		t.Errorf("%s", a.Body)
	}
	if events := c.Want(t, 200, http.MethodGet, at+"/events", ""); !strings.Contains(string(events.Body), "goes on with a gap") {
		t.Errorf("it is not told: %s", events.Body)
	}
	c.Want(t, 202, http.MethodPatch, at, `{"instance":{"pitr":{"enabled":false}}}`)
	a = restorable(t, c, id, 2)
	if a.At("restorable", "windows", 1, "open") != false || a.At("restorable", "pitr", "enabled") != false {
		t.Errorf("%s", a.Body)
	}
}

// TestPointInTimeAfterPromotion: the log of the new source is shipped, in a window of its own, and what was shipped of the old one stays.
func TestPointInTimeAfterPromotion(t *testing.T) {
	_, option := stored(t)
	_, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", rpo3)
	c.Await(t, id, "ACTIVE", soon)
	restorable(t, c, id, 1)
	c.Await(t, id, "ACTIVE", soon)
	a := c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, id))
	replica := a.Text("instance", "id")
	c.Await(t, replica, "ACTIVE", soon)
	c.Want(t, 422, http.MethodPatch, gatewaytest.Instance(replica), `{"instance":{"pitr":{"enabled":true}}}`)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(replica)+"/action", `{"promote_to_replica_source":{}}`)
	a = restorable(t, c, replica, 1)
	if a.At("restorable", "pitr", "rpo") != 3.0 || a.At("restorable", "windows", 0, "open") != true {
		t.Errorf("the new source: %s", a.Body)
	}
	if a = restorable(t, c, id, 1); a.At("restorable", "pitr", "enabled") != false || a.At("restorable", "windows", 0, "open") != false {
		t.Errorf("the old source: %s", a.Body)
	}
}
