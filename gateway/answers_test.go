package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/api"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestUnknownRoutes: who may not use a part of the API does not learn from the answers what is there.
func TestUnknownRoutes(t *testing.T) {
	_, g, _ := start(t)
	for _, c := range []struct {
		token, method, path string
		want                int
	}{
		{gatewaytest.Admin, http.MethodGet, "/mgmt/nothing", 404},
		{gatewaytest.Admin, http.MethodGet, "/mgmt/instances/x/y/z", 404},
		{gatewaytest.Admin, http.MethodGet, "/nothing", 404},
		{gatewaytest.Admin, http.MethodDelete, "/flavors", 405},
		{gatewaytest.Admin, http.MethodDelete, "/mgmt/instances", 405},
		{gatewaytest.Member, http.MethodGet, "/mgmt/hosts", 401},
		{gatewaytest.Member, http.MethodGet, "/mgmt/datastore-versions", 401},
		{gatewaytest.Member, http.MethodPost, "/mgmt/nothing", 401},
		{gatewaytest.Member, http.MethodGet, "/mgmt/instances/x/y/z", 401},
		{gatewaytest.Member, http.MethodDelete, "/mgmt/instances", 401},
		{gatewaytest.Member, http.MethodDelete, "/flavors", 405},
		{gatewaytest.Member, http.MethodGet, "/nothing", 404},
		{gatewaytest.Other, http.MethodGet, "/nothing", 403},
		{"", http.MethodGet, "/nothing", 401},
		{"", http.MethodGet, "/mgmt/nothing", 401},
	} {
		if a := g.Client(c.token).Do(t, c.method, c.path, ""); a.Status != c.want {
			t.Errorf("%s %s with %q: %d, want %d", c.method, c.path, c.token, a.Status, c.want)
		}
	}
}

// TestUpdateIsCheckedBeforeAnyEffect: an update of which a part is refused leaves the name as it was.
func TestUpdateIsCheckedBeforeAnyEffect(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "old", "")
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	for _, body := range []string{
		`{"instance":{"name":"new","nonsense":1}}`,
		`{"instance":{"name":"new","configuration":null,"replica_of":null}}`,
		`{"instance":{"name":"new","configuration":"01234567-89ab-7cde-8f01-23456789abcd"}}`,
		`{"instance":{"name":"new","replica_of":null}}`,
		`{"instance":{"name":"new","datastore_version":"9"}}`,
		`{"instance":{"name":"new","access":{"allowed_cidrs":["nowhere"]}}}`,
		`{"instance":{"name":"","configuration":null}}`,
	} {
		a := c.Do(t, http.MethodPut, at, body)
		if a.Status != 400 && a.Status != 404 {
			t.Errorf("PUT %s: %d %s", body, a.Status, a.Body)
		}
		if name := c.Want(t, 200, http.MethodGet, at, "").Text("instance", "name"); name != "old" {
			t.Fatalf("PUT %s answered %d and renamed to %s", body, a.Status, name)
		}
	}
	c.Want(t, 202, http.MethodPut, at, `{"instance":{"name":"new","datastore_version":"2"}}`)
	c.Await(t, id, "ACTIVE", soon)
	a := c.Want(t, 200, http.MethodGet, at, "")
	if a.Text("instance", "name") != "new" || a.Text("instance", "datastore", "version") != "2" {
		t.Errorf("after name and version: %s", a.Body)
	}
}

// TestReplicasAreCountedBeforeTheFirst: of more replicas than the quota allows none is made.
func TestReplicasAreCountedBeforeTheFirst(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "source", "")
	c.Await(t, id, "ACTIVE", soon)
	g.Client(gatewaytest.Admin).Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"instances":2}}`)
	c.Want(t, 413, http.MethodPost, "/instances", `{"instance":{"name":"replica","replica_of":"`+id+`","replica_count":2}}`)
	if list := c.Want(t, 200, http.MethodGet, "/instances", ""); list.At("instances", 1) != nil {
		t.Errorf("after a refusal there are %s", list.Body)
	}
	c.Want(t, 200, http.MethodPost, "/instances", `{"instance":{"name":"replica","replica_of":"`+id+`","replica_count":1}}`)
}

// TestVersionByMediaType asks for versions of the API as old clients of Trove may.
func TestVersionByMediaType(t *testing.T) {
	_, g, _ := start(t)
	for accept, want := range map[string]int{
		"": 200, "*/*": 200, "application/json": 200, "application/vnd.openstack.trove+json": 200, "application/vnd.openstack.trove+json;version=1.0": 200,
		"application/vnd.openstack.trove+json;version=2.0": 406, "application/json, application/vnd.openstack.trove+json; version=0.9": 406, "nonsense;;": 200,
	} {
		req, err := http.NewRequest(http.MethodGet, g.URL+"/v1.0/"+gatewaytest.Project+"/flavors", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Auth-Token", gatewaytest.Member)
		req.Header.Set("Accept", accept)
		if got := answer(t, req); got != want {
			t.Errorf("Accept %q: %d, want %d", accept, got, want)
		}
	}
}

// TestBackupsPageByOffset: the marker is a number, and a limit may be above the size of a page.
func TestBackupsPageByOffset(t *testing.T) {
	etcd, g, _ := start(t)
	var ops []etcdschema.Op
	for n := range 25 {
		id := fmt.Sprintf("01234567-89ab-7cde-8f01-2345678900%02d", n)
		ops = append(ops, etcdschema.Put(etcdschema.BackupKey(gatewaytest.Project, id), etcdschema.Backup{
			Project: gatewaytest.Project, Name: "b", Status: etcdschema.BackupFailed, BackupRef: datastores.BackupRef{BackupID: id},
		}))
	}
	if _, err := etcd.Store(t).Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
		t.Fatal(err)
	}
	c := g.Client(gatewaytest.Member)
	for query, want := range map[string]int{
		"": 20, "?limit=22": 22, "?limit=1000000000000000000": 25, "?limit=3": 3, "?marker=20": 5, "?marker=9223372036854775807": 0, "?marker=24&limit=30": 1,
	} {
		a := c.Want(t, 200, http.MethodGet, "/backups"+query, "")
		if got := len(a.At("backups").([]any)); got != want {
			t.Errorf("GET backups%s: %d of them, want %d", query, got, want)
		}
	}
	if got := len(follow(t, c, "/backups", "backups", false)); got != 25 {
		t.Errorf("over all pages there are %d of 25", got)
	}
}

// TestLogByNameAlone is how Trove's clients ask for a log before all that they do with it.
func TestLogByNameAlone(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id) + "/log"
	list := c.Want(t, 200, http.MethodGet, at, "")
	for i := 0; list.At("logs", i) != nil; i++ {
		name := list.Text("logs", i, "name")
		shown := c.Want(t, 200, http.MethodPost, at, fmt.Sprintf(`{"name":%q}`, name))
		for _, key := range []string{"name", "type", "status"} {
			if shown.At("log", key) != list.At("logs", i, key) {
				t.Errorf("log %s: shown %s, listed %v", name, shown.Body, list.At("logs", i))
			}
		}
	}
	if list.At("logs", 0) == nil {
		t.Error("there are no logs")
	}
	c.Want(t, 400, http.MethodPost, at, `{"name":"nothing"}`)
	c.Want(t, 400, http.MethodPost, at, `{}`)
	c.Want(t, 400, http.MethodPost, at, `{"name":"error","enable":1,"discard":1}`)
}

// TestUsersInASingleObject is how openstacksdk makes a user.
func TestUsersInASingleObject(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id) + "/users"
	c.Want(t, 202, http.MethodPost, at+"/bob", `{"users":{"name":"bob","password":"secret"}}`)
	c.Want(t, 200, http.MethodGet, at+"/bob", "")
	c.Want(t, 400, http.MethodPost, at+"/bob", `{"users":"bob"}`)
	c.Want(t, 400, http.MethodPost, at+"/bob", `{"users":{}}`)
}

// TestAdminReachesEveryProject asks as an admin for what another project has, by each route that names an instance, a backup
// or a group, and as a member of a third project, who finds nothing.
func TestAdminReachesEveryProject(t *testing.T) {
	var log syncBuffer
	_, g, _ := start(t, gatewaytest.Logs(&log))
	owner := g.Client(gatewaytest.Other)
	owner.Project = "p2"
	instance := owner.Create(t, "theirs", tenant)
	owner.Await(t, instance, "ACTIVE", soon)
	group := owner.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"theirs","values":{"max_connections":7},"datastore":{"type":"memory","version":"1"}}}`).Text("configuration", "id")
	backup := owner.Want(t, 202, http.MethodPost, "/backups", `{"backup":{"name":"theirs","instance":"`+instance+`"}}`).Text("backup", "id")
	owner.Await(t, instance, "ACTIVE", soon)

	planned := owner.Want(t, 200, http.MethodPost, "/schedules", `{"schedule":{"name":"theirs","every_hours":6,"instance":"`+instance+`"}}`).Text("schedule", "id")
	module := owner.Want(t, 200, http.MethodPost, "/modules", moduleBody("theirs", "ping", "x", "")).Text("module", "id")

	made := owner.Want(t, 200, http.MethodPost, "/clusters", clusterBody("theirs", 2, ""))
	cluster, node := made.Text("cluster", "id"), made.Text("cluster", "instances", 0, "id")

	admin, member := g.Client(gatewaytest.Admin), g.Client(gatewaytest.Member)
	tried := 0
	for _, route := range api.Routes() {
		if route.Method != http.MethodGet || !strings.Contains(route.Path, ":id") {
			continue
		}
		id := instance
		switch {
		case strings.Contains(route.Path, "/clusters/:id"):
			id = cluster
		case strings.Contains(route.Path, "/backups/:id"):
			id = backup
		case strings.Contains(route.Path, "/configurations/:id"):
			id = group
		case strings.Contains(route.Path, "/schedules/:id"):
			id = planned
		case strings.Contains(route.Path, "/modules/:id"):
			id = module
		}
		path := strings.NewReplacer(":id", id, ":instance", node, ":user", "bob", "/v1.0/:project", "", "log/:name", "log/nothing", "databases/:name", "databases/orders").Replace(route.Path)
		tried++
		a := admin.Do(t, http.MethodGet, path, "")
		nothing := strings.HasSuffix(path, "log/nothing") && strings.Contains(string(a.Body), "Nothing of log")
		if a.Status == http.StatusNotFound && !nothing {
			t.Errorf("GET %s as an admin: %d %s", path, a.Status, a.Body)
		}
		want := map[string]int{"admin": http.StatusUnauthorized}[route.Access]
		if want == 0 {
			want = http.StatusNotFound
		}
		member.Want(t, want, http.MethodGet, path, "")
	}
	if tried < 15 {
		t.Errorf("only %d routes were tried", tried)
	}
	shown := admin.Want(t, 200, http.MethodGet, gatewaytest.Instance(instance), "")
	if shown.Text("instance", "tenant_id") != "p2" || shown.Text("instance", "links", 0, "href") != admin.URL+"/v1.0/p1/instances/"+instance {
		t.Errorf("the admin is shown %s; want a link that an admin can follow", shown.Body)
	}
	admin.Want(t, 404, http.MethodGet, gatewaytest.Instance("01234567-89ab-7cde-8f01-23456789abcd"), "")
	admin.Want(t, 404, http.MethodGet, gatewaytest.Instance("nonsense"), "")
	admin.Want(t, 404, http.MethodGet, "/backups/01234567-89ab-7cde-8f01-23456789abcd", "")

	// A project with nothing reads nothing, and changes nothing.
	member.Want(t, 404, http.MethodPost, gatewaytest.Instance(instance)+"/action", `{"restart":{}}`)
	member.Want(t, 404, http.MethodDelete, "/configurations/"+group, "")
	// Effects are in the owner's project.
	admin.Want(t, 202, http.MethodPost, gatewaytest.Instance(instance)+"/action", `{"restart":{}}`)
	owner.Await(t, instance, "ACTIVE", soon)
	admin.Want(t, 202, http.MethodPut, gatewaytest.Instance(instance), `{"instance":{"configuration":"`+group+`"}}`)
	if n := owner.Want(t, 200, http.MethodGet, "/configurations/"+group, "").At("configuration", "instance_count"); n != 1.0 {
		t.Errorf("%v instances have the group that the admin attached", n)
	}
	admin.Want(t, 202, http.MethodPut, gatewaytest.Instance(instance), `{"instance":{}}`)
	owner.Await(t, instance, "ACTIVE", soon)
	admin.Want(t, 200, http.MethodPatch, "/configurations/"+group, `{"configuration":{"name":"renamed"}}`)
	admin.Want(t, 202, http.MethodDelete, "/configurations/"+group, "")
	owner.Want(t, 404, http.MethodGet, "/configurations/"+group, "")
	admin.Want(t, 202, http.MethodDelete, "/backups/"+backup, "")
	owner.Want(t, 404, http.MethodGet, "/backups/"+backup, "")
	admin.Want(t, 202, http.MethodDelete, gatewaytest.Instance(instance), "")
	owner.AwaitGone(t, instance, soon)
	if text := log.String(); !strings.Contains(text, `"msg":"an admin acts in another project"`) || !strings.Contains(text, `"project":"p2"`) {
		t.Error("the log does not say what the admin did")
	}
}

// TestConfigurationsSayTheVersionNumber: python-troveclient asks for each group whose row in a list lacks it, one after the other.
func TestConfigurationsSayTheVersionNumber(t *testing.T) {
	etcd, g, _ := start(t)
	key := etcdschema.VersionKey("memory", "1")
	_, err := etcd.Store(t).Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		rec.Value.VersionNumber = "1.2.3"
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	owner, admin := g.Client(gatewaytest.Other), g.Client(gatewaytest.Admin)
	owner.Project = "p2"
	group := owner.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"theirs","values":{"max_connections":7},"datastore":{"type":"memory","version":"1"}}}`)
	const number = "1.2.3"
	for _, c := range []gatewaytest.Client{owner, admin} {
		if got := c.Want(t, 200, http.MethodGet, "/configurations", "").Text("configurations", 0, "datastore_version_number"); got != number {
			t.Errorf("listed with the number %q, want %q", got, number)
		}
		if got := c.Want(t, 200, http.MethodGet, "/configurations/"+group.Text("configuration", "id"), "").Text("configuration", "datastore_version_number"); got != number {
			t.Errorf("shown with the number %q, want %q", got, number)
		}
	}
	_, err = etcd.Store(t).Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(key)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := owner.Want(t, 200, http.MethodGet, "/configurations", "").At("configurations", 0, "datastore_version_number").(string); !ok || got != "" {
		t.Errorf("of a version that was withdrawn the number is %q, %v", got, ok)
	}
}

// TestDeletedInstances: there is no record of what was deleted, and so none is listed.
func TestDeletedInstances(t *testing.T) {
	_, g, _ := start(t)
	g.Client(gatewaytest.Member).Create(t, "living", "")
	admin := g.Client(gatewaytest.Admin)
	for query, want := range map[string]bool{"": true, "?deleted=False": true, "?deleted=True": false, "?deleted=true": false} {
		a := admin.Want(t, 200, http.MethodGet, "/mgmt/instances"+query, "")
		if got := a.At("instances", 0) != nil; got != want || a.At("instances") == nil {
			t.Errorf("GET mgmt/instances%s: %s", query, a.Body)
		}
	}
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
