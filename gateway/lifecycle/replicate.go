package lifecycle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// peer returns another member to change; nil when it is not there. The first call for an id adds that member to Decision.Peers,
// so its record is written.
func (d *decision) peer(id string) *etcdschema.Instance {
	same := func(in etcdschema.Instance) bool { return in.ID == id }
	if i := slices.IndexFunc(d.Peers, same); i >= 0 {
		return &d.Peers[i]
	}
	if i := slices.IndexFunc(d.event.Peers, same); i >= 0 && id != "" {
		d.Peers = append(d.Peers, d.event.Peers[i])
		return &d.Peers[len(d.Peers)-1]
	}
	return nil
}

// claim keeps the others from operations of their own, for as long as this one goes on.
func (d *decision) claim(kind string, ids []string) {
	for _, id := range ids {
		if m := d.peer(id); m != nil {
			m.Claims = append(slices.Clone(m.Claims), etcdschema.Claim{Kind: kind, By: d.Instance.ID})
		}
	}
}

// release ends every claim of this instance on others.
func (d *decision) release() {
	mine := func(h etcdschema.Claim) bool { return h.By == d.Instance.ID }
	for _, p := range d.event.Peers {
		if m := d.claimed(p.ID, mine); m != nil {
			m.Claims = slices.DeleteFunc(slices.Clone(m.Claims), mine)
		}
	}
}

// claimed returns a member that such a claim is on; others are left alone.
func (d *decision) claimed(id string, is func(etcdschema.Claim) bool) *etcdschema.Instance {
	for _, list := range [][]etcdschema.Instance{d.Peers, d.event.Peers} {
		if i := slices.IndexFunc(list, func(in etcdschema.Instance) bool { return in.ID == id }); i >= 0 {
			if slices.ContainsFunc(list[i].Claims, is) {
				return d.peer(id)
			}
			return nil
		}
	}
	return nil
}

// tellSource enqueues a command to the source's guest that nobody waits for.
func (d *decision) tellSource(method string) {
	if d.Instance.ReplicaOf != "" {
		d.send(Command{ID: d.newID(), Subject: d.Instance.ID, Agent: d.Instance.ReplicaOf, Method: method, Deadline: d.now.Add(patience)})
	}
}

// replica refuses what only a replica can be asked for.
func replica(in etcdschema.Instance) error {
	if in.ReplicaOf == "" {
		return &NotAllowed{fmt.Sprintf("Instance %s is not a replica.", in.ID)}
	}
	return nil
}

// mayDetach refuses what cannot be detached. A detach heals: a replica that failed can be detached, too.
func mayDetach(in etcdschema.Instance) error { return cmp.Or(replica(in), Free(in)) }

func (d *decision) detached() error {
	d.leave()
	d.finish("the instance is independent")
	return nil
}

// promote makes a replica the source, without losing a write that the old one has acknowledged: that one is made to refuse
// writes first, and the replica to have everything that it took.
func (d *decision) promote() error {
	if err := cmp.Or(replica(d.Instance), mayChangeRoles(d.Instance), mustFollow(d.Instance)); err != nil {
		return err
	}
	if other := d.givenUp(); other != "" {
		return &NotAllowed{fmt.Sprintf("The promotion of instance %s was given up before it was done, and that one may be a source. Promote it again, or delete it, or reset its status first.", other)}
	}
	var others []string
	for _, p := range d.event.Peers {
		if err := mayChangeRoles(p); err != nil {
			return err
		}
		others = append(others, p.ID)
	}
	d.begin(Promote)
	d.operation().Members = others
	d.claim(Promote, others)
	d.enter(Fencing, "asked the guest of the source to stop taking writes")
	return nil
}

// mayChangeRoles refuses a member of which a promotion could not make anything. What a promotion has left behind, another one
// may mend.
func mayChangeRoles(in etcdschema.Instance) error {
	if slices.Contains([]string{Promote, Eject, Follow, Fence}, in.Failed) {
		in.Failed = ""
	}
	return Ready(in)
}

// mayBeFenced reports whether the source may refuse writes because of the promotion that is under way.
func (d *decision) mayBeFenced() bool {
	op := d.Instance.Operation
	return op.Kind == Promote && slices.Contains([]Step{Fencing, CatchingUp, Promoting, Unfencing}, Step(op.Step))
}

// leaveFenced is what remains of a promotion that was given up while the replica became the source: nobody knows whether it
// has, so the old source takes no writes until somebody says so.
func (d *decision) leaveFenced(kind string) {
	d.Instance.Failed = kind
	if kind == Eject {
		d.fault("its promotion was given up before it was done; eject the source again, or delete the instance")
		return
	}
	d.fault("its promotion was given up before it was done, and the source " + d.Instance.ReplicaOf + " takes no writes; promote it again, or reset the status of the source, which then takes writes again")
	if source := d.peer(d.Instance.ReplicaOf); source != nil {
		source.Failed = Fence
		source.Fault = &etcdschema.Fault{Created: d.now, Message: "it takes no writes since the promotion of " + d.Instance.ID +
			" was given up; promote that again, or have this one take writes again with reset_status"}
	}
}

// staysFenced reports whether the source was fenced for an earlier promotion that was given up. What has become of that nobody
// knows, so only a person may let the source take writes again.
func (d *decision) staysFenced() bool {
	return slices.ContainsFunc(d.event.Peers, func(p etcdschema.Instance) bool { return p.ID == d.Instance.ReplicaOf && p.Failed == Fence })
}

// givenUp returns another replica whose promotion was given up while it may have become a source; "": there is none.
func (d *decision) givenUp() string {
	for _, p := range d.event.Peers {
		if d.staysFenced() && p.ReplicaOf == d.Instance.ReplicaOf && p.Failed == Promote {
			return p.ID
		}
	}
	return ""
}

func (d *decision) fenced() error {
	var p datastores.Position
	if err := json.Unmarshal(d.event.Value, &p); err != nil {
		return d.unfence()
	}
	d.operation().Position = &p
	d.enter(CatchingUp, "the source takes no writes; waiting for the replica to have all of "+p.ID)
	return nil
}

func (d *decision) caughtUp() error {
	d.enter(Promoting, "the replica has everything; asked its guest to make it the source")
	return nil
}

// promoted swaps the roles. From here on each other member has an operation of its own: to follow the new source.
func (d *decision) promoted() error {
	op := *d.Instance.Operation
	old := d.Instance.ReplicaOf
	d.release()
	if op.Kind == Eject {
		d.ejected(old, op.Members)
	}
	d.Instance.ReplicaOf, d.Instance.Replicas = "", nil
	for _, id := range op.Members {
		m := d.peer(id)
		if m == nil {
			continue
		}
		d.Instance.Replicas = append(d.Instance.Replicas, id)
		m.ReplicaOf, m.Replicas, m.Updated = d.Instance.ID, nil, d.now
		m.Service.Replication = nil // was of the other source
		m.ReplicationStrategy = d.Instance.ReplicationStrategy
		if m.Operation != nil {
			continue // it is being deleted
		}
		command := Command{ID: d.newID(), Waiter: id, Subject: id, Agent: id, Method: datastores.MethodAttachReplica, Deadline: d.now.Add(stall)}
		m.Operation = &etcdschema.Operation{
			Kind: op.Kind, Step: string(Following), Since: d.now, Started: d.now, Deadline: command.Deadline,
			Agent: id, Command: command.ID, Request: op.Request,
		}
		d.send(command)
	}
	d.finish(fmt.Sprintf("the instance is the source now, in place of %s", old))
	return nil
}

// ejected takes the old source out of the set. Should it come back it is told to refuse writes.
func (d *decision) ejected(id string, others []string) {
	old := d.peer(id)
	if old == nil {
		return
	}
	old.Replicas = slices.DeleteFunc(slices.Clone(old.Replicas), func(r string) bool { return r == d.Instance.ID || slices.Contains(others, r) })
	old.Updated, old.Failed, old.ReplicationStrategy = d.now, Fence, d.Instance.ReplicationStrategy
	old.Fault = &etcdschema.Fault{Created: d.now, Message: "it was ejected, and " + d.Instance.ID +
		" took its place: what this one has taken since may be missing there. reset_status lets it take writes again, as an instance of its own"}
	d.send(Command{ID: d.newID(), Subject: d.Instance.ID, Agent: id, Method: datastores.MethodMakeReadOnly, ReadOnly: true, Deadline: d.now.Add(patience)})
}

func (d *decision) notPromoted() error {
	if d.Instance.Operation.Kind == Eject { // the old source is gone: there is nobody to take writes again
		d.fail(d.reason())
		return nil
	}
	return d.unfence()
}

// unfence lets the old source take writes again, unless it was fenced before.
func (d *decision) unfence() error {
	reason := d.reason()
	if d.staysFenced() {
		kind := d.Instance.Operation.Kind
		d.fail(reason)
		d.leaveFenced(kind)
		return nil
	}
	d.withdraw()
	op := d.operation()
	op.Reason, op.FailedStep, op.Position = reason, op.Step, nil
	d.enter(Unfencing, "that failed; asked the guest of the source to take writes again")
	return nil
}

func (d *decision) unfenced() error {
	d.fail(d.Instance.Operation.Reason)
	return nil
}

func (d *decision) notUnfenced() error {
	reason := d.reason()
	if source := d.peer(d.Instance.ReplicaOf); source != nil {
		source.Failed = Fence
		source.Fault = &etcdschema.Fault{Created: d.now, Message: "it may still refuse writes after the promotion of " + d.Instance.ID +
			" failed: " + reason + "; reset_status asks its guest again to let it take writes"}
	}
	d.fail(d.Instance.Operation.Reason + "; and the source may still refuse writes: " + reason)
	return nil
}

// notFollowing: there is no way to have a replica follow again but to make it anew.
func (d *decision) notFollowing() error {
	d.fail(d.reason() + "; detach it, or delete it and make another replica")
	d.Instance.Failed = Follow
	return nil
}

func (d *decision) follows() error {
	d.runs()
	d.finish("the instance follows " + d.Instance.ReplicaOf)
	return nil
}

// eject puts the most advanced replica in the place of a source that is gone. Every replica is asked how far it has come.
func (d *decision) eject() error {
	if len(d.Instance.Replicas) == 0 {
		return &NotAllowed{fmt.Sprintf("Instance %s is not a replica source.", d.Instance.ID)}
	}
	if len(d.Instance.Claims) > 0 {
		return notAllowed(d.Instance)
	}
	var able []string // a replica that never was ready has nothing to say
	for _, p := range d.event.Peers {
		if p.Operation != nil && p.Operation.Kind == Delete {
			continue
		}
		if p.Operation != nil || len(p.Claims) > 0 {
			return notAllowed(p)
		}
		if p.Prepared {
			able = append(able, p.ID)
		}
	}
	if len(able) == 0 {
		return &NotAllowed{fmt.Sprintf("No replica of instance %s is ready to take its place.", d.Instance.ID)}
	}
	d.begin(Eject)
	op := d.operation()
	op.Members, op.Waiting = able, able
	d.claim(Eject, able)
	d.askNext()
	return nil
}

func (d *decision) askNext() {
	op := d.operation()
	next := op.Waiting[0]
	op.Waiting = op.Waiting[1:]
	d.enterUntil(Electing, d.now.Add(voteTimeout), next, datastores.MethodLatestTxn, "asked replica "+next+" how far it has come")
}

func (d *decision) voted() error {
	var p datastores.Position
	if err := json.Unmarshal(d.event.Value, &p); err != nil {
		return d.abstained()
	}
	op := d.operation()
	op.Votes = maps.Clone(op.Votes)
	if op.Votes == nil {
		op.Votes = map[string]datastores.Position{}
	}
	op.Votes[op.Agent] = p
	return d.count()
}

// abstained goes on without a replica that cannot be asked.
func (d *decision) abstained() error {
	d.withdraw()
	d.tell("note", "replica "+d.Instance.Operation.Agent+" has no vote: "+d.reason())
	return d.count()
}

// count asks the next replica, or when all have been asked has the one that has come furthest made the source, with an
// operation of its own. When that fails the roles are as they were, and an ejection may be asked for again.
func (d *decision) count() error {
	op := *d.Instance.Operation
	if len(op.Waiting) > 0 {
		d.askNext()
		return nil
	}
	var best string
	for _, id := range op.Members {
		if m := d.peer(id); m == nil || m.Operation != nil {
			continue // it is being deleted
		}
		if p, ok := op.Votes[id]; ok && (best == "" || p.Count > op.Votes[best].Count) {
			best = id
		}
	}
	winner := d.peer(best)
	if winner == nil {
		d.fail("no replica could be asked how far it has come")
		return nil
	}
	d.fail("the source is ejected; " + best + " takes its place. What this one has taken since may be missing there")
	d.crown(winner, op)
	return nil
}

// crown begins the promotion of the replica that was elected.
func (d *decision) crown(winner *etcdschema.Instance, op etcdschema.Operation) {
	command := Command{ID: d.newID(), Waiter: winner.ID, Subject: winner.ID, Agent: winner.ID, Method: datastores.MethodEnableAsMaster, Deadline: d.now.Add(guestTimeout)}
	others := slices.DeleteFunc(slices.Clone(op.Members), func(id string) bool { return id == winner.ID })
	winner.Operation = &etcdschema.Operation{
		Kind: Eject, Step: string(Promoting), Since: d.now, Started: d.now, Deadline: command.Deadline,
		Agent: winner.ID, Command: command.ID, Request: op.Request, Members: others,
	}
	winner.Updated = d.now
	claim := etcdschema.Claim{Kind: Eject, By: winner.ID}
	d.Instance.Claims = append(slices.Clone(d.Instance.Claims), claim)
	for _, id := range others {
		if m := d.peer(id); m != nil {
			m.Claims = append(slices.Clone(m.Claims), claim)
		}
	}
	d.send(command)
}
