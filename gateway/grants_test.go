package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestGrant has another project restore a chain that is granted to it, and nothing that is not.
func TestGrant(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	other := g.Client(gatewaytest.Other)
	other.Project = "p2"
	id := c.Create(t, "db", tenant)
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	if _, err := host.Memory.Write(t.Context(), login(address), 0, 70); err != nil {
		t.Fatal(err)
	}
	full := backUp(t, c, id, "").Text("backup", "id")
	if _, err := host.Memory.Write(t.Context(), login(address), 70, 90); err != nil {
		t.Fatal(err)
	}
	last := backUp(t, c, id, `,"incremental":1`).Text("backup", "id")
	restore := func(backup, project string) gatewaytest.Answer {
		t.Helper()
		return other.Do(t, http.MethodPost, "/instances", fmt.Sprintf(
			`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q,"project_id":%q}}}`, backup, project))
	}
	unseen := func(when, backup string) {
		t.Helper()
		none := "0199d0a1-0000-7000-8000-00000000000b"
		for _, project := range []string{"p1", "", "nobody", "../p1", "p1/" + full} {
			a, b := restore(backup, project), restore(none, project)
			if a.Status != 404 || b.Status != 404 || strings.ReplaceAll(string(a.Body), backup, none) != string(b.Body) {
				t.Errorf("%s: a foreign backup of project %q answers %s, one that is nowhere %s", when, project, a.Body, b.Body)
			}
		}
		other.Want(t, 404, http.MethodGet, "/backups/"+backup+"?project_id=p1", "")
		for _, call := range []struct{ method, path, body string }{
			{http.MethodGet, "", ""}, {http.MethodDelete, "", ""}, {http.MethodPost, "/action", `{"verify":{}}`}, {http.MethodGet, "/grants", ""},
			{http.MethodPost, "/grants", `{"grant":{"project_id":"p3"}}`}, {http.MethodDelete, "/grants/p2", ""},
		} {
			other.Want(t, 404, call.method, "/backups/"+backup+call.path, call.body)
		}
	}
	unseen("before", last)

	grants := "/backups/" + last + "/grants"
	for _, bad := range []string{`{}`, `{"grant":{"project_id":"p1"}}`, `{"grant":{"project_id":"../p2"}}`} {
		c.Want(t, 400, http.MethodPost, grants, bad)
	}
	g.Client(gatewaytest.Reader).Want(t, 403, http.MethodPost, grants, `{"grant":{"project_id":"p2"}}`)
	for range 2 {
		c.Want(t, 200, http.MethodPost, grants, `{"grant":{"project_id":"p2"}}`)
	}
	if a := c.Want(t, 200, http.MethodGet, grants, ""); a.Text("grants", 0, "project_id") != "p2" || a.At("grants", 1) != nil {
		t.Errorf("grants: %s", a.Body)
	}
	unseen("the one that it builds on", full)
	if a := other.Want(t, 200, http.MethodGet, "/backups/"+last+"?project_id=p1", ""); a.Text("backup", "id") != last {
		t.Errorf("a granted backup: %s", a.Body)
	}
	for _, call := range []struct{ method, path string }{{http.MethodDelete, ""}, {http.MethodGet, "/grants"}} {
		other.Want(t, 404, call.method, "/backups/"+last+call.path, "")
	}
	a := restore(last, "p1")
	if a.Status != 200 {
		t.Fatalf("restore of a granted backup: %s", a.Body)
	}
	copied := a.Text("instance", "id")
	at := other.Await(t, copied, "ACTIVE", soon).Text("instance", "ip", 0)
	if n, _, err := host.Memory.Digest(t.Context(), login(at)); n != 90 || err != nil {
		t.Errorf("the copy has %d items, want 90 (err %v)", n, err)
	}
	if a := other.Want(t, 200, http.MethodGet, "/mgmt/quotas/p2", ""); a.At("quotas", 0, "in_use") != 1.0 {
		t.Errorf("the quota of the project that restores: %s", a.Body)
	}
	// The copy's own backups are its project's, and seal with its key.
	own := backUp(t, other, copied, "").Text("backup", "id")
	c.Want(t, 404, http.MethodGet, "/backups/"+own, "")
	if a := verify(t, other, own); a.Text("backup", "verification", "result") != "intact" {
		t.Errorf("a backup of the copy: %s", a.Body)
	}

	c.Want(t, 202, http.MethodDelete, grants+"/p2", "")
	c.Want(t, 404, http.MethodDelete, grants+"/p2", "")
	unseen("revoked", last)
}

// TestGrantRevokedMeanwhile takes a grant back, or deletes the backup, after an instance has been asked for and before its guest reads:
// it reads nothing, the instance fails, and does not keep the backup's project from anything.
func TestGrantRevokedMeanwhile(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	other := g.Client(gatewaytest.Other)
	other.Project = "p2"
	id := c.Create(t, "db", tenant)
	c.Await(t, id, "ACTIVE", soon)
	for name, withdraw := range map[string]func(backup string){
		"revoked": func(backup string) { c.Want(t, 202, http.MethodDelete, "/backups/"+backup+"/grants/p2", "") },
		"deleted": func(backup string) { c.Want(t, 202, http.MethodDelete, "/backups/"+backup, "") },
	} {
		backup := backUp(t, c, id, "").Text("backup", "id")
		c.Want(t, 200, http.MethodPost, "/backups/"+backup+"/grants", `{"grant":{"project_id":"p2"}}`)
		release := host.HoldLaunches()
		copied := other.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(
			`{"instance":{"name":"copy","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q,"project_id":"p1"}}}`, backup)).Text("instance", "id")
		withdraw(backup)
		release()
		if fault := other.Await(t, copied, "ERROR", soon).Text("instance", "fault", "message"); !strings.Contains(fault, "backup") {
			t.Errorf("%s: the fault does not tell of the backup: %q", name, fault)
		}
		other.Want(t, 202, http.MethodDelete, gatewaytest.Instance(copied), "")
		other.AwaitGone(t, copied, soon)
	}
}
