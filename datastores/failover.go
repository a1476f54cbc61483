package datastores

import "context"

// Failover is what servers that follow each other do so that a replica can take the place of a source that is lost, without a person. A
// source waits for some of its replicas, the candidates, before it acknowledges a commit. When it is lost, so many candidates are told
// to receive nothing more that it can acknowledge nothing any more, wherever it is, and the one that has come furthest is promoted.
// All functions must be set. Each may be called again after a crash half way through it.
type Failover struct {
	// Await has this server, as long as it follows nobody, acknowledge no commit that not so many candidates have stored safely, across
	// restarts, crashes included: then it must wait from the first commit on. It waits for as long as it takes, and for nobody but the
	// candidates. With the zero Await it waits for nobody. A replica stores it for when it is promoted, and Attach forgets it. The
	// Position covers whatever was acknowledged before, and comes without waiting for anybody.
	Await func(ctx context.Context, on Await) (Position, error)
	// Stand has this replica acknowledge what it receives, or when it is fenced receive nothing more: what it has received and
	// stored safely by then, which Position covers, is all that it can have acknowledged. Both last across restarts, until the next call,
	// or Attach, after which it acknowledges nothing: a source that waits does not wait for it. It must not wait until all is applied.
	Stand func(ctx context.Context, fenced bool) (Position, error)
	// Bounded: a source does not wait, but refuses writes while too few candidates follow closely. What it has acknowledged last may be
	// lost.
	Bounded bool
}

// Await is for whom a source waits.
type Await struct {
	// Count is of how many candidates it waits for the acknowledgement of each commit; 0: of none.
	Count      int              `json:"count"`
	Candidates []ReplicaAccount `json:"candidates,omitempty"` // without passwords
	// Ceased were candidates, and are none any more. A source that cannot tell by whom it was acknowledged must shut them out: they
	// have an account made anew before they follow again.
	Ceased []ReplicaAccount `json:"ceased,omitempty"`
}

// failoverOf is the first way of a manager's to do without a lost source; nil: there is none.
func failoverOf(m Manager) *Failover {
	r, ok := m.(Replication)
	if !ok {
		return nil
	}
	for _, s := range r.ReplicationStrategies() {
		if s.Failover != nil {
			return s.Failover
		}
	}
	return nil
}
