package lifecycle

import (
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// Kinds of operations of sets. The operation of a member that follows for one has its kind.
const (
	Promote = "promote" // of a replica
	Eject   = "eject"   // of a source that is gone
	// UpgradeSet brings the members of a set to another version, one after the other, the source last.
	UpgradeSet = "upgrade_set"
	Failover   = "failover" // of a source that is lost, by the set's policy
	Arrange    = "arrange"  // whom the source waits for
)

// Somebody asked for an operation of a set: its Ask. Event.Member says of which member.
const (
	AskPromote EventType = "ask_promote"
	AskEject   EventType = "ask_eject"
	// AskUpgradeSet is asked of the source.
	AskUpgradeSet EventType = "ask_upgrade_set"
	// AskFailover is what is due of a set with a policy: to look whether the source is lost, and whom it should wait for.
	AskFailover EventType = "ask_failover"
	// AskArrange gives the set another policy.
	AskArrange EventType = "ask_arrange"
)

// Steps of operations of sets.
const (
	Electing   Step = "elect"    // the replicas of a source that is gone tell how far they have come
	Fencing    Step = "fence"    // the source stops taking writes and tells how far it has come
	CatchingUp Step = "catch up" // the replica comes as far
	Promoting  Step = "promote"  // the replica becomes the source
	Unfencing  Step = "unfence"  // that failed; the source takes writes again
	Rejoining  Step = "rejoin"   // the other members begin to follow, some at a time
	Inspecting Step = "inspect"  // each member looks for what is in the way of another version
	Renewing   Step = "renew"    // one of them is upgraded
	Measuring  Step = "measure"  // the source tells how far it has come meanwhile
	Reaching   Step = "reach"    // the upgraded replica follows again, and comes as far
	Halting    Step = "halt"     // candidates receive nothing more, and tell how far they have come
	Standing   Step = "stand"    // replicas acknowledge what they receive
	Awaiting   Step = "await"    // the source waits for them
	Levelling  Step = "level"    // they come as far as the source had when it began to wait
)

// Actors in sets.
const (
	VoterGuest Actor = "its guest" // of the member that the fault names
	LeadGuest  Actor = "the guest" // of the member that leads the operation
)

func setOperations() []Operation {
	return []Operation{
		{Kind: Promote, Status: StatusPromote, Does: "make a replica the source", first: []Step{Fencing}, begin: (*decision).promote},
		{Kind: Eject, Status: StatusEject, Does: "replace a source that is gone by its most advanced replica", first: []Step{Electing}, begin: (*decision).eject},
		{Kind: UpgradeSet, Status: StatusUpgrade, Does: "bring a set to another version, one member after the other, the source last", Harmless: true,
			first: []Step{Inspecting}, begin: (*decision).upgradeSet},
		{Kind: Failover, Status: StatusEject, Does: "replace a source that is lost, by the set's policy, by the candidate that has come furthest",
			first: []Step{Halting, Standing, Awaiting, Idle}, begin: (*decision).watch},
		{Kind: Arrange, Does: "change whom the source waits for", Harmless: true, first: []Step{Idle}, begin: (*decision).setPolicy},
	}
}

func setSteps() []StepRow {
	return []StepRow{
		{Step: Electing, Actor: VoterGuest, Method: datastores.MethodLatestTxn, Does: "tells how far its replica has come, one after the other", Limit: voteTimeout},
		{Step: Fencing, Actor: SourceGuest, Method: datastores.MethodMakeReadOnly, Does: "stops taking writes and tells how far the source has come"},
		{Step: CatchingUp, Actor: LeadGuest, Method: datastores.MethodWaitForTxn, Does: "brings the replica as far", Limit: catchUpTimeout},
		{Step: Promoting, Actor: LeadGuest, Method: datastores.MethodEnableAsMaster, Does: "makes the replica the source"},
		{Step: Unfencing, Actor: SourceGuest, Method: datastores.MethodMakeReadOnly, Does: "lets the source take writes again after a failure"},
		{Step: Rejoining, Does: "the other members follow, some at a time, each by an operation of its own"},
		{Step: Inspecting, Actor: VoterGuest, Method: datastores.MethodCheckUpgrade, Does: "looks for what is in the way of the new version, one member after the other"},
		{Step: Renewing, Does: "the next member is upgraded, by an operation of its own", Limit: stall},
		{Step: Measuring, Actor: SourceGuest, Method: datastores.MethodLatestTxn, Does: "tells how far the source has come while a replica was upgraded"},
		{Step: Reaching, Actor: VoterGuest, Method: datastores.MethodWaitForTxn, Does: "brings the upgraded replica as far", Limit: catchUpTimeout},
		{Step: Halting, Actor: VoterGuest, Method: datastores.MethodStand, Does: "has its server receive nothing more and tells how far it has come, one candidate after the other", Limit: voteTimeout},
		{Step: Standing, Actor: VoterGuest, Method: datastores.MethodStand, Does: "has its server acknowledge what it receives, one replica after the other", Limit: voteTimeout},
		{Step: Awaiting, Actor: SourceGuest, Method: datastores.MethodAwaitReplicas, Does: "has the source wait for the candidates", Limit: awaitTimeout},
		{Step: Levelling, Actor: VoterGuest, Method: datastores.MethodWaitForTxn, Does: "brings the candidates as far, one after the other", Limit: awaitTimeout},
	}
}

// setRowsOf makes the table of sets.
func setRowsOf(operations []Operation, steps []StepRow) []Row {
	var rows []Row
	for _, op := range operations {
		rows = append(rows, op.rows()...)
	}
	rows = append(rows, []Row{
		{Electing, Done, []Step{Electing, Promoting, Idle}, (*decision).voted},
		{Electing, Failed, []Step{Electing, Promoting, Idle}, (*decision).abstained},
		{Electing, Overdue, []Step{Electing, Promoting, Idle}, (*decision).abstained},

		{Fencing, Done, []Step{CatchingUp}, (*decision).fenced},
		{Fencing, Failed, []Step{Unfencing, Idle}, (*decision).unfence},
		{Fencing, Overdue, []Step{Unfencing, Idle}, (*decision).unfence},

		{CatchingUp, Done, []Step{Promoting}, (*decision).caughtUp},
		{CatchingUp, Failed, []Step{Unfencing, Idle}, (*decision).unfence},
		{CatchingUp, Overdue, []Step{Unfencing, Idle}, (*decision).unfence},

		// Whether a replica that does not answer has become a source nobody knows, so nothing else may be done than to wait.
		{Promoting, Done, []Step{Rejoining, Idle}, (*decision).promoted},
		{Promoting, Failed, []Step{Unfencing, Idle}, (*decision).notPromoted},
		{Promoting, Overdue, []Step{Promoting}, (*decision).keepWaiting},

		{Unfencing, Done, []Step{Idle}, (*decision).unfenced},
		{Unfencing, Failed, []Step{Idle}, (*decision).notUnfenced},
		{Unfencing, Overdue, []Step{Unfencing}, (*decision).keepWaiting},

		{Rejoining, Overdue, []Step{Rejoining, Idle}, (*decision).rejoinMore},

		{Inspecting, Done, []Step{Inspecting, Renewing, Idle}, (*decision).inspected},
		{Inspecting, Failed, []Step{Inspecting, Renewing, Idle}, (*decision).notInspected},
		{Inspecting, Overdue, []Step{Idle}, (*decision).stopUpgrade},

		{Renewing, Overdue, []Step{Renewing, Idle}, (*decision).renewMore},

		{Measuring, Done, []Step{Reaching, Idle}, (*decision).measured},
		{Measuring, Failed, []Step{Idle}, (*decision).stopUpgrade},
		{Measuring, Overdue, []Step{Idle}, (*decision).stopUpgrade},

		{Reaching, Done, []Step{Renewing, Idle}, (*decision).reached},
		{Reaching, Failed, []Step{Idle}, (*decision).stopUpgrade},
		{Reaching, Overdue, []Step{Idle}, (*decision).stopUpgrade},

		{Halting, Done, []Step{Halting, Promoting, Idle}, (*decision).halted},
		{Halting, Failed, []Step{Halting, Promoting, Idle}, (*decision).notHalted},
		{Halting, Overdue, []Step{Halting, Promoting, Idle}, (*decision).notHalted},

		{Standing, Done, []Step{Standing, Awaiting, Idle}, (*decision).stands},
		{Standing, Failed, []Step{Idle}, (*decision).notArranged},
		{Standing, Overdue, []Step{Idle}, (*decision).notArranged},

		{Awaiting, Done, []Step{Levelling, Idle}, (*decision).awaits},
		{Awaiting, Failed, []Step{Idle}, (*decision).notArranged},
		{Awaiting, Overdue, []Step{Idle}, (*decision).notArranged},

		{Levelling, Done, []Step{Levelling, Idle}, (*decision).levelled},
		{Levelling, Failed, []Step{Idle}, (*decision).notArranged},
		{Levelling, Overdue, []Step{Idle}, (*decision).notArranged},
	}...)
	for _, step := range steps {
		for _, op := range operations {
			next := []Step{step.Step}
			if slices.Contains([]Step{Standing, Awaiting, Levelling}, step.Step) {
				next = op.first
				if op.Kind == Failover && !slices.Contains(next, step.Step) {
					next = append(slices.Clone(next), step.Step)
				}
			}
			rows = append(rows, Row{step.Step, op.Ask(), next, (*decision).setBusy})
		}
	}
	return rows
}

// SetOperations returns the table of what can be asked of a set.
func SetOperations() []Operation { return slices.Clone(standard().setOperations) }

// SetSteps returns the rows of all steps of sets.
func SetSteps() []StepRow { return slices.Clone(standard().setSteps) }

// SetTable returns the life cycle of sets.
func SetTable() []Row { return slices.Clone(standard().setRows) }

// SetStepOf tells where a set stands.
func SetStepOf(set etcdschema.Set) Step {
	if set.Operation == nil {
		return Idle
	}
	return Step(set.Operation.Step)
}

// setBusy refuses what is asked, unless only who the source waits for is being changed: that is gone on with later.
func (d *decision) setBusy() error {
	if d.Set.Operation.Kind != Arrange {
		return notAllowed(d.look(d.event.Member))
	}
	if d.event.Type == AskFailover && d.waitsOn() {
		return nil
	}
	d.endSet()
	return d.rules.setActs[place{Idle, d.event.Type}](d)
}

// beginSet starts an operation of the set, which a member leads; its first step follows.
func (d *decision) beginSet(kind, lead string) {
	d.Changed, d.SetChanged = true, true
	d.Set.Operation = &etcdschema.SetOperation{Operation: etcdschema.Operation{Kind: kind, Started: d.now, Request: d.event.Request, By: d.event.By}, Lead: lead, Former: d.Set.Source()}
}

// setOperation returns a copy of the set's operation to change.
func (d *decision) setOperation() *etcdschema.SetOperation {
	op := *d.Set.Operation
	d.Changed, d.SetChanged = true, true
	d.Set.Operation = &op
	return &op
}

// changedOp returns a copy of the operation that the event meets, to change.
func (d *decision) changedOp() *etcdschema.Operation {
	if d.inSet {
		return &d.setOperation().Operation
	}
	return d.operation()
}

// told is the instance whose timeline and fault tell of the operation that the event meets.
func (d *decision) told() *etcdschema.Instance {
	if d.inSet {
		return d.member(d.Set.Operation.Lead)
	}
	return &d.Instance
}

// enterSet puts the set's operation into a step and, when that has a method, asks a member's guest for it.
func (d *decision) enterSet(step Step, agent, message string) {
	row, op := d.rules.step(step), d.setOperation()
	op.Step, op.Since, op.Deadline, op.Agent, op.Command, op.Progress = string(step), d.now, d.now.Add(row.limit()), agent, "", nil
	if row.Method != "" {
		op.Command = d.newID()
		d.send(Command{
			ID: op.Command, Set: d.Set.ID, Subject: op.Lead, Agent: agent, Method: row.Method, Deadline: op.Deadline, ReadOnly: step == Fencing || step == Halting,
		})
	}
	d.tellOf(op.Lead, "step", message)
}

// endSet ends the set's operation, and withdraws the command that it waits for.
func (d *decision) endSet() {
	if op := d.Set.Operation; op.Command != "" {
		d.Drop = &Command{ID: op.Command, Agent: op.Agent}
	}
	former := d.Set.Operation.Former
	d.Set.Operation = nil
	d.Changed, d.SetChanged = true, true
	d.yieldsNo(former)
}

// failSet ends the set's operation with a fault of the member that leads it.
func (d *decision) failSet(reason string) {
	op := *d.Set.Operation
	d.endSet()
	if d.Set.Kind == etcdschema.SetCluster {
		d.Set.Failed, d.Set.Fault = op.Kind, &etcdschema.Fault{Message: cut(failure(reason, op.Operation), maxFault), Created: d.now}
		d.tellOf(op.Lead, "fault", d.Set.Fault.Message)
		return
	}
	lead := d.member(op.Lead)
	if !lasts(lead.Failed) { // which a failure of something else does not end
		lead.Failed = op.Kind
	}
	d.faultOf(lead, failure(reason, op.Operation))
}

// setState says anew what keeps a member from taking part.
func (d *decision) setState(id string, state etcdschema.MemberState) {
	if m := d.Set.Member(id); m.ID != "" && m.State != state {
		d.Set = d.Set.With(id, func(m *etcdschema.SetMember) { m.State = state })
		d.Changed, d.SetChanged = true, true
	}
}
