package server

import (
	"net"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// callSeat is a handler that waits. It has room for the one answer.
type callSeat chan answer

func (c callSeat) deliver(a answer) { c <- a }
func (c callSeat) dismiss()         {} // only its handler gives it up

// connSeat is a hijacked connection.
type connSeat struct {
	s       *Server
	agentID string
	conn    net.Conn
}

func (c *connSeat) deliver(a answer) {
	c.s.presence.depart(c.agentID)
	c.s.crew.do(func() { c.write(a) })
}

func (c *connSeat) dismiss() {
	c.s.presence.depart(c.agentID)
	c.s.crew.do(func() { _ = c.conn.Close() })
}

// write answers and lets the connection rest, or closes it when that cannot be done.
func (c *connSeat) write(a answer) {
	body, err := a.bytes()
	if err != nil {
		c.s.config.Log.Error("cannot encode the answer to a poll", "agent_id", c.agentID, "err", err)
		_ = c.conn.Close()
		return
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.conn.Write(body); err != nil || a.last {
		_ = c.conn.Close()
		return
	}
	_ = c.conn.SetWriteDeadline(time.Time{})
	c.s.rest(c.conn)
}

// delivery is an answer under way to a poll that was taken out of the lot.
type delivery struct {
	poll   *poll
	answer answer
}

// deliver answers polls. s.mu must not be held.
func (s *Server) deliver(deliveries []delivery) {
	for _, d := range deliveries {
		s.config.Backend.Sign(d.poll.agentID, d.answer.Commands)
		d.poll.seat.deliver(d.answer)
	}
}

// nothing answers polls with 204. s.mu must be held.
func (s *Server) nothing(polls []*poll) []delivery {
	deliveries := make([]delivery, 0, len(polls))
	for _, p := range polls {
		deliveries = append(deliveries, delivery{p, s.silence(p)})
	}
	return deliveries
}

// silence is the answer of a poll that was told everything. s.mu must be held.
func (s *Server) silence(p *poll) answer {
	return answer{
		PollReply: agentpoll.PollReply{
			Cursor: agentpoll.Cursor{Epoch: s.epoch, Revision: max(p.told, s.watched)},
			Hold:   s.config.Hold.Milliseconds(),
		},
		last: s.draining,
	}
}
