package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"
)

// park makes a poll wait in the lot: on its bare connection when that can be had, else on this goroutine.
func (s *Server) park(c *call, p *poll) (any, error) {
	if err := s.room(p.agentID); err != nil {
		return nil, err
	}
	conn, err := s.hijack(c)
	if err != nil {
		return nil, err
	}
	if conn != nil {
		p.seat = &connSeat{s: s, agentID: p.agentID, conn: conn}
		s.enter(p)
		return hijacked{}, nil
	}
	waiting := make(callSeat, 1)
	p.seat = waiting
	s.enter(p)
	select {
	case a := <-waiting:
		return a, nil
	case <-c.r.Context().Done():
		s.mu.Lock()
		if s.lot.take(p) {
			s.counters.lost.Add(1)
		}
		s.mu.Unlock()
		return nil, c.r.Context().Err()
	}
}

// room reports whether one more may be parked.
func (s *Server) room(agentID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return errDraining
	}
	if s.lot.byAgent[agentID] == nil && s.lot.size() >= s.config.MaxPolls {
		return errOverload
	}
	return nil
}

// hijack takes the connection from the http.Server. It returns nil when the connection must stay there: one that could
// not be given back, or is to be closed after this answer.
func (s *Server) hijack(c *call) (net.Conn, error) {
	if c.r.ProtoMajor != 1 || c.r.ProtoMinor < 1 || c.r.Close || s.lobby.doors() == nil {
		return nil, nil
	}
	conn, buffers, err := http.NewResponseController(c.w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if n := buffers.Reader.Buffered(); n > 0 {
		data, _ := buffers.Peek(n) // what is buffered can be had
		conn = withEarly(conn, slices.Clone(data))
	}
	return conn, nil
}

// enter parks a poll that has its seat, or answers it when something happened since the index was asked; a 204 is
// enough for that: the agent comes again, and is told.
func (s *Server) enter(p *poll) {
	s.mu.Lock()
	answers := s.nothing(s.takeOf(p.agentID))
	if s.draining || s.dueLocked(p, false) {
		answers = append(answers, delivery{p, s.silence(p)})
		answers[len(answers)-1].answer.Cursor.Revision = p.told
		s.mu.Unlock()
		s.deliver(answers)
		return
	}
	s.lot.add(p)
	lost := false
	if seat, ok := p.seat.(*connSeat); ok && s.peers != nil {
		lost = s.peers.watch(seat.conn, p.token) != nil && s.lot.take(p)
	}
	first := s.lot.size() > 0 && s.lot.byTime[0] == p
	s.mu.Unlock()
	s.deliver(answers)
	if lost {
		s.dismiss(p)
	}
	if first {
		select {
		case s.sooner <- struct{}{}:
		default:
		}
	}
}

// takeOf takes the agent's poll out of the lot, if it has one there. s.mu must be held.
func (s *Server) takeOf(agentID string) []*poll {
	p := s.lot.byAgent[agentID]
	if !s.lot.take(p) {
		return nil
	}
	s.counters.replaced.Add(1)
	return []*poll{p}
}

// supersede ends the agent's parked poll: the newest wins.
func (s *Server) supersede(agentID string) {
	s.mu.Lock()
	answers := s.nothing(s.takeOf(agentID))
	s.mu.Unlock()
	s.deliver(answers)
}

// dismiss gives up a poll whose peer hung up.
func (s *Server) dismiss(p *poll) {
	s.counters.lost.Add(1)
	p.seat.dismiss()
}

// endHolds answers each poll when its hold ends, until ctx does.
func (s *Server) endHolds(ctx context.Context) {
	timer := time.NewTimer(s.config.Hold)
	defer timer.Stop()
	for {
		s.mu.Lock()
		ended := s.lot.takeUntil(time.Now(), s.lot.size())
		answers := s.nothing(ended)
		next, any := s.lot.next()
		s.mu.Unlock()
		s.counters.expired.Add(uint64(len(ended)))
		s.deliver(answers)
		if !any {
			next = time.Now().Add(s.config.Hold)
		}
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
		case <-s.sooner:
		case <-ctx.Done():
			return
		}
	}
}
