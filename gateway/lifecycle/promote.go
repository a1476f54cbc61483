package lifecycle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// promote makes a replica the source, without losing a write that the old one has acknowledged: that one is made to refuse
// writes first, and the replica to have everything that it took. The others are not read: they follow when they can.
func (d *decision) promote() error {
	candidate, source := d.look(d.event.Member), d.look(d.Set.Source())
	if err := cmp.Or(replica(candidate), mayChangeRoles(candidate), mustFollow(candidate)); err != nil {
		return err
	}
	if candidate.Version != source.Version {
		return &Conflict{fmt.Sprintf("Instance %s has version %s and its source %s version %s, which could not follow it. Nothing was done: ask for the upgrade of the source again first.", candidate.ID, candidate.Version, source.ID, source.Version)}
	}
	if other := d.Set.GivenUp; other != "" && other != candidate.ID && d.staysFenced() {
		return &NotAllowed{fmt.Sprintf("The promotion of instance %s was given up before it was done, and that one may be a source. Promote it again, or delete it, or reset its status first.", other)}
	}
	able := []Member{source}
	for _, m := range d.Set.Members {
		if m.State == etcdschema.MemberMaking || m.State == etcdschema.MemberCopying {
			able = append(able, d.look(m.ID)) // it would follow the old source
		}
	}
	for _, m := range able {
		if err := mayChangeRoles(m); err != nil {
			return err
		}
	}
	d.beginSet(Promote, candidate.ID)
	d.enterSet(Fencing, source.ID, "asked the guest of the source to stop taking writes")
	return nil
}

// replica refuses what only a replica can be asked for.
func replica(m Member) error {
	if m.ReplicaOf() == "" {
		return &NotAllowed{fmt.Sprintf("Instance %s is not a replica.", m.ID)}
	}
	return nil
}

// mayChangeRoles refuses a member of which a promotion could not make anything. What a promotion has left behind, another one
// may mend.
func mayChangeRoles(m Member) error {
	if slices.Contains([]string{Promote, Eject, Follow, Fence, Rejoin, Stray}, m.Failed) {
		m.Failed = ""
	}
	return Ready(m)
}

// staysFenced reports whether the source was fenced for an earlier promotion that was given up. What has become of that nobody
// knows, so only a person may let the source take writes again.
func (d *decision) staysFenced() bool { return d.look(d.Set.Source()).Failed == Fence }

// mayBeFenced reports whether the source may refuse writes because of the promotion that is under way.
func (d *decision) mayBeFenced() bool {
	return d.Set.Operation.Kind == Promote && slices.Contains([]Step{Fencing, CatchingUp, Promoting, Unfencing}, SetStepOf(d.Set))
}

func (d *decision) fenced() error {
	var p datastores.Position
	if err := json.Unmarshal(d.event.Value, &p); err != nil {
		return d.unfence()
	}
	op := d.setOperation()
	op.Position = &p
	d.enterSet(CatchingUp, op.Lead, "the source takes no writes; waiting for the replica to have all of "+p.ID)
	return nil
}

func (d *decision) caughtUp() error {
	d.enterSet(Promoting, d.Set.Operation.Lead, "the replica has everything; asked its guest to make it the source")
	return nil
}

// promoted swaps the roles. From here on the other members follow the new source.
func (d *decision) promoted() error {
	op, old := *d.Set.Operation, d.Set.Source()
	d.Set = d.Set.With(op.Lead, func(m *etcdschema.SetMember) { m.Role = etcdschema.RoleSource }).
		With(old, func(m *etcdschema.SetMember) { m.Role = etcdschema.RoleReplica })
	d.Set.GivenUp = ""
	if op.Kind == Failover {
		d.countFailover()
	}
	d.sourceIsNew()
	lead := d.member(op.Lead)
	lead.Failed, lead.Fault, lead.Updated = "", nil, d.now
	lead.Service.Replication = nil
	d.tellOf(lead.ID, "done", fmt.Sprintf("the instance is the source now, in place of %s", old))
	if StepOf(d.look(old).Instance) == Yielding {
		d.err = cmp.Or(d.err, d.as(old, Event{Type: Done, Request: op.Request, By: op.By}))
	}
	next := d.setOperation()
	next.Command, next.Waiting = "", nil
	for _, m := range d.Set.Members {
		if m.ID != lead.ID && m.State == "" && (m.ID != old || op.Kind != Eject) {
			next.Waiting = append(next.Waiting, m.ID)
		}
	}
	if op.Kind == Eject {
		d.ejected(old, lead.ID)
	}
	return d.rejoin()
}

func (d *decision) notPromoted() error {
	if d.Set.Operation.Kind == Failover {
		d.noFailover(d.reason())
		return nil
	}
	if d.Set.Operation.Kind == Eject { // the old source is gone: there is nobody to take writes again
		d.failSet(d.reason())
		return nil
	}
	return d.unfence()
}

// unfence lets the old source take writes again, unless it was fenced before.
func (d *decision) unfence() error {
	reason := d.reason()
	if d.staysFenced() {
		op := *d.Set.Operation
		d.failSet(reason)
		d.leaveFenced(op)
		return nil
	}
	d.withdraw()
	op := d.setOperation()
	op.Reason, op.FailedStep, op.Position = reason, op.Step, nil
	d.enterSet(Unfencing, d.Set.Source(), "that failed; asked the guest of the source to take writes again")
	return nil
}

func (d *decision) unfenced() error {
	d.failSet(d.Set.Operation.Reason)
	return nil
}

func (d *decision) notUnfenced() error {
	reason, op := d.reason(), *d.Set.Operation
	source := d.member(d.Set.Source())
	source.Failed = Fence
	source.Fault = &etcdschema.Fault{Created: d.now, Message: "it may still refuse writes after the promotion of " + op.Lead +
		" failed: " + reason + "; reset_status asks its guest again to let it take writes"}
	d.failSet(op.Reason + "; and the source may still refuse writes: " + reason)
	return nil
}

// giveUpSet gives up the operation that the instance leads, for a reason. Until the replica was asked to become the source, the old
// one takes writes again.
func (d *decision) giveUpSet(reason string) {
	op, step := *d.Set.Operation, SetStepOf(d.Set)
	doubtful := step == Promoting || d.mayBeFenced() && d.staysFenced()
	fenced := d.mayBeFenced()
	d.endSet()
	d.tell("note", reason)
	if !lasts(d.Instance.Failed) {
		d.Instance.Failed = ""
	}
	switch {
	case doubtful:
		d.leaveFenced(op)
	case fenced:
		d.tellSource(datastores.MethodMakeReadOnly)
	}
}

// leaveFenced is what remains of an operation that was given up while the replica became the source: nobody knows whether it
// has, so the old source takes no writes until somebody says so.
func (d *decision) leaveFenced(op etcdschema.SetOperation) {
	lead := d.member(op.Lead)
	lead.Failed = op.Kind
	if op.Kind == Eject {
		d.faultOf(lead, "its promotion was given up before it was done; eject the source again, or delete the instance")
		return
	}
	d.Set.GivenUp = op.Lead
	source := d.member(d.Set.Source())
	d.faultOf(lead, "its promotion was given up before it was done, and the source "+source.ID+" takes no writes; promote it again, or reset the status of the source, which then takes writes again")
	source.Failed = Fence
	source.Fault = &etcdschema.Fault{Created: d.now, Message: "it takes no writes since the promotion of " + op.Lead +
		" was given up; promote that again, or have this one take writes again with reset_status"}
}
