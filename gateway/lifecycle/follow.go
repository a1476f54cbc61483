package lifecycle

import (
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
		Agent: m.ID, Command: command.ID, Request: of.Request,
	}
	d.send(command)
}

// setGoesOn lets the set's operation go on when that of a member has ended, whatever it was.
func (d *decision) setGoesOn(before etcdschema.Instance) {
	was, is := before.Operation, d.Instance.Operation
	if d.SetGone || was == nil || is != nil && is.Kind == was.Kind || SetStepOf(d.Set) != Rejoining {
		return
	}
	_ = d.rejoin()
}

func (d *decision) follows() error {
	d.runs()
	d.finish("the instance follows " + d.Set.Source())
	return nil
}

// notFollowing: there is no way to have a replica follow again but to make it anew.
func (d *decision) notFollowing() error {
	d.fail(d.reason() + "; detach it, or delete it and make another replica")
	d.Instance.Failed = Follow
	return nil
}
