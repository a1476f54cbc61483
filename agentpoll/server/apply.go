package server

import (
	"cmp"
	"slices"
	"time"
)

// Apply takes what the gateway's watch saw: every change, in order, the first of them a Resync. It wakes the polls that
// are concerned and does not wait for their answers to be written.
func (s *Server) Apply(c Changes) {
	if c.Resync {
		s.credentials.forgetAll()
	}
	s.credentials.forget(c.Agents)
	s.presence.vacated(c.Vacant)
	for _, agentID := range s.presence.elsewhere(c.Elsewhere) {
		s.supersede(agentID)
	}
	s.presence.left(c.Left)
	s.mu.Lock()
	var answers []delivery
	if c.Resync {
		answers = s.resync(c)
	} else {
		answers = s.advance(c)
	}
	s.mu.Unlock()
	s.counters.wakes.Add(uint64(len(answers)))
	s.deliver(answers)
}

// news is what one batch of changes holds for one agent.
type news struct {
	commands []CommandChange
	gone     []string
}

// advance takes what happened since the last batch. s.mu must be held.
func (s *Server) advance(c Changes) []delivery {
	now := time.Now()
	heard := map[string]*news{}
	for _, change := range c.Commands {
		n := heard[change.AgentID]
		if n == nil {
			n = &news{}
			heard[change.AgentID] = n
		}
		if change.Command != nil {
			s.index.put(change.AgentID, change.ID, change.Revision)
			n.commands = append(n.commands, change)
			continue
		}
		s.index.remove(change.AgentID, change.ID)
		n.commands = slices.DeleteFunc(n.commands, func(c CommandChange) bool { return c.ID == change.ID })
		if change.Finished {
			s.index.quiet.add(change.ID, now.Add(s.config.Expiry))
		} else {
			n.gone = append(n.gone, change.ID)
		}
	}
	s.watched = max(s.watched, c.Revision)
	s.known = max(s.known, s.watched)
	var answers []delivery
	for agentID, n := range heard {
		answers = s.wake(answers, s.lot.byAgent[agentID], n, now)
	}
	return answers
}

// resync replaces what is known. A revision that has gone back means that etcd was restored: everybody is told
// everything again. s.mu must be held.
func (s *Server) resync(c Changes) []delivery {
	quiet := s.index.quiet
	s.index = newIndex()
	s.index.quiet = quiet
	restored := c.Revision < s.watched
	s.watched = c.Revision
	if restored {
		s.known = 0
	}
	s.known = max(s.known, c.Revision)
	heard := map[string]*news{}
	for _, change := range c.Commands {
		if change.Command == nil {
			continue
		}
		s.index.put(change.AgentID, change.ID, change.Revision)
		if heard[change.AgentID] == nil {
			heard[change.AgentID] = &news{}
		}
		heard[change.AgentID].commands = append(heard[change.AgentID].commands, change)
	}
	if !s.synced {
		s.synced = true
		close(s.ready)
	}
	now := time.Now()
	var answers []delivery
	for agentID, p := range s.lot.byAgent {
		n := heard[agentID]
		if n == nil {
			n = &news{}
		}
		if restored {
			p.told = 0
		}
		if p.told <= s.watched {
			n.gone = s.index.gone(agentID, p.running, now)
		}
		answers = s.wake(answers, p, n, now)
	}
	return answers
}

// wake takes a poll out of the lot when there is news for it that it was not told. p may be nil. s.mu must be held.
func (s *Server) wake(answers []delivery, p *poll, n *news, now time.Time) []delivery {
	if p == nil {
		return answers
	}
	a := s.silence(p)
	slices.SortStableFunc(n.commands, func(x, y CommandChange) int { return cmp.Compare(x.Revision, y.Revision) })
	for _, change := range n.commands {
		if change.Revision > p.told && !expired(change.Command, now) {
			command := *change.Command
			command.NotBefore = change.Revision
			a.Commands = append(a.Commands, command)
		}
	}
	a.Cancelled = s.toCancel(p, n.gone, now)
	if !a.tells() || !s.lot.take(p) {
		return answers
	}
	return append(answers, delivery{p, a})
}

// toCancel returns those ids that the agent runs and was not just told about. s.mu must be held.
func (s *Server) toCancel(p *poll, gone []string, now time.Time) []string {
	var cancelled []string
	for _, id := range gone {
		if slices.Contains(p.running, id) && !s.index.quiet.has(id, now) {
			s.index.quiet.add(id, now.Add(s.config.Hold))
			cancelled = append(cancelled, id)
		}
	}
	return cancelled
}
