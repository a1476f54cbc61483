package agentpolltest

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// Server is a gateway for tests of an agent: the real [server.Server], with a [Backend] in memory and faults to inject.
type Server struct {
	*Backend
	URL string // http://127.0.0.1:port, or http://gateway over a [PipeListener]

	t      testing.TB
	config server.Config

	mu      sync.Mutex
	running *running
	fault   []int // statuses of the next answers
	polls   int
}

// running is the gateway's process.
type running struct {
	gateway *server.Server
	watch   *Watch
	http    *http.Server
	conns   *cutter
	done    sync.WaitGroup
}

// NewServer starts one on loopback, and stops it when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return NewServerOn(t, listen(t, "127.0.0.1:0"), server.Config{})
}

// NewServerOn starts one with this listener and Config, of which Backend and Epoch are set, and stops it when the test
// ends.
func NewServerOn(t testing.TB, l net.Listener, config server.Config) *Server {
	t.Helper()
	s := &Server{Backend: NewBackend(), URL: "http://" + l.Addr().String(), t: t, config: config}
	s.config.Backend = s.Backend
	s.start(l)
	t.Cleanup(s.Stop)
	return s
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s *Server) start(l net.Listener) {
	s.t.Helper()
	config := s.config
	config.Epoch = s.Backend.Epoch()
	gateway, err := server.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &running{gateway: gateway, conns: &cutter{Listener: l, conns: map[*cuttable]bool{}}}
	r.watch = s.Feed(gateway.Apply)
	r.http = server.HTTPServer(s.faulty(s.withSegments(gateway)))
	wrapped := gateway.Listener(r.conns)
	r.done.Go(func() { _ = r.http.Serve(wrapped) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = r
}

// Stop kills the gateway: its listener and all connections are closed. Its Backend stays.
func (s *Server) Stop() {
	s.mu.Lock()
	r := s.running
	s.running = nil
	s.mu.Unlock()
	if r == nil {
		return
	}
	_ = r.http.Close()
	r.done.Wait()
	r.conns.cut()
	r.watch.Close()
	r.gateway.Close()
}

// Restart is a new gateway at the same address, after a Stop when one is running. It needs a server on loopback.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start(listen(s.t, s.URL[len("http://"):]))
}

// Gateway is the server under it, nil while it is stopped.
func (s *Server) Gateway() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	return s.running.gateway
}

// Cut closes every connection at once, parked polls included.
func (s *Server) Cut() {
	s.mu.Lock()
	r := s.running
	s.mu.Unlock()
	if r != nil {
		r.conns.cut()
	}
}

// Fail makes the next n calls be answered with status, without Retry-After, instead of being served.
func (s *Server) Fail(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = append(s.fault, slices.Repeat([]int{status}, n)...)
}

// Restore is etcd restored from a backup: see [Backend.Restore]. The gateway is told of the epoch.
func (s *Server) Restore(epoch string, forget bool) {
	s.Backend.Restore(epoch, forget)
	if g := s.Gateway(); g != nil {
		g.SetEpoch(epoch)
	}
}

// Polls is how many polls have come, those that were made to fail included.
func (s *Server) Polls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls
}

func (s *Server) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := s.nextFault(r); status != 0 {
			http.Error(w, http.StatusText(status), status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) nextFault(r *http.Request) (status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == agentpoll.PathPoll {
		s.polls++
	}
	if len(s.fault) > 0 {
		status, s.fault = s.fault[0], s.fault[1:]
	}
	return status
}
