package server

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

const maxRunning = 256 // ids in PollRequest.Running

// poll serves a poll: it answers at once when there is something to tell, else it parks the poll.
func (s *Server) poll(c *call, req agentpoll.PollRequest) (any, error) {
	if len(req.Running) > maxRunning {
		return nil, agentpoll.Errorf(agentpoll.Invalid, "running lists %d commands, at most %d are taken", len(req.Running), maxRunning)
	}
	if req.Cursor.Revision < 0 {
		return nil, agentpoll.Errorf(agentpoll.Invalid, "the cursor's revision %d is negative", req.Cursor.Revision)
	}
	s.counters.polls.Add(1)
	s.presence.arrive(c.agentID)
	s.supersede(c.agentID)
	reply, err := s.answerOrPark(c, req)
	if _, parked := reply.(hijacked); !parked {
		s.presence.depart(c.agentID)
	}
	return reply, err
}

func (s *Server) answerOrPark(c *call, req agentpoll.PollRequest) (any, error) {
	ctx, cancel := c.backend()
	defer cancel()
	if len(req.Status) > 0 {
		if err := overLimit("agent_bytes", s.spent.Take(c.agentID, statusBytes)); err != nil {
			return nil, err
		}
		if err := s.config.Backend.Report(ctx, c.agentID, req.Status); err != nil {
			return nil, err
		}
	}
	p, err := s.newPoll(ctx, c.agentID, req)
	if err != nil {
		return nil, err
	}
	if a, err := s.ask(ctx, p); err != nil || a.tells() {
		return a, err
	}
	return s.park(c, p)
}

// newPoll waits until the server knows what is pending.
func (s *Server) newPoll(ctx context.Context, agentID string, req agentpoll.PollRequest) (*poll, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, errNotReady
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, errDraining
	}
	p := &poll{agentID: agentID, running: req.Running, until: time.Now().Add(s.hold())}
	if req.Cursor.Epoch == s.epoch {
		p.told = req.Cursor.Revision
	}
	return p, nil
}

// hold is how long a poll is held: a random part less than the most, so that polls do not end together.
func (s *Server) hold() time.Duration {
	return s.config.Hold - rand.N(s.config.Hold/3+1)
}

// ask asks the Backend as long as the index says that there may be something to tell, and returns it. The index only
// says whether to ask; the read decides.
func (s *Server) ask(ctx context.Context, p *poll) (answer, error) {
	for attempt := range 3 { // each later one only because of what happened during the read before
		if !s.due(p, attempt == 0) {
			break
		}
		s.counters.reads.Add(1)
		commands, revision, err := s.config.Backend.Pending(ctx, p.agentID)
		if err != nil {
			return answer{}, err
		}
		if a := s.read(p, commands, revision); a.tells() {
			s.config.Backend.Sign(p.agentID, a.Commands)
			return a, nil
		}
	}
	return answer{}, nil
}

// due reports whether there may be something to tell. A cursor beyond what is known to exist is due too: etcd was
// restored, or the watch lags.
func (s *Server) due(p *poll, first bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dueLocked(p, first)
}

func (s *Server) dueLocked(p *poll, first bool) bool {
	if p.told > s.known || s.index.newer(p.agentID, p.told) {
		return true
	}
	if !first && p.told > s.watched {
		return false // the read knew of later commands than the index does, which may take them for gone
	}
	return len(s.index.gone(p.agentID, p.running, time.Now())) > 0
}

// read makes of what was pending at a revision what the agent has not been told yet.
func (s *Server) read(p *poll, commands []agentpoll.Command, revision int64) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.told > revision {
		p.told = 0 // etcd was restored
	}
	now := time.Now()
	pending := make(map[string]bool, len(commands))
	a := answer{PollReply: agentpoll.PollReply{Hold: s.config.Hold.Milliseconds()}}
	for _, c := range commands {
		pending[c.ID] = true
		if c.NotBefore > p.told && !expired(&c, now) {
			a.Commands = append(a.Commands, c)
		}
	}
	for _, id := range p.running {
		if !pending[id] && !s.index.quiet.has(id, now) {
			a.Cancelled = append(a.Cancelled, id)
			s.index.quiet.add(id, now.Add(s.config.Hold))
		}
	}
	p.told = revision
	s.known = max(s.known, revision)
	a.Cursor = agentpoll.Cursor{Epoch: s.epoch, Revision: revision}
	return a
}

// expired reports whether the gateway does not wait for the command any more.
func expired(c *agentpoll.Command, now time.Time) bool {
	return !c.Deadline.IsZero() && now.After(c.Deadline)
}
