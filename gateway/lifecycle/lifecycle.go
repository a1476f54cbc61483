// Package lifecycle decides what becomes of an instance, and of a set of them: pure functions from records and an event to what has
// to be written. It knows no clock, no store and no network; whoever calls it reads the records, commits the decision guarded
// by what was read, and decides anew when that was overtaken.
//
// The whole life cycle is three tables. [Operations] lists what can be asked of an instance, [StepTable] the steps and whose
// turn each is, and [Table] has a row for each step and each event that can meet it. What is not in [Table] changes nothing.
// Sets have three of their own: [SetOperations], [SetSteps] and [SetTable]. So have clusters: [ClusterOperations], [ClusterSteps] and
// [ClusterTable].
package lifecycle

import (
	"cmp"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// What an instance's Failed may say beside the kind of an operation: what is the matter until a certain call mends it.
const (
	Fence  = "fence"  // a source, or one that was ejected, refuses writes
	Rejoin = "rejoin" // a server does not follow the source of a failover yet: its set has it try again
	Stray  = "stray"  // a replica does not follow its source: likewise, with what it has
)

// Command is a command to enqueue. Its arguments are the caller's business.
type Command struct {
	ID       string
	Waiter   string // the instance whose operation waits for the result; "": none does
	Set      string // the set whose operation does; "": none
	Subject  string // the instance that the command is about: the replica, of a command to its source
	Agent    string
	Method   string
	Deadline time.Time
	ReadOnly bool // of make_read_only; of stand_as_candidate: fenced
}

// Line is for the timeline of an instance.
type Line struct {
	Instance string // its id
	etcdschema.Event
}

// Decision is what has to be written, all in one transaction.
type Decision struct {
	Instance etcdschema.Instance // that the event has happened to; zero, when that was a set
	Set      etcdschema.Set      // that it is a member of
	// Changed is false when nothing has to be written.
	Changed bool
	// SetChanged: so has the set. SetGone: it has ended; remove its record.
	SetChanged, SetGone bool
	// Gone: the instance has ended; remove its record and all that belongs to it, give back what it had.
	Gone     bool
	Commands []Command             // to enqueue
	Drop     *Command              // to withdraw, when it is still pending: ID and Agent only
	Events   []Line                // for timelines
	Peers    []etcdschema.Instance // other members that have changed
	Backup   *BackupEnd            // the end of a backup
	Kept     *KeptBackup           // the end of a cluster's, after that of its last part
	// Refund: a resize has failed; give back what it would have taken.
	Refund *Refund
	// Left are hosts where an instance has nothing more: they have to remove what they have of it, whenever they can.
	Left []Left
	// Agent is the guest that counts again, instead of the one that had enrolled in its place.
	Agent *etcdschema.Agent
}

// Refund is what a resize of an instance would have taken.
type Refund struct {
	Instance string
	Target   etcdschema.Target
}

// Left is a host where an instance has nothing more.
type Left struct{ Instance, Host string }

// KeptBackup is how the making of a cluster's backup has ended, when that of its parts has.
type KeptBackup struct {
	ID     string
	Reason string // "": it is complete
}

// BackupEnd is how the making of a backup has ended.
type BackupEnd struct {
	ID     string
	Result *datastores.BackupResult // nil: it has failed, for
	Reason string
	// Remove: nobody needs it any more.
	Remove bool
}

// Decide works out what event means for an instance at the time now, and with that for its set. newID makes ids.
func Decide(m Member, event Event, now time.Time, newID func() string) (Decision, error) {
	return standard().decide(m, event, now, newID)
}

func (r *rules) decide(m Member, event Event, now time.Time, newID func() string) (Decision, error) {
	d := &decision{Decision: Decision{Instance: m.Instance, Set: m.Set}, rules: r, event: event, now: now, newID: newID}
	return d.happens()
}

// DecideSet works out what event means for a set at the time now. It reads those members alone that the event touches.
func DecideSet(set etcdschema.Set, event Event, now time.Time, newID func() string) (Decision, error) {
	d := &decision{Decision: Decision{Set: set}, rules: standard(), event: event, now: now, newID: newID, inSet: true}
	return d.happens()
}

// Then lets the event that a command ends with happen to what a decision leaves, in the same transaction: to whom waits for it. What
// both have decided is written.
func (d Decision) Then(waited Command, event Event, now time.Time, newID func() string) (Decision, error) {
	next := &decision{Decision: d, rules: standard(), event: event, now: now, newID: newID, inSet: waited.Set != ""}
	for _, p := range d.Peers {
		next.peers = append(next.peers, &p)
	}
	if waited.Set != "" || waited.Waiter == d.Instance.ID {
		return next.happens()
	}
	other, self := next.member(waited.Waiter), d.Instance
	next.peers = slices.DeleteFunc(next.peers, func(p *etcdschema.Instance) bool { return p.ID == other.ID })
	if next.Instance = *other; self.ID != "" {
		next.peers = append(next.peers, &self)
	}
	after, err := next.happens()
	if err != nil {
		return d, err
	}
	at := slices.IndexFunc(after.Peers, func(p etcdschema.Instance) bool { return p.ID == self.ID })
	after.Peers = append(after.Peers, after.Instance)
	if after.Instance = self; at >= 0 {
		after.Instance = after.Peers[at]
		after.Peers = slices.Delete(after.Peers, at, at+1)
	}
	return after, nil
}

// happens lets the event happen, and sums up what has come of it.
func (d *decision) happens() (Decision, error) {
	before := d.Decision
	step, acts := StepOf(d.Instance), d.rules.acts
	if d.inSet {
		step, acts = SetStepOf(d.Set), d.rules.setActs
		if d.Set.Kind == etcdschema.SetCluster {
			acts = d.rules.clusterActs
		}
	}
	op := d.op()
	switch d.event.Type {
	case Done, Failed:
		if op == nil || op.Command != d.event.Command {
			return before, nil // late: the operation went on without it
		}
	case Overdue:
		if op == nil || d.now.Before(op.Deadline) {
			return before, nil
		}
	}
	act := acts[place{step, d.event.Type}]
	if act == nil {
		return before, nil
	}
	if err := act(d); err != nil {
		return before, cmp.Or(d.err, err) // what could not be read comes first
	}
	if !d.inSet {
		d.setGoesOn(before.Instance)
		d.standsAgain(before.Instance)
	}
	if d.err != nil {
		return before, d.err
	}
	if d.Changed && !d.inSet {
		d.Instance.Updated = d.now
	}
	if d.SetChanged {
		d.Set.Updated = d.now
	}
	if before.Drop != nil { // this one's would be of a command that was never written
		d.Drop = before.Drop
	}
	d.Peers = nil
	for _, p := range d.peers {
		d.Peers = append(d.Peers, *p)
	}
	return d.Decision, nil
}
