package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestProtected: an instance that is protected from deletion goes on, whatever its state; everything else can be done to it.
func TestProtected(t *testing.T) {
	_, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", `,"deletion_protection":true`)
	at := gatewaytest.Instance(id)
	refused := func(when string) {
		t.Helper()
		for _, path := range []string{at, at + "?final_backup=last"} {
			if a := c.Want(t, 409, http.MethodDelete, path, ""); !strings.Contains(a.Text("conflict", "message"), "deletion_protection") {
				t.Errorf("delete %s: %s", when, a.Body)
			}
		}
	}
	refused("while it is made")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	refused("when it is there")
	if a := c.Want(t, 200, http.MethodGet, at, ""); a.At("instance", "deletion_protection") != true {
		t.Errorf("shown as %s", a.Body)
	}
	for _, bad := range []string{`"no"`, `null`, `1`} {
		c.Want(t, 400, http.MethodPut, at, `{"instance":{"deletion_protection":`+bad+`}}`)
	}

	// One that is protected while its last backup is made stays, too, and says why.
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"deletion_protection":false}}`)
	release := host.Memory.Hold(address, "create_backup")
	backup := c.Want(t, 202, http.MethodDelete, at+"?final_backup=last", "").Text("backup", "id")
	c.Await(t, id, "BACKUP", soon)
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"name":"kept","deletion_protection":true}}`)
	release()
	if got := awaitBackup(t, c, backup).Text("backup", "status"); got != "COMPLETED" {
		t.Errorf("the last backup is %s", got)
	}
	a := c.Await(t, id, "ACTIVE", soon)
	if fault := a.Text("instance", "fault", "message"); !strings.Contains(fault, "is protected from deletion") || a.Text("instance", "name") != "kept" {
		t.Errorf("protected meanwhile: %s", a.Body)
	}
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"deletion_protection":false}}`)
	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, id, soon)
}

// TestFinalBackup deletes an instance after a last backup, of which another is made; one whose last backup fails stays.
func TestFinalBackup(t *testing.T) {
	_, option := stored(t)
	_, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", tenant)
	at := gatewaytest.Instance(id)
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	if _, err := host.Memory.Write(t.Context(), login(address), 0, 100); err != nil {
		t.Fatal(err)
	}
	c.Want(t, 400, http.MethodDelete, at+"?final_backup=%07", "")

	host.Memory.Fail(address, "create_backup", fmt.Errorf("the disk is full"))
	failed := c.Want(t, 202, http.MethodDelete, at+"?final_backup=last", "").Text("backup", "id")
	awaitBackup(t, c, failed)
	a := c.Await(t, id, "ACTIVE", soon)
	if fault := a.Text("instance", "fault", "message"); !strings.Contains(fault, "the disk is full") || !strings.Contains(fault, "was not deleted") {
		t.Errorf("after a backup that failed: %s", a.Body)
	}
	host.Memory.Fail(address, "create_backup", nil)
	release := host.Memory.Hold(address, "create_backup")
	cancelled := "/backups/" + c.Want(t, 202, http.MethodDelete, at+"?final_backup=last", "").Text("backup", "id")
	c.Await(t, id, "BACKUP", soon)
	c.Want(t, 202, http.MethodPost, cancelled+"/action", `{"cancel":{}}`)
	release()
	c.Await(t, id, "ACTIVE", soon)

	last := c.Want(t, 202, http.MethodDelete, at+"?final_backup=last", "").Text("backup", "id")
	if got := awaitBackup(t, c, last).Text("backup", "status"); got != "COMPLETED" {
		t.Fatalf("the last backup is %s", got)
	}
	c.AwaitGone(t, id, soon)
	again := c.Create(t, "again", fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, last))
	address = c.Await(t, again, "ACTIVE", soon).Text("instance", "ip", 0)
	if n, _, err := host.Memory.Digest(t.Context(), login(address)); err != nil || n != 100 {
		t.Errorf("%d rows, %v, want 100", n, err)
	}
}
