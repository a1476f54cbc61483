package gateway_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/blobstore/blobstoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestVolumeNearlyFull: a tenant reads it in the instance, in why and, once, in the timeline, before the server stops.
func TestVolumeNearlyFull(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	dir := host.DataDir(t, id)
	blobstoretest.SmallAt(t, dir, 1000)
	told := func(usedKB int, warns bool) (warning string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "data"), make([]byte, usedKB<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		host.StopGuest(id)
		host.StartGuest(t, id) // which says at once how its server is
		waitFor(t, func() bool {
			warning = c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "warning")
			return warns == (warning != "")
		})
		return warning
	}
	warning := told(920, true)
	if !strings.HasPrefix(warning, "The volume is nearly full") {
		t.Errorf("the warning is %q", warning)
	}
	if summary := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/why", "").Text("why", "summary"); !strings.Contains(summary, warning) {
		t.Errorf("why says %q", summary)
	}
	if a := c.Await(t, id, "ACTIVE", soon); a.Text("instance", "operating_status") != "HEALTHY" {
		t.Errorf("a server whose volume is nearly full: %s", a.Body)
	}
	told(100, false)
	events := string(c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/events", "").Body)
	if strings.Count(events, `"`+warning) != 1 || strings.Count(events, "Not any more: "+warning) != 1 {
		t.Errorf("the timeline: %s", events)
	}
}
