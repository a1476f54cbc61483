package agentpolltest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// Token makes a single-use enrolment token for a new agent, which will get these options, and says what its id will be.
func (b *Backend) Token(options json.RawMessage) (token, agentID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	token, agentID = agentpoll.NewSecret(), b.id()
	b.tokens[token] = agentID
	b.agents[agentID] = &agent{options: options}
	return token, agentID
}

// Agent makes an agent that is enrolled already.
func (b *Backend) Agent() agentpoll.Credential {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := agentpoll.Credential{AgentID: b.id(), Secret: agentpoll.NewSecret()}
	b.agents[c.AgentID] = &agent{hash: c.Hash(), sequence: 1}
	b.tell(server.Changes{Revision: b.bump(), Agents: []string{c.AgentID}})
	return c
}

// Enrolled returns what the agent sent when it enrolled, the zero value before it did.
func (b *Backend) Enrolled(agentID string) agentpoll.EnrollRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.agents[agentID].request
}

// Lock locks an agent as if its identity had been used by two machines, or unlocks it.
func (b *Backend) Lock(agentID string, locked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.agents[agentID].locked = locked
	b.tell(server.Changes{Revision: b.bump(), Agents: []string{agentID}})
}

// Enqueue stores a command for an agent and returns its id. An empty ID, Method and Deadline are filled in.
func (b *Backend) Enqueue(agentID string, c agentpoll.Command) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.ID == "" {
		c.ID = b.id()
	}
	if c.Method == "" {
		c.Method = "ping"
	}
	if c.Deadline.IsZero() {
		c.Deadline = deadline()
	}
	stored := &command{agentID: agentID, revision: b.bump(), value: c}
	b.commands[c.ID] = stored
	b.tell(server.Changes{Revision: stored.revision, Commands: []server.CommandChange{stored.change()}})
	return c.ID
}

// change says that the command is pending.
func (c *command) change() server.CommandChange {
	value := c.value
	return server.CommandChange{AgentID: c.agentID, ID: value.ID, Revision: c.revision, Command: &value}
}

// Cancel removes a pending command. It does nothing when the command is gone.
func (b *Backend) Cancel(commandID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.commands[commandID] != nil {
		b.remove(commandID, false)
	}
}

// WaitResult returns the command's result as soon as there is one.
func (b *Backend) WaitResult(ctx context.Context, commandID string) (r agentpoll.Result, err error) {
	err = b.wait(ctx, "the result of "+commandID, func() (ok bool) {
		r, ok = b.results[commandID]
		return ok
	})
	return r, err
}

// WaitProgress returns all progress of a command as soon as there are at least n.
func (b *Backend) WaitProgress(ctx context.Context, commandID string, n int) (p []agentpoll.Progress, err error) {
	err = b.wait(ctx, fmt.Sprintf("%d progress reports of %s", n, commandID), func() bool {
		p = slices.Clone(b.progress[commandID])
		return len(p) >= n
	})
	return p, err
}

// WaitStatuses returns all statuses that an agent reported as soon as there are at least n.
func (b *Backend) WaitStatuses(ctx context.Context, agentID string, n int) (s []json.RawMessage, err error) {
	err = b.wait(ctx, fmt.Sprintf("%d statuses of %s", n, agentID), func() bool {
		s = slices.Clone(b.agents[agentID].statuses)
		return len(s) >= n
	})
	return s, err
}

// WaitPresence returns as soon as the agent is recorded as present, or as absent.
func (b *Backend) WaitPresence(ctx context.Context, agentID string, present bool) error {
	return b.wait(ctx, fmt.Sprintf("presence of %s to be %t", agentID, present), func() bool {
		p, known := b.present[agentID]
		return known && p == present
	})
}

// Calls returns how often each method was called.
func (b *Backend) Calls() Calls {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// Break makes every call of a server fail with err, as when etcd is away. Nil ends it.
func (b *Backend) Break(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = err
}

// Epoch is the present epoch.
func (b *Backend) Epoch() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}

// Revision is the revision of the last change.
func (b *Backend) Revision() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision
}
