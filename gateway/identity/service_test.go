package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

// rig is the service as a gateway serves it, over a real etcd, with its first user.
type rig struct {
	etcd     *etcdtest.Server
	service  *Service
	server   *httptest.Server
	password string // of the user admin
	admin    string // a token of the user admin
	log      *logged
	secrets  []string // that must appear in no log line and no value
}

const labToken = "lab-0123456789abcdefghij" // a static token for the project "lab", of which the service knows nothing

// logged collects log lines.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{etcd: etcdtest.Start(t), log: &logged{}}
	static, err := NewStatic([]StaticToken{
		{Name: "ops", Project: AnyProject, Roles: []string{Admin}, Token: ciToken},
		{Name: "robot", Project: "lab", Roles: []string{Member}, Token: labToken},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.service = r.gateway(t, static)
	var created bool
	r.password, created, err = r.service.Bootstrap(t.Context())
	if err != nil || !created {
		t.Fatal(created, err)
	}
	r.server = httptest.NewServer(r.service.Handler())
	t.Cleanup(r.server.Close)
	r.secrets = append(r.secrets, r.password, ciToken, labToken)
	r.admin = r.logIn(t, "admin", r.password, `{"project": {"name": "admin", "domain": {"id": "default"}}}`)
	t.Cleanup(func() { r.checkSecrets(t) })
	return r
}

// gateway is the service of another gateway on the same etcd.
func (r *rig) gateway(t *testing.T, others Authenticator) *Service {
	t.Helper()
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(Config{Store: etcdtest.Open(t, r.etcd.Endpoint()), Others: others, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkSecrets looks for what was secret in the test in everything that was logged and stored.
func (r *rig) checkSecrets(t *testing.T) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	stored := r.etcd.All(background{t}, "/")
	for _, secret := range r.secrets {
		if strings.Contains(r.log.text.String(), secret) {
			t.Errorf("the secret %q was logged", secret)
		}
		for key, value := range stored {
			if strings.Contains(key+value, secret) {
				t.Errorf("the secret %q is stored under %s", secret, key)
			}
		}
	}
}

// answer is what the service said.
type answer struct {
	status int
	header http.Header
	text   string
	t      *testing.T
}

// at digs a value out of the body: "users.0.name".
func (a answer) at(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		a.t.Fatalf("body %q: %v", a.text, err)
	}
	for step := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			if step != "0" || len(in) == 0 {
				return nil
			}
			v = in[0]
		default:
			return nil
		}
	}
	return v
}

func (a answer) str(path string) string { s, _ := a.at(path).(string); return s }

// call asks the service; headers come in pairs. It fails unless the answer has the wanted status.
func (r *rig) call(t *testing.T, want int, token, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.server.URL+Path+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s %s: got %d %s, want %d", method, path, resp.StatusCode, text, want)
	}
	return answer{resp.StatusCode, resp.Header, string(text), t}
}

func loginJSON(user, password, scope string) string {
	if scope == "" {
		scope = "null"
	}
	return `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "` + user +
		`", "domain": {"name": "Default"}, "password": "` + password + `"}}}, "scope": ` + scope + `}}`
}

func tokenJSON(token, scope string) string {
	return `{"auth": {"identity": {"methods": ["token"], "token": {"id": "` + token + `"}}, "scope": ` + scope + `}}`
}

// logIn returns a token; scope "" asks for none in particular.
func (r *rig) logIn(t *testing.T, user, password, scope string) string {
	t.Helper()
	a := r.call(t, http.StatusCreated, "", "POST", "/v3/auth/tokens", loginJSON(user, password, scope))
	token := a.header.Get("X-Subject-Token")
	r.secrets = append(r.secrets, token)
	return token
}

// user makes a user, in the project with the role when one is given, and returns the id.
func (r *rig) user(t *testing.T, name, password, project, role string) string {
	t.Helper()
	r.secrets = append(r.secrets, password)
	id := r.call(t, http.StatusCreated, r.admin, "POST", "/v3/users",
		`{"user": {"name": "`+name+`", "password": "`+password+`", "domain_id": "default"}}`).str("user.id")
	if project != "" {
		r.call(t, http.StatusNoContent, r.admin, "PUT", "/v3/projects/"+project+"/users/"+id+"/roles/"+role, "")
	}
	return id
}

func (r *rig) project(t *testing.T, name string) string {
	t.Helper()
	return r.call(t, http.StatusCreated, r.admin, "POST", "/v3/projects", `{"project": {"name": "`+name+`"}}`).str("project.id")
}

// background lets helpers run when the test's context has ended: in its cleanup.
type background struct{ testing.TB }

func (background) Context() context.Context { return context.Background() }
