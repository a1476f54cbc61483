package lifecycle

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// join makes the new instance a replica in the set of a source, which is made when that is alone.
func (d *decision) join(source string) {
	if d.Set.ID == "" {
		first := d.member(source)
		d.Set = etcdschema.Set{
			ID: d.newID(), Project: d.Instance.Project, Kind: etcdschema.SetReplication, Datastore: d.Instance.Datastore,
			Members:  []etcdschema.SetMember{{ID: source, Role: etcdschema.RoleSource, Address: first.Address}},
			Locality: first.Locality, ReplicationStrategy: d.Instance.ReplicationStrategy, Created: d.now,
		}
		first.SetID, first.Locality, first.ReplicationStrategy = d.Set.ID, "", ""
	}
	d.Set.Members = append(slices.Clone(d.Set.Members),
		etcdschema.SetMember{ID: d.Instance.ID, Role: etcdschema.RoleReplica, State: etcdschema.MemberMaking, Address: d.Instance.Address})
	d.Instance.SetID, d.Instance.Locality, d.Instance.ReplicationStrategy = d.Set.ID, "", ""
	d.SetChanged = true
}

// release lets the source go that was copied for this instance. A replica that has still what it had takes part as before, unless its
// server is made at another place.
func (d *decision) release() {
	switch {
	case d.Set.Member(d.Instance.ID).State != etcdschema.MemberCopying:
	case d.Instance.Prepared && !Arriving(d.Instance):
		d.setState(d.Instance.ID, "")
	default:
		d.setState(d.Instance.ID, etcdschema.MemberMaking)
	}
}

// tellSource enqueues a command to the source's guest that nobody waits for.
func (d *decision) tellSource(method string) {
	d.send(Command{ID: d.newID(), Subject: d.Instance.ID, Agent: d.Set.Source(), Method: method, Deadline: d.now.Add(patience)})
}

// leaving says that the instance is being deleted: its set goes on without it. A source that was fenced for it takes writes again.
func (d *decision) leaving() {
	id := d.Instance.ID
	if d.Set.Member(id).ID == "" {
		return
	}
	if d.self().Clustered() {
		if d.Set.Member(id).State != etcdschema.MemberLost {
			d.setState(id, etcdschema.MemberLeaving)
		}
		return // the set has it removed
	}
	d.setState(id, etcdschema.MemberLeaving)
	switch op := d.Set.Operation; {
	case op == nil:
	case leads(d.Set, id):
		if d.mayBeFenced() && !d.staysFenced() {
			d.tellSource(datastores.MethodMakeReadOnly)
		}
		d.endSet()
	case SetStepOf(d.Set) == Electing && op.Agent == id:
		d.abstain("it was deleted")
	case op.Kind == UpgradeSet:
		d.upgradeWithout(id)
	default:
		d.forget(id)
	}
}

// leave takes a member out of its set; what the source has for a replica is cleaned up when its guest can.
func (d *decision) leave() {
	if d.Set.Member(d.Instance.ID).ID == "" {
		return
	}
	if d.self().ReplicaOf() != "" {
		d.tellSource(datastores.MethodCleanupSource)
	}
	d.exclude(&d.Instance)
}

// exclude takes a member out of the set. The last one of a set is alone.
func (d *decision) exclude(m *etcdschema.Instance) {
	d.part(m)
	if d.Set.Operation != nil {
		d.forget(m.ID)
	}
	if d.Set.GivenUp == m.ID {
		d.Set.GivenUp = ""
	}
	d.Set = d.Set.Without(m.ID)
	d.Changed, d.SetChanged = true, true
	if d.self().Clustered() {
		d.SetGone = len(d.Set.Members) == 0
		return
	}
	if len(d.Set.Members) == 1 {
		if op := d.Set.Operation; op != nil && (op.Kind == UpgradeSet || op.Kind == Arrange) { // what its source does of its own goes on
			d.endSet()
		}
		if d.Set.Failover != nil { // it would wait for nobody for ever
			d.tellSource(datastores.MethodAwaitReplicas)
		}
		d.part(d.member(d.Set.Members[0].ID))
		d.SetGone = true
	}
}

// part ends a member's ties with its set. What it keeps of that a command to it may need.
func (d *decision) part(m *etcdschema.Instance) {
	m.SetID, m.Locality, m.ReplicationStrategy = "", d.Set.Locality, d.Set.ReplicationStrategy
}

// forget takes a member out of what the set's operation has still to do.
func (d *decision) forget(id string) {
	op := d.setOperation()
	op.Waiting = slices.DeleteFunc(slices.Clone(op.Waiting), func(w string) bool { return w == id })
	op.Votes = maps.Clone(op.Votes)
	delete(op.Votes, id)
	if SetStepOf(d.Set) == Rejoining && len(op.Waiting) == 0 {
		d.endSet()
	}
}

// mayDetach refuses what cannot be detached. A detach heals: a replica that failed can be detached, too.
func mayDetach(m Member) error { return cmp.Or(replica(m), Free(m)) }

func (d *decision) detached() error {
	d.leave()
	d.finish("the instance is independent")
	return nil
}
