package identity

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
)

// Every route but the open ones refuses whoever has no token, and every administrator's route those who are none.
func TestEveryRouteIsGuarded(t *testing.T) {
	r := newRig(t)
	shop := r.project(t, "shop")
	r.user(t, "alice", "alice's password", shop, Member)
	alice := r.logIn(t, "alice", "alice's password", "")
	variable := regexp.MustCompile(`\{\w+\}`)
	for _, rt := range routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		path = variable.ReplaceAllString(strings.ReplaceAll(path, "{$}", ""), newID())
		if rt.access == open {
			continue
		}
		for _, token := range []string{"", "wrong", tokenPrefix + strings.Repeat("A", 43), "static:ops"} {
			a := r.call(t, http.StatusUnauthorized, token, method, path, "{}")
			if !strings.Contains(a.header.Get("WWW-Authenticate"), Path+"/v3") || a.at("error.code") != 401.0 {
				t.Errorf("%s: %v %s", rt.pattern, a.header, a.text)
			}
		}
		if rt.access == admin {
			r.call(t, http.StatusForbidden, alice, method, path, "{}")
		}
	}
}

func TestVersions(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"", "/"} {
		a := r.call(t, http.StatusMultipleChoices, "", "GET", path, "")
		if got := a.str("versions.values.0.links.0.href"); got != r.server.URL+"/identity/v3/" {
			t.Error(a.text)
		}
	}
	for _, path := range []string{"/v3", "/v3/"} {
		if a := r.call(t, http.StatusOK, "", "GET", path, ""); a.str("version.id") != "v3.14" {
			t.Error(a.text)
		}
	}
	a := r.call(t, http.StatusNotFound, "", "GET", "/v2.0/tokens", "")
	if a.str("error.title") != "Not Found" || a.str("error.message") == "" {
		t.Error(a.text)
	}
}

func TestUsers(t *testing.T) {
	r := newRig(t)
	id := r.user(t, "Alice@example.com", "alice's password", "", "")
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		t.Error(id)
	}
	r.call(t, 409, r.admin, "POST", "/v3/users", `{"user": {"name": "alice@EXAMPLE.com"}}`)
	for _, name := range []string{"", " alice", `al\u0000ice`, strings.Repeat("a", 256)} {
		r.call(t, 400, r.admin, "POST", "/v3/users", `{"user": {"name": "`+name+`"}}`)
	}
	r.call(t, 400, r.admin, "POST", "/v3/users", `{"user": {"name": "bob", "password": "short"}}`)
	r.call(t, 400, r.admin, "POST", "/v3/users", `{"user": {"name": 7}}`)
	r.call(t, 400, r.admin, "POST", "/v3/users", `{`)
	r.call(t, 413, r.admin, "POST", "/v3/users", `{"user": {"name": "`+strings.Repeat("a", maxBody)+`"}}`)
	r.call(t, 404, r.admin, "POST", "/v3/users", `{"user": {"name": "bob", "domain_id": "other"}}`)
	r.call(t, 404, r.admin, "POST", "/v3/users", `{"user": {"name": "bob", "default_project_id": "none"}}`)

	if a := r.call(t, 200, r.admin, "GET", "/v3/users?name=alice%40example.com", ""); a.str("users.0.id") != id {
		t.Error(a.text)
	}
	if a := r.call(t, 200, r.admin, "GET", "/v3/users?enabled=false", ""); a.at("users.0") != nil {
		t.Error(a.text)
	}
	a := r.call(t, 200, r.admin, "PATCH", "/v3/users/"+id, `{"user": {"name": "alice", "email": "a@b.c", "description": "new"}}`)
	if a.str("user.name") != "alice" || a.str("user.email") != "a@b.c" || a.at("user.enabled") != true {
		t.Error(a.text)
	}
	r.call(t, 409, r.admin, "PATCH", "/v3/users/"+id, `{"user": {"name": "ADMIN"}}`)
	other := r.user(t, "alice@example.com", "alice's other one", "", "") // the old name is free
	alice := r.logIn(t, "ALICE", "alice's password", "")
	if a := r.call(t, 200, alice, "GET", "/v3/users/"+id, ""); a.str("user.name") != "alice" {
		t.Error(a.text)
	}
	r.call(t, 403, alice, "GET", "/v3/users/"+other, "")
	r.call(t, 403, alice, "GET", "/v3/users/"+newID(), "")
	r.call(t, 404, r.admin, "GET", "/v3/users/No-Id", "")
	r.call(t, 204, r.admin, "DELETE", "/v3/users/"+other, "")
	r.call(t, 404, r.admin, "DELETE", "/v3/users/"+other, "")
	r.call(t, 404, r.admin, "PATCH", "/v3/users/"+other, `{"user": {}}`)
}

func TestChangeOfOnesOwnPassword(t *testing.T) {
	r := newRig(t)
	id := r.user(t, "alice", "alice's password", "", "")
	alice := r.logIn(t, "alice", "alice's password", "")
	change := func(want int, token, user, original, password string) {
		t.Helper()
		r.call(t, want, token, "POST", "/v3/users/"+user+"/password",
			`{"user": {"original_password": "`+original+`", "password": "`+password+`"}}`)
	}
	change(401, alice, id, "wrong password", "the next password")
	change(400, alice, id, "alice's password", "next")
	change(403, r.admin, id, "alice's password", "the next password")
	change(204, alice, id, "alice's password", "the next password")
	r.call(t, 401, alice, "GET", "/v3/auth/projects", "")
	r.call(t, 401, "", "POST", "/v3/auth/tokens", loginJSON("alice", "alice's password", ""))
	r.logIn(t, "alice", "the next password", "")
}

func TestProjects(t *testing.T) {
	r := newRig(t)
	shop, other := r.project(t, "shop"), r.project(t, "Other")
	if !etcdschema.ValidName(shop) || len(shop) != 32 {
		t.Error(shop)
	}
	r.call(t, 409, r.admin, "POST", "/v3/projects", `{"project": {"name": "SHOP"}}`)
	r.call(t, 400, r.admin, "POST", "/v3/projects", `{"project": {"name": "`+strings.Repeat("a", 65)+`"}}`)
	id := r.user(t, "alice", "alice's password", shop, Reader)
	alice := r.logIn(t, "alice", "alice's password", "")

	if a := r.call(t, 200, r.admin, "GET", "/v3/projects?name=other", ""); a.str("projects.0.id") != other {
		t.Error(a.text)
	}
	for _, path := range []string{"/v3/projects", "/v3/auth/projects", "/v3/users/" + id + "/projects", "/v3/projects?name=shop"} {
		a := r.call(t, 200, alice, "GET", path, "")
		if a.str("projects.0.id") != shop || strings.Contains(a.text, other) || a.str("links.self") == "" {
			t.Errorf("%s: %s", path, a.text)
		}
	}
	if a := r.call(t, 200, alice, "GET", "/v3/projects/"+shop, ""); a.str("project.name") != "shop" || a.at("project.enabled") != true {
		t.Error(a.text)
	}
	r.call(t, 403, alice, "GET", "/v3/projects/"+other, "")
	r.call(t, 403, alice, "GET", "/v3/projects/"+newID(), "")
	a := r.call(t, 200, r.admin, "PATCH", "/v3/projects/"+other, `{"project": {"name": "more", "description": "d", "enabled": false}}`)
	if a.str("project.name") != "more" || a.str("project.description") != "d" || a.at("project.enabled") != false {
		t.Error(a.text)
	}

	r.etcd.Put(t, etcdschema.UsageKey(shop).String(), `{"v":1,"instances":2}`)
	a = r.call(t, 409, r.admin, "DELETE", "/v3/projects/"+shop, "")
	if !strings.Contains(a.str("error.message"), "2 instances") {
		t.Error(a.text)
	}
	r.etcd.Delete(t, etcdschema.UsageKey(shop).String())
	r.call(t, 204, r.admin, "DELETE", "/v3/projects/"+shop, "")
	r.call(t, 404, r.admin, "GET", "/v3/projects/"+shop, "")
	r.call(t, 401, alice, "GET", "/v3/auth/projects", "")
	if u, err := r.service.users.get(t.Context(), id); err != nil || len(u.Roles) != 0 {
		t.Error("roles in a project that is gone:", u.Roles, err)
	}
}

func TestRoles(t *testing.T) {
	r := newRig(t)
	shop := r.project(t, "shop")
	id := r.user(t, "alice", "alice's password", "", "")
	grant := "/v3/projects/" + shop + "/users/" + id + "/roles"
	r.call(t, 404, r.admin, "HEAD", grant+"/member", "")
	r.call(t, 404, r.admin, "PUT", grant+"/owner", "")
	r.call(t, 404, r.admin, "PUT", "/v3/projects/"+newID()+"/users/"+id+"/roles/member", "")
	r.call(t, 404, r.admin, "PUT", "/v3/projects/"+shop+"/users/"+newID()+"/roles/member", "")
	r.call(t, 204, r.admin, "PUT", grant+"/member", "")
	r.call(t, 204, r.admin, "PUT", grant+"/member", "")
	r.call(t, 204, r.admin, "HEAD", grant+"/member", "")
	if a := r.call(t, 200, r.admin, "GET", grant, ""); a.str("roles.0.name") != "member" {
		t.Error(a.text)
	}
	a := r.call(t, 200, r.admin, "GET", "/v3/role_assignments?include_names=True&user.id="+id, "")
	if a.str("role_assignments.0.scope.project.name") != "shop" || a.str("role_assignments.0.role.id") != "member" {
		t.Error(a.text)
	}
	if a := r.call(t, 200, r.admin, "GET", "/v3/role_assignments?role.id=reader", ""); a.at("role_assignments.0") != nil {
		t.Error(a.text)
	}
	alice := r.logIn(t, "alice", "alice's password", "")
	r.call(t, 403, alice, "GET", "/v3/role_assignments", "")
	r.call(t, 200, alice, "GET", "/v3/role_assignments?user.id="+id, "")
	r.call(t, 200, alice, "GET", "/v3/roles/reader", "")
	r.call(t, 404, alice, "GET", "/v3/roles/owner", "")
	if a := r.call(t, 200, alice, "GET", "/v3/roles?name=member", ""); a.str("roles.0.id") != "member" {
		t.Error(a.text)
	}
	r.call(t, 204, r.admin, "DELETE", grant+"/member", "")
	r.call(t, 404, r.admin, "DELETE", grant+"/member", "")
	r.call(t, 401, alice, "GET", "/v3/roles", "")
}

func TestDomains(t *testing.T) {
	r := newRig(t)
	if a := r.call(t, 200, r.admin, "GET", "/v3/domains?name=default", ""); a.str("domains.0.id") != "default" {
		t.Error(a.text)
	}
	r.call(t, 200, r.admin, "GET", "/v3/domains/default", "")
	r.call(t, 404, r.admin, "GET", "/v3/domains/other", "")
}

// Of several gateways that start at once, one makes the first user.
func TestBootstrapOnce(t *testing.T) {
	r := newRig(t)
	for key := range r.etcd.All(t, "/server/identity/users/") {
		r.etcd.Delete(t, key) // the project and the claims on the names stay
	}
	type outcome struct {
		password string
		created  bool
		err      error
	}
	const gateways = 4
	outcomes := make(chan outcome)
	for range gateways {
		s := r.gateway(t, nil)
		go func() {
			var o outcome
			o.password, o.created, o.err = s.Bootstrap(t.Context())
			outcomes <- o
		}()
	}
	made := 0
	for range gateways {
		o := <-outcomes
		if o.err != nil || o.created != (o.password != "") {
			t.Error(o)
		}
		if o.created {
			made++
			r.password = o.password
		}
	}
	if made != 1 {
		t.Fatalf("%d gateways made the first user", made)
	}
	r.admin = r.logIn(t, "admin", r.password, "")
	if a := r.call(t, 200, r.admin, "GET", "/v3/projects", ""); strings.Count(a.text, `"name":"admin"`) != 1 {
		t.Error("the project was not kept:", a.text)
	}
	if _, created, err := r.service.Bootstrap(t.Context()); created || err != nil {
		t.Error(created, err)
	}
}

// Two requests for one name: one gets it.
func TestNamesAreUnique(t *testing.T) {
	r := newRig(t)
	const tries = 8
	errs := make(chan error)
	for range tries {
		go func() {
			errs <- r.service.projects.create(t.Context(), etcdschema.IdentityProject{ID: newID(), Name: "shop"})
		}()
	}
	made := 0
	for range tries {
		err := <-errs
		var f *fault
		if err == nil {
			made++
		} else if !errors.As(err, &f) || f.code != http.StatusConflict {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d projects of one name", made)
	}
}

func TestConfigProblems(t *testing.T) {
	_, err := New(Config{TokenTTL: -1})
	if err == nil || !strings.Contains(err.Error(), "Store") || !strings.Contains(err.Error(), "TokenTTL") {
		t.Fatal(err)
	}
}

func TestUnforeseenErrorsTellNothing(t *testing.T) {
	if f := faultOf(fmt.Errorf("reading: %w", ErrUnauthorized)); f.code != http.StatusUnauthorized {
		t.Error(f)
	}
	if f := faultOf(errors.New("disk on fire")); f.code != http.StatusInternalServerError || strings.Contains(f.message, "fire") {
		t.Error(f)
	}
}
