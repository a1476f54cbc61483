package datastores

import (
	"context"
	"encoding/json"
)

// Replication is implemented by a manager whose servers can follow each other.
type Replication interface {
	// ReplicationStrategies returns the ways to do it, the default one first. The Env may be the zero one.
	ReplicationStrategies() []ReplicationStrategy
}

// ReplicationStrategy is one way for a server (a replica) to follow another (its source). Every method may be called again
// after a crash half way through it. A replica refuses writes of tenants, across restarts too; a server that was made
// read-only does until it is told otherwise or is attached.
type ReplicationStrategy interface {
	Strategy() StrategyName
	// NeedsBackup tells whether a new replica starts from a backup of its source, made with the backup strategy of that
	// name; otherwise Attach copies the data by itself.
	NeedsBackup() (StrategyName, bool)

	// AddReplica makes the account with which one replica will log in to this server, or gives it that password, and
	// whatever else a source needs for it. What is written later must not be lost for that replica.
	AddReplica(ctx context.Context, account ReplicaAccount) error
	// RemoveReplica takes back what AddReplica made. NotFound is no error.
	RemoveReplica(ctx context.Context, account ReplicaAccount) error

	// Attach makes this server a replica of the source and returns when it follows it. It is called
	// by Prepare for a new one (see [PrepareRequest]), for a replica of another source, and for a server that was the source
	// until now (req.Former): what that has and the new source has not must not stay, nor be written to the new source; when
	// it cannot be taken back the error says so.
	Attach(ctx context.Context, req AttachRequest) error
	// Detach makes a replica an independent, writable server. One that is none is no error.
	Detach(ctx context.Context) error
	// SetReadOnly makes a source refuse, or take again, what tenants write. When it returns after true, everything that the
	// server has acknowledged is within Position, and nothing more will be.
	SetReadOnly(ctx context.Context, on bool) error
	// Position tells how far this server has come: of a source what it has committed, of a replica what it has applied, or
	// has safely stored so that a promotion applies it.
	Position(ctx context.Context) (Position, error)
	// WaitFor returns when this replica has come to p.
	WaitFor(ctx context.Context, p Position) error
	// Promote makes a replica a writable source, with the accounts of the replicas to be. After an error it still is a replica.
	Promote(ctx context.Context, accounts []ReplicaAccount) error
}

// ReplicaAccount is what one replica needs on its source.
type ReplicaAccount struct {
	ReplicaID string `json:"replica_id"` // UUID
	User      string `json:"user"`
	Password  Secret `json:"password,omitzero"` // zero when it is to be removed
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
	// Progress, never nil.
	Progress func(message string)
}

// Position is a place in a source's history.
type Position struct {
	ID string `json:"id"` // the engine's own: a GTID set, an LSN
	// Count compares replicas of one source: the higher has more.
	Count uint64 `json:"count"`
}

// Replicate is what Prepare is given to make a replica.
type Replicate struct {
	Strategy ReplicationStrategy
	Request  AttachRequest
}

// Run runs the strategy.
func (r *Replicate) Run(ctx context.Context) error { return r.Strategy.Attach(ctx, r.Request) }
