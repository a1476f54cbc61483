package etcdschema

import (
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Set is several instances that are one thing. An instance alone has none: a set is made for the first replica, and removed when only
// one member is left. It alone says who is in it and as what; a member's record names its set (SetID).
type Set struct {
	ID        string      `json:"id"`
	Project   string      `json:"project"`
	Kind      string      `json:"kind"`           // SetReplication or SetCluster
	Name      string      `json:"name,omitempty"` // of a cluster
	Datastore string      `json:"datastore"`
	Members   []SetMember `json:"members"` // in the order in which they came
	// Locality says where members go: on the source's host (affinity), or each on another (anti-affinity); "": anywhere.
	Locality string `json:"locality,omitempty"`
	// ReplicationStrategy is how a replica follows, the server half's when the first one was asked for.
	ReplicationStrategy string    `json:"replication_strategy,omitempty"`
	Created             time.Time `json:"created"`
	Updated             time.Time `json:"updated"`
	// Operation is one that touches more than one member; at most one at a time.
	Operation *SetOperation `json:"operation,omitempty"`
	// Due is the time of the set's key in the due index, see [Instance.Due].
	Due time.Time `json:"due,omitzero"`
	// GivenUp is the replica whose promotion was given up while it may have become a source.
	GivenUp string `json:"given_up,omitempty"`
	// Failover is the policy by which a replica takes the place of a source that is lost without being asked; nil: none does.
	Failover *Failover `json:"failover,omitempty"`
	// Failovers are those that it had, asked for by nobody.
	Failovers Failovers `json:"failovers,omitzero"`
	// Of a cluster: what it is made of. Version is what new members are of. Copies is how many members of each shard have one of what its first has.
	// Secret is what its members know each other by, sealed with the gateways' key.
	Version       string                   `json:"version,omitempty"`
	Configuration string                   `json:"configuration,omitempty"` // id of the group that all members have
	Shape         *datastores.ClusterShape `json:"shape,omitempty"`
	Copies        int                      `json:"copies,omitempty"`
	Secret        []byte                   `json:"secret,omitempty"`
	// Failed is the kind of the operation that failed last, and Fault why, until another one ends well or the status is reset.
	Failed string `json:"failed,omitempty"`
	Fault  *Fault `json:"fault,omitempty"`
}

// Failovers counts those of a set, and for how long it had no source: from when the lost one was last known to be well, or its guest to be there,
// until another one takes writes.
type Failovers struct {
	Count   int       `json:"count"`
	Last    time.Time `json:"last"`          // when the last one had its new source
	Seconds float64   `json:"seconds"`       // of the last one
	Total   float64   `json:"total_seconds"` // of all
}

// Failover is a set's policy, and what has been said by it. A source acknowledges a commit when Acks of the candidates have it.
//
// Whom a source waits for and who stands here are changed one after the other, so that at no time so many of those that the source waits
// for as it needs are missing in any len(Candidates)-Acks+1 of the candidates: who is to be one is written here first and then told to
// the source, who is to be none the other way round, once all others have what the source had by then; that it waits for nobody is written
// here first.
type Failover struct {
	Acks   int  `json:"acks"`
	Grace  int  `json:"grace"`            // seconds for which the source may be away
	Strict bool `json:"strict,omitempty"` // the source waits for as long as it takes when there are too few candidates
	Off    bool `json:"off,omitempty"`    // it is to wait for nobody any more; then the policy ends
	// Bounded: the source cannot tell who follows it, so whoever may follow is a candidate, from before it is let in.
	Bounded bool `json:"bounded,omitempty"`
	// Candidates are who decides. Some may have left the set: the source may wait for them still.
	Candidates []string  `json:"candidates,omitempty"`
	Waits      bool      `json:"waits,omitempty"`  // the source was told to wait, or may have been
	Fenced     []string  `json:"fenced,omitempty"` // candidates that were told to receive nothing more, or may have been
	Check      time.Time `json:"check"`            // when the set is looked at next
	Down       time.Time `json:"down,omitzero"`    // since when the source's server is known not to run
	Lost       time.Time `json:"lost,omitzero"`    // since when the set has no source, while a failover is under way or was tried
	Short      time.Time `json:"short,omitzero"`   // since when there are too few candidates that follow
	Said       string    `json:"said,omitempty"`   // what is in the way, as it was told last
}

// Quorum is how many candidates have all that was acknowledged, whichever they are.
func (f Failover) Quorum() int { return len(f.Candidates) - f.Acks + 1 }

// Kinds of sets.
const (
	SetReplication = "replication" // a source with its replicas
	SetCluster     = "cluster"     // members of a cluster: one that is asked for, made and removed whole
)

// SetMember is an instance's place in its set.
type SetMember struct {
	ID      string      `json:"id"`
	Role    MemberRole  `json:"role"`
	State   MemberState `json:"state,omitempty"`
	Address string      `json:"address,omitempty"`
	Shard   string      `json:"shard,omitempty"` // of a cluster's, see datastores.ClusterMember
}

// MemberRole is what a member is in its set.
type MemberRole string

const (
	RoleSource  MemberRole = "source"
	RoleReplica MemberRole = "replica"
	RoleNode    MemberRole = "node" // of a cluster
)

// MemberState is what keeps a member from taking part in the operations of its set; "": nothing.
type MemberState string

const (
	MemberMaking  MemberState = "making"  // it never was ready
	MemberCopying MemberState = "copying" // nor now, while its source is copied for it
	MemberLeaving MemberState = "leaving" // it is being deleted, or is to leave a cluster
	MemberOutside MemberState = "outside" // of a cluster's: its server runs, and has not joined
	MemberLeft    MemberState = "left"    // it has left the cluster, and is to be deleted
	MemberLost    MemberState = "lost"    // of a cluster's: it will not be back, so it is deleted without having been asked to leave
)

// SetOperation is what is being done to a set. Its Agent is a member's guest.
type SetOperation struct {
	Operation
	// Lead is the member that was asked for it. Its timeline and its fault tell of the operation, and its reset_status gives that up.
	Lead    string   `json:"lead"`
	Former  string   `json:"former,omitempty"`  // the source when it began
	Waiting []string `json:"waiting,omitempty"` // members whose turn is still to come
	// Votes are what replicas have said of how far they have come.
	Votes map[string]datastores.Position `json:"votes,omitempty"`
	// Position is how far the source has come that takes no writes any more.
	Position *datastores.Position `json:"position,omitempty"`
	// Accounts are those with which the members log in to their new source, a []datastores.ReplicaAccount sealed with the gateways' key.
	Accounts []byte `json:"accounts,omitempty"`
	// Candidates are those that the source is to wait for when the operation ends, for Acks of them.
	Candidates []string `json:"candidates,omitempty"`
	Acks       int      `json:"acks,omitempty"`
	Ceased     []string `json:"ceased,omitempty"` // who is to be shut out by the source
	// Of a cluster's: Each is the kind of the operation that its members have one after the other. Turn are the members that have one of
	// their own for this one now.
	Each string   `json:"each,omitempty"`
	Turn []string `json:"turn,omitempty"`
	// Parts are, of a backup, those that its members make: member -> id of the backup.
	Parts map[string]string `json:"parts,omitempty"`
}

// Source is the id of the member that the others follow; "": none.
func (s Set) Source() string {
	for _, m := range s.Members {
		if m.Role == RoleSource {
			return m.ID
		}
	}
	return ""
}

// Replicas are the ids of the members that follow it, in the making ones too.
func (s Set) Replicas() (ids []string) {
	for _, m := range s.Members {
		if m.Role == RoleReplica {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Member is an instance's place in the set; the zero one when it is not in it.
func (s Set) Member(id string) SetMember {
	if i := slices.IndexFunc(s.Members, func(m SetMember) bool { return m.ID == id }); i >= 0 {
		return s.Members[i]
	}
	return SetMember{}
}

// With is the set with a member changed. The set that it is made of stays as it is.
func (s Set) With(id string, change func(*SetMember)) Set {
	s.Members = slices.Clone(s.Members)
	for i := range s.Members {
		if s.Members[i].ID == id {
			change(&s.Members[i])
		}
	}
	return s
}

// Without is the set without a member.
func (s Set) Without(id string) Set {
	s.Members = slices.DeleteFunc(slices.Clone(s.Members), func(m SetMember) bool { return m.ID == id })
	return s
}
