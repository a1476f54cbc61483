// Package lifecycle decides what becomes of an instance: a pure function from its record and an event to what has to be
// written. It knows no clock, no store and no network; whoever calls it reads the record, commits the decision guarded
// by what was read, and decides anew when that was overtaken.
//
// The whole life cycle is [Table]: one row for each step an operation can be in and each event that can meet it. What is
// not in the table changes nothing.
package lifecycle

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// Kinds of operations, as they stand in etcdschema.Operation and in an instance's Failed.
const (
	Create  = "create"
	Restart = "restart"
	Delete  = "delete"
)

// Step is where an instance stands: in a step of its operation, or in none.
type Step string

const (
	Idle       Step = ""
	Launching  Step = "launch"  // a host makes a place and starts the guest
	Enrolling  Step = "enrol"   // the guest has to enrol
	Preparing  Step = "prepare" // the guest makes a database server
	Restarting Step = "restart" // the guest restarts it
	Removing   Step = "remove"  // the host removes everything
)

// Steps returns every step.
func Steps() []Step { return []Step{Idle, Launching, Enrolling, Preparing, Restarting, Removing} }

// EventType is what happened.
type EventType string

const (
	Created     EventType = "created"      // a tenant asked for the instance
	Enrolled    EventType = "enrolled"     // its guest has enrolled
	Done        EventType = "done"         // the step's command ended well
	Failed      EventType = "failed"       // the step's command ended with an error
	Overdue     EventType = "overdue"      // the step's deadline has passed
	AskRestart  EventType = "ask_restart"  // a tenant asked for a restart
	AskDelete   EventType = "ask_delete"   // a tenant asked for the end
	ResetStatus EventType = "reset_status" // somebody gave up on the operation
	Reported    EventType = "reported"     // the guest told the server's status
)

// EventTypes returns every type of event.
func EventTypes() []EventType {
	return []EventType{Created, Enrolled, Done, Failed, Overdue, AskRestart, AskDelete, ResetStatus, Reported}
}

// Event is something that happened to an instance.
type Event struct {
	Type    EventType
	Command string            // of Done and Failed: which command; one that is not waited for changes nothing
	Error   *agentpoll.Error  // of Failed
	Notes   []string          // of Done: what the agent could not do as asked
	Status  datastores.Status // of Reported
	Request string            // id of the request, for the timeline
}

// Command is a command to enqueue as a step of an operation. Its arguments are the caller's business.
type Command struct {
	ID       string
	Agent    string
	Method   string
	Deadline time.Time
}

// Decision is what has to be written, all in one transaction.
type Decision struct {
	Instance etcdschema.Instance
	// Changed is false when nothing has to be written.
	Changed bool
	// Gone: the instance has ended; remove its record and all that belongs to it, give back what it had.
	Gone    bool
	Command *Command           // to enqueue
	Drop    *Command           // to withdraw, when it is still pending: ID and Agent only
	Events  []etcdschema.Event // for the timeline
}

// NotAllowed is returned for what cannot be asked for in the instance's present state. HTTP 422.
type NotAllowed struct{ Message string }

func (e *NotAllowed) Error() string { return e.Message }

// Decide works out what event means for an instance at the time now. newID makes command ids.
func Decide(in etcdschema.Instance, event Event, now time.Time, newID func() string) (Decision, error) {
	d := &decision{Decision: Decision{Instance: in}, event: event, now: now, newID: newID}
	step := StepOf(in)
	switch event.Type {
	case Done, Failed:
		if in.Operation == nil || in.Operation.Command != event.Command {
			return d.Decision, nil // late: the operation went on without it
		}
	case Overdue:
		if in.Operation == nil || now.Before(in.Operation.Deadline) {
			return d.Decision, nil
		}
	}
	for _, row := range Table() {
		if row.Step == step && row.Event == event.Type {
			if err := row.act(d); err != nil {
				return Decision{Instance: in}, err
			}
			break
		}
	}
	if d.Changed {
		d.Instance.Updated = now
	}
	return d.Decision, nil
}

// StepOf tells where an instance stands.
func StepOf(in etcdschema.Instance) Step {
	if in.Operation == nil {
		return Idle
	}
	return Step(in.Operation.Step)
}

// decision is a Decision in the making.
type decision struct {
	Decision
	event Event
	now   time.Time
	newID func() string
}

// begin starts an operation; its first step follows.
func (d *decision) begin(kind string) {
	d.Changed = true
	d.Instance.Operation = &etcdschema.Operation{Kind: kind, Started: d.now, Request: d.event.Request}
}

// enter puts the operation into a step and, when method is not "", sends agent a command that the step waits for.
func (d *decision) enter(step Step, deadline time.Time, agent, method, message string) {
	op := *d.Instance.Operation
	op.Step, op.Since, op.Deadline, op.Agent, op.Command, op.Progress = string(step), d.now, deadline, agent, "", nil
	if method != "" {
		op.Command = d.newID()
		d.Command = &Command{ID: op.Command, Agent: agent, Method: method, Deadline: deadline}
	}
	d.Changed = true
	d.Instance.Operation = &op
	d.tell("step", message)
}

// finish ends the operation well.
func (d *decision) finish(message string) {
	d.Changed = true
	d.Instance.Operation, d.Instance.Failed = nil, ""
	d.tell("done", message)
}

// fail ends the operation with a fault and withdraws its command.
func (d *decision) fail(reason string) {
	op := d.Instance.Operation
	d.withdraw()
	d.Changed = true
	d.Instance.Failed = op.Kind
	d.fault(fmt.Sprintf("%s failed at step %q: %s", op.Kind, op.Step, reason))
	d.Instance.Operation = nil
}

func (d *decision) fault(message string) {
	d.Instance.Fault = &etcdschema.Fault{Message: message, Created: d.now}
	d.tell("fault", message)
}

// withdraw drops the command that the operation waits for.
func (d *decision) withdraw() {
	if op := d.Instance.Operation; op.Command != "" {
		d.Drop = &Command{ID: op.Command, Agent: op.Agent}
	}
}

func (d *decision) tell(kind, message string) {
	d.Events = append(d.Events, etcdschema.Event{At: d.now, Kind: kind, Message: message, Request: d.event.Request})
}

// overdueReason says for how long nobody answered.
func (d *decision) overdueReason() string {
	op := d.Instance.Operation
	who := map[Step]string{
		Launching: "the host did not start the guest", Enrolling: "the guest did not enrol",
		Preparing: "the guest did not finish", Restarting: "the guest did not finish", Removing: "the host did not remove it",
	}[Step(op.Step)]
	if op.Progress != nil && op.Progress.Message != "" {
		return fmt.Sprintf("%s within %s; its last words: %s", who, op.Deadline.Sub(op.Since).Round(time.Second), op.Progress.Message)
	}
	return fmt.Sprintf("%s within %s", who, op.Deadline.Sub(op.Since).Round(time.Second))
}

// timeouts of the steps that are not the datastore's own (usage_timeout, which ends the whole of create).
const (
	restartTimeout = 180 * time.Second
	launchTimeout  = deployments.LaunchTimeout
	removeTimeout  = deployments.RemoveTimeout
	removePause    = 30 * time.Second
)

// LaunchNotes reads what a host's answer to launch says of things that it could not do.
func LaunchNotes(value json.RawMessage) []string {
	var reply deployments.LaunchReply
	if json.Unmarshal(value, &reply) != nil {
		return nil
	}
	return reply.Notes
}
