package lifecycle

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// decision is a Decision in the making.
type decision struct {
	Decision
	rules *rules
	event Event
	now   time.Time
	newID func() string
	inSet bool                   // the event happens to the set
	peers []*etcdschema.Instance // other members that have changed
	err   error                  // a member could not be read
}

// op is the operation that the event meets: the set's, or the instance's.
func (d *decision) op() *etcdschema.Operation {
	switch {
	case !d.inSet:
		return d.Instance.Operation
	case d.Set.Operation == nil:
		return nil
	}
	return &d.Set.Operation.Operation
}

// member returns a member to change; its record is written.
func (d *decision) member(id string) *etcdschema.Instance {
	if id == d.Instance.ID {
		return &d.Instance
	}
	if i := slices.IndexFunc(d.peers, func(p *etcdschema.Instance) bool { return p.ID == id }); i >= 0 {
		return d.peers[i]
	}
	in := d.look(id).Instance
	if in.ID != "" {
		d.peers = append(d.peers, &in)
	}
	return &in
}

// look returns a member as it is by now; zero, when there is no such instance.
func (d *decision) look(id string) Member {
	if id == d.Instance.ID {
		return Member{d.Instance, d.Set}
	}
	if i := slices.IndexFunc(d.peers, func(p *etcdschema.Instance) bool { return p.ID == id }); i >= 0 {
		return Member{*d.peers[i], d.Set}
	}
	if id == "" || d.event.Read == nil {
		return Member{Set: d.Set}
	}
	in, err := d.event.Read(id)
	d.err = cmp.Or(d.err, err)
	return Member{in, d.Set}
}

// as lets an event happen to a member, as if somebody had asked it.
func (d *decision) as(id string, event Event) error {
	peer, self, of, inSet := d.member(id), d.Instance, d.event, d.inSet
	if id != self.ID {
		d.Instance = *peer
	}
	event.Read = of.Read
	d.event, d.inSet = event, false
	err := d.rules.acts[place{StepOf(d.Instance), event.Type}](d)
	d.Instance.Updated = d.now
	if d.event, d.inSet = of, inSet; id != self.ID {
		*peer, d.Instance = d.Instance, self
	}
	return err
}

// self is the instance that the event has happened to, as it is by now.
func (d *decision) self() Member { return Member{d.Instance, d.Set} }

// begin starts an operation; its first step follows.
func (d *decision) begin(kind string) {
	d.Changed = true
	d.Instance.Operation = &etcdschema.Operation{Kind: kind, Started: d.now, Request: d.event.Request, By: d.event.By}
}

// operation returns a copy of the operation to change, for the record that was read must stay as it is.
func (d *decision) operation() *etcdschema.Operation {
	op := *d.Instance.Operation
	d.Changed = true
	d.Instance.Operation = &op
	return &op
}

// enter puts the operation into a step, as the table of steps has it.
func (d *decision) enter(step Step, message string) {
	row, agent := d.rules.step(step), d.Instance.ID
	switch row.Actor {
	case Host:
		agent = d.Instance.Host
	case SourceGuest:
		agent = d.Set.Source()
	}
	d.enterUntil(step, d.now.Add(row.limit()), agent, row.Method, message)
}

// enterUntil puts the operation into a step and, when method is not "", sends agent a command that the step waits for.
func (d *decision) enterUntil(step Step, deadline time.Time, agent, method, message string) {
	op := d.operation()
	op.Step, op.Since, op.Deadline, op.Agent, op.Command, op.Progress = string(step), d.now, deadline, agent, "", nil
	if method != "" {
		op.Command = d.newID()
		d.send(Command{ID: op.Command, Waiter: d.Instance.ID, Subject: d.Instance.ID, Agent: agent, Method: method, Deadline: deadline, ReadOnly: step == Fencing || step == Quieting})
	}
	d.tell("step", message)
}

// send enqueues a command. A command that moves data lives as long as the guest needs: its step has a deadline that progress
// moves on.
func (d *decision) send(c Command) {
	m, _ := datastores.LookupMethod(c.Method)
	if m.MovesData && (c.Method != datastores.MethodPrepare || beginsWithData(d.Instance)) {
		c.Deadline = d.now.Add(m.Timeout)
	}
	if c.Method == datastores.MethodReplicationSnapshot {
		d.letIn(c.Subject)
	}
	d.Commands = append(slices.Clone(d.Commands), c)
}

// finish ends the operation well. What failed before is over with that, unless only a change of roles can mend it; the timeline
// keeps it.
func (d *decision) finish(message string) {
	d.release()
	d.Changed = true
	d.outdated()
	kind := d.Instance.Operation.Kind
	took := maps.Clone(d.Instance.Took)
	if took == nil {
		took = map[string]float64{}
	}
	took[kind] = d.now.Sub(d.Instance.Operation.Started).Round(100 * time.Millisecond).Seconds()
	d.Instance.Took = took
	if !lasts(d.Instance.Failed) || slices.Contains([]string{Promote, Eject, Failover, Detach, Follow}, kind) {
		d.Instance.Failed = ""
		if kind != Backup && kind != Modules { // which prove nothing of the server
			d.Instance.Fault = nil
		}
	}
	d.Instance.Operation = nil
	d.tell("done", message)
}

// lasts reports whether a certain call alone mends what is the matter, so that neither the end nor a failure of something else hides it.
func lasts(failed string) bool { return failed == Fence || astray(failed) }

// astray reports whether a replica does not follow its source, or another server.
func astray(failed string) bool { return failed == Follow || triedAgain(failed) }

// triedAgain reports whether its set sees to it.
func triedAgain(failed string) bool { return failed == Rejoin || failed == Stray }

// fail ends the operation with a fault and withdraws its command.
func (d *decision) fail(reason string) {
	op := d.Instance.Operation
	d.giveUp(reason)
	if !lasts(d.Instance.Failed) {
		d.Instance.Failed = op.Kind
	}
	if !d.Instance.Prepared && d.Instance.Failed != Rejoin {
		d.Instance.Failed = Create
	}
	d.fault(failure(reason, *op))
}

// failure says why an operation failed, and where.
func failure(reason string, op etcdschema.Operation) string {
	return fmt.Sprintf("%s (%s failed at step %q)", reason, op.Kind, cmp.Or(op.FailedStep, op.Step))
}

// giveUp ends the operation, whatever it was, and everything that hangs on it.
func (d *decision) giveUp(reason string) {
	op := d.Instance.Operation
	d.withdraw()
	d.release()
	d.Changed = true
	if op.Backup != "" {
		d.Backup = &BackupEnd{ID: op.Backup, Reason: reason, Remove: makesData(op.Kind)}
	}
	d.outdated()
	if makesData(op.Kind) {
		d.Instance.Restore = nil
	}
	if op.Kind == Migrate {
		d.endMove()
	}
	if op.Kind == Resize && op.Target != nil {
		d.refund(op.Target)
	}
	if op.Kind == Modules {
		d.settleModules(nil, reason)
	}
	d.Instance.Operation = nil
}

// fault puts down why something failed. Admins also see the particulars that the agent gave with its error.
func (d *decision) fault(message string) { d.faultOf(&d.Instance, message) }

func (d *decision) faultOf(in *etcdschema.Instance, message string) {
	in.Fault = &etcdschema.Fault{Message: cut(message, maxFault), Created: d.now}
	if d.event.Error != nil {
		in.Fault.Details = cut(d.event.Error.Detail, maxDetails)
	}
	d.tellOf(in.ID, "fault", in.Fault.Message)
}

// What a fault may take, in bytes: an agent is not trusted to keep its words short.
const (
	maxFault   = 1 << 10
	maxDetails = 4 << 10
)

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// withdraw drops the command that the operation waits for.
func (d *decision) withdraw() {
	if op := d.op(); op.Command != "" {
		d.Drop = &Command{ID: op.Command, Agent: op.Agent}
	}
}

func (d *decision) tell(kind, message string) { d.tellOf(d.Instance.ID, kind, message) }

func (d *decision) tellOf(id, kind, message string) {
	e := etcdschema.Event{At: d.now, Kind: kind, Message: message, Request: d.event.Request}
	d.Events = append(slices.Clone(d.Events), Line{id, e})
}

// reason says why a step did not end well.
func (d *decision) reason() string {
	if d.event.Error != nil {
		return d.event.Error.Message
	}
	if d.event.Type == Done {
		return "the answer makes no sense: " + string(d.event.Value)
	}
	return d.overdueReason()
}

// overdueReason says who did not answer, and for how long.
func (d *decision) overdueReason() string {
	op := d.op()
	row := d.rules.step(Step(op.Step))
	who := string(cmp.Or(row.Actor, Guest)) + " did not " + cmp.Or(row.Fails, "finish")
	if op.Progress != nil && op.Progress.Message != "" {
		return fmt.Sprintf("%s within %s; its last words: %s", who, op.Deadline.Sub(op.Since).Round(time.Second), op.Progress.Message)
	}
	return fmt.Sprintf("%s within %s", who, op.Deadline.Sub(op.Since).Round(time.Second))
}
