package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// gateway is a gateway in memory, reached through pipes, so that it works in a synctest bubble and can be told to fail
// in any way. agentpolltest has the real one, see server_test.go.
type gateway struct {
	conns chan net.Conn
	hold  time.Duration
	// fault, when set, may answer a call instead of the gateway: then it returns true.
	fault func(w http.ResponseWriter, r *http.Request) bool

	mu         sync.Mutex
	token      string
	publicKey  []byte
	hash, next string
	sequence   int64
	epoch      string
	revision   int64
	pending    []agentpoll.Command
	cancelled  []string
	answered   []string // ids in the order in which their results came
	results    map[string]agentpoll.Result
	progress   map[string][]agentpoll.Progress
	statuses   []string
	polls      []time.Time
	running    []string // of the last poll
	trust      *agentpoll.Trust
	dials      int
	changed    chan struct{}
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{
		conns: make(chan net.Conn), hold: 50 * time.Second, token: agentpoll.NewSecret(), epoch: "one", revision: 1,
		results: map[string]agentpoll.Result{}, progress: map[string][]agentpoll.Progress{}, changed: make(chan struct{}),
	}
	server := &http.Server{Handler: g}
	done := make(chan struct{})
	l := &pipeListener{conns: g.conns, closed: make(chan struct{})}
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Shutdown(context.Background()); <-done })
	return g
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (g *gateway) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	g.mu.Lock()
	g.dials++
	g.mu.Unlock()
	near, far := net.Pipe()
	select {
	case g.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *gateway) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gateway) enqueue(id, method, args string) {
	g.enqueueCommand(agentpoll.Command{ID: id, Method: method, Args: json.RawMessage(args)})
}

func (g *gateway) enqueueCommand(c agentpoll.Command) {
	g.change(func() {
		g.revision++
		c.NotBefore = g.revision
		g.pending = append(g.pending, c)
	})
}

// restore is etcd restored from a backup in which commands were still pending.
func (g *gateway) restore(epoch string, commands ...agentpoll.Command) {
	g.change(func() {
		g.epoch, g.revision, g.pending = epoch, 1, nil
		for _, c := range commands {
			g.revision++
			c.NotBefore = g.revision
			g.pending = append(g.pending, c)
			delete(g.results, c.ID)
		}
	})
}

// result waits for a command's result.
func (g *gateway) result(t *testing.T, id string) (result agentpoll.Result) {
	t.Helper()
	g.until(t, "the result of "+id, func() (ok bool) { result, ok = g.results[id]; return ok })
	return result
}

func (g *gateway) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	limit := time.After(time.Hour)
	for {
		g.mu.Lock()
		ok, changed := done(), g.changed
		g.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited an hour for %s", what)
		}
	}
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // to the end, so that r's context ends with the connection
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.URL.Path == agentpoll.PathPoll {
		g.change(func() { g.polls = append(g.polls, time.Now()) })
	}
	if g.fault != nil && g.fault(w, r) {
		return
	}
	g.serve(w, r)
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	if r.URL.Path == agentpoll.PathEnroll {
		g.enroll(w, body)
		return
	}
	if !g.authenticate(r) {
		http.Error(w, "who?", http.StatusUnauthorized)
		return
	}
	id, call, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/agent/v1/commands/"), "/")
	switch {
	case r.URL.Path == agentpoll.PathPoll:
		g.poll(w, r, body)
	case r.URL.Path == agentpoll.PathRotate:
		g.rotate(w, body)
	case call == "progress":
		var p agentpoll.Progress
		_ = body.Decode(&p)
		g.change(func() { g.progress[id] = append(g.progress[id], p) })
		w.WriteHeader(http.StatusNoContent)
	case call == "result":
		var res agentpoll.Result
		_ = body.Decode(&res)
		g.change(func() {
			g.results[id] = res
			g.answered = append(g.answered, id)
			g.pending = slices.DeleteFunc(g.pending, func(c agentpoll.Command) bool { return c.ID == id })
		})
		w.WriteHeader(http.StatusNoContent)
	}
}

func (g *gateway) enroll(w http.ResponseWriter, body *json.Decoder) {
	var req agentpoll.EnrollRequest
	_ = body.Decode(&req)
	g.mu.Lock()
	defer g.mu.Unlock()
	if req.Token != g.token || g.hash != "" && g.hash != req.CredentialHash {
		http.Error(w, "no such token", http.StatusUnauthorized)
		return
	}
	g.hash, g.sequence, g.publicKey = req.CredentialHash, 1, req.PublicKey
	_ = json.NewEncoder(w).Encode(agentpoll.EnrollReply{AgentID: "agent-1", Options: json.RawMessage(`{"port":3306}`), Trust: g.trust})
}

func (g *gateway) authenticate(r *http.Request) bool {
	c, err := agentpoll.ParseHeader(r.Header.Get("Authorization"))
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.next != "" && c.Matches(g.next) {
		g.hash, g.next = g.next, ""
		g.sequence++
	}
	return err == nil && c.Matches(g.hash)
}

func (g *gateway) rotate(w http.ResponseWriter, body *json.Decoder) {
	var req agentpoll.RotateRequest
	_ = body.Decode(&req)
	g.mu.Lock()
	defer g.mu.Unlock()
	if req.Sequence != g.sequence {
		http.Error(w, "locked", http.StatusForbidden)
		return
	}
	g.next = req.CredentialHash
	_ = json.NewEncoder(w).Encode(agentpoll.RotateReply{Sequence: g.sequence + 1, Trust: g.trust})
}

func (g *gateway) poll(w http.ResponseWriter, r *http.Request, body *json.Decoder) {
	var req agentpoll.PollRequest
	_ = body.Decode(&req)
	g.change(func() {
		g.running = req.Running
		if req.Status != nil {
			g.statuses = append(g.statuses, string(req.Status))
		}
	})
	hold := time.After(g.hold)
	for {
		g.mu.Lock()
		changed := g.changed
		reply := agentpoll.PollReply{Cursor: agentpoll.Cursor{Epoch: g.epoch, Revision: g.revision}, Cancelled: g.cancelled}
		g.cancelled = nil
		for _, c := range g.pending {
			if req.Cursor.Epoch != g.epoch || c.NotBefore > req.Cursor.Revision {
				reply.Commands = append(reply.Commands, c)
			}
		}
		g.mu.Unlock()
		if len(reply.Commands)+len(reply.Cancelled) > 0 {
			_ = json.NewEncoder(w).Encode(reply)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-hold:
			w.Header().Set(agentpoll.HeaderCursor, reply.Cursor.String())
			w.Header().Set(agentpoll.HeaderHold, strconv.FormatInt(g.hold.Milliseconds(), 10))
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
}

// look reads a field of the gateway's while it works.
func look[T any](g *gateway, field *T) T {
	g.mu.Lock()
	defer g.mu.Unlock()
	return *field
}

// cutOff ends a connection without an answer.
func cutOff(w http.ResponseWriter) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// swallow serves the call and loses the answer.
func (g *gateway) swallow(w http.ResponseWriter, r *http.Request) {
	g.serve(httptest.NewRecorder(), r)
	cutOff(w)
}

// methods is a Handler of a few methods.
type methods map[string]method

type method struct {
	Traits
	run func(ctx context.Context, cmd Command) (json.RawMessage, error)
}

func (m methods) Method(name string) (Traits, bool) { f, ok := m[name]; return f.Traits, ok }
func (m methods) Run(ctx context.Context, cmd Command) (json.RawMessage, error) {
	return m[cmd.Method].run(ctx, cmd)
}

// diary is a Handler's notes of what ran.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// note makes a method that writes the command's id, with "again" when it is repeated.
func (d *diary) note(traits Traits) method {
	return method{traits, func(_ context.Context, cmd Command) (json.RawMessage, error) {
		line := cmd.ID
		if cmd.Repeated {
			line += " again"
		}
		d.write(line)
		return json.RawMessage(`"` + cmd.ID + `"`), nil
	}}
}

// config is an agent's, at this gateway, in a directory that lives as long as the test.
func (g *gateway) config(t *testing.T, h Handler) Config {
	return Config{
		Gateways: []string{"http://127.0.0.1:1"}, AllowHTTP: true, Dial: g.dial, Dir: t.TempDir(), Kind: agentpoll.Guest, Token: g.token,
		Handler: h, Version: "test", Log: slog.New(slog.DiscardHandler),
	}
}

// start runs an agent until the test ends, or until stop is called.
func start(t *testing.T, cfg Config) (a *Agent, stop func()) {
	t.Helper()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

var errBroken = errors.New("broken")
