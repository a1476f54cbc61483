package gateway_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// moduleBody is a request for a module with something in it; more are further keys.
func moduleBody(name, kind, contents, more string) string {
	return fmt.Sprintf(`{"module":{"name":%q,"module_type":%q,"contents":%q%s}}`, name, kind, base64.StdEncoding.EncodeToString([]byte(contents)), more)
}

// TestModules goes through the life of modules that no instance has: what may be said of them, who may say it, who sees them.
func TestModules(t *testing.T) {
	etcd, g, _ := start(t)
	c, reader, admin, other := g.Client(gatewaytest.Member), g.Client(gatewaytest.Reader), g.Client(gatewaytest.Admin), g.Client(gatewaytest.Other)
	other.Project = "p2"
	for _, bad := range []struct {
		status int
		says   string
		body   string
	}{
		{400, "required property", `{}`},
		{400, "needs 'name'", `{"module":{"name":"m","module_type":"ping"}}`},
		{400, "letter or digit", moduleBody("-", "ping", "x", "")},
		{400, "type of modules", moduleBody("m", "Ping Pong", "x", "")},
		{404, "there is: [key_file parameters ping]", moduleBody("m", "new_relic_license", "x", "")},
		{400, "not be empty", moduleBody("m", "ping", "", "")},
		{400, "base64", `{"module":{"name":"m","module_type":"ping","contents":"not base64!"}}`},
		{400, "32768 bytes", moduleBody("m", "ping", strings.Repeat("x", 32<<10+1), "")},
		{400, "from 0 to 9", moduleBody("m", "ping", "x", `,"apply_order":10`)},
		{400, "description", moduleBody("m", "ping", "x", `,"description":"`+strings.Repeat("x", 1025)+`"`)},
		{404, "Datastore nothing", moduleBody("m", "ping", "x", `,"datastore":{"type":"nothing"}`)},
		{400, "version", moduleBody("m", "ping", "x", `,"datastore":{"type":"memory","version":"99"}`)},
		{400, "say the 'type'", moduleBody("m", "ping", "x", `,"datastore":{"version":"1"}`)},
		{403, "auto_apply", moduleBody("m", "ping", "x", `,"auto_apply":1`)},
		{403, "all_tenants", moduleBody("m", "ping", "x", `,"all_tenants":1`)},
		{403, "visible", moduleBody("m", "ping", "x", `,"visible":0`)},
		{403, "priority_apply", moduleBody("m", "ping", "x", `,"priority_apply":1`)},
		{403, "full_access", moduleBody("m", "ping", "x", `,"full_access":1`)},
	} {
		if a := c.Want(t, bad.status, http.MethodPost, "/modules", bad.body); !strings.Contains(string(a.Body), bad.says) {
			t.Errorf("%s; want a word of %q", a.Body, bad.says)
		}
	}
	admin.Want(t, 400, http.MethodPost, "/modules", moduleBody("m", "ping", "x", `,"full_access":1,"auto_apply":1`))
	c.Want(t, 200, http.MethodPost, "/modules", moduleBody("full", "ping", strings.Repeat("x", 32<<10), ""))

	made := c.Want(t, 200, http.MethodPost, "/modules", moduleBody("licence", "key_file", "the secret of p1", `,"datastore":{"type":"memory","version":"1"},"apply_order":2`))
	id := made.Text("module", "id")
	at := "/modules/" + id
	for key, want := range map[string]any{
		"name": "licence", "type": "key_file", "tenant": gatewaytest.Project, "datastore": "memory", "datastore_version": "1", "is_admin": false, "visible": true,
		"apply_order": 2.0, "instance_count": 0.0, "md5": "90d9b3357cba992d4b690c795ede1fca", "contents": nil,
	} {
		if got := made.At("module", key); got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
	for key, value := range etcd.All(t, "/server/") {
		if strings.Contains(value, "the secret") || strings.Contains(value, base64.StdEncoding.EncodeToString([]byte("the secret of p1"))) {
			t.Errorf("%s holds what is in the module, in clear", key)
		}
	}
	c.Want(t, 400, http.MethodPost, "/modules", moduleBody("licence", "key_file", "x", `,"datastore":{"type":"memory","version":"1"}`))
	reader.Want(t, 200, http.MethodGet, at, "")
	if a := reader.Want(t, 200, http.MethodGet, at+"/instances", ""); a.At("instances", 0) != nil {
		t.Errorf("nobody has it: %s", a.Body)
	}
	reader.Want(t, 403, http.MethodDelete, at, "")
	other.Want(t, 404, http.MethodGet, at, "")
	other.Want(t, 404, http.MethodDelete, at, "")

	was := made.Text("module", "md5")
	a := c.Want(t, 200, http.MethodPut, at, `{"module":{"contents":"bmV3","all_datastore_versions":1,"description":"of ours"}}`)
	if a.Text("module", "md5") == was || a.Text("module", "md5") != "22af645d1859cb5ca6da0c484f1f37ea" || a.Text("module", "datastore_version") != "all" || a.Text("module", "description") != "of ours" {
		t.Errorf("after a change: %s", a.Body)
	}
	c.Want(t, 400, http.MethodPut, at, `{"module":{"all_datastores":1,"datastore":{"type":"memory"}}}`)
	c.Want(t, 403, http.MethodPut, at, `{"module":{"visible":0}}`)

	// An admin's module of all projects: seen by all, changed by admins.
	shared := admin.Want(t, 200, http.MethodPost, "/modules", moduleBody("agent", "key_file", "of all", `,"all_tenants":1`)).Text("module", "id")
	if a := other.Want(t, 200, http.MethodGet, "/modules/"+shared, ""); a.Text("module", "tenant") != "all" || a.At("module", "is_admin") != true {
		t.Errorf("of all: %s", a.Body)
	}
	c.Want(t, 403, http.MethodPut, "/modules/"+shared, `{"module":{"description":"mine"}}`)
	c.Want(t, 403, http.MethodDelete, "/modules/"+shared, "")
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"all_tenants":0,"visible":0}}`)
	c.Want(t, 404, http.MethodGet, "/modules/"+shared, "")
	other.Want(t, 404, http.MethodGet, "/modules/"+shared, "")
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"priority_apply":1,"visible":1,"apply_order":9}}`)
	if a := c.Want(t, 200, http.MethodGet, "/modules", ""); a.Text("modules", 0, "name") != "agent" || a.Text("modules", 1, "name") != "licence" || a.Text("modules", 2, "name") != "full" || a.At("modules", 3) != nil {
		t.Errorf("the list: %s", a.Body)
	}
	for of, want := range map[string]string{"memory": "licence", "all": "agent"} {
		if a := c.Want(t, 200, http.MethodGet, "/modules?datastore="+of, ""); a.Text("modules", 0, "name") != want {
			t.Errorf("of %s: %s", of, a.Body)
		}
	}
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"priority_apply":0,"full_access":1}}`)
	c.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"description":"mine"}}`)
	admin.Want(t, 400, http.MethodPut, "/modules/"+shared, `{"module":{"priority_apply":1}}`) // what a project has written is no admin's
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"priority_apply":1,"contents":"bmV3"}}`)
	admin.Want(t, 200, http.MethodPut, "/modules/"+shared, `{"module":{"priority_apply":0,"full_access":1}}`)
	c.Want(t, 200, http.MethodDelete, "/modules/"+shared, "")

	admin.Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"modules":2}}`)
	c.Want(t, 413, http.MethodPost, "/modules", moduleBody("one more", "ping", "x", ""))
	c.Want(t, 200, http.MethodDelete, at, "")
	c.Want(t, 404, http.MethodGet, at, "")
	c.Want(t, 200, http.MethodPost, "/modules", moduleBody("one more", "ping", "x", ""))
	if left := etcd.All(t, "/server/module-contents/"); len(left) != 2 {
		t.Errorf("%d contents are left of 2 modules", len(left))
	}
}

// newModule makes a module and returns its id.
func newModule(t *testing.T, c gatewaytest.Client, name, kind, contents, more string) string {
	t.Helper()
	return c.Want(t, 200, http.MethodPost, "/modules", moduleBody(name, kind, contents, more)).Text("module", "id")
}

func refs(ids ...string) string {
	var list []string
	for _, id := range ids {
		list = append(list, fmt.Sprintf(`{"id":%q}`, id))
	}
	return `{"modules":[` + strings.Join(list, ",") + `]}`
}

// TestModulesOfAnInstance applies modules to a server, changes them and takes them away: what is there is told, and counted.
func TestModulesOfAnInstance(t *testing.T) {
	etcd, g, host := start(t)
	c, admin, reader := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin), g.Client(gatewaytest.Reader)
	instance := c.Create(t, "db", "")
	c.Await(t, instance, "ACTIVE", soon)
	at := gatewaytest.Instance(instance) + "/modules"
	file := func(module, name string) string {
		text, err := os.ReadFile(filepath.Join(host.DataDir(t, instance), "modules", module, name))
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	count := func(module string, want float64) {
		t.Helper()
		if a := admin.Want(t, 200, http.MethodGet, "/modules/"+module, ""); a.At("module", "instance_count") != want {
			t.Errorf("instance_count: %s; want %v", a.Body, want)
		}
	}
	ping, key := newModule(t, c, "p", "ping", "12345", ""), newModule(t, c, "licence.key", "key_file", "the key\x00\xff", `,"live_update":1`)
	bad := newModule(t, c, "no file", "key_file", "the key", "")
	hidden := newModule(t, admin, "hidden.key", "key_file", "an operator's", `,"visible":0,"priority_apply":1`)

	a := c.Want(t, 200, http.MethodPost, at, refs(ping, key, bad))
	said := map[string]string{}
	for i := range 3 {
		said[a.Text("modules", i, "id")] = a.Text("modules", i, "status") + " " + a.Text("modules", i, "message")
	}
	if said[ping] != "OK the guest has got 5 bytes" || !strings.HasPrefix(said[key], "OK the file is modules/") || !strings.HasPrefix(said[bad], "ERROR the name of a key_file") {
		t.Errorf("applied: %s", a.Body)
	}
	if got := file(key, "licence.key"); got != "the key\x00\xff" {
		t.Errorf("the file: %q", got)
	}
	if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(instance), "").Text("instance", "status"); got != "ACTIVE" {
		t.Errorf("status %s after a module that was refused", got)
	}
	admin.Want(t, 200, http.MethodPost, at, refs(hidden))
	for _, m := range []string{ping, key, bad, hidden} {
		count(m, 1)
	}
	if a := reader.Want(t, 200, http.MethodGet, at, ""); a.At("modules", 2) == nil || a.At("modules", 3) != nil {
		t.Errorf("a hidden module is told of, or one is missing: %s", a.Body)
	}
	if a := admin.Want(t, 200, http.MethodGet, at, ""); a.Text("modules", 0, "id") != hidden || a.At("modules", 3) == nil {
		t.Errorf("an admin sees %s", a.Body)
	}
	c.Want(t, 404, http.MethodDelete, at+"/"+hidden, "")
	reader.Want(t, 403, http.MethodGet, at+"?include_contents=1", "")
	if a := c.Want(t, 200, http.MethodGet, "/modules/"+key+"/instances", ""); a.Text("instances", 0, "id") != instance {
		t.Errorf("who has it: %s", a.Body)
	}
	if a := c.Want(t, 200, http.MethodGet, "/modules/"+key+"/instances?count_only=true", ""); a.At("instances", 0, "instance_count") != 1.0 || a.At("instances", 0, "current") != true {
		t.Errorf("how many have it: %s", a.Body)
	}

	// What is applied is changed only when it says live_update, and then not what it is for; it is deleted never.
	c.Want(t, 403, http.MethodPut, "/modules/"+ping, `{"module":{"description":"x"}}`)
	c.Want(t, 403, http.MethodDelete, "/modules/"+ping, "")
	c.Want(t, 403, http.MethodDelete, "/modules/"+key, "")
	c.Want(t, 403, http.MethodPut, "/modules/"+key, `{"module":{"module_type":"ping"}}`)
	c.Want(t, 200, http.MethodPut, "/modules/"+key, `{"module":{"name":"new.key","contents":"bmV3"}}`)
	if a := c.Want(t, 200, http.MethodGet, at, ""); !strings.Contains(string(a.Body), `"outdated":true`) {
		t.Errorf("after a change: %s", a.Body)
	}
	c.Want(t, 200, http.MethodPost, at, refs(key))
	if got := file(key, "new.key"); got != "new" || file(key, "licence.key") == "the key\x00\xff" {
		t.Errorf("applied again: %q, and the former file: %q", got, file(key, "licence.key"))
	}
	count(key, 1)

	c.Want(t, 400, http.MethodPost, at, `{"modules":[]}`)
	c.Want(t, 404, http.MethodPost, at, refs(instance))
	var more []string
	for i := range 3 {
		more = append(more, newModule(t, c, fmt.Sprint("more", i), "ping", "x", ""))
	}
	c.Want(t, 413, http.MethodPost, at, refs(more...))
	c.Want(t, 404, http.MethodDelete, at+"/"+more[0], "")

	c.Want(t, 200, http.MethodDelete, at+"/"+key, "")
	if got := file(key, "new.key"); got == "new" {
		t.Error("the file of a module that was removed is there")
	}
	c.Want(t, 200, http.MethodDelete, at+"/"+bad, "")
	count(key, 0)
	for key, value := range etcd.All(t, "/") {
		if strings.Contains(value, "an operator's") || strings.Contains(value, base64.StdEncoding.EncodeToString([]byte("an operator's"))) {
			t.Errorf("%s holds what is in a module, in clear", key)
		}
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(instance), "")
	c.AwaitGone(t, instance, soon)
	for _, m := range []string{ping, hidden} {
		count(m, 0)
		admin.Want(t, 200, http.MethodDelete, "/modules/"+m, "")
	}
}

// TestModulesAtOnce: what no two modules may have in common none of those has that are made at once, and no more get into new instances than may.
func TestModulesAtOnce(t *testing.T) {
	_, g, _ := start(t)
	admin := g.Client(gatewaytest.Admin)
	crowd := func(body func(n int) string) map[int]int {
		answers := make(chan int)
		for n := range 8 {
			go func() { answers <- admin.Do(t, http.MethodPost, "/modules", body(n)).Status }()
		}
		got := map[int]int{}
		for range 8 {
			got[<-answers]++
		}
		return got
	}
	if got := crowd(func(int) string { return moduleBody("same", "ping", "x", "") }); got[200] != 1 || got[400] != 7 {
		t.Errorf("of one name: %v; want one 200, the others 400", got)
	}
	if got := crowd(func(n int) string {
		return moduleBody(fmt.Sprint("auto", n), "ping", "x", fmt.Sprintf(`,"auto_apply":1,"all_tenants":%d`, n%2))
	}); got[200] != 6 || got[413] != 2 {
		t.Errorf("of what new instances get: %v; want 3 of the project, 3 of all, the others 413", got)
	}
	other := newModule(t, admin, "other", "ping", "x", "")
	admin.Want(t, 400, http.MethodPut, "/modules/"+other, `{"module":{"name":"same"}}`)
	admin.Want(t, 413, http.MethodPut, "/modules/"+other, `{"module":{"auto_apply":1}}`)
	admin.Want(t, 200, http.MethodPut, "/modules/"+other, `{"module":{"name":"renamed"}}`)
}

// TestModulesOfParameters: a server has what a module sets from the beginning and until it is taken away, and its configuration group goes
// before; what takes a restart is said.
func TestModulesOfParameters(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	module := newModule(t, c, "small", "parameters", `{"max_connections":7,"boot":"slow"}`, `,"live_update":1`)
	group := c.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","datastore":{"type":"memory"},"values":{"max_connections":9}}}`).Text("configuration", "id")
	instance := c.Create(t, "db", fmt.Sprintf(`,"modules":[{"id":%q}]`, module))
	address := c.Await(t, instance, "ACTIVE", soon).Text("instance", "ip", 0)
	at := gatewaytest.Instance(instance)
	has := func(connections, boot, status string) {
		t.Helper()
		got := fmt.Sprint(host.Memory.Parameter(address, "max_connections"), " ", host.Memory.Parameter(address, "boot"), " ",
			c.Want(t, 200, http.MethodGet, at, "").Text("instance", "status"))
		if want := connections + " " + boot + " " + status; got != want {
			t.Errorf("it has %s, want %s", got, want)
		}
	}
	has("7", "slow", "ACTIVE")
	c.Want(t, 202, http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, group))
	has("9", "slow", "ACTIVE")
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"configuration":null}}`)
	has("7", "slow", "ACTIVE")
	c.Want(t, 200, http.MethodPut, "/modules/"+module, `{"module":{"contents":"eyJib290IjoiZmFzdCJ9"}}`)
	if a := c.Want(t, 200, http.MethodPost, at+"/modules", refs(module)); a.Text("modules", 0, "message") != "it sets boot; a restart is needed" {
		t.Errorf("applied again: %s", a.Body)
	}
	has("100", "slow", "RESTART_REQUIRED")
	c.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, instance, "ACTIVE", soon)
	has("100", "fast", "ACTIVE")
	c.Want(t, 200, http.MethodDelete, at+"/modules/"+module, "")
	if a := c.Want(t, 200, http.MethodPost, at+"/modules", refs(newModule(t, c, "wrong", "parameters", `{"max_connections":0}`, ""))); a.Text("modules", 0, "status") != "ERROR" {
		t.Errorf("0 connections: %s", a.Body)
	}
	has("100", "fast", "ACTIVE")
}

// TestModulesOfACreate makes instances with modules that they name, and with those that every new one gets; what they get later is what is in
// the modules by then.
func TestModulesOfACreate(t *testing.T) {
	_, g, host := start(t)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	key := newModule(t, c, "a.key", "key_file", "first", `,"live_update":1`)
	bad := newModule(t, c, "no file", "key_file", "first", "")
	auto := newModule(t, admin, "auto.key", "key_file", "of all", `,"auto_apply":1,"all_tenants":1,"visible":0,"datastore":{"type":"memory"}`)
	newModule(t, admin, "other", "ping", "of none", `,"auto_apply":1,"datastore":{"type":"memory","version":"2"}`)
	for n := range 2 {
		newModule(t, admin, fmt.Sprint("auto", n), "ping", "x", `,"auto_apply":1,"datastore":{"type":"memory","version":"2"}`)
	}
	admin.Want(t, 413, http.MethodPost, "/modules", moduleBody("auto3", "ping", "x", `,"auto_apply":1`))
	for module, status := range map[string]int{walkModule: 404, newModule(t, c, "of 2", "ping", "x", `,"datastore":{"type":"memory","version":"2"}`): 400} {
		body := fmt.Sprintf(`{"instance":{"name":"no","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},"modules":[{"id":%q}]}}`, module)
		c.Want(t, status, http.MethodPost, "/instances", body)
	}
	id := c.Create(t, "db", fmt.Sprintf(`,"modules":[{"id":%q},{"id":%q}]`, key, bad))
	c.Await(t, id, "ACTIVE", soon)
	a := admin.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/modules", "")
	said := map[string]string{}
	for i := range 3 {
		said[a.Text("modules", i, "id")] = a.Text("modules", i, "status")
	}
	if said[key] != "OK" || said[bad] != "ERROR" || said[auto] != "OK" || a.At("modules", 3) != nil {
		t.Errorf("it was made with %s", a.Body)
	}
	for name, want := range map[string]string{key + "/a.key": "first", auto + "/auto.key": "of all"} {
		if got, err := os.ReadFile(filepath.Join(host.DataDir(t, id), "modules", name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if a := c.Want(t, 200, http.MethodGet, "/modules/"+key, ""); a.At("module", "instance_count") != 1.0 {
		t.Errorf("who has it: %s", a.Body)
	}
	c.Want(t, 403, http.MethodDelete, "/modules/"+key, "")

	// Applied again, one instance at a time: to each that has something else, and with force to all.
	others := []string{id, c.Create(t, "b", fmt.Sprintf(`,"modules":[{"id":%q}]`, key)), c.Create(t, "c", "")}
	for _, id := range others {
		c.Await(t, id, "ACTIVE", soon)
	}
	at := "/modules/" + key
	was := c.Want(t, 200, http.MethodPut, at, `{"module":{"contents":"bmV3"}}`).Text("module", "md5")
	for _, bad := range []string{`{}`, `{"reapply":{"batch_size":51}}`, `{"reapply":{"batch_size":0}}`, `{"reapply":{"batch_delay":1}}`} {
		c.Want(t, 400, http.MethodPut, at+"/instances", bad)
	}
	c.Want(t, 403, http.MethodPut, "/modules/"+newModule(t, admin, "an admin's", "ping", "x", "")+"/instances", `{"reapply":{}}`)
	c.Want(t, 202, http.MethodPut, at+"/instances", `{"reapply":{"md5":"0"}}`)
	reapplied := func() bool { return c.Want(t, 200, http.MethodGet, at, "").At("module", "reapplying") == false }
	waitFor(t, reapplied)
	if a := c.Want(t, 200, http.MethodGet, at+"/instances?count_only=1", ""); strings.Contains(string(a.Body), was) {
		t.Errorf("applied to those that have something else than was asked for: %s", a.Body)
	}
	c.Want(t, 202, http.MethodPut, at+"/instances", `{"reapply":{"batch_size":1,"batch_delay":2}}`)
	waitFor(t, reapplied)
	current := func() bool {
		a := c.Want(t, 200, http.MethodGet, at+"/instances?count_only=true", "")
		return a.At("instances", 0, "instance_count") == 2.0 && a.At("instances", 0, "current") == true
	}
	waitFor(t, current)
	if got, _ := os.ReadFile(filepath.Join(host.DataDir(t, others[1]), "modules", key, "a.key")); string(got) != "new" {
		t.Errorf("the file of the second is %q", got)
	}
	if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(others[2])+"/modules", ""); a.At("modules", 0) != nil {
		t.Errorf("the third has got what it did not have: %s", a.Body)
	}
}

// TestModulesOfAnEarlierRelease: an instance of a release that knew no modules has them when a guest says that it can, and its definition says
// that it may; of what the definition does not say it has nothing.
func TestModulesOfAnEarlierRelease(t *testing.T) {
	etcd, g, _ := start(t)
	c, store := g.Client(gatewaytest.Member), etcd.Store(t)
	instance := c.Create(t, "db", "")
	c.Await(t, instance, "ACTIVE", soon)
	etcd.Put(t, etcdschema.VersionKey("memory", "1").String(), strings.Replace(etcd.All(t, etcdschema.VersionKey("memory", "1").String())[etcdschema.VersionKey("memory", "1").String()],
		`"users",`, "", 1))
	key := etcdschema.InstanceKey(gatewaytest.Project, instance)
	if _, err := store.Update(t.Context(), nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		rec.Value.Capabilities = slices.DeleteFunc(rec.Value.Capabilities, func(c datastores.Capability) bool { return c == datastores.CanModules || c == datastores.CanUsers })
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
	}); err != nil {
		t.Fatal(err)
	}
	module := newModule(t, c, "m", "ping", "x", "")
	c.Want(t, 501, http.MethodPost, gatewaytest.Instance(instance)+"/modules", refs(module))
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(instance)+"/action", `{"restart":{}}`) // the guest has something to say
	c.Await(t, instance, "ACTIVE", soon)
	waitFor(t, func() bool {
		return c.Do(t, http.MethodPost, gatewaytest.Instance(instance)+"/modules", refs(module)).Status == 200
	})
	c.Want(t, 501, http.MethodGet, gatewaytest.Instance(instance)+"/users", "")
}

// TestModulesMigrate: an instance that comes to another host has its modules there, with what is in them by then.
func TestModulesMigrate(t *testing.T) {
	m := startMigration(t)
	key := newModule(t, m.c, "a.key", "key_file", "first", `,"live_update":1`)
	at := gatewaytest.Instance(m.id) + "/modules"
	m.c.Want(t, 200, http.MethodPost, at, refs(key))
	m.c.Want(t, 200, http.MethodPut, "/modules/"+key, `{"module":{"contents":"bmV3"}}`)
	m.ask(fmt.Sprintf(`"host":%q`, m.second.ID))
	m.c.Await(t, m.id, "ACTIVE", soon)
	m.whole("second")
	a := m.c.Want(t, 200, http.MethodGet, at, "")
	got, err := os.ReadFile(filepath.Join(m.second.DataDir(t, m.id), "modules", key, "a.key"))
	if err != nil || string(got) != "new" || a.Text("modules", 0, "status") != "OK" || a.At("modules", 0, "outdated") != false {
		t.Errorf("after it: %q, %v; %s", got, err, a.Body)
	}
	if a := m.c.Want(t, 200, http.MethodGet, "/modules/"+key, ""); a.At("module", "instance_count") != 1.0 {
		t.Errorf("who has it: %s", a.Body)
	}
}
