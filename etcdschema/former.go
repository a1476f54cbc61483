package etcdschema

import "github.com/cofferdb/coffer/datastores"

// FormerInstance is an instance as the release before sets wrote it: each member said who the others are, and what several take part in
// stood in the record of one, with claims in those of the others.
type FormerInstance struct {
	Instance
	Operation *FormerOperation `json:"operation,omitempty"`
	ReplicaOf string           `json:"replica_of,omitempty"`
	Replicas  []string         `json:"replicas,omitempty"`
	Claims    []struct{}       `json:"holds,omitempty"`
}

// FormerOperation is what was being done to it.
type FormerOperation struct {
	Operation
	Waiting  []string                       `json:"waiting,omitempty"`
	Votes    map[string]datastores.Position `json:"votes,omitempty"`
	Position *datastores.Position           `json:"position,omitempty"`
	Sealed   []byte                         `json:"sealed,omitempty"` // with the key of the instance
}

// Former reports whether anything in the record is said by sets today.
func (in FormerInstance) Former() bool {
	return in.ReplicaOf != "" || len(in.Replicas) > 0 || len(in.Claims) > 0
}

// FormerInstanceKey is InstanceKey, read as the release before sets wrote it.
func FormerInstanceKey(project, id string) Key[FormerInstance] {
	return Key[FormerInstance](InstanceKey(project, id))
}

// FormerInstances is AllInstances, read likewise.
func FormerInstances() Prefix[FormerInstance] { return Prefix[FormerInstance](AllInstances()) }
