package server

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// acceptTimeout is how long an answered connection waits to be accepted again.
const acceptTimeout = 5 * time.Second

// lobby is where answered connections wait for a listener to accept them again.
type lobby struct {
	returned chan net.Conn

	mu   sync.Mutex
	open int           // listeners
	shut chan struct{} // closed when the last listener was closed
}

func newLobby() *lobby { return &lobby{returned: make(chan net.Conn)} }

func (l *lobby) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == 0 {
		l.shut = make(chan struct{})
	}
	l.open++
}

func (l *lobby) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.open == 0 {
		close(l.shut)
	}
}

// doors is closed when nobody accepts any more; it is nil when nobody does.
func (l *lobby) doors() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == 0 {
		return nil
	}
	return l.shut
}

// giveBack hands a connection to whichever listener accepts next, and closes it when none does soon.
func (l *lobby) giveBack(c net.Conn) {
	if shut := l.doors(); shut != nil {
		patience := time.NewTimer(acceptTimeout)
		defer patience.Stop()
		select {
		case l.returned <- c:
			return
		case <-shut:
		case <-patience.C:
		}
	}
	_ = c.Close()
}

// listener accepts new connections and returned ones.
type listener struct {
	net.Listener
	lobby *lobby
	fresh chan accepted
	done  chan struct{}
	close func() error
	pump  sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

func newListener(inner net.Listener, lobby *lobby) *listener {
	l := &listener{Listener: inner, lobby: lobby, fresh: make(chan accepted), done: make(chan struct{})}
	l.close = sync.OnceValue(func() error {
		close(l.done)
		err := l.Listener.Close()
		l.pump.Wait()
		l.lobby.leave()
		return err
	})
	lobby.enter()
	l.pump.Go(l.run)
	return l
}

// run accepts new connections, one at a time, until the listener is closed.
func (l *listener) run() {
	for {
		conn, err := l.Listener.Accept()
		select {
		case l.fresh <- accepted{conn, err}:
		case <-l.done:
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.lobby.returned:
		return c, nil
	case a := <-l.fresh:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error { return l.close() }

// early is a connection whose peer has sent more than the request that was answered.
type early struct {
	net.Conn
	data []byte
}

func (c *early) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.data)
	c.data = c.data[n:]
	return n, nil
}

// NetConn lets [pollable] find the socket.
func (c *early) NetConn() net.Conn { return c.Conn }

// earlyTLS keeps net/http told of TLS, which it asks of a connection that is not a *tls.Conn.
type earlyTLS struct {
	early
	tls *tls.Conn
}

func (c *earlyTLS) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// withEarly returns a connection that reads data first.
func withEarly(c net.Conn, data []byte) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return &earlyTLS{early{c, data}, t}
	}
	return &early{c, data}
}
