package datastores

import (
	"context"
	"encoding/json"
)

// Replication is implemented by a manager whose servers can follow each other.
type Replication interface {
	// ReplicationStrategies returns the ways to do it, the default one first. The Env may be the zero one. Without any, as of a version
	// that cannot, the manager is not capable of replication.
	ReplicationStrategies() []ReplicationStrategy
	// Following asks this server whether it follows another, and how that goes, whatever strategy made it so. It asks no other
	// server, and may run beside anything, as Status may. It must return within the context's deadline; an error says that the
	// server could not be asked.
	Following(ctx context.Context) (Following, error)
}

// Streamer is implemented by a manager with [Replication] of which a server may follow one of an older version, so that the members of a set
// can be upgraded one after the other, the source last.
type Streamer interface {
	// ReplicationStream names what servers of this version send and take. A server must be able to follow a source of any older version
	// of its datastore whose manager returns the same, and go on where it was before its own upgrade. It is not "".
	ReplicationStream() string
}

// ReplicationStrategy is one way for a server (a replica) to follow another (its source). All functions must be set. Each may be
// called again after a crash half way through it. A server that follows another rejects writes of tenants, across restarts too.
type ReplicationStrategy struct {
	StrategyName
	// StartsFrom names the backup strategy with whose backup of the source a new replica starts. When it is zero, Attach copies
	// the data itself.
	StartsFrom StrategyName
	Source     SourceSide
	Replica    ReplicaSide
	// Position returns how far this server has come: a source, what it has committed; a replica, what it has applied, or
	// has stored safely so that a promotion applies it.
	Position func(ctx context.Context) (Position, error)
	// Failover, when it is set, is how a replica takes the place of a source that is lost.
	Failover *Failover
}

// SourceSide is what a server does for those that follow it.
type SourceSide struct {
	// AddReplica makes the account with which one replica logs in to this server, or gives it that password, and makes
	// whatever else a source needs for it. The server must keep for that replica what is written from then on.
	AddReplica func(ctx context.Context, account ReplicaAccount) error
	// RemoveReplica takes back what AddReplica made. It returns nil when there is no such replica.
	RemoveReplica func(ctx context.Context, account ReplicaAccount) error
	// SetReadOnly(true) rejects tenants' writes, across restarts, until SetReadOnly(false) or Attach. Once it returns, Position
	// covers every acknowledged write.
	SetReadOnly func(ctx context.Context, on bool) error
}

// ReplicaSide is what a server does to follow another, and to stop.
type ReplicaSide struct {
	// Attach makes this server a replica of the source and returns when it follows it. Prepare calls it for a new one (see
	// [PrepareRequest]); the runtime for a replica of another source, and for a server that was the source until now
	// (req.Former). Transactions that only such a server has must be discarded, and must never reach the new source; when they
	// cannot be discarded, Attach fails and says so.
	Attach func(ctx context.Context, req AttachRequest) error
	// Detach makes a replica an independent, writable server. It returns nil for a server that follows nobody.
	Detach func(ctx context.Context) error
	// WaitFor returns when this replica has come to p.
	WaitFor func(ctx context.Context, p Position) error
	// Promote makes a replica a writable source, with the accounts of its replicas to be. After an error it still is a replica.
	Promote func(ctx context.Context, accounts []ReplicaAccount) error
}

// ReplicaAccount is what one replica needs on its source.
type ReplicaAccount struct {
	ReplicaID string `json:"replica_id"` // UUID
	User      string `json:"user"`
	Password  Secret `json:"password,omitzero"` // at most 32 characters, which is MySQL's limit; zero when it is to be removed
	Address   string `json:"address,omitempty"` // of the replica
}

// AttachRequest names a source.
type AttachRequest struct {
	SourceID string
	Address  string
	Account  ReplicaAccount // on the source
	// Backup is the Meta of the backup of the source that this server was restored from; nil when there was none.
	Backup json.RawMessage
	Former bool // this server was the source until now
	// Keep: what this server has, and its source may lack, must not be discarded. Attach then fails with [Conflict], says what that
	// is, and leaves the server as it was. Anew, which only Prepare is asked with: all that it has may be discarded, and what it begins
	// with is the source's alone.
	Keep, Anew bool
	// Progress, never nil.
	Progress func(message string)
}

// Position is a place in a source's history.
type Position struct {
	ID string `json:"id"` // the engine's own: a GTID set, an LSN
	// Count compares replicas of one source: the higher has more.
	Count uint64 `json:"count"`
	// History, when the engine has several, is the one in which Count compares: "" of an engine whose source never begins another.
	History string `json:"history,omitempty"`
}

// Replicate is what Prepare is given to make a replica.
type Replicate struct {
	Strategy ReplicationStrategy
	Request  AttachRequest
}

// Run runs the strategy.
func (r *Replicate) Run(ctx context.Context) error { return r.Strategy.Replica.Attach(ctx, r.Request) }
