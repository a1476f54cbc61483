package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// restTimeout is how long an answered connection may rest.
const restTimeout = 90 * time.Second

// resting is an answered connection whose next request has not begun. net/http would wait for that with a goroutine and
// its buffers, and after a wake of the whole fleet with one for each agent; it gets the connection when there is
// something to read.
type resting struct {
	conn  net.Conn
	until time.Time
}

// rest takes a connection that was answered, and gives it back when its next request begins.
func (s *Server) rest(conn net.Conn) {
	if !bare(conn) {
		s.lobby.giveBack(conn)
		return
	}
	if t, ok := conn.(*tls.Conn); ok {
		data, err := decrypted(t)
		switch {
		case err != nil:
			_ = conn.Close()
			return
		case len(data) > 0:
			s.lobby.giveBack(withEarly(conn, data))
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers == nil { // closed
		_ = conn.Close()
		return
	}
	token := s.lot.token()
	if err := s.peers.await(conn, token); err != nil {
		_ = conn.Close()
		return
	}
	s.resting[token] = resting{conn, time.Now().Add(restTimeout)}
}

// bare reports whether nothing but TLS can hold bytes back between the socket and us.
func bare(conn net.Conn) bool {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// decrypted returns a byte that the TLS connection has read from its socket already, if there is one: the socket would
// not tell of it. The deadline keeps it from reading the socket.
func decrypted(conn *tls.Conn) ([]byte, error) {
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	data := make([]byte, 1)
	n, err := conn.Read(data)
	_ = conn.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return data[:n], err
}

// hear is called when a watched connection has something to tell: the peer of a parked poll hung up, or a resting
// connection is to be read.
func (s *Server) hear(token uint64) {
	s.mu.Lock()
	p := s.lot.byToken[token]
	lost := s.lot.take(p)
	rested, waiting := s.resting[token]
	delete(s.resting, token)
	s.mu.Unlock()
	if lost {
		s.dismiss(p)
	}
	if waiting {
		s.crew.do(func() { s.lobby.giveBack(rested.conn) })
	}
}

// endRests closes connections that rest for too long, until ctx ends.
func (s *Server) endRests(ctx context.Context) {
	for sleep(ctx, restTimeout/3) == nil {
		s.closeResting(time.Now())
	}
}

// closeResting closes the connections that may rest no longer than until t.
func (s *Server) closeResting(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, r := range s.resting {
		if r.until.Before(t) {
			delete(s.resting, token)
			s.crew.do(func() { _ = r.conn.Close() })
		}
	}
}
