package lifecycle

import (
	"fmt"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// together is how many members begin to follow a new source in one transaction. The end of each lets another one begin.
const together = 8

// rejoin lets the next members follow the set's source, each by an operation of its own. A member that is busy with something else is asked
// again when that has ended. When all have begun, the set's operation has ended.
func (d *decision) rejoin() error {
	op := d.setOperation()
	op.Step, op.Since, op.Deadline, op.Agent = string(Rejoining), d.now, d.now.Add(guestTimeout), ""
	var later []string
	begun, looked := 0, 0
	for _, id := range op.Waiting {
		if begun == together || looked == 2*together {
			later = append(later, id)
			continue
		}
		looked++
		if m := d.look(id); m.Operation != nil {
			later = append(later, id)
			continue
		}
		begun++
		d.follow(d.member(id), op.Operation)
	}
	if op.Waiting = later; len(later) == 0 {
		d.endSet()
	}
	return nil
}

// rejoinMore does not wait any longer for members that are asked: some may not be there.
func (d *decision) rejoinMore() error {
	op := d.setOperation()
	if n := 2 * together; len(op.Waiting) > n { // those that were busy go to the end
		op.Waiting = append(op.Waiting[n:len(op.Waiting):len(op.Waiting)], op.Waiting[:n]...)
	}
	return d.rejoin()
}

// follow begins a member's own operation: to follow the set's source.
func (d *decision) follow(m *etcdschema.Instance, of etcdschema.Operation) {
	command := Command{ID: d.newID(), Waiter: m.ID, Subject: m.ID, Agent: m.ID, Method: datastores.MethodAttachReplica, Deadline: d.now.Add(stall)}
	m.Updated = d.now
	m.Service.Replication = nil // was of the other source
	m.Operation = &etcdschema.Operation{
		Kind: of.Kind, Step: string(Following), Since: d.now, Started: d.now, Deadline: command.Deadline,
		Agent: m.ID, Command: command.ID, Request: of.Request, By: of.By,
	}
	d.send(command)
}

// setGoesOn lets the set's operation go on when that of a member has ended, whatever it was.
func (d *decision) setGoesOn(before etcdschema.Instance) {
	if d.Set.Kind == etcdschema.SetCluster {
		d.turnOver(before)
		return
	}
	was, is := before.Operation, d.Instance.Operation
	if turnOf(d.Set) == before.ID && was != nil && is == nil {
		d.renewed()
		return
	}
	if d.SetGone || was == nil || is != nil && is.Kind == was.Kind || SetStepOf(d.Set) != Rejoining {
		return
	}
	_ = d.rejoin()
}

// follows ends an operation well, or with the reason for which the replica is where it was.
func (d *decision) follows() error {
	d.runs()
	if reason := d.Instance.Operation.Reason; reason != "" {
		d.giveUp(reason)
		d.fault("the instance is where it was, and follows its source: " + reason)
		return nil
	}
	d.finish("the instance follows " + d.Set.Source())
	return nil
}

// notFollowing leaves it to the tenant whether to discard what the replica has. After a failover the set sees to it: there may be room on its volume, say, the next
// time.
func (d *decision) notFollowing() error {
	conflict := d.event.Error != nil && d.event.Error.Kind == agentpoll.Conflict
	if d.setAsked() && !conflict || d.event.Away && d.Instance.Failed != Rejoin && d.Instance.Operation.Kind != Failover {
		d.later(d.first(d.reason()))
		return nil
	}
	failed, next := Follow, followAgain
	if d.Instance.Operation.Kind == Failover || d.Instance.Failed == Rejoin {
		if conflict {
			return d.anew()
		}
		failed, next = Rejoin, rejoins+" "+followAgain
	}
	d.fail(d.first(d.reason()) + ". " + next)
	d.Instance.Failed = failed
	return nil
}

// setAsked reports whether a set has begun the operation, to have a replica follow again that is where it was.
func (d *decision) setAsked() bool {
	op := d.Instance.Operation
	return op.Kind == Follow && op.Request == "" && (d.Instance.Failed == "" || d.Instance.Failed == Stray) && d.Instance.Prepared
}

// later ends the operation of a replica that its set asks again.
func (d *decision) later(reason string) {
	d.giveUp(reason)
	d.Instance.Failed = Stray
	d.fault(reason + ". " + rejoins)
}

// waitForNone ends the operation of one replica that its source has let in and whose guest has been away for the grace period. As long as it may follow at any
// time it is a candidate of a bounded set, of whom too many may have to decide. Its set lets it in anew when it is back. What a person has asked for goes on.
func (d *decision) waitForNone() {
	for _, m := range d.Set.Members {
		since, away := d.event.Gone[m.ID]
		in := d.look(m.ID)
		if !away || d.now.Sub(since) < graceOf(*d.Set.Failover) || m.Role != etcdschema.RoleReplica || m.State != "" || StepOf(in.Instance) != Following {
			continue
		}
		if in.Operation.Kind != Failover && in.Failed == Follow || in.Operation.Kind == Follow && in.Operation.Request != "" {
			continue
		}
		if d.as(m.ID, Event{Type: Failed, Away: true, Error: agentpoll.Errorf(agentpoll.Unavailable, "its guest is away")}) == nil {
			return
		}
	}
}

// anew makes a member anew from the new source that has what that lacks: nobody was told that it was stored, or by its policy it may be lost.
func (d *decision) anew() error {
	reason := d.reason()
	op := d.Instance.Operation
	d.tell("note", "it has what the new source "+d.Set.Source()+" has not, and nobody was told to be stored: "+reason+". It is made anew from that")
	d.Instance.Operation, d.event.Discard = nil, true
	if err := d.again(); err != nil {
		d.Instance.Operation = op
		d.fail(reason + "; and it could not be made anew: " + err.Error() + " " + followAgain)
		d.Instance.Failed = Follow
	}
	return nil
}

// again has a replica follow its source again: the source's guest gives it a new account, and its own guest attaches it with the data that
// it has. When that may be discarded, or there is none, it begins anew, as a new replica does.
func (d *decision) again() error {
	m := d.self()
	if err := replica(m); err != nil {
		return err
	}
	if m.Operation != nil || m.isHeld() {
		return notAllowed(m)
	}
	if err := Leads(d.look(d.Set.Source())); err != nil {
		return err
	}
	keeps := m.Prepared && !d.event.Discard
	if !keeps {
		if err := asItsSource(m, d.look(d.Set.Source())); err != nil {
			return err
		}
	}
	if triedAgain(m.Failed) && d.event.Request != "" { // a person asks, and what it has is his to keep
		d.Instance.Failed = Follow
	}
	d.begin(Follow)
	if keeps {
		d.enter(Admitting, "asked the source's guest to let the replica in anew")
		return nil
	}
	d.copySource("asked the source's guest for an account and a copy of the data, with which the replica begins anew")
	return nil
}

// asItsSource refuses to make a replica anew from a source of another version.
func asItsSource(m, source Member) error {
	if source.Version != m.Version {
		return &Conflict{fmt.Sprintf("Instance %s has version %s and its source %s version %s, of which it cannot be made anew. Upgrade the source, with its set, first; or delete the replica and make another one.", m.ID, m.Version, source.ID, source.Version)}
	}
	return nil
}

// admitted goes on to follow, unless the source that let it in is none any more.
func (d *decision) admitted() error {
	if d.Instance.Operation.Agent != d.Set.Source() {
		d.event.Error = nil
		d.fail(d.first("the set has another source since. " + followAgain))
		return nil
	}
	d.Instance.Service.Replication = nil // is about to change
	d.enter(Following, "the source lets it in; asked its guest to follow")
	return nil
}

// makesData reports whether an operation may make an instance's data.
func makesData(kind string) bool { return kind == Create || kind == Follow }
