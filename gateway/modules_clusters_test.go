package gateway_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestModulesOfMembers: each member of a cluster is made with the modules that are named for it and with those that every new instance gets, and one that comes
// later with its own. Each can have others by itself; a cluster begins nothing meanwhile.
func TestModulesOfMembers(t *testing.T) {
	g, hosts := clusterHosts(t, 2)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	key := newModule(t, c, "a.key", "key_file", "first", `,"live_update":1`)
	slow := newModule(t, c, "slow", "parameters", `{"boot":"slow"}`, "")
	auto := newModule(t, admin, "auto", "ping", "of all", `,"auto_apply":1,"datastore":{"type":"memory"}`)
	with := func(modules ...string) string {
		return strings.TrimSuffix(clusterMember, "}") + `,"modules":` + strings.TrimPrefix(refs(modules...), `{"modules":`)
	}
	body := func(members ...string) string {
		return fmt.Sprintf(`{"cluster":{"name":"ring","datastore":{"type":"memory"},"instances":[%s]}}`, strings.Join(members, ","))
	}
	c.Want(t, 404, http.MethodPost, "/clusters", body(clusterMember, with(walkModule)))
	c.Want(t, 400, http.MethodPost, "/clusters", body(with(newModule(t, c, "of 2", "ping", "x", `,"datastore":{"type":"memory","version":"2"}`)), clusterMember))
	id := c.Want(t, 200, http.MethodPost, "/clusters", body(with(key), clusterMember)).Text("cluster", "id")
	at := "/clusters/" + id
	wantActive(t, awaitCluster(t, c, id), 2)
	c.Want(t, 202, http.MethodPost, at, fmt.Sprintf(`{"grow":[%s]}`, with(slow, key)))
	ids := wantActive(t, awaitCluster(t, c, id), 3)

	has := func(member string, modules ...string) {
		t.Helper()
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(member)+"/modules", "")
		for _, m := range modules {
			if !strings.Contains(string(a.Body), m) {
				t.Errorf("member %s lacks module %s: %s", member, m, a.Body)
			}
		}
		if a.At("modules", len(modules)) != nil || strings.Count(string(a.Body), `"status":"OK"`) != len(modules) {
			t.Errorf("member %s has %s, want %v", member, a.Body, modules)
		}
	}
	count := func(module string, want int) {
		t.Helper()
		if a := c.Want(t, 200, http.MethodGet, "/modules/"+module, ""); a.At("module", "instance_count") != float64(want) {
			t.Errorf("instance_count: %s; want %d", a.Body, want)
		}
	}
	file := func(member string) (text string) {
		for _, h := range hosts {
			if h.Launched(member).InstanceID == member {
				b, _ := os.ReadFile(filepath.Join(h.DataDir(t, member), "modules", key, "a.key"))
				text = string(b)
			}
		}
		return text
	}
	has(ids[0], key, auto)
	has(ids[1], auto)
	has(ids[2], slow, key, auto)
	count(key, 2)
	count(auto, 3)
	address := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[2]), "").Text("instance", "ip", 0)
	if boot := fmt.Sprint(hosts[0].Memory.Parameter(address, "boot")); file(ids[0]) != "first" || boot != "slow" {
		t.Errorf("they were made with the file %q and boot %q", file(ids[0]), boot)
	}

	// By itself; what takes a restart comes into force when the cluster restarts all.
	one := gatewaytest.Instance(ids[1])
	if a := c.Want(t, 200, http.MethodPost, one+"/modules", refs(slow, key)); !strings.Contains(string(a.Body), "a restart is needed") {
		t.Errorf("applied: %s", a.Body)
	}
	address = c.Want(t, 200, http.MethodGet, one, "").Text("instance", "ip", 0)
	if got := c.Want(t, 200, http.MethodGet, one, "").Text("instance", "status"); got != "RESTART_REQUIRED" || hosts[0].Memory.Parameter(address, "boot") == "slow" {
		t.Errorf("status %s", got)
	}
	c.Want(t, 202, http.MethodPost, at, `{"restart":{}}`)
	c.Want(t, 422, http.MethodPost, one+"/modules", refs(key))
	wantActive(t, awaitCluster(t, c, id), 3)
	if got := fmt.Sprint(hosts[0].Memory.Parameter(address, "boot")); got != "slow" {
		t.Errorf("after the restart of all boot is %s", got)
	}
	c.Want(t, 200, http.MethodDelete, one+"/modules/"+key, "")
	has(ids[1], slow, auto)

	// Applied again: to members when that is said.
	if a := c.Want(t, 200, http.MethodGet, "/modules/"+key+"/instances", ""); a.At("instances", 0) != nil {
		t.Errorf("members are listed: %s", a.Body)
	}
	if a := c.Want(t, 200, http.MethodGet, "/modules/"+key+"/instances?include_clustered=true", ""); a.At("instances", 1) == nil || a.At("instances", 2) != nil {
		t.Errorf("who has it: %s", a.Body)
	}
	c.Want(t, 200, http.MethodPut, "/modules/"+key, `{"module":{"contents":"bmV3"}}`)
	reapply := func(given string) {
		c.Want(t, 202, http.MethodPut, "/modules/"+key+"/instances", `{"reapply":`+given+`}`)
		waitFor(t, func() bool {
			return c.Want(t, 200, http.MethodGet, "/modules/"+key, "").At("module", "reapplying") == false
		})
	}
	reapply(`{}`)
	if is := file(ids[0]); is != "first" {
		t.Errorf("a member that was not asked for has %q", is)
	}
	reapply(`{"include_clustered":1}`)
	for _, member := range []string{ids[0], ids[2]} {
		waitFor(t, func() bool {
			return !strings.Contains(string(c.Want(t, 200, http.MethodGet, gatewaytest.Instance(member)+"/modules", "").Body), "APPLYING")
		})
		if is := file(member); is != "new" {
			t.Errorf("member %s has %q after it", member, is)
		}
	}

	c.Want(t, 202, http.MethodPost, at, fmt.Sprintf(`{"shrink":[{"id":%q}]}`, ids[2]))
	wantActive(t, awaitCluster(t, c, id), 2)
	count(key, 1)
	c.Want(t, 202, http.MethodDelete, at, "")
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, at, "").Status == 404 })
	for _, m := range []string{key, slow, auto} {
		count(m, 0)
	}
}
