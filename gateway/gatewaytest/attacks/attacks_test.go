package attacks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// scene is a gateway with its limits as they are by default, over an etcd of its own, and a host.
type scene struct {
	*gatewaytest.Gateway
	etcd  *etcdtest.Server
	store *etcdschema.Store
}

func newScene(t *testing.T, options ...gatewaytest.Option) scene {
	t.Helper()
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	return scene{gatewaytest.Start(t, store, append([]gatewaytest.Option{gatewaytest.Limited(), withMachines}, options...)...), etcd, store}
}

// withMachines lets tenants have instances on machines of their own.
func withMachines(c *gateway.Config) { c.AgentURLs = []string{"https://gateway.example"} }

// makeActive answers what a guest is asked first: to prepare its server.
func (s scene) makeActive(t *testing.T, r rogue) {
	t.Helper()
	awaitTrue(t, "the command to prepare", func() bool { return len(s.commands(t, r.credential.AgentID)) > 0 })
	for _, cmd := range s.commands(t, r.credential.AgentID) {
		status, body := r.call(t, http.MethodPost, strings.Replace(agentpoll.PathResult, "{id}", cmd.ID, 1), agentpoll.Result{Value: []byte("{}")})
		if status != http.StatusNoContent {
			t.Fatalf("result of %s: %d %s", cmd.Method, status, body)
		}
	}
	status, body := r.call(t, http.MethodPost, agentpoll.PathPoll, agentpoll.PollRequest{Status: []byte(`{"service":"HEALTHY"}`), Running: []string{newID()}})
	if status != http.StatusOK {
		t.Fatalf("poll: %d %s", status, body)
	}
	s.Client(gatewaytest.Member).Await(t, r.credential.AgentID, "ACTIVE", 20*time.Second)
}

// newID is the id of nothing: a poll that names it as running is answered at once.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// size is how many bytes etcd's database has, history and all.
func (s scene) size(t *testing.T) int64 {
	t.Helper()
	space, err := s.store.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return space.Size
}

// share is what one project or agent may make etcd grow by at once: a hundredth of what the etcd inside may have.
const share = 4 << 30 / 100

// counts is how often a gateway has refused because of a limit, as its metrics tell.
func (s scene) counts(t *testing.T, limit string) float64 {
	t.Helper()
	_, rest, _ := strings.Cut(s.Metrics(t), fmt.Sprintf("coffer_refused_total{limit=%q} ", limit))
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseFloat(line, 64)
	return n
}

// rogue is an agent whose credential an attacker holds.
type rogue struct {
	url        string
	credential agentpoll.Credential
}

// rogueGuest makes an instance on a machine of the tenant's own, as `user_data` lets everybody do, and enrols as its guest with the
// token that the answer holds.
func rogueGuest(t *testing.T, s scene) rogue {
	t.Helper()
	r := rogue{url: s.URL}
	a := s.Client(gatewaytest.Member).Want(t, http.StatusOK, http.MethodPost, "/instances",
		`{"instance":{"name":"mine","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},"user_data":true}}`)
	token := gatewaytest.GuestConfig(t, a.Text("instance", "user_data")).Token.Reveal()
	secret := agentpoll.NewSecret()
	status, body := r.call(t, http.MethodPost, agentpoll.PathEnroll, agentpoll.EnrollRequest{
		Token: token, Kind: agentpoll.Guest, CredentialHash: agentpoll.HashSecret(secret), PublicKey: bytes.Repeat([]byte{9}, 32),
		Manifest: json.RawMessage(`{"manager":"memory"}`),
	})
	var reply agentpoll.EnrollReply
	if err := json.Unmarshal(body, &reply); err != nil || status != http.StatusOK {
		t.Fatalf("enrol: %d %s", status, body)
	}
	r.credential = agentpoll.Credential{AgentID: reply.AgentID, Secret: secret}
	return r
}

// call makes one call of the agents' protocol.
func (r rogue) call(t *testing.T, method, path string, v any) (status int, body []byte) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return r.send(t, method, path, text, nil)
}

func (r rogue) send(t *testing.T, method, path string, body []byte, header http.Header) (status int, answer []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if r.credential.Secret != "" {
		req.Header.Set("Authorization", r.credential.Header())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}
