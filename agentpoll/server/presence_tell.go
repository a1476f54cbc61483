package server

import "context"

// tell sends all changes to the Backend in batches. What fails stays to be told.
func (p *presence) tell(ctx context.Context) {
	for {
		batch, within := p.batch(true), backendTimeout
		if len(batch) == 0 {
			// A judgement is of now: one that the Backend could not take for a while may not be true any more.
			batch, within = p.batch(false), presenceSettle
		}
		if len(batch) == 0 {
			return
		}
		call, cancel := context.WithTimeout(ctx, within)
		err := p.backend.Presence(call, batch)
		cancel()
		if err == nil {
			p.told(batch)
			continue
		}
		p.putBack(batch)
		p.failed(err)
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("cannot record which agents are present; trying again", "agents", len(batch), "err", err)
		if sleep(ctx, presenceRetry) != nil {
			return
		}
	}
}

// batch takes changes of agents that are here, or of those that are not.
func (p *presence) batch(here bool) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.moved)
	batch := make(map[string]bool, min(len(p.changes), presenceBatch))
	for id, is := range p.changes {
		if len(batch) == presenceBatch {
			break
		}
		if is == here {
			batch[id] = is
			delete(p.changes, id)
		}
	}
	return batch
}

// told forgets those who were told absent, but for who has come back meanwhile.
func (p *presence) told(batch map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, here := range batch {
		if _, left := p.leaving[id]; left && !here {
			delete(p.leaving, id)
			delete(p.agents, id)
		}
	}
}

// putBack keeps what could not be told, but for what has changed since. Who could not be told absent is judged anew: when the Backend
// is away, an agent may have had no way to call.
func (p *presence) putBack(batch map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, here := range batch {
		if _, changed := p.changes[id]; here && !changed && !p.moved[id] {
			p.changes[id] = here
		}
	}
}
