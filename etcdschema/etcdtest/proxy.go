package etcdtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and a server, so that a test can cut or silence the network between them.
type Proxy struct {
	network  string
	target   string
	listener net.Listener
	loops    sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	open   chan struct{} // closed while bytes flow
	refuse bool
}

// Proxy opens a proxy in front of the server until the test ends.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	return NewProxy(t, "unix", s.socket)
}

// NewProxy opens a proxy in front of an etcd of another process until the test ends.
func NewProxy(t testing.TB, network, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{network: network, target: target, listener: l, conns: map[net.Conn]bool{}, open: make(chan struct{})}
	close(p.open)
	p.loops.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		p.Flow()
		p.loops.Wait()
	})
	return p
}

// Endpoint is where clients connect.
func (p *Proxy) Endpoint() string { return "http://" + p.listener.Addr().String() }

// Cut ends every connection, and refuses new ones until [Proxy.Mend].
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Mend takes connections again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}

// Silence lets connections live and be made, but nothing flows until [Proxy.Flow].
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // silent already
	}
}

// Flow ends a silence.
func (p *Proxy) Flow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(p.network, p.target)
		if err != nil || !p.admit(client, server) {
			_ = client.Close()
			continue
		}
		p.loops.Go(func() { p.pump(client, server) })
		p.loops.Go(func() { p.pump(server, client) })
	}
}

func (p *Proxy) admit(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		_ = server.Close()
		return false
	}
	p.conns[client], p.conns[server] = true, true
	return true
}

// pump copies one direction; when it ends both connections do.
func (p *Proxy) pump(to, from net.Conn) {
	_, _ = io.Copy(gated{to, p}, from)
	_, _ = to.Close(), from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, to)
	delete(p.conns, from)
}

// gated holds bytes back during a silence.
type gated struct {
	net.Conn
	p *Proxy
}

func (g gated) Write(b []byte) (int, error) {
	g.p.mu.Lock()
	open := g.p.open
	g.p.mu.Unlock()
	<-open
	return g.Conn.Write(b)
}
