package datastores

import (
	"context"
	"slices"
)

// Cluster is implemented by a manager whose servers can be one: each has a part of the data, or all have all of it, and clients may use
// any of them. A new member is prepared with [PrepareRequest.Cluster]; its server runs then, empty and by itself. All members of a new
// cluster are prepared at once. Then each joins, the first one alone: it founds the cluster. When all have joined, one of them settles it.
//
// Every method may be called again after a crash half way through it, on this member or on another, and with more or fewer members.
type Cluster interface {
	// ClusterShape says what clusters there can be. The Env may be the zero one.
	ClusterShape() ClusterShape
	// JoinCluster makes this server a member, or founds the cluster when nobody is in it yet. It returns when the members that are in it
	// know this one. It need not have data yet. The server is empty, unless the cluster begins with a backup: see [ClusterBackups].
	JoinCluster(ctx context.Context, v ClusterView) error
	// SettleCluster has every member do its part: data spread evenly over the shards, each other member of a shard with a copy. It asks
	// all others, by the secret. It returns when the cluster takes reads and writes of everything, nothing is being copied, and
	// nobody is in it but those in v; what only members had that are lost is given up, and begun anew, empty. Until then it says what it waits for, and in its error which member that is.
	SettleCluster(ctx context.Context, v ClusterView) error
	// LeaveCluster gives what this member alone has to those that stay, and returns when they do without it. It stays a server that
	// runs, of which nothing is needed any more, and which takes no writes.
	LeaveCluster(ctx context.Context, v ClusterView) error
}

// ClusterShape is what clusters a datastore has.
type ClusterShape struct {
	MinMembers int  `json:"min_members,omitempty"` // that can be one; 0: 1
	Together   bool `json:"together,omitempty"`    // several may join at once, when one is in
	// MaxReplicas is how many members of a shard may have a copy of what its first one has. 0: there are no shards, and all members are
	// equal.
	MaxReplicas int `json:"max_replicas,omitempty"`
	// Backups says what a backup of the cluster is. "": it cannot be backed up.
	Backups ClusterBackups `json:"backups,omitempty"`
}

// ClusterBackups says of which members a cluster's backup is made. Each makes a backup as a server alone does, by [Backups].
type ClusterBackups string

const (
	// BackupOfMember: any member that is well has everything. A new cluster begins with it when its first member, which founds it, is
	// prepared with [PrepareRequest.Restore]; the others join empty.
	BackupOfMember ClusterBackups = "member"
	// BackupOfShards: one member of each shard, the one that takes the writes. A new cluster of as many shards begins with them when the
	// first member of each is prepared with one; all of these join with what they have, and settling takes it into account.
	BackupOfShards ClusterBackups = "shards"
)

// ClusterView is what a member is told of its cluster.
type ClusterView struct {
	ID     string `json:"id"`   // UUID
	Self   string `json:"self"` // the member that is told
	Secret Secret `json:"secret,omitzero"`
	// Members are all of them, in an order that stays: those that are in it, that are to join, and that leave.
	Members []ClusterMember `json:"members"`
	// Progress, of the calls of a manager never nil.
	Progress func(message string) `json:"-"`
}

// ClusterMember is one of them.
type ClusterMember struct {
	ID      string `json:"id"` // UUID
	Address string `json:"address"`
	// Shard names the part of the data that it has together with the other members of the same shard; "": there are no shards. Which
	// of them takes the writes is for the engine to decide; at first it is the first one.
	Shard string       `json:"shard,omitempty"`
	State ClusterState `json:"state,omitempty"`
}

// ClusterState is where a member stands.
type ClusterState string

const (
	ClusterIn      ClusterState = ""
	ClusterJoins   ClusterState = "joins"
	ClusterLeaves  ClusterState = "leaves"
	ClusterOutside ClusterState = "outside" // it will join, but not now
	ClusterLost    ClusterState = "lost"    // it cannot be asked any more, and will not be back
)

// Of returns the members that stand so, in their order.
func (v ClusterView) Of(states ...ClusterState) []ClusterMember {
	return slices.DeleteFunc(slices.Clone(v.Members), func(m ClusterMember) bool { return !slices.Contains(states, m.State) })
}

// Others are the members that are in it, without the one that is told, in their order.
func (v ClusterView) Others() []ClusterMember {
	return slices.DeleteFunc(v.Of(ClusterIn), func(m ClusterMember) bool { return m.ID == v.Self })
}

// Member is that of an id; the zero one when there is none.
func (v ClusterView) Member(id string) ClusterMember {
	for _, m := range v.Members {
		if m.ID == id {
			return m
		}
	}
	return ClusterMember{}
}
