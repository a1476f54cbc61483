// Package lifecycle decides what becomes of an instance: a pure function from its record and an event to what has to be
// written. It knows no clock, no store and no network; whoever calls it reads the record, commits the decision guarded
// by what was read, and decides anew when that was overtaken.
//
// The whole life cycle is [Table]: one row for each step an operation can be in and each event that can meet it. What is
// not in the table changes nothing.
package lifecycle

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// Kinds of operations, as they stand in etcdschema.Operation and in an instance's Failed.
const (
	Create    = "create"
	Restart   = "restart"
	Configure = "configure" // attach, detach or re-apply a configuration group
	Backup    = "backup"
	Resize    = "resize"
	Upgrade   = "upgrade"
	Detach    = "detach"  // of a replica from its source
	Promote   = "promote" // of a replica; and, of the other members, to follow it
	Eject     = "eject"   // of a source that is gone
	Delete    = "delete"
)

// What an instance's Failed may say beside the kind of an operation: what is the matter until a certain call mends it.
const (
	Follow = "follow" // a replica does not follow its source
	Fence  = "fence"  // a source, or one that was ejected, refuses writes
)

// Step is where an instance stands: in a step of its operation, or in none.
type Step string

const (
	Idle         Step = ""
	Launching    Step = "launch"    // a host makes a place and starts the guest
	Enrolling    Step = "enrol"     // the guest has to enrol
	Snapshotting Step = "snapshot"  // the source of a new replica makes an account, and a backup when one is needed
	Preparing    Step = "prepare"   // the guest makes a database server
	Restarting   Step = "restart"   // the guest restarts it
	Configuring  Step = "configure" // the guest gives it parameters
	BackingUp    Step = "backup"    // the guest makes a backup
	Stopping     Step = "stop"      // the guest stops the server
	Resizing     Step = "resize"    // the host gives the instance another size
	Starting     Step = "start"     // the guest starts the server
	Equipping    Step = "equip"     // the host brings what another version needs: packages, another image
	Reverting    Step = "revert"    // that failed; the host brings the former image back
	Upgrading    Step = "upgrade"   // the guest brings the data to another version
	Detaching    Step = "detach"    // the guest makes its server independent
	Electing     Step = "elect"     // the replicas of a source that is gone tell how far they have come
	Fencing      Step = "fence"     // the source stops taking writes and tells how far it has come
	CatchingUp   Step = "catch up"  // the replica comes as far
	Promoting    Step = "promote"   // the replica becomes the source
	Unfencing    Step = "unfence"   // that failed; the source takes writes again
	Following    Step = "follow"    // the guest makes its server follow the new source
	Removing     Step = "remove"    // the host removes everything
)

// Steps returns every step.
func Steps() []Step {
	return []Step{Idle, Launching, Enrolling, Snapshotting, Preparing, Restarting, Configuring, BackingUp, Stopping, Resizing, Starting,
		Equipping, Reverting, Upgrading, Detaching, Electing, Fencing, CatchingUp, Promoting, Unfencing, Following, Removing}
}

// EventType is what happened.
type EventType string

const (
	Created      EventType = "created"       // a tenant asked for the instance
	Enrolled     EventType = "enrolled"      // its guest has enrolled
	Done         EventType = "done"          // the step's command ended well
	Failed       EventType = "failed"        // the step's command ended with an error
	Overdue      EventType = "overdue"       // the step's deadline has passed
	AskRestart   EventType = "ask_restart"   // a tenant asked for a restart
	AskConfigure EventType = "ask_configure" // a tenant asked for a configuration group, or for none; or changed the one attached
	AskBackup    EventType = "ask_backup"
	AskResize    EventType = "ask_resize"
	AskUpgrade   EventType = "ask_upgrade"
	AskDetach    EventType = "ask_detach"
	AskPromote   EventType = "ask_promote"
	AskEject     EventType = "ask_eject"
	AskDelete    EventType = "ask_delete"   // a tenant asked for the end
	ResetStatus  EventType = "reset_status" // somebody gave up on the operation
	Reported     EventType = "reported"     // the guest told the server's status
)

// asks are the events by which tenants ask for something: while an operation is under way they are refused, unless the table
// says otherwise.
func asks() []EventType {
	return []EventType{AskRestart, AskConfigure, AskBackup, AskResize, AskUpgrade, AskDetach, AskPromote, AskEject, AskDelete}
}

// EventTypes returns every type of event.
func EventTypes() []EventType {
	return append([]EventType{Created, Enrolled, Done, Failed, Overdue, ResetStatus, Reported}, asks()...)
}

// Event is something that happened to an instance.
type Event struct {
	Type    EventType
	Command string             // of Done and Failed: which command; one that is not waited for changes nothing
	Error   *agentpoll.Error   // of Failed
	Notes   []string           // of Done: what the agent could not do as asked
	Status  datastores.Status  // of Reported
	Request string             // id of the request, for the timeline
	Value   json.RawMessage    // of Done: the command's result
	Backup  string             // of AskBackup: its id
	Reason  string             // of ResetStatus: why, for the fault of what is given up; "": the status was reset
	Target  *etcdschema.Target // of AskConfigure, AskResize and AskUpgrade
	Away    bool               // of AskConfigure: the guest is not there to be asked
	// Peers are the other members of the instance's replication set: those that [Members] names.
	Peers []etcdschema.Instance
}

// Asked reports whether somebody asked for the event, and can be told no.
func (e Event) Asked() bool { return e.Type == Created || slices.Contains(asks(), e.Type) }

// Members are the other instances that an event of this one may concern: its source and that one's other replicas, its own
// replicas, and those that its operation names. source is its source's record; without one it is zero.
func Members(in, source etcdschema.Instance) []string {
	all := slices.Concat([]string{in.ReplicaOf}, in.Replicas, source.Replicas)
	if in.Operation != nil {
		all = append(all, in.Operation.Members...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id string) bool { return id == "" || id == in.ID })
}

// Command is a command to enqueue. Its arguments are the caller's business.
type Command struct {
	ID       string
	Instance string // whose operation's step it is; "": nobody waits for it
	Of       string // for which instance it is: the replica, of a command to its source
	Agent    string
	Method   string
	Deadline time.Time
	ReadOnly bool // of make_read_only
}

// Decision is what has to be written, all in one transaction.
type Decision struct {
	Instance etcdschema.Instance
	// Changed is false when nothing has to be written.
	Changed bool
	// Gone: the instance has ended; remove its record and all that belongs to it, give back what it had.
	Gone     bool
	Commands []Command             // to enqueue
	Drop     *Command              // to withdraw, when it is still pending: ID and Agent only
	Events   []etcdschema.Event    // for the timeline
	Peers    []etcdschema.Instance // other members that have changed
	Backup   *BackupEnd            // the end of a backup
	// Refund: a resize has failed; give back what it would have taken.
	Refund *etcdschema.Target
}

// BackupEnd is how the making of a backup has ended.
type BackupEnd struct {
	ID     string
	Result *datastores.BackupResult // nil: it has failed, for
	Reason string
	// Remove: nobody needs it any more.
	Remove bool
}

// Decide works out what event means for an instance at the time now. newID makes command ids.
func Decide(in etcdschema.Instance, event Event, now time.Time, newID func() string) (Decision, error) {
	d := &decision{Decision: Decision{Instance: in}, event: event, now: now, newID: newID}
	d.Peers = make([]etcdschema.Instance, 0, len(event.Peers)) // never grown: what peer returns stays valid
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
	if act := acts()[place{step, event.Type}]; act != nil {
		if err := act(d); err != nil {
			return Decision{Instance: in}, err
		}
	}
	if d.Changed {
		d.Instance.Updated = now
	}
	return d.Decision, nil
}

// Then lets a second event happen to what a decision leaves, in the same transaction. What both have decided is written.
func (d Decision) Then(event Event, now time.Time, newID func() string) (Decision, error) {
	for i, p := range event.Peers {
		if at := slices.IndexFunc(d.Peers, func(m etcdschema.Instance) bool { return m.ID == p.ID }); at >= 0 {
			event.Peers = slices.Clone(event.Peers)
			event.Peers[i] = d.Peers[at]
		}
	}
	next, err := Decide(d.Instance, event, now, newID)
	if err != nil || !next.Changed {
		return d, err
	}
	next.Commands, next.Events = slices.Concat(d.Commands, next.Commands), slices.Concat(d.Events, next.Events)
	for _, p := range d.Peers {
		if !slices.ContainsFunc(next.Peers, func(m etcdschema.Instance) bool { return m.ID == p.ID }) {
			next.Peers = append(next.Peers, p)
		}
	}
	if d.Drop != nil { // the second's would be of a command that was never written
		next.Drop = d.Drop
	}
	next.Backup, next.Refund = cmp.Or(next.Backup, d.Backup), cmp.Or(next.Refund, d.Refund)
	return next, nil
}

// StepOf tells where an instance stands.
func StepOf(in etcdschema.Instance) Step {
	if in.Operation == nil {
		return Idle
	}
	return Step(in.Operation.Step)
}

// timeouts of the steps that are not the datastore's own (usage_timeout, which ends the whole of create).
const (
	guestTimeout  = 180 * time.Second // Trove's agent_call_high_timeout
	launchTimeout = deployments.LaunchTimeout
	resizeTimeout = deployments.ResizeTimeout
	removeTimeout = deployments.RemoveTimeout
	removePause   = 30 * time.Second
	voteTimeout   = 15 * time.Second
	// catchUpTimeout is how long the source of a promotion may be without writes; patience, how long a command waits for an
	// agent when nobody waits for it.
	catchUpTimeout = 10 * time.Minute
	patience       = 7 * 24 * time.Hour
	// stall is how long a step that moves data may go without progress.
	stall = 30 * time.Minute
)

// beginsWithData reports whether an instance's server begins with the data of another: a backup's or its source's.
func beginsWithData(in etcdschema.Instance) bool { return len(in.Restore) > 0 || in.ReplicaOf != "" }

// Stall returns by when an instance's step must be heard of again, after progress at the time now. Progress gives time only
// to a step that moves data.
func Stall(in etcdschema.Instance, now time.Time) time.Time {
	op := in.Operation
	moves := slices.Contains([]Step{Launching, Snapshotting, BackingUp, Equipping, Upgrading, Following}, Step(op.Step)) ||
		Step(op.Step) == Preparing && beginsWithData(in)
	if limit := now.Add(stall); moves && limit.After(op.Deadline) {
		return limit
	}
	return op.Deadline
}

// LaunchNotes reads what a host's answer to launch says of things that it could not do.
func LaunchNotes(value json.RawMessage) []string {
	var reply deployments.LaunchReply
	if json.Unmarshal(value, &reply) != nil {
		return nil
	}
	return reply.Notes
}
