package server

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	presenceBatch = 60                     // agents in one call of the Backend, which may read two keys of each: etcd takes 128
	presenceDelay = 150 * time.Millisecond // for which changes are gathered
	presenceRetry = time.Second
	// presenceSettle is how long two gateways' reports of one agent may cross: within it the agent's poll here may be
	// newer than the one that another gateway tells of.
	presenceSettle = 2 * time.Second
)

// presence knows which agents poll here, tells the Backend when that changes, and judges who is absent.
type presence struct {
	backend Backend
	log     *slog.Logger
	expiry  time.Duration
	outage  func(error) bool
	dirty   chan struct{} // holds one when changes is not empty

	mu      sync.Mutex
	agents  map[string]*contact
	leaving map[string]*contact // those of agents that have no poll here at present
	changes map[string]bool     // not told yet
	moved   map[string]bool     // another gateway's since the last batch was made
	// claimed holds, of agents that have polled here, those that another gateway says it holds, and when they were here
	// last. A balancer may send each poll of an agent to another gateway: it is enough that one of them says so.
	claimed   map[string]claim
	notBefore time.Time // nobody is judged before it
	judged    time.Time // when judge last ran
	stopped   bool
}

// claim is what another gateway says of an agent.
type claim struct {
	gateway string
	last    time.Time // when the agent was here last
}

// contact is what is known of an agent that polls here.
type contact struct {
	last    time.Time // its last call, or the end of its last poll
	arrived time.Time // its last poll
	polls   int       // that are served or parked
	here    bool      // told, or about to be, to be present; not when it is about to be told absent
}

func newPresence(c Config) *presence {
	now := time.Now()
	return &presence{
		backend:   c.Backend,
		log:       c.Log,
		expiry:    c.Expiry,
		outage:    c.Outage,
		dirty:     make(chan struct{}, 1),
		agents:    map[string]*contact{},
		leaving:   map[string]*contact{},
		changes:   map[string]bool{},
		moved:     map[string]bool{},
		claimed:   map[string]claim{},
		notBefore: now.Add(c.Expiry),
		judged:    now,
	}
}

// arrive begins a poll; depart must end it.
func (p *presence) arrive(agentID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.agents[agentID]
	if c == nil {
		c = &contact{}
		p.agents[agentID] = c
	}
	delete(p.leaving, agentID)
	c.polls++
	c.last = time.Now()
	c.arrived = c.last
	if by, claimed := p.claimed[agentID]; claimed {
		p.claimed[agentID] = claim{by.gateway, c.last}
		return
	}
	if !c.here {
		c.here = true
		p.change(agentID, true)
	}
}

func (p *presence) depart(agentID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.agents[agentID]
	c.polls--
	c.last = time.Now()
	switch {
	case c.polls > 0:
	case c.here:
		p.leaving[agentID] = c
	default:
		delete(p.agents, agentID)
	}
}

// touch notes a call that is no poll.
func (p *presence) touch(agentID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.agents[agentID]; c != nil {
		c.last = time.Now()
	}
}

// elsewhere forgets agents that poll another gateway now, and returns those whose poll here is stale.
func (p *presence) elsewhere(agents map[string]string) (stale []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, gateway := range agents {
		c := p.agents[id]
		switch {
		case c == nil:
			if _, claimed := p.claimed[id]; claimed {
				p.claimed[id] = claim{gateway, time.Now()}
			}
		case c.polls > 0 && time.Since(c.arrived) < presenceSettle:
			p.change(id, true) // it came back here while the other's report was under way
		default:
			c.here = false
			p.claimed[id] = claim{gateway, c.last}
			p.moved[id] = true
			delete(p.changes, id)
			delete(p.leaving, id)
			if c.polls > 0 {
				stale = append(stale, id)
			} else {
				delete(p.agents, id)
			}
		}
	}
	return stale
}

// vacated hears that no gateway says any more that it holds these agents. Those that poll here are ours to tell of.
func (p *presence) vacated(agents []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range agents {
		delete(p.claimed, id)
		if c := p.agents[id]; c != nil && c.polls > 0 && !c.here {
			c.here = true
			p.change(id, true)
		}
	}
}

// left hears that gateways are gone, and with them what they held.
func (p *presence) left(gateways []string) {
	if len(gateways) == 0 {
		return
	}
	var agents []string
	p.mu.Lock()
	for id, by := range p.claimed {
		if slices.Contains(gateways, by.gateway) {
			agents = append(agents, id)
		}
	}
	p.mu.Unlock()
	p.vacated(agents)
}

// change records a change to be told. p.mu must be held.
func (p *presence) change(agentID string, here bool) {
	p.changes[agentID] = here
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

// again tells of everyone who is here once more.
func (p *presence) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, c := range p.agents {
		if c.here {
			p.change(id, true)
		}
	}
}

// failed hears that it could not be found out who calls, or recorded who is here: when the Backend can serve nobody, nobody is judged before
// one full expiry from now, for the silence may have been ours. Whoever was known when a call failed has been heard of by that.
func (p *presence) failed(err error) {
	if _, _, ours := refuse(err); ours || !p.outage(err) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notBefore = time.Now().Add(p.expiry)
}

// stop ends judging: the gateway is going away, and whoever takes its agents over says so.
func (p *presence) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

func (p *presence) holds(agentID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.agents[agentID] != nil
}

func (p *presence) lastContact(agentID string) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.agents[agentID]
	if c == nil {
		return time.Time{}, false
	}
	return c.last, true
}

// run tells and judges until ctx ends.
func (p *presence) run(ctx context.Context) {
	interval := p.expiry / 10
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.judge(interval)
		case <-p.dirty:
			if sleep(ctx, presenceDelay) != nil {
				return
			}
			p.tell(ctx)
		}
	}
}

// judge declares those absent that have been silent for too long.
func (p *presence) judge(interval time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.judged) > 3*interval { // this process was stopped: the agents could not reach it
		p.notBefore = now.Add(p.expiry)
	}
	p.judged = now
	for id, by := range p.claimed {
		if now.Sub(by.last) > 2*p.expiry && p.agents[id] == nil {
			delete(p.claimed, id) // it has moved for good
		}
	}
	if p.stopped || now.Before(p.notBefore) {
		return
	}
	for id, c := range p.leaving {
		if now.Sub(c.last) > p.expiry {
			c.here = false
			p.change(id, false)
		}
	}
}

// sleep waits, and returns ctx's error when it ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
