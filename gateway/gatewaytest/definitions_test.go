package gatewaytest_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testDefinitions changes definitions with Debian's etcdctl while everything runs, as an operator does who tries things
// out: a Redis under another name.
func testDefinitions(t *testing.T, s *stage) {
	const (
		server = "/server/datastores/acme/7.0"
		guest  = "/guest/datastores/acme/7.0"
	)
	goodServer, goodGuest := builtIn(t, "server/datastores/redis/7.0.json"), builtIn(t, "guest/datastores/redis/7.0.json")
	put := func(key, value string) {
		t.Helper()
		if value == "" { // of which standard input cannot tell
			s.etcdctl(t, "", "put", key, "")
			return
		}
		s.etcdctl(t, value, "put", key)
	}
	t.Cleanup(func() {
		s.etcdctl(t, "", "del", "--prefix", "/server/datastores/acme")
		s.etcdctl(t, "", "del", guest)
	})

	put(server, goodServer)
	put("/server/datastores/acme", "# an operator writes YAML, too\ndefault_version: '7.0'\n")
	s.wantProblems(t, "acme", guest, "/server/datastores/acme")
	s.wantVersions(t, "acme") // half a pair is not offered
	put(guest, goodGuest)
	s.wantProblems(t, "acme")
	s.wantVersions(t, "acme", "7.0")
	created, id, address := s.create(t, "acme", "") // at once
	password := created.Text("instance", "password")
	s.secrets.know("acme's root password", password)
	running := func() {
		t.Helper()
		if err := openRedis(t, address, password).Ping(t.Context()).Err(); err != nil {
			t.Errorf("the instance that runs does not answer: %v", err)
		}
		if starts := redisStore.starts(t, s.machine, id); starts != 1 {
			t.Errorf("its server was started %d times", starts)
		}
		if got := s.member.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "status"); got != "ACTIVE" {
			t.Errorf("its status is %s", got)
		}
	}

	// Everything that is wrong is told at once, and what was good is in force.
	put(server, `{"manager": "redis", "tcp_ports": [70000, "x"], "usage_timeout": "soon", "mount_point": "/x", "colour": "red"}`)
	put(guest, `{"mount_point": "relative", "tcp_ports": [6379], "databases": "many", "packages": [7]}`)
	problems := s.wantProblems(t, "acme", server, guest)
	for _, want := range []string{
		"tcp_ports[0]", "tcp_ports[1]", "usage_timeout", "colour", "mount_point: belongs to the guest half", "mount_point: \"relative\"", "tcp_ports: belongs to the server half", "packages[0]",
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("the problems do not say %q:\n%s", want, problems)
		}
	}
	if !strings.Contains(problems, "in force") {
		t.Errorf("the problems do not say that the last good revision is in force:\n%s", problems)
	}
	s.wantVersions(t, "acme", "7.0")
	_, second, _ := s.create(t, "acme", "")
	s.delete(t, s.member, second)
	running()

	// Whatever somebody puts, it takes nothing down.
	for _, garbage := range []string{"", " ", "\n", "null", "[]", "7", `"x"`, "{", "{}", "a: b: c", "\x00\xff\xfe", "- - -", "&a [*a]", "!!binary x", strings.Repeat("[", 10_000), `{"manager":null}`, `{"v":99}`, "manager: redis\nmanager: mysql"} {
		for _, key := range []string{server, guest, "/server/datastores/acme"} {
			put(key, garbage)
			s.member.Want(t, http.StatusOK, http.MethodGet, "/datastores", "")
			s.member.Want(t, http.StatusOK, http.MethodGet, "/datastores/redis/versions", "")
			s.admin.Want(t, http.StatusOK, http.MethodGet, "/mgmt/datastore-problems", "")
		}
	}
	running()

	put("/server/datastores/acme", `{"default_version": "7.0", "description": "healed"}`)
	put(server, goodServer)
	put(guest, goodGuest)
	s.wantProblems(t, "acme")
	s.wantVersions(t, "acme", "7.0")
	if got := s.member.Want(t, http.StatusOK, http.MethodGet, "/datastores/acme", "").Text("datastore", "description"); got != "healed" {
		t.Errorf("the description is %q", got)
	}

	// Without its definition an instance lives on.
	s.etcdctl(t, "", "del", "--prefix", "/server/datastores/acme")
	s.etcdctl(t, "", "del", guest)
	s.wantProblems(t, "acme")
	s.member.Want(t, http.StatusNotFound, http.MethodGet, "/datastores/acme", "")
	s.member.Want(t, http.StatusNotFound, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"acme"}}}`)
	running()
	s.member.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(id)+"/action", `{"restart":{}}`)
	s.member.Await(t, id, "ACTIVE", lifeTimeout)
	if s.gateway.Ended() || s.host.Ended() {
		t.Error("the gateway or the host has ended")
	}
}

// builtIn is a definition of this repository.
func builtIn(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deployments", "definitions", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantProblems expects that what is wrong with a datastore is wrong at these keys, and returns it as text.
func (s *stage) wantProblems(t *testing.T, datastore string, keys ...string) string {
	t.Helper()
	a := s.admin.Want(t, http.StatusOK, http.MethodGet, "/mgmt/datastore-problems", "")
	var text strings.Builder
	at := map[string]bool{}
	for i := 0; a.At("problems", i) != nil; i++ {
		if strings.Contains(a.Text("problems", i, "key"), "/"+datastore) {
			at[a.Text("problems", i, "key")] = true
			force := ""
			if a.At("problems", i, "in_force") == true {
				force = " (the last good one is in force)"
			}
			fmt.Fprintf(&text, "%s %s: %s%s\n", a.Text("problems", i, "key"), a.Text("problems", i, "path"), a.Text("problems", i, "message"), force)
		}
	}
	for _, key := range keys {
		if !at[key] {
			t.Errorf("no problem is told of %s:\n%s", key, a.Body)
		}
	}
	if len(at) != len(keys) {
		t.Errorf("there are problems at %d keys, want %d:\n%s", len(at), len(keys), a.Body)
	}
	return text.String()
}

// wantVersions expects a datastore to be offered with these versions; without any, not to be offered.
func (s *stage) wantVersions(t *testing.T, datastore string, versions ...string) {
	t.Helper()
	if len(versions) == 0 {
		s.member.Want(t, http.StatusNotFound, http.MethodGet, "/datastores/"+datastore, "")
		return
	}
	a := s.member.Want(t, http.StatusOK, http.MethodGet, "/datastores/"+datastore+"/versions", "")
	var got []string
	for i := 0; a.At("versions", i) != nil; i++ {
		got = append(got, a.Text("versions", i, "name"))
	}
	if strings.Join(got, " ") != strings.Join(versions, " ") {
		t.Errorf("%s is offered with the versions %q, want %q", datastore, got, versions)
	}
}
