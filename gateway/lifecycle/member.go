package lifecycle

import (
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
)

// Member is an instance with the set that it is in. An instance alone has the zero Set.
type Member struct {
	etcdschema.Instance
	Set etcdschema.Set
}

// Alone is an instance that is in no set, or of which what its set does makes no difference.
func Alone(in etcdschema.Instance) Member { return Member{Instance: in} }

// Clustered reports whether an instance is a cluster's member.
func (m Member) Clustered() bool { return m.Set.Kind == etcdschema.SetCluster }

// ReplicaOf is the id of the source that a replica follows, or is to follow; "" of any other instance.
func (m Member) ReplicaOf() string {
	if m.Set.Member(m.ID).Role == etcdschema.RoleReplica {
		return m.Set.Source()
	}
	return ""
}

// Replicas are the ids of a source's replicas, in the making ones too; none of any other instance.
func (m Member) Replicas() []string {
	if m.Set.Member(m.ID).Role == etcdschema.RoleSource {
		return m.Set.Replicas()
	}
	return nil
}

// Doing is what is being done to an instance: its own operation, or its set's when it leads that; nil: nothing.
func (m Member) Doing() *etcdschema.Operation {
	if m.Operation == nil && leads(m.Set, m.ID) {
		return &m.Set.Operation.Operation
	}
	return m.Operation
}

// held names the operation of others that keeps a member from operations of its own, and who leads it; "": none does. The source of
// a set is held while it is copied for a new replica.
func (m Member) held() (kind, by string) {
	if op := m.Set.Operation; op != nil && touched(m.Set, m.ID) {
		return op.Kind, op.Lead
	}
	if m.Set.Source() != m.ID {
		return "", ""
	}
	for _, other := range m.Set.Members {
		if other.State == etcdschema.MemberCopying {
			return Backup, other.ID
		}
	}
	return "", ""
}

func (m Member) isHeld() bool { kind, _ := m.held(); return kind != "" }

// touched reports whether a set's operation has a member take part: until it has a source again every one that can, then those whose
// turn to follow is still to come.
func touched(set etcdschema.Set, id string) bool {
	if set.Kind == etcdschema.SetCluster {
		return !slices.Contains(set.Operation.Turn, id) // whose own operation is the set's
	}
	if set.Operation.Kind == Arrange { // beside which anything can be done
		return false
	}
	if Step(set.Operation.Step) == Rejoining {
		return slices.Contains(set.Operation.Waiting, id)
	}
	m := set.Member(id)
	return m.ID != "" && m.State == "" && turnOf(set) != id
}

// turnOf is the member whose own upgrade the set waits for; "": none.
func turnOf(set etcdschema.Set) string {
	if op := set.Operation; op != nil && Step(op.Step) == Renewing && len(op.Waiting) > 0 {
		return op.Waiting[0]
	}
	return ""
}

// leads reports whether a set's operation was asked of a member, which it still touches.
func leads(set etcdschema.Set, id string) bool {
	op := set.Operation
	return op != nil && op.Lead == id && op.Kind != Arrange && set.Kind != etcdschema.SetCluster && Step(op.Step) != Rejoining && turnOf(set) != id
}
