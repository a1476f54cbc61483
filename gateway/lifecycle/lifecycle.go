// Package lifecycle decides what becomes of an instance: a pure function from its record and an event to what has to be
// written. It knows no clock, no store and no network; whoever calls it reads the record, commits the decision guarded
// by what was read, and decides anew when that was overtaken.
//
// The whole life cycle is three tables. [Operations] lists what can be asked of an instance, [StepTable] the steps and whose
// turn each is, and [Table] has a row for each step and each event that can meet it. What is not in [Table] changes nothing.
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
	Follow = "follow" // a replica does not follow its source
	Fence  = "fence"  // a source, or one that was ejected, refuses writes
)

// Command is a command to enqueue. Its arguments are the caller's business.
type Command struct {
	ID       string
	Waiter   string // the instance whose operation waits for the result; "": none does
	Subject  string // the instance that the command is about: the replica, of a command to its source
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
	return standard().decide(in, event, now, newID)
}

func (r *rules) decide(in etcdschema.Instance, event Event, now time.Time, newID func() string) (Decision, error) {
	d := &decision{Decision: Decision{Instance: in}, rules: r, event: event, now: now, newID: newID}
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
	if act := r.acts[place{step, event.Type}]; act != nil {
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
