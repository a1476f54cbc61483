package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// gateway is a server over real HTTP, with its own watch of a backend that others may share.
type gateway struct {
	*server.Server
	watch  *agentpolltest.Watch
	url    string
	client *http.Client
}

// start serves on l, or on a new loopback port when it is nil, until the test ends.
func start(t testing.TB, b *agentpolltest.Backend, l net.Listener, config server.Config) *gateway {
	t.Helper()
	config.Backend = b
	config.Epoch = b.Epoch()
	s, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	if l == nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	} else if pipe, ok := l.(*agentpolltest.PipeListener); ok {
		transport.DialContext = pipe.DialContext
	}
	g := &gateway{
		Server: s,
		watch:  b.Feed(s.Apply),
		url:    "http://" + l.Addr().String(),
		client: &http.Client{Transport: transport},
	}
	hs := server.HTTPServer(s.Handler())
	wrapped := s.Listener(l)
	served := make(chan error, 1)
	go func() { served <- hs.Serve(wrapped) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = hs.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		g.watch.Close()
		s.Close()
		transport.CloseIdleConnections()
	})
	return g
}

// serve serves a server that a test feeds by itself.
func serve(t testing.TB, s *server.Server) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := server.HTTPServer(s.Handler())
	wrapped := s.Listener(l)
	served := make(chan error, 1)
	go func() { served <- hs.Serve(wrapped) }()
	t.Cleanup(func() {
		_ = hs.Close()
		<-served
	})
	return &gateway{Server: s, url: "http://" + l.Addr().String(), client: &http.Client{Transport: &http.Transport{}}}
}

// startPipe is for use in a bubble of testing/synctest.
func startPipe(t testing.TB, b *agentpolltest.Backend, config server.Config) *gateway {
	t.Helper()
	return start(t, b, agentpolltest.NewPipeListener(), config)
}

// reply is an answer of any call.
type reply struct {
	status int
	header http.Header
	last   bool // the connection is closed after it
	body   []byte
	poll   agentpoll.PollReply // of a poll, whatever the status
}

// do sends v, or what it is when it is bytes, and reads the answer.
func (g *gateway) do(t testing.TB, c agentpoll.Credential, method, path string, v any) reply {
	t.Helper()
	r, err := g.try(t.Context(), c, method, path, v)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (g *gateway) try(ctx context.Context, c agentpoll.Credential, method, path string, v any) (reply, error) {
	body, raw := v.([]byte)
	if !raw {
		body, _ = json.Marshal(v)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if c.AgentID != "" {
		req.Header.Set("Authorization", c.Header())
	}
	res, err := g.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	r := reply{status: res.StatusCode, header: res.Header, last: res.Close}
	if r.body, err = io.ReadAll(res.Body); err != nil {
		return r, err
	}
	if r.status == http.StatusOK && path == agentpoll.PathPoll {
		err = json.Unmarshal(r.body, &r.poll)
	} else {
		r.poll.Cursor, err = agentpoll.ParseCursor(res.Header.Get(agentpoll.HeaderCursor))
	}
	return r, err
}

func (g *gateway) poll(t testing.TB, c agentpoll.Credential, req agentpoll.PollRequest) reply {
	t.Helper()
	return g.do(t, c, http.MethodPost, agentpoll.PathPoll, req)
}

// pending is a poll that has not been answered yet.
type pending struct {
	t       testing.TB
	replies chan reply
	cancel  context.CancelFunc
}

// park sends a poll and returns when it is parked beside those that are already.
func (g *gateway) park(t testing.TB, c agentpoll.Credential, req agentpoll.PollRequest) *pending {
	t.Helper()
	before := g.Stats()
	p := g.send(t, c, req)
	eventually(t, "the poll is parked", func() bool {
		now := g.Stats()
		return now.Polls > before.Polls && now.Parked > before.Parked-int(now.Replaced-before.Replaced)
	})
	return p
}

// send sends a poll and does not wait.
func (g *gateway) send(t testing.TB, c agentpoll.Credential, req agentpoll.PollRequest) *pending {
	ctx, cancel := context.WithCancel(t.Context())
	p := &pending{t: t, replies: make(chan reply, 1), cancel: cancel}
	go func() {
		defer close(p.replies)
		r, err := g.try(ctx, c, http.MethodPost, agentpoll.PathPoll, req)
		if err == nil {
			p.replies <- r
		}
	}()
	return p
}

// answer waits for the poll's answer.
func (p *pending) answer() reply {
	p.t.Helper()
	select {
	case r, ok := <-p.replies:
		if !ok {
			p.t.Fatal("the poll ended without an answer")
		}
		return r
	case <-time.After(10 * time.Second):
		p.t.Fatal("the poll is still not answered")
	}
	panic("unreachable")
}

// eventually waits for a state that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	until.True(t, 10*time.Second, what, ok)
}

func ids(commands []agentpoll.Command) []string {
	ids := []string{}
	for _, c := range commands {
		ids = append(ids, c.ID)
	}
	return ids
}
