package identity

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
)

func named(name string) string {
	return `{"project": {"name": "` + name + `", "domain": {"name": "Default"}}}`
}

func TestLogIn(t *testing.T) {
	r := newRig(t)
	shop, other := r.project(t, "shop"), r.project(t, "other")
	id := r.user(t, "alice", "alice's password", shop, Member)
	logIn := func(want int, body string) answer {
		t.Helper()
		a := r.call(t, want, "", "POST", "/v3/auth/tokens", body)
		if token := a.header.Get("X-Subject-Token"); token != "" {
			r.secrets = append(r.secrets, token)
		}
		return a
	}
	for _, scope := range []string{"", named("Shop"), `{"project": {"id": "` + shop + `"}}`} {
		a := logIn(201, loginJSON("alice", "alice's password", scope))
		if a.str("token.project.id") != shop || a.str("token.project.domain.id") != "default" || a.str("token.user.id") != id ||
			a.str("token.roles.0.name") != Member || a.str("token.methods.0") != "password" ||
			a.str("token.catalog.0.endpoints.0.url") != r.server.URL+"/v1.0/"+shop {
			t.Errorf("scope %s: %s", scope, a.text)
		}
		if !strings.HasSuffix(a.str("token.expires_at"), "Z") {
			t.Error(a.str("token.expires_at"))
		}
	}
	if a := logIn(201, loginJSON("alice", "alice's password", `"unscoped"`)); a.at("token.project") != nil || a.at("token.catalog") != nil {
		t.Error(a.text)
	}
	r.call(t, 204, r.admin, "PUT", "/v3/projects/"+other+"/users/"+id+"/roles/reader", "")
	if a := logIn(201, loginJSON("alice", "alice's password", "")); a.at("token.project") != nil {
		t.Error("two projects and no default:", a.text)
	}
	r.call(t, 200, r.admin, "PATCH", "/v3/users/"+id, `{"user": {"default_project_id": "`+other+`"}}`)
	if a := logIn(201, loginJSON("alice", "alice's password", "")); a.str("token.project.id") != other {
		t.Error(a.text)
	}

	logIn(401, loginJSON("alice", "wrong", named("shop")))
	logIn(401, loginJSON("nobody at all", "wrong", named("shop")))
	logIn(401, loginJSON("alice", "alice's password", named("admin")))
	logIn(401, loginJSON("alice", "alice's password", named("nowhere")))
	logIn(401, loginJSON("alice", "alice's password", `{"project": {"name": "shop", "domain": {"id": "elsewhere"}}}`))
	logIn(401, strings.Replace(loginJSON("alice", "alice's password", ""), "Default", "Elsewhere", 1))
	logIn(400, loginJSON("alice", "alice's password", `{"system": {"all": true}}`))
	logIn(400, `{"auth": {"identity": {"methods": ["totp"]}}}`)
	logIn(400, `nonsense`)
}

func TestTokenForAnother(t *testing.T) {
	r := newRig(t)
	shop := r.project(t, "shop")
	r.user(t, "alice", "alice's password", shop, Member)
	first := r.logIn(t, "alice", "alice's password", `"unscoped"`)
	before := r.call(t, 200, first, "GET", "/v3/auth/tokens", "", "X-Subject-Token", first)
	r.call(t, 403, first, "GET", "/v3/auth/catalog", "")
	a := r.call(t, 201, "", "POST", "/v3/auth/tokens", tokenJSON(first, named("shop")))
	second := a.header.Get("X-Subject-Token")
	if a.str("token.expires_at") != before.str("token.expires_at") {
		t.Error("a token was prolonged by itself")
	}
	if got := a.at("token.methods"); len(got.([]any)) != 2 {
		t.Error(got)
	}
	if a := r.call(t, 200, second, "GET", "/v3/auth/catalog", ""); a.str("catalog.0.type") != "database" {
		t.Error(a.text)
	}
	r.call(t, 401, "", "POST", "/v3/auth/tokens", tokenJSON(second, named("admin")))

	r.call(t, 200, first, "GET", "/v3/auth/tokens", "", "X-Subject-Token", second)
	r.call(t, 403, first, "GET", "/v3/auth/tokens", "", "X-Subject-Token", r.admin)
	r.call(t, 403, first, "DELETE", "/v3/auth/tokens", "", "X-Subject-Token", r.admin)
	r.call(t, 404, r.admin, "GET", "/v3/auth/tokens", "", "X-Subject-Token", "nonsense")
	a = r.call(t, 200, r.admin, "GET", "/v3/auth/tokens?nocatalog", "", "X-Subject-Token", second)
	if a.at("token.catalog") != nil || a.header.Get("X-Subject-Token") != second {
		t.Error(a.text)
	}
	r.call(t, 200, second, "HEAD", "/v3/auth/tokens", "", "X-Subject-Token", second)
	r.call(t, 204, first, "DELETE", "/v3/auth/tokens", "", "X-Subject-Token", first)
	r.call(t, 401, first, "GET", "/v3/auth/projects", "")
	r.call(t, 401, "", "POST", "/v3/auth/tokens", tokenJSON(first, named("shop")))
	r.call(t, 401, second, "GET", "/v3/auth/projects", "") // it was made from the first
}

// A static token logs in as itself, so that Terraform and `openstack --os-auth-type token` may use it.
func TestStaticTokenLogsIn(t *testing.T) {
	r := newRig(t)
	shop := r.project(t, "shop")
	for _, scope := range []string{named("shop"), `{"project": {"id": "` + shop + `"}}`} {
		a := r.call(t, 201, "", "POST", "/v3/auth/tokens", tokenJSON(ciToken, scope))
		if a.header.Get("X-Subject-Token") != ciToken || a.str("token.project.id") != shop || a.str("token.roles.0.id") != Admin {
			t.Error(a.text)
		}
	}
	r.call(t, 401, "", "POST", "/v3/auth/tokens", tokenJSON(ciToken, named("nowhere")))
	if a := r.call(t, 201, "", "POST", "/v3/auth/tokens", tokenJSON(ciToken, "null")); a.at("token.project") != nil {
		t.Error(a.text)
	}
	r.call(t, 200, ciToken, "GET", "/v3/auth/tokens", "", "X-Subject-Token", ciToken)
	r.call(t, 403, ciToken, "DELETE", "/v3/auth/tokens", "", "X-Subject-Token", ciToken)
	id := r.call(t, 200, ciToken, "GET", "/v3/users?name=admin", "").str("users.0.id")
	r.secrets = append(r.secrets, "the way back in")
	r.call(t, 200, ciToken, "PATCH", "/v3/users/"+id, `{"user": {"password": "the way back in"}}`)
	r.call(t, 401, r.admin, "GET", "/v3/users", "")
	r.logIn(t, "admin", "the way back in", named("admin"))
}

// Whatever ends a token ends it at once where it is asked for, and elsewhere when the cache has forgotten it.
func TestWhatEndsAToken(t *testing.T) {
	r := newRig(t)
	elsewhere := r.gateway(t, nil)
	elsewhere.good = newCache[grant](time.Hour, goodMax) // however slow the machine is
	for i, test := range []struct{ name, method, path, body string }{
		{"revoked", "DELETE", "/v3/auth/tokens", ""},
		{"password changed", "PATCH", "/v3/users/USER", `{"user": {"password": "another password"}}`},
		{"user disabled", "PATCH", "/v3/users/USER", `{"user": {"enabled": false}}`},
		{"user deleted", "DELETE", "/v3/users/USER", ""},
		{"project disabled", "PATCH", "/v3/projects/PROJECT", `{"project": {"enabled": false}}`},
		{"project deleted", "DELETE", "/v3/projects/PROJECT", ""},
		{"role withdrawn", "DELETE", "/v3/projects/PROJECT/users/USER/roles/member", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := "user" + strconv.Itoa(i)
			project := r.project(t, name)
			user := r.user(t, name, "a good password", project, Member)
			token := r.logIn(t, name, "a good password", "")
			for _, s := range []*Service{r.service, elsewhere} {
				if who, err := s.Authenticate(t.Context(), token); err != nil || who.Project != project || !who.Member() {
					t.Fatal(who, err)
				}
			}
			status := map[string]int{"DELETE": http.StatusNoContent, "PATCH": http.StatusOK}[test.method]
			path := strings.NewReplacer("USER", user, "PROJECT", project).Replace(test.path)
			r.call(t, status, r.admin, test.method, path, test.body, "X-Subject-Token", token)
			if _, err := r.service.Authenticate(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
				t.Error("here:", err)
			}
			if _, err := elsewhere.Authenticate(t.Context(), token); err != nil {
				t.Error("elsewhere, still in the cache:", err)
			}
			elsewhere.forget()
			if _, err := elsewhere.Authenticate(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
				t.Error("elsewhere:", err)
			}
		})
	}
	t.Run("enabled again", func(t *testing.T) {
		user := r.user(t, "back", "a good password", "", "")
		token := r.logIn(t, "back", "a good password", "")
		r.call(t, 200, r.admin, "PATCH", "/v3/users/"+user, `{"user": {"enabled": false}}`)
		r.call(t, 401, "", "POST", "/v3/auth/tokens", loginJSON("back", "a good password", ""))
		r.call(t, 200, r.admin, "PATCH", "/v3/users/"+user, `{"user": {"enabled": true}}`)
		if _, err := r.service.Authenticate(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
			t.Error("the old token lives again:", err)
		}
	})
}

func TestTokenExpires(t *testing.T) {
	r := newRig(t)
	admin, _, err := r.service.users.find(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	put := func(left time.Duration) (token string) {
		t.Helper()
		token = tokenPrefix + agentpoll.NewSecret()
		hash, _ := tokenHash(token)
		_, err := r.service.store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			record := etcdschema.IdentityToken{User: admin.ID, Expires: time.Now().Add(left)}
			return []etcdschema.Op{etcdschema.Put(etcdschema.IdentityTokenKey(hash), record)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if _, err := r.service.Authenticate(t.Context(), put(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.service.Authenticate(t.Context(), put(-time.Second)); !errors.Is(err, ErrUnauthorized) {
		t.Fatal(err)
	}
	token := put(time.Hour)
	hash, _ := tokenHash(token)
	_, _, remember := r.service.good.get(hash)
	remember(grant{Who: Who{Expires: time.Now().Add(-time.Second)}})
	if _, err := r.service.Authenticate(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
		t.Fatal("expired while it was remembered:", err)
	}
	for key := range r.etcd.All(t, "/server/identity/tokens/") {
		if strings.Contains(key, token) {
			t.Fatal(key)
		}
	}
}

// A call with a token that was used a moment ago needs nothing of etcd, nor does one with what is no token.
func TestAuthenticateReadsOnce(t *testing.T) {
	r := newRig(t)
	s := r.gateway(t, nil)
	s.good, s.bad = newCache[grant](time.Hour, goodMax), newCache[struct{}](time.Hour, badMax) // however slow the machine is
	unknown := tokenPrefix + agentpoll.NewSecret()
	if _, err := s.Authenticate(t.Context(), r.admin); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(t.Context(), unknown); !errors.Is(err, ErrUnauthorized) {
		t.Fatal(err)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if who, err := s.Authenticate(t.Context(), r.admin); err != nil || !who.Admin() {
		t.Fatal(who, err)
	}
	for _, token := range []string{unknown, "", "nonsense", tokenPrefix} {
		if _, err := s.Authenticate(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Authenticate(ctx, tokenPrefix+agentpoll.NewSecret()); err == nil || errors.Is(err, ErrUnauthorized) {
		t.Fatal("without etcd nobody knows a token:", err)
	}
}

func TestGuessingIsRefused(t *testing.T) {
	r := newRig(t)
	r.service.attempts.users = newLimiter(userBurst, time.Hour) // so that a slow machine earns none meanwhile
	for range userBurst {
		r.call(t, 401, "", "POST", "/v3/auth/tokens", loginJSON("Admin", "a wrong guess", ""))
	}
	a := r.call(t, 429, "", "POST", "/v3/auth/tokens", loginJSON("admin", r.password, ""))
	if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 3000 || after > 3600 {
		t.Error(a.header)
	}
	r.call(t, 200, r.admin, "GET", "/v3/users", "") // who has a token goes on
	r.secrets = append(r.secrets, "a wrong guess")
}

// Right passwords use up nothing, however many there are at once.
func TestLoggingInOftenIsNoGuessing(t *testing.T) {
	r := newRig(t)
	const logins = userBurst + 2
	statuses := make(chan int)
	for range logins {
		go func() {
			resp, err := http.Post(r.server.URL+Path+"/v3/auth/tokens", "application/json", strings.NewReader(loginJSON("admin", r.password, "")))
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	for range logins {
		if status := <-statuses; status != http.StatusCreated {
			t.Error(status)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	s := &Service{good: newCache[grant](goodFor, goodMax), bad: newCache[struct{}](badFor, badMax)}
	token := tokenPrefix + agentpoll.NewSecret()
	hash, _ := tokenHash(token)
	_, _, remember := s.good.get(hash)
	remember(grant{Who: Who{UserID: "u", Expires: time.Now().Add(time.Hour)}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticate(b.Context(), token); err != nil {
			s.forget()
			_, _, remember := s.good.get(hash)
			remember(grant{Who: Who{UserID: "u", Expires: time.Now().Add(time.Hour)}})
		}
	}
}

func BenchmarkPassword(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := matchesHash("", "a password"); err != nil {
			b.Fatal(err)
		}
	}
}
