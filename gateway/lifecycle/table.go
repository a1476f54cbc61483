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
func Table() []Row { return slices.Clone(standard().rows) }

// rowsOf makes the table: the rows of operations of one step follow from their own, those of the others are here.
func rowsOf(operations []Operation, steps []StepRow, asks []EventType) []Row {
	var rows []Row
	for _, op := range operations {
		rows = append(rows, op.rows()...)
	}
	rows = append(rows, []Row{
		{Idle, ResetStatus, []Step{Idle}, (*decision).reset},
		{Idle, Reported, []Step{Idle}, (*decision).report},

		{Launching, Done, []Step{Enrolling}, (*decision).launched},
		{Launching, Enrolled, []Step{Snapshotting, Preparing}, (*decision).enrolled},
		{Launching, ResetStatus, []Step{Idle, Starting}, (*decision).reset},
		{Launching, Failed, []Step{Idle, Starting}, (*decision).failed},
		{Launching, Overdue, []Step{Idle, Starting}, (*decision).overdue},

		{Enrolling, Enrolled, []Step{Snapshotting, Preparing}, (*decision).enrolled},
		{Enrolling, ResetStatus, []Step{Idle, Starting}, (*decision).reset},
		{Enrolling, Overdue, []Step{Idle, Starting}, (*decision).overdue},

		{Snapshotting, Done, []Step{Preparing}, (*decision).snapshotMade},
		{Snapshotting, ResetStatus, []Step{Idle, Starting}, (*decision).reset},
		{Snapshotting, Failed, []Step{Idle, Starting}, (*decision).failed},
		{Snapshotting, Overdue, []Step{Idle, Starting}, (*decision).overdue},

		{Preparing, ResetStatus, []Step{Idle, Starting}, (*decision).reset},
		{Preparing, Done, []Step{Idle, Releasing}, (*decision).prepared},
		{Preparing, Failed, []Step{Idle, Starting}, (*decision).failed},
		{Preparing, Overdue, []Step{Idle, Starting}, (*decision).overdue},
		{Preparing, Reported, []Step{Preparing}, (*decision).report},

		{Stopping, ResetStatus, []Step{Idle, Starting}, (*decision).reset},
		{Stopping, Done, []Step{Resizing, Equipping, Launching}, (*decision).stopped},
		{Stopping, Failed, []Step{Starting}, (*decision).startAgain},
		{Stopping, Overdue, []Step{Starting}, (*decision).startAgain},

		{Resizing, Done, []Step{Stopping, Starting, Idle}, (*decision).resized},
		{Resizing, Failed, []Step{Starting, Idle}, (*decision).notResized},
		{Resizing, Overdue, []Step{Resizing}, (*decision).keepWaiting},

		{Starting, Done, []Step{Idle, Releasing, Admitting}, (*decision).started},
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

		{Quieting, Done, []Step{Saving}, (*decision).quieted},
		{Quieting, Failed, []Step{Releasing}, (*decision).loudAgain},
		{Quieting, Overdue, []Step{Releasing}, (*decision).loudAgain},
		{Quieting, ResetStatus, []Step{Releasing}, (*decision).reset},

		{Yielding, Done, []Step{Stopping}, (*decision).yielded},
		{Yielding, Failed, []Step{Idle}, (*decision).notYielded},
		{Yielding, Overdue, []Step{Yielding, Idle}, (*decision).yieldMore},

		{Saving, Done, []Step{Stopping, Releasing}, (*decision).saved},
		{Saving, Failed, []Step{Releasing}, (*decision).loudAgain},
		{Saving, Overdue, []Step{Releasing}, (*decision).loudAgain},
		{Saving, ResetStatus, []Step{Releasing}, (*decision).reset},

		// Whether a server that does not answer takes writes nobody knows, so nothing else may be done than to wait.
		{Releasing, Done, []Step{Idle}, (*decision).released},
		{Releasing, Failed, []Step{Idle}, (*decision).notReleased},
		{Releasing, Overdue, []Step{Releasing}, (*decision).keepWaiting},

		{Admitting, Done, []Step{Following, Idle}, (*decision).admitted},
		{Admitting, Failed, []Step{Idle}, (*decision).failed},
		{Admitting, Overdue, []Step{Idle}, (*decision).overdue},

		{Following, Done, []Step{Idle}, (*decision).follows},
		{Following, Failed, []Step{Idle}, (*decision).notFollowing},
		{Following, Overdue, []Step{Following}, (*decision).keepWaiting},

		{Removing, Done, nil, (*decision).gone},
		{Removing, Failed, []Step{Removing}, (*decision).removeFailed},
		{Removing, Overdue, []Step{Removing}, (*decision).removeOverdue},
		{Removing, AskDelete, []Step{Removing}, (*decision).nothing},
		{Removing, ResetStatus, []Step{Removing}, (*decision).nothing},
	}...)
	for _, step := range steps {
		rows = append(rows, rest(rows, step, asks)...)
	}
	return rows
}

// rest are a step's rows for what the table does not say: while something is being done nothing else can be asked for than the
// end of the instance, it can be given up, and a guest that is there tells how its server is.
func rest(rows []Row, at StepRow, asks []EventType) []Row {
	step := at.Step
	if step == Idle {
		return nil
	}
	said := func(e EventType) bool {
		return slices.ContainsFunc(rows, func(r Row) bool { return r.Step == step && r.Event == e })
	}
	var more []Row
	for _, e := range asks {
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
	if !said(Reported) && !at.Alone {
		more = append(more, Row{step, Reported, []Step{step}, (*decision).report})
	}
	return more
}

func (d *decision) failed() error  { return d.failFor(d.event.Error.Message) }
func (d *decision) overdue() error { return d.failFor(d.overdueReason()) }

// failFor ends the operation with a fault, but for a migration: that goes back where it can.
func (d *decision) failFor(reason string) error {
	switch op := d.Instance.Operation; {
	case d.setAsked():
		d.later(reason)
	case op.Kind != Migrate:
		d.fail(reason)
	case op.Former != nil:
		d.goBack(reason)
	case d.self().ReplicaOf() != "":
		d.stays(reason)
	default:
		d.refusesWrites(reason)
	}
	return nil
}
func (d *decision) nothing() error { return nil }

func (d *decision) busy() error { return notAllowed(d.self()) }

// keepWaiting lets a command stay pending that must not be given up, for its agent to find when it is back.
func (d *decision) keepWaiting() error {
	d.faultOf(d.told(), d.op().Kind+" is still waiting: "+d.overdueReason()+"; it will when it is back")
	op := d.changedOp()
	op.Deadline = d.now.Add(d.now.Sub(op.Since))
	return nil
}

// rules are the tables, found by what they are asked for. They never change.
type rules struct {
	operations []Operation
	steps      []StepRow
	rows       []Row
	asks       []EventType // while an operation is under way they are refused, unless the table says otherwise

	byKind map[string]Operation
	byStep map[Step]StepRow
	acts   map[place]func(*decision) error

	setOperations []Operation
	setSteps      []StepRow
	setRows       []Row
	setAsks       []EventType
	setActs       map[place]func(*decision) error

	clusterOperations []Operation
	clusterSteps      []StepRow
	clusterRows       []Row
	clusterAsks       []EventType
	clusterActs       map[place]func(*decision) error
}

// place is where an event meets an operation.
type place struct {
	step  Step
	event EventType
}

func newRules(operations []Operation) *rules {
	r := &rules{
		operations: operations, steps: stepRows(operations),
		byKind: map[string]Operation{}, byStep: map[Step]StepRow{}, acts: map[place]func(*decision) error{},
		setOperations: setOperations(), setSteps: setSteps(), setActs: map[place]func(*decision) error{},
		clusterOperations: clusterOperations(), clusterSteps: clusterSteps(), clusterActs: map[place]func(*decision) error{},
	}
	for _, op := range r.clusterOperations {
		r.byKind[op.Kind] = op
		r.clusterAsks = append(r.clusterAsks, op.Ask())
	}
	for _, op := range r.setOperations {
		r.byKind[op.Kind] = op
		r.setAsks = append(r.setAsks, op.Ask())
	}
	for _, op := range operations {
		r.byKind[op.Kind] = op
		if op.Kind != Create {
			r.asks = append(r.asks, op.Ask())
		}
	}
	for _, row := range slices.Concat(r.steps, r.setSteps, r.clusterSteps) {
		r.byStep[row.Step] = row
	}
	r.rows = rowsOf(operations, r.steps, r.asks)
	for _, row := range r.rows {
		r.acts[place{row.Step, row.Event}] = row.act
	}
	r.setRows = setRowsOf(r.setOperations, r.setSteps)
	for _, row := range r.setRows {
		r.setActs[place{row.Step, row.Event}] = row.act
	}
	r.clusterRows = clusterRowsOf(r.clusterOperations, r.clusterSteps, r.clusterAsks)
	for _, row := range r.clusterRows {
		r.clusterActs[place{row.Step, row.Event}] = row.act
	}
	return r
}

// operation is the row of a kind; the zero row when it is unknown.
func (r *rules) operation(kind string) Operation { return r.byKind[kind] }

// step is the row of a step; the zero row when it is unknown, as after a step backwards to an earlier release.
func (r *rules) step(step Step) StepRow { return r.byStep[step] }

// standard are the rules of this package's tables, made when they are first needed.
func standard() *rules {
	memo.once.Do(func() { memo.rules = newRules(operations()) })
	return memo.rules
}

// memo has no initial value: the tables' functions look into the tables.
var memo struct {
	once  sync.Once
	rules *rules
}
