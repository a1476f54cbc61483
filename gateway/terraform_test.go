package gateway_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestTerraform sends what the OpenStack provider of Terraform sends, and reads what it reads: of an instance, a configuration group, a
// database and a user, made, changed, read anew and destroyed.
func TestTerraform(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	// The provider fails on any other status than those that it names for a wait.
	await := func(id, target string, pending ...string) {
		t.Helper()
		until.True(t, soon, id+" "+target, func() bool {
			a := c.Do(t, http.MethodGet, gatewaytest.Instance(id), "")
			status := a.Text("instance", "status")
			if a.Status == 404 {
				status = "gone"
			}
			for _, p := range pending {
				if status == p {
					return false
				}
			}
			if status != target {
				t.Fatalf("the provider gives up on %s while it waits for %s: %s", status, target, a.Body)
			}
			return true
		})
	}
	listed := func(path, list, name string) bool { // it reads the first page only
		a := c.Want(t, 200, http.MethodGet, path, "")
		for i := 0; a.At(list, i) != nil; i++ {
			if a.Text(list, i, "name") == name {
				return true
			}
		}
		return false
	}

	group := func(name, values string) string {
		t.Helper()
		return c.Want(t, 200, http.MethodPost, "/configurations", fmt.Sprintf(
			`{"configuration":{"datastore":{"type":"memory","version":"1"},"description":"","name":%q,"values":{%s}}}`, name, values)).Text("configuration", "id")
	}
	first, second := group("first", `"max_connections":200,"strict":false`), group("second", `"greeting":"hi there"`)
	c.Want(t, 200, http.MethodGet, "/configurations/"+first, "")

	made := c.Want(t, 200, http.MethodPost, "/instances", `{"instance":{"databases":[{"name":"basic","character_set":"utf8","collate":"utf8_general_ci"}],
		"datastore":{"type":"memory","version":"1"},"flavorRef":"1","name":"basic","nics":[{"net-id":"5f4e7b1c-0000-4000-8000-000000000001",
		"port-id":"5f4e7b1c-0000-4000-8000-000000000002","v4-fixed-ip":"10.0.0.9","v6-fixed-ip":"::9"}],
		"users":[{"name":"u","password":"s3cret","host":"%","databases":[{"name":"basic"}]}],"volume":{"size":1,"type":"fast"}}}`)
	id := made.Text("instance", "id")
	await(id, "ACTIVE", "BUILD")
	at := gatewaytest.Instance(id)
	c.Want(t, 202, http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, first))

	read := c.Want(t, 200, http.MethodGet, at, "")
	for _, want := range []struct {
		path []any
		is   any
	}{
		{[]any{"name"}, "basic"}, {[]any{"flavor", "id"}, "1"}, {[]any{"datastore", "type"}, "memory"}, {[]any{"datastore", "version"}, "1"},
		{[]any{"region"}, "RegionOne"}, {[]any{"configuration", "id"}, first}, {[]any{"addresses", 0, "type"}, "private"},
	} {
		if got := read.At(append([]any{"instance"}, want.path...)...); got != want.is {
			t.Errorf("%v is %v; want %v", want.path, got, want.is)
		}
	}

	await(id, "ACTIVE")
	c.Want(t, 202, http.MethodPut, at, `{"instance":{}}`) // detach
	await(id, "ACTIVE")
	c.Want(t, 202, http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, second))
	c.Want(t, 202, http.MethodDelete, "/configurations/"+first, "")

	c.Want(t, 202, http.MethodPost, at+"/databases", `{"databases":[{"name":"more"}]}`)
	c.Want(t, 202, http.MethodPost, at+"/users", `{"users":[{"name":"v","password":"s3cret","databases":[{"name":"more"}]}]}`)
	if !listed(at+"/databases", "databases", "more") || !listed(at+"/users", "users", "v") {
		t.Error("what was made is not listed")
	}
	c.Want(t, 202, http.MethodDelete, at+"/users/v", "")
	c.Want(t, 202, http.MethodDelete, at+"/databases/more", "")
	if listed(at+"/databases", "databases", "more") || listed(at+"/users", "users", "v") {
		t.Error("what was deleted is listed")
	}

	c.Want(t, 202, http.MethodDelete, at, "")
	await(id, "gone", "ACTIVE", "SHUTDOWN")
	c.Want(t, 202, http.MethodDelete, "/configurations/"+second, "")
	c.Want(t, 404, http.MethodGet, "/configurations/"+second, "")
}
