package lifecycle

import (
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// each lets members have an operation of their own, some at a time. When all have ended well the cluster's operation goes on.
func (d *decision) each(step Step, waiting []string, message string) {
	op := d.setOperation()
	op.Step, op.Since, op.Deadline, op.Agent, op.Command, op.Progress = string(step), d.now, d.now.Add(stall), "", "", nil
	op.Waiting = waiting
	d.tellOf(op.Lead, "step", message)
	d.nextTurns()
}

// turn is what a member is asked for in a step, and how many are at a time.
func (d *decision) turn() (ask EventType, together int) {
	op := d.Set.Operation
	switch Step(op.Step) {
	case Joining:
		if s := d.Set.Shape; s != nil && s.Together && len(d.in("")) > 0 {
			return AskJoin, 8
		}
		return AskJoin, 1
	case Parting:
		return AskLeave, 1
	case Dropping:
		return AskDelete, 8
	case Keeping:
		return AskBackup, len(op.Parts)
	case Rolling:
		return d.rules.operation(op.Each).Ask(), 1
	}
	return "", 0
}

// nextTurns begins operations of those that wait, until so many are under way as may be. After a failure nobody else begins. When nobody is
// left the set goes on.
func (d *decision) nextTurns() {
	ask, together := d.turn()
	for {
		op := d.setOperation()
		if len(op.Waiting) == 0 || len(op.Turn) >= together || op.Reason != "" {
			break
		}
		id := op.Waiting[0]
		op.Waiting, op.Turn = op.Waiting[1:len(op.Waiting):len(op.Waiting)], append(slices.Clone(op.Turn), id)
		err := d.as(id, Event{Type: ask, Target: op.Target, Backup: op.Parts[id], Request: op.Request, By: op.By})
		if err == nil && d.look(id).Operation == nil { // it is done already
			err = d.err
			d.yields(id)
		}
		if d.Set.Member(id).State == etcdschema.MemberLost { // its host removes it when it is back, if ever
			d.yields(id)
		}
		if err != nil {
			d.yields(id)
			d.setOperation().Reason = fmt.Sprintf("member %s: %s", d.named(id), err)
		}
	}
	op := d.Set.Operation
	switch {
	case len(op.Turn) > 0:
	case Step(op.Step) == Keeping:
		d.kept()
	case op.Reason != "":
		d.failSet(op.Reason)
	case len(op.Waiting) > 0: // a turn has ended and the cluster settles before the next one
	case Step(op.Step) == Dropping:
		d.endCluster()
	case Step(op.Step) == Rolling:
		d.settle()
	default:
		d.goOn()
	}
}

// yields says that a member's turn is over.
func (d *decision) yields(id string) {
	op := d.setOperation()
	op.Turn = slices.DeleteFunc(slices.Clone(op.Turn), func(t string) bool { return t == id })
}

// turnOver lets the set go on when the operation of a member has ended that it waits for.
func (d *decision) turnOver(before etcdschema.Instance) {
	op := d.Set.Operation
	if d.SetGone || op == nil || before.Operation == nil || !d.Gone && d.Instance.Operation != nil || !slices.Contains(op.Turn, before.ID) {
		return
	}
	d.yields(before.ID)
	unmade := d.Backup != nil && d.Backup.Result == nil && !d.Backup.Remove
	if !d.Gone && (d.event.Type != Done || d.Instance.Failed != "" || unmade) {
		reason := "its operation was given up"
		if f := d.Instance.Fault; f != nil {
			reason = f.Message
		}
		if unmade {
			reason = d.Backup.Reason
		}
		d.setOperation().Reason = fmt.Sprintf("member %s (%s): %s", before.Name, before.ID, reason)
	}
	if Step(op.Step) == Rolling && d.Set.Operation.Reason == "" {
		d.settle()
		return
	}
	d.nextTurns()
}

// waitOn waits longer for members whose own operations have deadlines. A member without an operation has had its turn.
func (d *decision) waitOn() error {
	for _, id := range slices.Clone(d.Set.Operation.Turn) {
		if m := d.look(id); m.Operation == nil {
			d.yields(id)
			if m.Instance.ID != "" {
				d.setOperation().Reason = fmt.Sprintf("member %s: its operation was given up", d.named(id))
			}
		}
	}
	d.setOperation().Deadline = d.now.Add(stall)
	d.nextTurns()
	return nil
}

// backUpCluster has members make the parts of a backup, all at once: those that [BackupMembers] has found.
func (d *decision) backUpCluster() error {
	if err := d.mendFirst(); err != nil {
		return err
	}
	for _, id := range d.event.Members {
		if err := Ready(d.look(id)); err != nil {
			return err
		}
	}
	d.beginSet(BackUpCluster, d.event.Members[0])
	op := d.setOperation()
	op.Backup, op.Parts = d.event.Backup, d.event.Parts
	d.each(Keeping, d.event.Members, fmt.Sprintf("backup %s of the cluster is being made by %d of its members", op.Backup, len(op.Parts)))
	return nil
}

// kept ends the backup of a cluster. It fails with any part of it, and the cluster is as well as it was.
func (d *decision) kept() {
	op := d.Set.Operation
	d.endSet()
	d.Kept = &KeptBackup{ID: op.Backup, Reason: op.Reason}
	if op.Reason != "" {
		d.tellOf(op.Lead, "fault", cut(op.Reason, maxFault)+" (backup "+op.Backup+" of the cluster failed)")
		return
	}
	d.tellOf(op.Lead, "done", "backup "+op.Backup+" of the cluster is complete")
}

// BackupMembers finds who makes a cluster's backup, of members of one moment: the last one that is well, since clients begin with the
// first; or of each shard, in their order, the one that takes the writes. away reports whether a member's guest is away.
//
// Where each has everything, one that is alone in being well makes none: the others come back by copying themselves from it.
func BackupMembers(of datastores.ClusterBackups, members []Member, away func(id string) bool) ([]string, error) {
	var shards []string
	in, well := map[string][]Member{}, map[string][]Member{}
	for _, m := range members {
		at := m.Set.Member(m.ID)
		if at.State != "" {
			continue
		}
		if of == datastores.BackupOfMember {
			at.Shard = ""
		}
		if in[at.Shard] == nil {
			shards = append(shards, at.Shard)
		}
		in[at.Shard] = append(in[at.Shard], m)
		if Ready(m) == nil && m.Service.Service == datastores.StatusHealthy && !away(m.ID) {
			well[at.Shard] = append(well[at.Shard], m)
		}
	}
	var ids []string
	for _, shard := range shards {
		all, there := in[shard], well[shard]
		if of == datastores.BackupOfShards {
			there = slices.DeleteFunc(there, func(m Member) bool {
				f := m.Service.Replication
				return len(all) > 1 && (f == nil || f.Role != datastores.RoleSource)
			})
			if len(there) == 0 {
				return nil, &Conflict{fmt.Sprintf("No member of shard %s that takes its writes is well; GET the cluster's members tells how they are. Ask again when one is.", shard)}
			}
			ids = append(ids, there[0].ID)
			continue
		}
		switch {
		case len(there) == 0:
			return nil, &Conflict{"No member of the cluster is well; GET its members tells how they are. Ask again when at least two are."}
		case len(there) == 1 && len(all) > 1:
			return nil, &Conflict{fmt.Sprintf("Only member %s of the cluster is well, and the others come back by copying themselves from it. Ask again when another one is.", there[0].ID)}
		}
		ids = append(ids, there[len(there)-1].ID)
	}
	if len(ids) == 0 {
		return nil, &Conflict{"The cluster has no members yet that are in it."}
	}
	return ids, nil
}
