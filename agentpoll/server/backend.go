package server

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/cofferdb/coffer/agentpoll"
)

// Backend is what the server needs of the gateway. Every method may be called concurrently. An error that is none of
// this package's is logged and answered with 503 and Retry-After: agents ask again.
type Backend interface {
	// Authenticate returns nil when the credential is an enrolled agent's. [ErrUnauthorized] or [ErrLocked] otherwise.
	// The server remembers the answer until [Server.Apply] is told that the agent changed.
	Authenticate(ctx context.Context, c agentpoll.Credential) error
	// Enroll answers [ErrUnauthorized] for a token that is unknown, used by another, or expired, and an
	// *agentpoll.Error of kind Invalid for a request that makes no sense.
	Enroll(ctx context.Context, req agentpoll.EnrollRequest) (agentpoll.EnrollReply, error)
	// Pending reads an agent's pending commands in the order in which they were enqueued, each with its NotBefore, and the
	// revision at which they were read.
	Pending(ctx context.Context, agentID string) ([]agentpoll.Command, int64, error)
	// Sign makes commands those of the gateways to an agent: they are on their way to a poll of it, so it has shown its credential here.
	Sign(agentID string, commands []agentpoll.Command)
	// Report takes the status that came with a poll.
	Report(ctx context.Context, agentID string, status json.RawMessage) error
	Progress(ctx context.Context, agentID, commandID string, p agentpoll.Progress) error
	// Result commits how a command ended. Nil too for a result that was committed before; [ErrGone] for a command
	// that is not there any more.
	Result(ctx context.Context, agentID, commandID string, r agentpoll.Result) error
	// Rotate answers [ErrLocked] when the sequence number shows that two agents share the identity.
	Rotate(ctx context.Context, agentID string, req agentpoll.RotateRequest) (agentpoll.RotateReply, error)
	// Certificate signs a certificate for a guest's server. An *agentpoll.Error of kind Invalid for a request that is none.
	Certificate(ctx context.Context, agentID string, req agentpoll.CertificateRequest) (agentpoll.CertificateReply, error)
	// Presence records that this gateway holds the agents' polls now (true), or that nobody does (false). The server
	// calls it only for changes, and with many agents at once. It is tried again when it fails.
	Presence(ctx context.Context, changes map[string]bool) error
}

// What a Backend may answer.
var (
	ErrUnauthorized = errors.New("the credential or token is not valid")                                                                     // 401
	ErrLocked       = errors.New("the agent is locked: its identity was used by two machines; an operator unlocks it once the copy is gone") // 403
	ErrGone         = errors.New("nobody waits for this command any more")                                                                   // 410
)

// Changes is what the gateway's watch saw happen in etcd, up to Revision. The server must be told of every change, in
// order, so that a parked poll is woken and an idle one need not ask.
type Changes struct {
	Revision int64
	// Resync: Commands is everything pending; what the server knew and is not in it is gone.
	Resync   bool
	Commands []CommandChange
	// Agents names agents whose record changed: what was remembered of them no longer holds.
	Agents []string
	// Elsewhere names agents whose polls another gateway now holds, and which one, by any name.
	Elsewhere map[string]string
	// Left names gateways that are gone, with all polls that they held.
	Left []string
	// Vacant names agents of which no gateway says any more that it holds their polls.
	Vacant []string
}

// CommandChange is a command that was enqueued, or is gone.
type CommandChange struct {
	AgentID  string
	ID       string
	Revision int64
	// Command is nil when it is gone: finished, cancelled or expired.
	Command *agentpoll.Command
	// Finished: it is gone because its result was committed, so the agent need not be told.
	Finished bool
}
