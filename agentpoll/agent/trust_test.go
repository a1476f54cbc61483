package agent

import (
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// secured is a gateway over TLS, whose certificate can be changed.
type secured struct {
	*gateway
	url     string
	cert    atomic.Pointer[tls.Certificate]
	reached atomic.Int64 // requests that came through
	server  *httptest.Server
}

func newSecured(t *testing.T) *secured {
	s := &secured{gateway: newGateway(t)}
	s.hold = time.Second
	s.fault = func(http.ResponseWriter, *http.Request) bool { s.reached.Add(1); return false }
	s.server = httptest.NewUnstartedServer(s.gateway)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*s.cert.Load()}}, nil
	}}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.url = s.server.URL
	return s
}

// by serves with a certificate of ca from now on.
func (s *secured) by(t *testing.T, ca *authority) {
	leaf := issue(t, ca, "gateway", net.IPv4(127, 0, 0, 1), false)
	s.cert.Store(&tls.Certificate{Certificate: [][]byte{leaf.cert.Raw, ca.cert.Raw}, PrivateKey: leaf.key})
	s.server.CloseClientConnections()
}

func (s *secured) says(cas ...*authority) {
	trust := new(agentpoll.Trust)
	for _, ca := range cas {
		trust.CAs = append(trust.CAs, ca.pin())
	}
	s.change(func() { s.gateway.trust = trust })
}

func (s *secured) config(t *testing.T, h Handler) Config {
	cfg := s.gateway.config(t, h)
	cfg.Gateways, cfg.Dial, cfg.AllowHTTP, cfg.RotateEvery = []string{s.url}, nil, false, -1
	return cfg
}

// polled waits for polls that came after now.
func (s *secured) polled(t *testing.T, what string) {
	t.Helper()
	before := len(look(s.gateway, &s.polls))
	s.until(t, what, func() bool { return len(s.polls) > before+1 })
}

// An agent knows the gateways by what its token says, then by what they say themselves, through a change of the CA and a restart.
func TestTokenNamesTheGateways(t *testing.T) {
	first, second := issue(t, nil, "first", nil, true), issue(t, nil, "second", nil, true)
	s := newSecured(t)
	s.by(t, first)
	s.says(first)
	cfg := s.config(t, methods{})
	cfg.Token = agentpoll.Token{Secret: s.token, CAs: []string{first.pin()}}.String()
	a, stop := start(t, cfg)
	s.polled(t, "a poll")

	s.says(first, second) // for as long as gateways of both are there
	if err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.by(t, second)
	s.polled(t, "a poll at a gateway with the new CA")
	stop()
	cfg.Token = ""
	a, stop = start(t, cfg)
	s.polled(t, "a poll after a restart without a token")
	s.by(t, first)
	s.polled(t, "a poll at a gateway with the old CA")

	s.by(t, second)
	s.polled(t, "a poll at a gateway with the new CA")
	s.says(second)
	if err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.polled(t, "a poll after the rotation")
	stop()
	s.by(t, first)
	cfg.Token = agentpoll.Token{Secret: s.token, CAs: []string{first.pin()}}.String() // what it was enrolled with counts no more
	reached := s.reached.Load()
	a, stop = start(t, cfg)
	untilFailed(t, a)
	stop()
	if n := s.reached.Load(); n != reached {
		t.Errorf("%d requests went to a gateway with a CA that was given up", n-reached)
	}
	cfg.CA = strings.ToUpper(first.pin()) // an operator's word, after the gateways': it counts
	start(t, cfg)
	s.polled(t, "a poll with the CA that the configuration says anew")
}

// untilFailed waits until an agent has failed to reach its gateways.
func untilFailed(t *testing.T, a *Agent) {
	t.Helper()
	c := &http.Client{Transport: sessionOf(t, a).client.http.Transport}
	resp, err := c.Get(a.cfg.Gateways[0])
	if err == nil {
		_ = resp.Body.Close()
		t.Error("the agent speaks with the gateway")
	}
}

func sessionOf(t *testing.T, a *Agent) (s *session) {
	t.Helper()
	until.True(t, time.Minute, "the agent runs", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		s = a.session
		return s != nil
	})
	return s
}

// Whoever has taken the gateways' name or port, with a certificate that is good for it by another CA, gets nothing.
func TestStolenNameGetsNothing(t *testing.T) {
	ours, theirs := issue(t, nil, "ours", nil, true), issue(t, nil, "theirs", nil, true)
	s := newSecured(t)
	s.by(t, theirs)
	cfg := s.config(t, methods{})
	cfg.Token = agentpoll.Token{Secret: s.token, CAs: []string{ours.pin()}}.String()
	said := make(lines, 100)
	cfg.Log = slog.New(slog.NewTextHandler(said, nil))
	start(t, cfg)
	for !strings.Contains(<-said, "does not hold the pinned CA") {
	}
	if n := s.reached.Load(); n != 0 {
		t.Errorf("%d requests of the agent came through", n)
	}
	s.by(t, ours)
	s.polled(t, "a poll at the right gateway")
}

// lines are what was logged; more than fit are dropped.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

func TestTokenThatCannotBeRead(t *testing.T) {
	s := newSecured(t)
	cfg := s.config(t, methods{})
	cfg.Token = "enrol1." + s.token + ".x"
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "token cannot be read") {
		t.Errorf("Run: %v", err)
	}
}

// What is not signed by the gateways is refused, told of once, and not journalled; over plain HTTP nobody replaces their key.
func TestOnlySignedCommandsAreRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		ours, _ := agentpoll.NewKey()
		other, _ := agentpoll.NewKey()
		g.trust = &agentpoll.Trust{CommandKeys: [][]byte{ours.PublicKey().Bytes()}}
		var d diary
		cfg := g.config(t, methods{"create": d.note(Traits{})})
		said := make(lines, 100)
		cfg.Log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelError}))
		a, _ := start(t, cfg)
		g.until(t, "a poll", func() bool { return len(g.polls) > 0 })
		g.change(func() { g.trust = &agentpoll.Trust{CommandKeys: [][]byte{other.PublicKey().Bytes()}} })
		if err := a.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"c1", "c2"} {
			g.enqueue(id, "create", "")
			if result := g.result(t, id); result.Error == nil || result.Error.Kind != agentpoll.Refused {
				t.Errorf("%s: %+v", id, result)
			}
		}
		rightful := agentpoll.Command{ID: "c1", Method: "create"} // an id that was misused before
		rightful.Sign(agentpoll.CommandKey(ours, sessionOf(t, a).client.identity.key.PublicKey().Bytes(), "agent-1"), "agent-1")
		g.change(func() { delete(g.results, "c1") })
		g.enqueueCommand(rightful)
		if result := g.result(t, "c1"); result.Error != nil {
			t.Errorf("a signed command: %+v", result.Error)
		}
		if len(said) != 1 {
			t.Errorf("the agent's log has %d errors, want 1", len(said))
		}
	})
}
