package agentpolltest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// Server is a gateway for tests of an agent: agent calls over HTTP on loopback, and a [Backend] in memory.
type Server struct {
	*Backend
	URL string // http://127.0.0.1:port

	http *httptest.Server

	mu    sync.Mutex
	fault []int // statuses of the next answers
	polls int
}

// NewServer starts one, and stops it when the test ends.
func NewServer(t testing.TB) *Server {
	s := &Server{Backend: NewBackend()}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	t.Cleanup(s.http.Close)
	return s
}

// Cut closes every connection at once, parked polls included.
func (s *Server) Cut() { s.http.CloseClientConnections() }

// Fail makes the next n calls be answered with status, without Retry-After, instead of being served.
func (s *Server) Fail(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = append(s.fault, slices.Repeat([]int{status}, n)...)
}

// Polls is how many polls have come, those that were made to fail included.
func (s *Server) Polls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls
}

func (s *Server) next(r *http.Request) (fault int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == agentpoll.PathPoll {
		s.polls++
	}
	if len(s.fault) > 0 {
		fault, s.fault = s.fault[0], s.fault[1:]
	}
	return fault
}

// ServeHTTP serves the agents' calls. TODO: the real server.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := s.next(r); fault != 0 {
		http.Error(w, http.StatusText(fault), fault)
		return
	}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, agentpoll.MaxBody))
	reply := func(v any, err error) {
		status := map[error]int{server.ErrUnauthorized: 401, server.ErrLocked: 403, server.ErrGone: 410}[err]
		switch {
		case status != 0:
			http.Error(w, err.Error(), status)
		case err != nil:
			http.Error(w, err.Error(), 503)
		case v == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	if r.URL.Path == agentpoll.PathEnroll {
		var req agentpoll.EnrollRequest
		_ = body.Decode(&req)
		reply(s.Enroll(r.Context(), req))
		return
	}
	c, err := agentpoll.ParseHeader(r.Header.Get("Authorization"))
	if err == nil {
		err = s.Authenticate(r.Context(), c)
	} else {
		err = server.ErrUnauthorized
	}
	if err != nil {
		reply(nil, err)
		return
	}
	id, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/agent/v1/commands/"), "/")
	switch {
	case r.URL.Path == agentpoll.PathPoll:
		var req agentpoll.PollRequest
		_ = body.Decode(&req)
		s.poll(w, r, c.AgentID, req)
	case r.URL.Path == agentpoll.PathRotate:
		var req agentpoll.RotateRequest
		_ = body.Decode(&req)
		reply(s.Rotate(r.Context(), c.AgentID, req))
	case action == "progress":
		var p agentpoll.Progress
		_ = body.Decode(&p)
		reply(nil, s.Progress(r.Context(), c.AgentID, id, p))
	case action == "result":
		var res agentpoll.Result
		_ = body.Decode(&res)
		reply(nil, s.Result(r.Context(), c.AgentID, id, res))
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) poll(w http.ResponseWriter, r *http.Request, agentID string, req agentpoll.PollRequest) {
	if req.Status != nil {
		_ = s.Report(r.Context(), agentID, req.Status)
	}
	hold := time.After(10 * time.Second)
	for {
		s.Backend.mu.Lock()
		changed, epoch := s.changed, s.epoch
		s.Backend.mu.Unlock()
		pending, revision, err := s.Pending(r.Context(), agentID)
		if err != nil {
			http.Error(w, err.Error(), 503)
			return
		}
		reply := agentpoll.PollReply{Cursor: agentpoll.Cursor{Epoch: epoch, Revision: revision}, Hold: 10_000}
		for _, c := range pending {
			if req.Cursor.Epoch != epoch || req.Cursor.Revision > revision || c.Fence > req.Cursor.Revision {
				reply.Commands = append(reply.Commands, c)
			}
		}
		for _, id := range req.Running {
			if !slices.ContainsFunc(pending, func(c agentpoll.Command) bool { return c.ID == id }) {
				reply.Cancelled = append(reply.Cancelled, id)
			}
		}
		if reply.Commands != nil || reply.Cancelled != nil {
			_ = json.NewEncoder(w).Encode(reply)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-hold:
			w.Header().Set(agentpoll.HeaderCursor, reply.Cursor.String())
			w.Header().Set(agentpoll.HeaderHold, "10000")
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
}
