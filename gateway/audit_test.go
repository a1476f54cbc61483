package gateway_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestAudit asks a guest and a host for changes, and has the rows of both ends compared: as they are, and after somebody has written to etcd.
func TestAudit(t *testing.T) {
	etcd, g, host := start(t)
	store := etcd.Store(t)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	id := c.Create(t, "db", tenant)
	c.Await(t, id, "ACTIVE", soon)
	for n := range 20 {
		c.Want(t, 202, http.MethodPost, gatewaytest.Instance(id)+"/users", fmt.Sprintf(`{"users":[{"name":"u%d","password":"s3cret"}]}`, n))
	}
	c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/users", "")
	audit := func(agent string) gatewaytest.Answer {
		t.Helper()
		return admin.Want(t, 200, http.MethodGet, "/mgmt/audit/"+agent, "")
	}
	findings := func(a gatewaytest.Answer) []any { t.Helper(); return a.At("audit", "findings").([]any) }
	for _, agent := range []string{id, host.ID} {
		a := audit(agent)
		rows := a.At("audit", "rows").([]any)
		if found := findings(a); len(found) > 0 || a.At("audit", "alone") != nil || len(rows) == 0 || a.At("audit", "compared") != float64(len(rows)) {
			t.Errorf("%s: %d rows, %v", agent, len(rows), a)
		}
		if got := a.Text("audit", "rows", 0, "user"); got == "" {
			t.Errorf("nobody has asked for %v", rows[0])
		}
	}
	// create_user of the 20 and prepare: the window's first chunk has its own record by now.
	if got := len(audit(id).At("audit", "rows").([]any)); got != 21 {
		t.Errorf("%d rows, want one of each change and none of what reads", got)
	}
	key := etcdschema.AuditKey(id)
	rec, err := etcdschema.Get(t.Context(), store, key)
	if err != nil {
		t.Fatal(err)
	}
	put := func(a etcdschema.Audit) {
		t.Helper()
		if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			return []etcdschema.Op{etcdschema.Put(key, a)}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	cut := rec.Value
	cut.Rows = cut.Rows[:len(cut.Rows)-1]
	put(cut)
	if found := findings(audit(id)); len(found) != 1 || fmt.Sprint(found[0].(map[string]any)["kind"]) != "unknown" {
		t.Errorf("the last row is gone: %v", found)
	}
	put(rec.Value)
	if found := findings(audit(id)); len(found) != 0 {
		t.Errorf("as it was: %v", found)
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.AwaitGone(t, id, soon)
	if left, err := etcdschema.List(t.Context(), store, etcdschema.AllAuditRows(id), etcdschema.Page{}); err != nil || len(left.Records) > 0 {
		t.Errorf("rows of a guest that is gone: %d, %v", len(left.Records), err)
	}
	if found := findings(audit(host.ID)); len(found) != 0 {
		t.Errorf("the host: %v", found)
	}
}
