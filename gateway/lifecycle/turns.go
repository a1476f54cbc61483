package lifecycle

import (
	"fmt"
	"slices"

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
		err := d.as(id, Event{Type: ask, Target: op.Target, Request: op.Request})
		if err == nil && d.look(id).Operation == nil { // it is done already
			err = d.err
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
	if !d.Gone && (d.event.Type != Done || d.Instance.Failed != "") {
		reason := "its operation was given up"
		if f := d.Instance.Fault; f != nil {
			reason = f.Message
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
