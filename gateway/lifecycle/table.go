package lifecycle

import (
	"slices"
	"sync"
)

// Row says what an event means in a step.
type Row struct {
	Step  Step
	Event EventType
	Next  []Step // where it may lead
	act   func(*decision) error
}

// Table returns the life cycle.
func Table() []Row {
	rows := []Row{
		{Idle, Created, []Step{Launching, Enrolling}, (*decision).create},
		{Idle, AskRestart, []Step{Restarting}, (*decision).restart},
		{Idle, AskConfigure, []Step{Configuring}, (*decision).configure},
		{Idle, AskBackup, []Step{BackingUp}, (*decision).backup},
		{Idle, AskResize, []Step{Stopping, Resizing}, (*decision).resize},
		{Idle, AskUpgrade, []Step{Stopping, Equipping, Upgrading}, (*decision).upgrade},
		{Idle, AskDetach, []Step{Detaching}, (*decision).detach},
		{Idle, AskPromote, []Step{Fencing}, (*decision).promote},
		{Idle, AskEject, []Step{Electing}, (*decision).eject},
		{Idle, AskDelete, []Step{Removing}, (*decision).remove},
		{Idle, ResetStatus, []Step{Idle}, (*decision).reset},
		{Idle, Reported, []Step{Idle}, (*decision).report},

		{Launching, Done, []Step{Enrolling}, (*decision).launched},
		{Launching, Enrolled, []Step{Snapshotting, Preparing}, (*decision).enrolled},
		{Launching, Failed, []Step{Idle}, (*decision).failed},
		{Launching, Overdue, []Step{Idle}, (*decision).overdue},

		{Enrolling, Enrolled, []Step{Snapshotting, Preparing}, (*decision).enrolled},
		{Enrolling, Overdue, []Step{Idle}, (*decision).overdue},

		{Snapshotting, Done, []Step{Preparing}, (*decision).snapshotMade},
		{Snapshotting, Failed, []Step{Idle}, (*decision).failed},
		{Snapshotting, Overdue, []Step{Idle}, (*decision).overdue},

		{Preparing, Done, []Step{Idle}, (*decision).prepared},
		{Preparing, Failed, []Step{Idle}, (*decision).failed},
		{Preparing, Overdue, []Step{Idle}, (*decision).overdue},
		{Preparing, Reported, []Step{Preparing}, (*decision).report},

		{Restarting, Done, []Step{Idle}, (*decision).restarted},
		{Restarting, Failed, []Step{Idle}, (*decision).failed},
		{Restarting, Overdue, []Step{Idle}, (*decision).overdue},

		{Configuring, Done, []Step{Idle}, (*decision).configured},
		{Configuring, Failed, []Step{Idle}, (*decision).notConfigured},
		{Configuring, Overdue, []Step{Idle}, (*decision).notConfigured},

		{BackingUp, Done, []Step{Idle}, (*decision).backedUp},
		{BackingUp, Failed, []Step{Idle}, (*decision).notBackedUp},
		{BackingUp, Overdue, []Step{Idle}, (*decision).notBackedUp},

		{Stopping, Done, []Step{Resizing, Equipping}, (*decision).stopped},
		{Stopping, Failed, []Step{Starting}, (*decision).startAgain},
		{Stopping, Overdue, []Step{Starting}, (*decision).startAgain},

		{Resizing, Done, []Step{Stopping, Starting, Idle}, (*decision).resized},
		{Resizing, Failed, []Step{Starting, Idle}, (*decision).notResized},
		{Resizing, Overdue, []Step{Resizing}, (*decision).keepWaiting},

		{Starting, Done, []Step{Idle}, (*decision).started},
		{Starting, Failed, []Step{Idle}, (*decision).failed},
		{Starting, Overdue, []Step{Idle}, (*decision).overdue},

		{Equipping, Done, []Step{Upgrading}, (*decision).equipped},
		{Equipping, Failed, []Step{Reverting, Idle}, (*decision).notEquipped},
		{Equipping, Overdue, []Step{Equipping}, (*decision).keepWaiting},

		{Reverting, Done, []Step{Starting}, (*decision).reverted},
		{Reverting, Failed, []Step{Idle}, (*decision).failed},
		{Reverting, Overdue, []Step{Reverting}, (*decision).keepWaiting},

		{Upgrading, Done, []Step{Idle}, (*decision).upgraded},
		{Upgrading, Failed, []Step{Reverting, Idle}, (*decision).notUpgraded},
		{Upgrading, Overdue, []Step{Upgrading}, (*decision).keepWaiting},

		{Detaching, Done, []Step{Idle}, (*decision).detached},
		{Detaching, Failed, []Step{Idle}, (*decision).failed},
		{Detaching, Overdue, []Step{Detaching}, (*decision).keepWaiting},

		{Electing, Done, []Step{Electing, Idle}, (*decision).voted},
		{Electing, Failed, []Step{Electing, Idle}, (*decision).abstained},
		{Electing, Overdue, []Step{Electing, Idle}, (*decision).abstained},

		{Fencing, Done, []Step{CatchingUp}, (*decision).fenced},
		{Fencing, Failed, []Step{Unfencing}, (*decision).unfence},
		{Fencing, Overdue, []Step{Unfencing}, (*decision).unfence},

		{CatchingUp, Done, []Step{Promoting}, (*decision).caughtUp},
		{CatchingUp, Failed, []Step{Unfencing}, (*decision).unfence},
		{CatchingUp, Overdue, []Step{Unfencing}, (*decision).unfence},

		// Whether a replica that does not answer has become a source nobody knows, so nothing else may be done than to wait.
		{Promoting, Done, []Step{Idle}, (*decision).promoted},
		{Promoting, Failed, []Step{Unfencing, Idle}, (*decision).notPromoted},
		{Promoting, Overdue, []Step{Promoting}, (*decision).keepWaiting},

		{Unfencing, Done, []Step{Idle}, (*decision).unfenced},
		{Unfencing, Failed, []Step{Idle}, (*decision).notUnfenced},
		{Unfencing, Overdue, []Step{Unfencing}, (*decision).keepWaiting},

		{Following, Done, []Step{Idle}, (*decision).follows},
		{Following, Failed, []Step{Idle}, (*decision).notFollowing},
		{Following, Overdue, []Step{Following}, (*decision).keepWaiting},

		{Removing, Done, nil, (*decision).gone},
		{Removing, Failed, []Step{Removing}, (*decision).removeFailed},
		{Removing, Overdue, []Step{Removing}, (*decision).removeOverdue},
		{Removing, AskDelete, []Step{Removing}, (*decision).nothing},
		{Removing, ResetStatus, []Step{Removing}, (*decision).nothing},
	}
	for _, step := range Steps() {
		rows = append(rows, rest(rows, step)...)
	}
	return rows
}

// place is where an event meets an operation.
type place struct {
	step  Step
	event EventType
}

// acts are the table's, found by place. The table never changes, and there is one row a place.
var acts = sync.OnceValue(func() map[place]func(*decision) error {
	found := map[place]func(*decision) error{}
	for _, row := range Table() {
		found[place{row.Step, row.Event}] = row.act
	}
	return found
})

// rest are a step's rows for what the table does not say: while something is being done nothing else can be asked for than the
// end of the instance, it can be given up, and a guest that is there tells how its server is.
func rest(rows []Row, step Step) []Row {
	if step == Idle {
		return nil
	}
	said := func(e EventType) bool {
		return slices.ContainsFunc(rows, func(r Row) bool { return r.Step == step && r.Event == e })
	}
	var more []Row
	for _, e := range asks() {
		switch {
		case said(e):
		case e == AskDelete:
			more = append(more, Row{step, e, []Step{Removing}, (*decision).remove})
		default:
			more = append(more, Row{step, e, []Step{step}, (*decision).busy})
		}
	}
	if !said(ResetStatus) {
		more = append(more, Row{step, ResetStatus, []Step{Idle}, (*decision).reset})
	}
	if !said(Reported) && !slices.Contains([]Step{Launching, Enrolling, Snapshotting, Removing}, step) {
		more = append(more, Row{step, Reported, []Step{step}, (*decision).report})
	}
	return more
}

func (d *decision) failed() error  { d.fail(d.event.Error.Message); return nil }
func (d *decision) overdue() error { d.fail(d.overdueReason()); return nil }
func (d *decision) nothing() error { return nil }

func (d *decision) busy() error { return notAllowed(d.Instance) }

// keepWaiting lets a command stay pending that must not be given up, for its agent to find when it is back.
func (d *decision) keepWaiting() error {
	d.fault(d.Instance.Operation.Kind + " is still waiting: " + d.overdueReason() + "; it will when it is back")
	op := d.operation()
	op.Deadline = d.now.Add(d.now.Sub(op.Since))
	return nil
}
