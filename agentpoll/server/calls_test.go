package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// wantError checks an error's status and that its body and Retry-After are as they must be.
func wantError(t *testing.T, r reply, status int, kind agentpoll.ErrorKind) {
	t.Helper()
	var body agentpoll.ErrorReply
	if err := json.Unmarshal(r.body, &body); err != nil || r.status != status || body.Error.Kind != kind || body.Error.Message == "" {
		t.Errorf("got %d %s, want %d %q", r.status, r.body, status, kind)
	}
	retry := status == 401 || status == 403 || status == 429 || status == 503
	if got := r.header.Get("Retry-After"); retry && got == "" {
		t.Errorf("%d without Retry-After", status)
	}
}

func TestErrors(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent, locked := b.Agent(), b.Agent()
	b.Lock(locked.AgentID, true)
	g := start(t, b, nil, server.Config{EnrollRate: 1000})
	stranger := agentpoll.Credential{AgentID: agent.AgentID, Secret: agentpoll.NewSecret()}
	running := make([]string, 257)
	for _, tt := range []struct {
		name         string
		who          agentpoll.Credential
		method, path string
		body         any
		status       int
		kind         agentpoll.ErrorKind
	}{
		{"no credential", agentpoll.Credential{}, "POST", agentpoll.PathPoll, nil, 401, "unauthorized"},
		{"another's secret", stranger, "POST", agentpoll.PathPoll, nil, 401, "unauthorized"},
		{"locked", locked, "POST", agentpoll.PathPoll, nil, 403, "locked"},
		{"method", agent, "GET", agentpoll.PathPoll, nil, 405, agentpoll.Unsupported},
		{"no such call", agent, "POST", "/agent/v1/none", nil, 404, agentpoll.NotFound},
		{"no body", agent, "POST", agentpoll.PathPoll, []byte{}, 400, agentpoll.Invalid},
		{"no JSON", agent, "POST", agentpoll.PathPoll, []byte("{"), 400, agentpoll.Invalid},
		{"two bodies", agent, "POST", agentpoll.PathPoll, []byte("{}{}"), 400, agentpoll.Invalid},
		{"wrong type", agent, "POST", agentpoll.PathPoll, []byte(`{"cursor":7}`), 400, agentpoll.Invalid},
		{"negative revision", agent, "POST", agentpoll.PathPoll, []byte(`{"cursor":{"revision":-1}}`), 400, agentpoll.Invalid},
		{"too many running", agent, "POST", agentpoll.PathPoll, agentpoll.PollRequest{Running: running}, 400, agentpoll.Invalid},
		{"too large", agent, "POST", agentpoll.PathPoll, bytes.Repeat([]byte(" "), agentpoll.MaxBody+1), 413, "too_large"},
		{"no such command", agent, "POST", resultPath("none"), agentpoll.Result{}, 410, "gone"},
		{"bad token", agentpoll.Credential{}, "POST", agentpoll.PathEnroll, agentpoll.EnrollRequest{Token: "x"}, 401, "unauthorized"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantError(t, g.do(t, tt.who, tt.method, tt.path, tt.body), tt.status, tt.kind) })
	}
	t.Run("of the backend", func(t *testing.T) {
		b.Break(errors.New("secret detail"))
		defer b.Break(nil)
		r := g.do(t, agentpoll.Credential{}, "POST", agentpoll.PathEnroll, agentpoll.EnrollRequest{})
		wantError(t, r, 503, "unavailable")
		if strings.Contains(string(r.body), "secret") {
			t.Errorf("the answer tells too much: %s", r.body)
		}
	})
}

func TestEnrollThenEveryCall(t *testing.T) {
	b := agentpolltest.NewBackend()
	g := start(t, b, nil, server.Config{})
	token, agentID := b.Token(json.RawMessage(`{"a":1}`))
	agent := agentpoll.Credential{Secret: agentpoll.NewSecret()}
	req := agentpoll.EnrollRequest{Token: token, Kind: agentpoll.Guest, CredentialHash: agent.Hash(), PublicKey: make([]byte, 32)}
	for range 2 { // the answer may be lost
		r := g.do(t, agentpoll.Credential{}, "POST", agentpoll.PathEnroll, req)
		if want := fmt.Sprintf(`{"agent_id":%q,"options":{"a":1}}`, agentID); string(r.body) != want {
			t.Fatalf("%d %s, want %s", r.status, r.body, want)
		}
	}
	agent.AgentID = agentID
	id := b.Enqueue(agentID, agentpoll.Command{})
	r := g.poll(t, agent, agentpoll.PollRequest{Status: json.RawMessage(`"healthy"`)})
	if len(r.poll.Commands) != 1 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if s, err := b.WaitStatuses(t.Context(), agentID, 1); err != nil || string(s[0]) != `"healthy"` {
		t.Errorf("%s, %v", s, err)
	}
	progress := strings.Replace(agentpoll.PathProgress, "{id}", id, 1)
	if r := g.do(t, agent, "POST", progress, agentpoll.Progress{Done: 7}); r.status != 204 {
		t.Errorf("progress: %d", r.status)
	}
	for range 2 {
		if r := g.do(t, agent, "POST", resultPath(id), agentpoll.Result{Value: json.RawMessage(`1`)}); r.status != 204 {
			t.Errorf("result: %d", r.status)
		}
	}
	next := agentpoll.Credential{AgentID: agentID, Secret: agentpoll.NewSecret()}
	if r := g.do(t, agent, "POST", agentpoll.PathRotate, agentpoll.RotateRequest{Sequence: 1, CredentialHash: next.Hash()}); string(r.body) != `{"sequence":2}` {
		t.Errorf("rotate: %d %s", r.status, r.body)
	}
	g.park(t, agent, agentpoll.PollRequest{Cursor: r.poll.Cursor}) // until the new one is used
	g.park(t, next, agentpoll.PollRequest{Cursor: r.poll.Cursor}).cancel()
	eventually(t, "the old credential is dead", func() bool {
		return g.do(t, agent, "POST", agentpoll.PathRotate, agentpoll.RotateRequest{}).status == 401
	})
}

func TestOverload(t *testing.T) {
	b := agentpolltest.NewBackend()
	first, second := b.Agent(), b.Agent()
	g := start(t, b, nil, server.Config{MaxPolls: 1})
	g.park(t, first, agentpoll.PollRequest{})
	wantError(t, g.poll(t, second, agentpoll.PollRequest{}), 429, "overloaded")
	g.park(t, first, agentpoll.PollRequest{}) // takes its own place
	b.Enqueue(second.AgentID, agentpoll.Command{})
	eventually(t, "a command is told even so", func() bool {
		return g.poll(t, second, agentpoll.PollRequest{}).status == 200
	})
	if n := g.Stats().Overload; n == 0 {
		t.Error("the refusal was not counted")
	}
}

func TestEnrolmentsAreLimitedByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := agentpolltest.NewBackend()
		g := startPipe(t, b, server.Config{EnrollRate: 1, RemoteIP: func(r *http.Request) string { return r.Header.Get("Authorization") }})
		enroll := func(who agentpoll.Credential) int {
			return g.do(t, who, "POST", agentpoll.PathEnroll, agentpoll.EnrollRequest{}).status
		}
		for range 10 {
			if got := enroll(agentpoll.Credential{AgentID: "a"}); got != 401 {
				t.Fatalf("got %d", got)
			}
		}
		if got := enroll(agentpoll.Credential{AgentID: "a"}); got != 429 {
			t.Errorf("after the burst: %d", got)
		}
		if got := enroll(agentpoll.Credential{AgentID: "b"}); got != 401 {
			t.Errorf("another address: %d", got)
		}
		time.Sleep(time.Second)
		if got := enroll(agentpoll.Credential{AgentID: "a"}); got != 401 {
			t.Errorf("a second later: %d", got)
		}
		if n := b.Calls().Enroll; n != 12 {
			t.Errorf("%d calls of the backend", n)
		}
	})
}

func TestCredentialsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := agentpolltest.NewBackend()
		agent := b.Agent()
		g := startPipe(t, b, server.Config{})
		rotate := func(c agentpoll.Credential) int {
			return g.do(t, c, "POST", resultPath("none"), agentpoll.Result{}).status
		}
		asked := func(what string, want int) {
			t.Helper()
			if got := b.Calls().Authenticate; got != want {
				t.Errorf("%s: %d questions, want %d", what, got, want)
			}
		}
		for range 5 {
			rotate(agent)
		}
		asked("a good one", 1)
		stranger := agentpoll.Credential{AgentID: agent.AgentID, Secret: agentpoll.NewSecret()}
		for range 5 {
			if got := rotate(stranger); got != 401 {
				t.Errorf("a stranger got %d", got)
			}
		}
		asked("a bad one", 2)
		time.Sleep(6 * time.Second)
		rotate(stranger)
		asked("a bad one, later", 3)
		b.Lock(agent.AgentID, true)
		synctest.Wait()
		if got := rotate(agent); got != 403 {
			t.Errorf("locked: %d", got)
		}
		b.Lock(agent.AgentID, false)
		synctest.Wait()
		if got := rotate(agent); got != 410 {
			t.Errorf("unlocked: %d", got)
		}
		asked("changed twice", 5)
		storm := 0
		for range 300 {
			if rotate(agentpoll.Credential{AgentID: "x", Secret: agentpoll.NewSecret()}) == 429 {
				storm++
			}
		}
		if storm < 150 {
			t.Errorf("of 300 unknown credentials %d were refused unasked", storm)
		}
		if got := rotate(agent); got != 410 {
			t.Errorf("a known agent in the storm: %d", got)
		}
	})
}

func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := agentpolltest.NewBackend()
		agent := b.Agent()
		l := agentpolltest.NewPipeListener()
		start(t, b, l, server.Config{})
		request := post(agent, agentpoll.PathPoll, `{}`)
		for name, tt := range map[string]struct {
			sent  string
			after time.Duration
			want  string
		}{
			"header": {request[:30], 5 * time.Second, ""},
			"body":   {request[:len(request)-1], 10 * time.Second, "HTTP/1.1 408 "},
		} {
			c, err := l.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if _, err := io.WriteString(c, tt.sent); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(c)
			if !strings.HasPrefix(string(got), tt.want) || time.Since(begin).Round(time.Second) != tt.after {
				t.Errorf("%s: %q after %s", name, got, time.Since(begin))
			}
			_ = c.Close()
		}
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := agentpolltest.NewBackend()
		agent := b.Agent()
		g := startPipe(t, b, server.Config{Hold: 30 * time.Second})
		holds := map[time.Duration]bool{}
		for range 20 {
			begin := time.Now()
			r := g.poll(t, agent, agentpoll.PollRequest{})
			held := time.Since(begin)
			holds[held] = true
			want := agentpoll.Cursor{Epoch: b.Epoch(), Revision: b.Revision()}
			if r.status != 204 || r.poll.Cursor != want || r.header.Get(agentpoll.HeaderHold) != "30000" {
				t.Fatalf("%d %v", r.status, r.header)
			}
			if held < 20*time.Second || held > 30*time.Second {
				t.Errorf("held for %s", held)
			}
		}
		if len(holds) < 10 {
			t.Errorf("only %d different holds of 20", len(holds))
		}
	})
}
