package server

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/rate"
)

const (
	backendTimeout = 10 * time.Second // of one call of the Backend
	bodyTimeout    = 10 * time.Second // in which a body must have come
	writeTimeout   = 5 * time.Second  // in which a woken peer must take its answer
)

// How much agents may send. What a call costs beside its body is what it makes others write down at least.
const (
	agentBurst    = 128 // seconds' worth of bytes at once
	callBytes     = 128
	statusBytes   = 32 << 10 // a changed status has the record of an instance written anew
	progressBytes = 16 << 10 // and so has progress, not each time
	progressRate  = 1        // a second, for one command
	progressBurst = 3
	signRate      = 1.0 / 60 // certificates a second, for one agent
	signBurst     = 10
)

// Server serves the agents' calls. Use [New]; its methods may be called concurrently.
type Server struct {
	config      Config
	credentials *credentials
	enrolments  *rate.Limiter
	spent       *rate.Limiter // bytes, by agent
	reports     *rate.Limiter // of progress, by command
	signatures  *rate.Limiter // of certificates, by agent
	presence    *presence
	lobby       *lobby
	crew        *crew
	counters    counters
	ready       chan struct{} // closed by the first Resync
	sooner      chan struct{} // holds one when a hold ends before all others
	cancel      context.CancelFunc
	loops       sync.WaitGroup

	mu       sync.Mutex
	epoch    string
	index    index
	lot      lot
	resting  map[uint64]resting // by token
	peers    *peers             // nil until there is a wrapped listener, and after Close
	watched  int64              // the watch has told everything up to this revision
	known    int64              // the newest revision known to exist; at least watched
	synced   bool               // the first Resync has come
	draining bool
}

// New returns a Server that parks polls until [Server.Apply] has told it what is pending. It must be closed.
func New(config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		config:      config,
		credentials: newCredentials(config.Backend),
		enrolments:  rate.New(config.EnrollRate, 10*config.EnrollRate),
		reports:     rate.New(progressRate, progressBurst),
		signatures:  rate.New(signRate, signBurst),
		presence:    newPresence(config),
		lobby:       newLobby(),
		crew:        newCrew(),
		ready:       make(chan struct{}),
		sooner:      make(chan struct{}, 1),
		cancel:      cancel,
		epoch:       config.Epoch,
		index:       newIndex(),
		lot:         newLot(),
		resting:     map[uint64]resting{},
	}
	if config.AgentBytes > 0 {
		s.spent = rate.New(config.AgentBytes, agentBurst*config.AgentBytes)
	}
	s.loops.Go(func() { s.presence.run(ctx) })
	s.loops.Go(func() { s.endHolds(ctx) })
	s.loops.Go(func() { s.endRests(ctx) })
	return s, nil
}

// Listener wraps the listener of the http.Server that serves [Server.Handler], so that polls can be parked without a
// goroutine: it accepts new connections, and those whose poll was answered. TLS must lie below it. Several may be
// wrapped when their servers serve the same handler.
func (s *Server) Listener(inner net.Listener) net.Listener {
	if network := inner.Addr().Network(); network != "tcp" && network != "unix" {
		return inner // no socket to wait for
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers == nil {
		peers, err := newPeers(s.hear)
		if err != nil {
			s.config.Log.Warn("a parked poll will cost a goroutine", "err", err)
			return inner
		}
		s.peers = peers
	}
	return newListener(inner, s.lobby)
}

// SetEpoch changes the epoch after etcd was restored or replaced. Parked polls are answered 204; asking again, their
// agents are told everything.
func (s *Server) SetEpoch(epoch string) {
	s.mu.Lock()
	var all []*poll
	if epoch != s.epoch {
		all = s.lot.takeUntil(forever, s.lot.size())
	}
	answers := s.nothing(all)
	s.epoch = epoch
	s.mu.Unlock()
	s.deliver(answers)
}

// Holds reports whether an agent's poll is parked here, or was until less than the expiry ago.
func (s *Server) Holds(agentID string) bool { return s.presence.holds(agentID) }

// LastContact is when an agent that [Server.Holds] last called, or its last poll ended. It is false for any other.
func (s *Server) LastContact(agentID string) (time.Time, bool) {
	return s.presence.lastContact(agentID)
}

// Left hears of gateways that are gone, as from [Changes.Left].
func (s *Server) Left(gateways ...string) { s.presence.left(gateways) }

// Reannounce tells [Backend.Presence] again of every agent that is here. It must be called after the records that
// Presence made were lost, as with an etcd lease.
func (s *Server) Reannounce() { s.presence.again() }

// Authenticate returns the id of the agent that sent the request, for calls of the gateway's own that agents make, such
// as the segments of a backup. Errors are [ErrUnauthorized], [ErrLocked], or another of which the caller knows only to
// ask again.
func (s *Server) Authenticate(r *http.Request) (agentID string, err error) {
	c, err := agentpoll.ParseHeader(r.Header.Get("Authorization"))
	if err != nil {
		return "", ErrUnauthorized
	}
	c.AgentID = strings.Clone(c.AgentID) // it is kept, the header with the secret is not
	ctx, cancel := context.WithTimeout(r.Context(), backendTimeout)
	defer cancel()
	if err := s.credentials.check(ctx, c, s.config.RemoteIP(r)); err != nil {
		return "", err
	}
	s.presence.touch(c.AgentID)
	return c.AgentID, nil
}

// Close answers every parked poll at once, refuses new ones, and waits for everything that the Server started. The
// http.Server should be shut down before; [Server.Drain] is the gentle way to begin.
func (s *Server) Close() {
	s.presence.stop()
	s.mu.Lock()
	s.draining = true
	answers := s.nothing(s.lot.takeUntil(forever, s.lot.size()))
	peers := s.peers
	s.peers = nil
	s.mu.Unlock()
	s.deliver(answers)
	s.cancel()
	s.loops.Wait()
	s.closeResting(forever)
	s.crew.wait()
	if peers != nil {
		peers.close()
	}
}

// forever is after the end of every hold.
var forever = time.Unix(1<<40, 0)
