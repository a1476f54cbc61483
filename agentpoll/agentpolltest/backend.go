package agentpolltest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// Backend is a [server.Backend] in memory, with a revision that counts like etcd's. Several servers may share one, as
// gateways share etcd: see [Backend.Feed]. Use [NewBackend].
type Backend struct {
	mu       sync.Mutex
	epoch    string
	revision int64
	agents   map[string]*agent
	tokens   map[string]string // token -> id of the agent that it makes
	commands map[string]*command
	results  map[string]agentpoll.Result
	progress map[string][]agentpoll.Progress
	present  map[string]bool
	feeds    map[int]*feed
	nextFeed int
	nextID   int
	segments segments
	down     error
	calls    Calls
	changed  chan struct{} // closed and replaced at every change
}

// Calls counts what servers asked a [Backend] since it was made.
type Calls struct {
	Authenticate, Enroll, Pending, Report, Progress, Result, Rotate, Certificate, Presence int
}

type agent struct {
	hash, next string // hash of the credential, and of the one that a rotation made
	sequence   int64
	locked     bool
	in         bool // it has shown its credential
	request    agentpoll.EnrollRequest
	options    json.RawMessage
	statuses   []json.RawMessage
}

type command struct {
	agentID  string
	revision int64
	value    agentpoll.Command
}

var _ server.Backend = (*Backend)(nil)

// NewBackend returns one with no agent and no command.
func NewBackend() *Backend {
	return &Backend{
		epoch:    "epoch-1",
		revision: 1,
		agents:   map[string]*agent{},
		tokens:   map[string]string{},
		commands: map[string]*command{},
		results:  map[string]agentpoll.Result{},
		progress: map[string][]agentpoll.Progress{},
		present:  map[string]bool{},
		feeds:    map[int]*feed{},
		changed:  make(chan struct{}),
	}
}

// ID is the nth id that a [Backend] makes, of an agent or a command, beginning with 1: a UUIDv7 by its form.
func ID(n int) string { return fmt.Sprintf("0198c0de-0000-7000-8000-%012x", n) }

// id makes the next id. b.mu must be held.
func (b *Backend) id() string {
	b.nextID++
	return ID(b.nextID)
}

// bump makes a new revision and wakes whoever waits in [Backend.wait]. b.mu must be held.
func (b *Backend) bump() int64 {
	b.revision++
	b.notify()
	return b.revision
}

func (b *Backend) notify() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait returns when done, called with b.mu held, says so.
func (b *Backend) wait(ctx context.Context, what string, done func() bool) error {
	for {
		b.mu.Lock()
		ok, changed := done(), b.changed
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, context.Cause(ctx))
		}
	}
}

// Authenticate is [server.Backend]'s.
func (b *Backend) Authenticate(_ context.Context, c agentpoll.Credential) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Authenticate++
	if b.down != nil {
		return b.down
	}
	a := b.agents[c.AgentID]
	switch {
	case a == nil:
		return server.ErrUnauthorized
	case a.locked:
		return server.ErrLocked
	}
	a.in = a.in || c.Matches(a.hash) || a.next != "" && c.Matches(a.next)
	switch {
	case a.next != "" && c.Matches(a.next): // first use of a new credential: the old one dies
		a.hash, a.next = a.next, ""
		a.sequence++
		b.tell(server.Changes{Revision: b.bump(), Agents: []string{c.AgentID}})
		return nil
	case c.Matches(a.hash):
		return nil
	}
	return server.ErrUnauthorized
}

// Enroll is [server.Backend]'s.
func (b *Backend) Enroll(_ context.Context, req agentpoll.EnrollRequest) (agentpoll.EnrollReply, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Enroll++
	if b.down != nil {
		return agentpoll.EnrollReply{}, b.down
	}
	id, ok := b.tokens[req.Token]
	if !ok {
		return agentpoll.EnrollReply{}, server.ErrUnauthorized
	}
	if len(req.CredentialHash) != 64 || len(req.PublicKey) != 32 {
		return agentpoll.EnrollReply{}, agentpoll.Errorf(agentpoll.Invalid, "want a credential hash of 64 hex digits and a public key of 32 bytes")
	}
	a := b.agents[id]
	if a.hash != "" && a.hash != req.CredentialHash {
		return agentpoll.EnrollReply{}, server.ErrUnauthorized // used by another
	}
	if a.hash == "" {
		a.hash, a.sequence, a.request = req.CredentialHash, 1, req
		b.tell(server.Changes{Revision: b.bump(), Agents: []string{id}})
	}
	return agentpoll.EnrollReply{AgentID: id, Options: a.options}, nil
}

// Pending is [server.Backend]'s.
func (b *Backend) Pending(_ context.Context, agentID string) ([]agentpoll.Command, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Pending++
	if b.down != nil {
		return nil, 0, b.down
	}
	var pending []agentpoll.Command
	for _, c := range b.inOrder() {
		if c.agentID == agentID {
			value := c.value
			value.NotBefore = c.revision
			pending = append(pending, value)
		}
	}
	return pending, b.revision, nil
}

// Signature is what [Backend.Sign] signs with, for agents that have shown their credential. Agents of tests do not look at it.
const Signature = "signed"

// Sign is [server.Backend]'s.
func (b *Backend) Sign(agentID string, commands []agentpoll.Command) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range commands {
		if a := b.agents[agentID]; a != nil && a.in {
			commands[i].MAC = []byte(Signature)
		}
	}
}

// inOrder returns all commands in the order in which they were enqueued. b.mu must be held.
func (b *Backend) inOrder() []*command {
	return slices.SortedFunc(maps.Values(b.commands), func(x, y *command) int { return int(x.revision - y.revision) })
}

// Report is [server.Backend]'s.
func (b *Backend) Report(_ context.Context, agentID string, status json.RawMessage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Report++
	if b.down != nil {
		return b.down
	}
	a := b.agents[agentID]
	a.statuses = append(a.statuses, status)
	b.notify()
	return nil
}

// Progress is [server.Backend]'s.
func (b *Backend) Progress(_ context.Context, agentID, commandID string, p agentpoll.Progress) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Progress++
	if b.down != nil {
		return b.down
	}
	if c := b.commands[commandID]; c == nil || c.agentID != agentID {
		return server.ErrGone
	}
	b.progress[commandID] = append(b.progress[commandID], p)
	b.notify()
	return nil
}

// Result is [server.Backend]'s.
func (b *Backend) Result(_ context.Context, agentID, commandID string, r agentpoll.Result) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Result++
	if b.down != nil {
		return b.down
	}
	if _, ok := b.results[commandID]; ok {
		return nil
	}
	if c := b.commands[commandID]; c == nil || c.agentID != agentID {
		return server.ErrGone
	}
	b.results[commandID] = r
	b.remove(commandID, true)
	return nil
}

// remove makes a command gone. b.mu must be held.
func (b *Backend) remove(commandID string, finished bool) {
	c := b.commands[commandID]
	delete(b.commands, commandID)
	change := server.CommandChange{AgentID: c.agentID, ID: commandID, Revision: b.bump(), Finished: finished}
	b.tell(server.Changes{Revision: change.Revision, Commands: []server.CommandChange{change}})
}

// Rotate is [server.Backend]'s.
func (b *Backend) Rotate(_ context.Context, agentID string, req agentpoll.RotateRequest) (agentpoll.RotateReply, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Rotate++
	if b.down != nil {
		return agentpoll.RotateReply{}, b.down
	}
	a := b.agents[agentID]
	if req.Sequence != a.sequence {
		a.locked = true
		b.tell(server.Changes{Revision: b.bump(), Agents: []string{agentID}})
		return agentpoll.RotateReply{}, server.ErrLocked
	}
	a.next = req.CredentialHash
	b.tell(server.Changes{Revision: b.bump(), Agents: []string{agentID}})
	return agentpoll.RotateReply{Sequence: a.sequence + 1}, nil
}

// Presence is [server.Backend]'s.
func (b *Backend) Presence(_ context.Context, changes map[string]bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Presence++
	if b.down != nil {
		return b.down
	}
	maps.Copy(b.present, changes)
	b.notify()
	return nil
}

// deadline is what a command gets that came without one.
func deadline() time.Time { return time.Now().Add(time.Hour) }

// Certificate is [server.Backend]'s. What it signs is the request itself.
func (b *Backend) Certificate(_ context.Context, agentID string, req agentpoll.CertificateRequest) (agentpoll.CertificateReply, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Certificate++
	if b.down != nil {
		return agentpoll.CertificateReply{}, b.down
	}
	return agentpoll.CertificateReply{Certificate: string(req.CSR), CA: agentID}, nil
}
