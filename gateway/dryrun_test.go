package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/api"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// steps are those of a plan: step and what clients do without.
func steps(a gatewaytest.Answer) (all []string) {
	for n := 0; a.At("plan", "steps", n) != nil; n++ {
		all = append(all, strings.TrimSpace(a.Text("plan", "steps", n, "step")+" "+a.Text("plan", "steps", n, "without")))
	}
	return all
}

// lasting is all of etcd that does not change by itself.
func lasting(t *testing.T, etcd *etcdtest.Server) map[string]string {
	all := withoutGateways(etcd.All(t, "/"))
	for key := range all {
		if strings.HasPrefix(key, "/guest/presence/") || strings.HasPrefix(key, "/server/hosts/") {
			delete(all, key)
		}
	}
	return all
}

// TestDryRun asks for a source with a replica what its operations would do: the plan has their steps, in order, and nothing is done.
func TestDryRun(t *testing.T) {
	m, source := startSetMigration(t)
	client := m.c
	for _, c := range []struct {
		what, id, body string
		want           []string
	}{
		{"restart", source, `{"restart":{}}`, []string{"restart server"}},
		{"resize", m.id, `{"resize":{"flavorRef":"2"}}`, []string{"stop server", "resize", "start"}},
		{"promote", m.id, `{"promote_to_replica_source":{}}`, []string{"fence writes", "catch up", "promote", "follow"}},
	} {
		a := client.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(c.id)+"/action?dry_run=true", c.body)
		if diff := cmp.Diff(c.want, steps(a)); diff != "" || a.Text("plan", "operation") != c.what {
			t.Errorf("%s (-want +got):\n%s%s", c.what, diff, a.Body)
		}
	}
	a := m.admin.Want(t, http.StatusOK, http.MethodPost, "/mgmt/instances/"+source+"/action?dry_run=1", `{"migrate":{}}`)
	if got := steps(a); !slices.Contains(got, "yield") || !slices.Contains(got, "prepare") {
		t.Errorf("migrate of a source: %q", got)
	}
	a = client.Want(t, http.StatusOK, http.MethodPost, "/instances?dry_run=true", `{"instance":{"name":"more","flavorRef":"1","volume":{"size":1}}}`)
	if diff := cmp.Diff([]string{"launch", "enrol", "prepare"}, steps(a)); diff != "" {
		t.Errorf("create (-want +got):\n%s", diff)
	}
	if a.At("plan", "restart") != false || a.At("plan", "changes", 0) == nil || a.At("plan", "seconds") != nil || a.At("plan", "quotas", 0, "in_use") != 3.0 {
		t.Errorf("create: %s", a.Body)
	}
	group := client.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","datastore":{"type":"memory","version":"1"},"values":{"strict":true,"cache_mb":3}}}`).Text("configuration", "id")
	a = client.Want(t, http.StatusOK, http.MethodPut, gatewaytest.Instance(source)+"?dry_run=true", fmt.Sprintf(`{"instance":{"configuration":%q}}`, group))
	if a.Text("plan", "operation") != "configure" || a.Text("plan", "restart_required_by", 0) != "cache_mb" || a.At("plan", "restart_required_by", 1) != nil {
		t.Errorf("attach: %s", a.Body)
	}
	client.Want(t, 202, http.MethodPost, gatewaytest.Instance(source)+"/action", `{"restart":{}}`)
	client.Await(t, source, "ACTIVE", soon)
	if a = client.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(source)+"/action?dry_run=true", `{"restart":{}}`); a.At("plan", "seconds") == nil {
		t.Errorf("a second restart: %s", a.Body)
	}
	client.Want(t, http.StatusBadRequest, http.MethodPost, gatewaytest.Instance(source)+"/action?dry_run=perhaps", `{"restart":{}}`)
	client.Want(t, http.StatusBadRequest, http.MethodPost, gatewaytest.Instance(source)+"/action?dry_run", `{"restart":{}}`) // which is no reason to do it
	client.Want(t, http.StatusRequestEntityTooLarge, http.MethodPost, "/instances?dry_run=true", `{"instance":{"name":"more","flavorRef":"1","volume":{"size":100000}}}`)
}

// TestDryRunWritesNothing asks for every call that changes something, as an admin and as a tenant: etcd is as it was, and so is the server.
func TestDryRunWritesNothing(t *testing.T) {
	etcd, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", `,"databases":[{"name":"orders"}],"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]}]`)
	c.Await(t, id, "ACTIVE", soon)
	backup := backUp(t, c, id, "").Text("backup", "id")
	before := lasting(t, etcd)
	foreseen := 0
	try := func(c gatewaytest.Client, method, path, body string) {
		t.Helper()
		a := c.Do(t, method, strings.NewReplacer(":id", id, ":backup", backup).Replace(path)+"?dry_run=true", strings.ReplaceAll(body, ":id", id))
		if a.At("plan") != nil {
			foreseen++
		} else if a.Status < 400 {
			t.Errorf("%s %s: %d without a plan: %s", method, path, a.Status, a.Body)
		}
	}
	for _, call := range walkCalls {
		if call.method != http.MethodGet {
			try(c, call.method, call.path, call.body)
		}
	}
	for _, rt := range api.Routes() {
		path, ours := strings.CutPrefix(rt.Path, "/v1.0/:project")
		if rt.Method == http.MethodGet || !ours {
			continue
		}
		body := fmt.Sprintf(`{"backup":{"name":"b","instance":%q},"configuration":{"name":"g","values":{"strict":true}},"schedule":{"name":"s","instance_id":%q,"every":1},`+
			`"quotas":{"instances":3},"host":{"disabled":true},"instance":{"name":"n"},"restart":{},"cluster":{"name":"c"},"flavor":{"name":"f","ram":1,"vcpus":1,"disk":1}}`, id, id)
		for _, who := range []gatewaytest.Client{c, g.Client(gatewaytest.Admin)} {
			try(who, rt.Method, path, body)
		}
	}
	if foreseen < 30 {
		t.Errorf("only %d calls were foreseen", foreseen)
	}
	if diff := cmp.Diff(before, lasting(t, etcd)); diff != "" {
		t.Errorf("dry runs have changed etcd (-before +after):\n%s", diff)
	}
}
