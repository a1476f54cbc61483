package agentpolltest

import (
	"net"
	"sync"
)

// cutter is a listener that knows its connections, hijacked ones too.
type cutter struct {
	net.Listener

	mu    sync.Mutex
	conns map[*cuttable]bool
}

type cuttable struct {
	net.Conn
	l *cutter
}

// NetConn lets the server find the socket.
func (c *cuttable) NetConn() net.Conn { return c.Conn }

func (c *cuttable) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

func (l *cutter) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &cuttable{Conn: inner, l: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = true
	return c, nil
}

// cut closes the sockets under everybody's feet.
func (l *cutter) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Conn.Close()
	}
	clear(l.conns)
}
