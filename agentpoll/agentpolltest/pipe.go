package agentpolltest

import (
	"context"
	"net"
	"sync"
)

// PipeListener is a listener in memory. With it a server and its agents can run in a bubble of testing/synctest, where
// time is simulated; polls are parked on their goroutines.
type PipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

// NewPipeListener returns one that accepts what [PipeListener.DialContext] dials.
func NewPipeListener() *PipeListener {
	l := &PipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	return l
}

// DialContext suits http.Transport; network and address are ignored.
func (l *PipeListener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept is net.Listener's.
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (l *PipeListener) Close() error {
	l.close()
	return nil
}

// Addr is net.Listener's.
func (l *PipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "gateway" }
