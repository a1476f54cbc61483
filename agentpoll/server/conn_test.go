package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// raw is a connection on which a test writes HTTP by hand.
type raw struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (g *gateway) dial(t testing.TB) *raw {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, c)
}

func newRaw(t testing.TB, c net.Conn) *raw {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return &raw{Conn: c, t: t, in: bufio.NewReader(c)}
}

// post is a request as it goes over the wire.
func post(c agentpoll.Credential, path, body string, header ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: gateway\r\nAuthorization: %s\r\nContent-Length: %d\r\n%s\r\n%s",
		path, c.Header(), len(body), strings.Join(append(header, ""), "\r\n"), body)
}

func resultPath(id string) string { return strings.Replace(agentpoll.PathResult, "{id}", id, 1) }

func (c *raw) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// want reads one answer.
func (c *raw) want(status int) string {
	c.t.Helper()
	res, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodPost})
	if err != nil {
		c.t.Fatalf("want %d: %v", status, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		c.t.Fatalf("got %d %q, %v; want %d", res.StatusCode, body, err, status)
	}
	return string(body)
}

func (g *gateway) parked(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d polls are parked", n), func() bool { return g.Stats().Parked == n })
}

func TestConnectionIsGivenBack(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	c := g.dial(t)
	for range 50 {
		c.send(post(agent, agentpoll.PathPoll, fmt.Sprintf(`{"cursor":{"epoch":%q,"revision":%d}}`, b.Epoch(), b.Revision())))
		g.parked(t, 1)
		id := b.Enqueue(agent.AgentID, agentpoll.Command{})
		if body := c.want(http.StatusOK); !strings.Contains(body, id) {
			t.Fatalf("no %s in %s", id, body)
		}
		c.send(post(agent, resultPath(id), `{}`))
		c.want(http.StatusNoContent)
	}
}

func TestAnsweredConnectionRests(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	resting := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d connections rest", n), func() bool { return g.Stats().Resting == n })
	}
	c := g.dial(t)
	for range 3 {
		c.send(post(agent, agentpoll.PathPoll, `{}`))
		g.parked(t, 1)
		id := b.Enqueue(agent.AgentID, agentpoll.Command{})
		c.want(http.StatusOK)
		resting(1)
		c.send(post(agent, resultPath(id), `{}`))
		c.want(http.StatusNoContent)
		resting(0)
	}
	c.send(post(agent, agentpoll.PathPoll, `{}`))
	g.parked(t, 1)
	b.Cancel(b.Enqueue(agent.AgentID, agentpoll.Command{}))
	c.want(http.StatusOK)
	resting(1)
	_ = c.Close()
	resting(0)

	c = g.dial(t)
	c.send(post(agent, agentpoll.PathPoll, `{}`))
	g.parked(t, 1)
	b.Cancel(b.Enqueue(agent.AgentID, agentpoll.Command{}))
	c.want(http.StatusOK)
	resting(1)
	g.Close()
	if _, err := c.in.ReadByte(); err != io.EOF {
		t.Errorf("it is not closed with the server: %v", err)
	}
}

func TestWhatIsSentEarlyIsNotLost(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	poll := func() string {
		return post(agent, agentpoll.PathPoll, fmt.Sprintf(`{"cursor":{"epoch":%q,"revision":%d}}`, b.Epoch(), b.Revision()))
	}
	for name, send := range map[string]func(c *raw, next string){
		"with the poll": func(c *raw, next string) { c.send(poll() + next) },
		"while parked":  func(c *raw, next string) { c.send(poll()); g.parked(t, 1); c.send(next) },
		"in two halves": func(c *raw, next string) { c.send(poll() + next[:20]); g.parked(t, 1); c.send(next[20:]) },
	} {
		t.Run(name, func(t *testing.T) {
			c := g.dial(t)
			c.t = t
			id := b.Enqueue(agent.AgentID, agentpoll.Command{})
			send(c, post(agent, resultPath(id), `{}`))
			g.parked(t, 1)
			b.Enqueue(agent.AgentID, agentpoll.Command{})
			c.want(http.StatusOK)
			c.want(http.StatusNoContent)
			if _, err := b.WaitResult(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLostPeerIsNoticed(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	for name, hangUp := range map[string]func(net.Conn){
		"closed":      func(c net.Conn) { _ = c.Close() },
		"half closed": func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() },
		"reset":       func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			before := g.Stats().Lost
			c := g.dial(t)
			for range 3 { // the connection is watched again after it was given back
				c.send(post(agent, agentpoll.PathPoll, `{}`))
				g.parked(t, 1)
				b.Cancel(b.Enqueue(agent.AgentID, agentpoll.Command{}))
				c.want(http.StatusOK)
			}
			c.send(post(agent, agentpoll.PathPoll, `{}`))
			g.parked(t, 1)
			hangUp(c.Conn)
			g.parked(t, 0)
			if lost := g.Stats().Lost - before; lost != 1 {
				t.Errorf("%d lost", lost)
			}
		})
	}
}

func TestOtherWaysToPark(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	for name, request := range map[string]string{
		"to be closed": post(agent, agentpoll.PathPoll, `{}`, "Connection: close"),
		"HTTP/1.0":     strings.Replace(post(agent, agentpoll.PathPoll, `{}`), "HTTP/1.1", "HTTP/1.0", 1),
	} {
		t.Run(name, func(t *testing.T) {
			c := g.dial(t)
			c.t = t
			c.send(request)
			g.parked(t, 1)
			b.Cancel(b.Enqueue(agent.AgentID, agentpoll.Command{}))
			c.want(http.StatusOK)
			if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("the connection is not closed: %v", err)
			}
			c = g.dial(t)
			c.send(request)
			g.parked(t, 1)
			_ = c.Close()
			g.parked(t, 0)
		})
	}
}

// startTLS is start with TLS below the wrapped listener, for these protocols.
func startTLS(t testing.TB, b *agentpolltest.Backend, protocols ...string) *gateway {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, b, tls.NewListener(tcp, &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: protocols}), server.Config{})
	g.url = "https://" + tcp.Addr().String()
	g.client = certified.Client()
	g.client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	t.Cleanup(g.client.CloseIdleConnections)
	return g
}

func TestTLS(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			b := agentpolltest.NewBackend()
			agent := b.Agent()
			g := startTLS(t, b, protocol)
			var cursor agentpoll.Cursor
			for range 20 {
				p := g.park(t, agent, agentpoll.PollRequest{Cursor: cursor})
				id := b.Enqueue(agent.AgentID, agentpoll.Command{})
				r := p.answer()
				if len(r.poll.Commands) != 1 || r.poll.Commands[0].ID != id {
					t.Fatalf("got %d %+v", r.status, r.poll)
				}
				cursor = r.poll.Cursor
				if r := g.do(t, agent, http.MethodPost, resultPath(id), agentpoll.Result{}); r.status != http.StatusNoContent {
					t.Fatalf("result: %d", r.status)
				}
			}
			p := g.park(t, agent, agentpoll.PollRequest{Cursor: cursor})
			p.cancel()
			g.parked(t, 0)
		})
	}
}

func TestTLSConnectionIsGivenBack(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := startTLS(t, b, "http/1.1")
	conn, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c := newRaw(t, conn)
	for range 20 {
		id := b.Enqueue(agent.AgentID, agentpoll.Command{})
		// the second request is in the buffers of the TLS connection or of net/http while the poll is parked
		c.send(post(agent, agentpoll.PathPoll, fmt.Sprintf(`{"cursor":{"epoch":%q,"revision":%d}}`, b.Epoch(), b.Revision())) + post(agent, resultPath(id), `{}`))
		g.parked(t, 1)
		b.Cancel(b.Enqueue(agent.AgentID, agentpoll.Command{}))
		c.want(http.StatusOK)
		c.want(http.StatusNoContent)
	}
	c.send(post(agent, agentpoll.PathPoll, fmt.Sprintf(`{"cursor":{"epoch":%q,"revision":%d}}`, b.Epoch(), b.Revision())))
	g.parked(t, 1)
	_ = c.Close()
	g.parked(t, 0)
}
