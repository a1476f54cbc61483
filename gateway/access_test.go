package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/api"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// somewhere fills in a route's parameters with things that exist nowhere.
var somewhere = strings.NewReplacer(
	":id", "01234567-89ab-7cde-8f01-23456789abcd", ":name", "db", ":user", "bob", ":datastore", "mariadb", ":version", "10.11",
	":flavor", "1", ":tenant", "p2", ":grantee", "p2", ":host", "01234567-89ab-7cde-8f01-23456789abcd", ":agent", "01234567-89ab-7cde-8f01-23456789abcd", ":module", "01234567-89ab-7cde-8f01-23456789abcd",
)

// TestAccessMatrix asks for every route of the table as everybody who may not use it. Each must be refused, and nothing
// in etcd may change.
func TestAccessMatrix(t *testing.T) {
	etcd := etcdtest.Start(t)
	g := gatewaytest.Start(t, etcd.Store(t))
	agent := agentpoll.Credential{AgentID: "01234567-89ab-7cde-8f01-23456789abcd", Secret: agentpoll.NewSecret()}.Header()
	before := atRest(t, etcd)
	refusals := 0
	for _, route := range api.Routes() {
		for _, who := range []struct {
			name, token, project string
			refused              func(api.Route) []int // nil: the route is this one's to use
		}{
			{"nobody", "", gatewaytest.Project, status(http.StatusUnauthorized)},
			{"an unknown or expired token", "gAAAAABexpired", gatewaytest.Project, status(http.StatusUnauthorized)},
			{"an agent", agent, gatewaytest.Project, status(http.StatusUnauthorized)},
			{"another project's member", gatewaytest.Other, gatewaytest.Project, status(http.StatusForbidden)},
			{"an admin, in another project's path", gatewaytest.Admin, "p2", status(http.StatusForbidden)},
			{"a reader", gatewaytest.Reader, gatewaytest.Project, func(r api.Route) []int {
				return map[string][]int{"member": {http.StatusForbidden}, "admin": {http.StatusUnauthorized}}[r.Access]
			}},
			{"a member", gatewaytest.Member, gatewaytest.Project, func(r api.Route) []int {
				return map[string][]int{"admin": {http.StatusUnauthorized}}[r.Access]
			}},
		} {
			want := who.refused(route)
			if route.Access == "open" || want == nil {
				continue
			}
			refusals++
			path := strings.Replace(somewhere.Replace(route.Path), ":project", who.project, 1)
			req, err := http.NewRequest(route.Method, g.URL+path, strings.NewReader(`{"instance":{"name":"x"}}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Auth-Token", who.token)
			if got := answer(t, req); !slices.Contains(want, got) {
				t.Errorf("%s %s as %s: %d, want %v", route.Method, route.Path, who.name, got, want)
			}
		}
	}
	if refusals < 4*len(api.Routes()) {
		t.Errorf("only %d refusals were tried: does the table still say who may do what?", refusals)
	}
	if diff := cmp.Diff(withoutGateways(before), withoutGateways(etcd.All(t, "/"))); diff != "" {
		t.Errorf("refused requests changed etcd:\n%s", diff)
	}
}

// TestAgentRoutes asks for every call of the agent protocol as everybody but an agent.
func TestAgentRoutes(t *testing.T) {
	etcd := etcdtest.Start(t)
	g := gatewaytest.Start(t, etcd.Store(t))
	before := atRest(t, etcd)
	paths := []string{agentpoll.PathPoll, agentpoll.PathProgress, agentpoll.PathResult, agentpoll.PathRotate}
	for _, path := range paths {
		for _, token := range []string{"", gatewaytest.Admin, gatewaytest.Member} {
			req, err := http.NewRequest(http.MethodPost, g.URL+strings.Replace(path, "{id}", "01234567-89ab-7cde-8f01-23456789abcd", 1), strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Auth-Token", token)
			req.Header.Set("Authorization", "Bearer "+token)
			if got := answer(t, req); got != http.StatusUnauthorized {
				t.Errorf("%s with a tenant's token: %d, want 401", path, got)
			}
		}
	}
	enrol := fmt.Sprintf(`{"token":%q,"kind":"guest","credential_hash":%q,"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`, gatewaytest.Admin, agentpoll.HashSecret("x"))
	req, err := http.NewRequest(http.MethodPost, g.URL+agentpoll.PathEnroll, strings.NewReader(enrol))
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(t, req); got != http.StatusUnauthorized {
		t.Errorf("enrolment with a tenant's token: %d, want 401", got)
	}
	if diff := cmp.Diff(withoutGateways(before), withoutGateways(etcd.All(t, "/"))); diff != "" {
		t.Errorf("refused calls changed etcd:\n%s", diff)
	}
}

// atRest is all that is in etcd when a gateway that has just begun writes nothing more by itself.
func atRest(t *testing.T, etcd *etcdtest.Server) (all map[string]string) {
	t.Helper()
	waitFor(t, func() bool {
		all = etcd.All(t, "/")
		return all[etcdschema.TakenOverKey(etcdschema.TakenDueInstances).String()] != "" && all[etcdschema.TakenOverKey(etcdschema.TakenDueBackups).String()] != ""
	})
	return all
}

func status(code int) func(api.Route) []int {
	return func(api.Route) []int { return []int{code} }
}

func answer(t *testing.T, req *http.Request) int {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// withoutGateways leaves out the gateways' own records.
func withoutGateways(all map[string]string) map[string]string {
	for key := range all {
		if strings.HasPrefix(key, "/server/gateways/") {
			delete(all, key)
		}
	}
	return all
}

// TestForeignCommand lets an agent answer, and tell the progress of, a command of another agent: for it there is none.
func TestForeignCommand(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	g := gatewaytest.Start(t, store)
	owner := agentpoll.Credential{AgentID: "01234567-89ab-7cde-8f01-23456789abcd", Secret: agentpoll.NewSecret()}
	stranger := agentpoll.Credential{AgentID: "01234567-89ab-7cde-8f01-23456789abce", Secret: agentpoll.NewSecret()}
	command := "01234567-89ab-7cde-8f01-23456789abcf"
	_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		var ops []etcdschema.Op
		for _, c := range []agentpoll.Credential{owner, stranger} {
			ops = append(ops, etcdschema.Put(etcdschema.AgentKey(c.AgentID), etcdschema.Agent{ID: c.AgentID, Kind: agentpoll.Guest, CredentialHash: c.Hash(), Sequence: 1}))
		}
		return append(ops, etcdschema.Put(etcdschema.CommandKey(owner.AgentID, command), etcdschema.Command{Command: agentpoll.Command{ID: command, Method: "rpc_ping"}})), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	before := etcd.All(t, "/guest/commands/")
	send := func(c agentpoll.Credential, path, body string) int {
		req, err := http.NewRequest(http.MethodPost, g.URL+strings.Replace(path, "{id}", command, 1), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", c.Header())
		return answer(t, req)
	}
	if got := send(stranger, agentpoll.PathResult, `{"value":{}}`); got != http.StatusGone {
		t.Errorf("a stranger's result: %d, want 410", got)
	}
	send(stranger, agentpoll.PathProgress, `{"done":1}`)
	if diff := cmp.Diff(before, etcd.All(t, "/guest/commands/")); diff != "" {
		t.Errorf("a stranger changed the command:\n%s", diff)
	}
	if got := send(owner, agentpoll.PathResult, `{"value":{}}`); got != http.StatusNoContent {
		t.Errorf("the owner's result: %d, want 204", got)
	}
	if got := send(owner, agentpoll.PathResult, `{"value":{}}`); got != http.StatusNoContent {
		t.Errorf("the owner's result once more: %d, want 204", got)
	}
	if got := send(stranger, agentpoll.PathResult, `{"value":{}}`); got != http.StatusGone {
		t.Errorf("a stranger's result of a finished command: %d, want 410", got)
	}
}
