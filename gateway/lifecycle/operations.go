package lifecycle

import (
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

// Kinds of operations, as they stand in etcdschema.Operation and in an instance's Failed.
const (
	Create    = "create"
	Restart   = "restart"
	Configure = "configure" // attach, detach or re-apply a configuration group
	Backup    = "backup"
	Resize    = "resize"
	Upgrade   = "upgrade"
	Migrate   = "migrate" // to another host
	Detach    = "detach"  // of a replica from its source
	Follow    = "follow"  // of a replica its source, again; as Failed: it does not
	Join      = "join"    // of a cluster's member
	Leave     = "leave"
	Modules   = "modules" // apply some, remove others
	Delete    = "delete"
)

// A tenant asked for an operation: its Ask.
const (
	AskRestart   EventType = "ask_restart"
	AskConfigure EventType = "ask_configure" // for a configuration group, or for none; or changed the one attached
	AskBackup    EventType = "ask_backup"
	AskResize    EventType = "ask_resize"
	AskUpgrade   EventType = "ask_upgrade"
	AskMigrate   EventType = "ask_migrate"
	AskDetach    EventType = "ask_detach"
	AskFollow    EventType = "ask_follow"
	AskJoin      EventType = "ask_join" // the set of a cluster asks its member
	AskLeave     EventType = "ask_leave"
	AskModules   EventType = "ask_modules"
	AskDelete    EventType = "ask_delete"
)

// The only steps of operations that have one: their kinds.
const (
	Restarting  Step = "restart"
	Configuring Step = "configure"
	BackingUp   Step = "backup"
	Detaching   Step = "detach"
	Entering    Step = "join" // its cluster
	Exiting     Step = "leave"
	Bundling    Step = "modules"
)

// Operation is a row of the table of operations: something that can be asked of an instance. What is asked of its guest alone,
// in one step, needs no more than a row; CONTRIBUTING.md says what else belongs to it.
type Operation struct {
	Kind   string // as it stands in etcdschema.Operation and in an instance's Failed
	Status string // what clients see while it goes on; "": nothing of it
	Does   string // continues "asked the guest to", or "the gateway can"
	// Action is its name in POST instances/{id}/action, when it takes no arguments; "": it is asked for in another way.
	Action string
	// Instead is what to ask a cluster for, of whose member this cannot be asked; "": it can.
	Instead string
	// Harmless: the guest can be asked for what needs the database server beside it.
	Harmless bool

	// Method is what the instance's guest is asked for in the only step, which is named as the kind. "": it has several steps,
	// and their rows are in [StepTable] and [Table].
	Method string
	may    func(Member) error    // refuses it; nil: Ready
	begin  func(*decision) error // nil: may, and then the step
	done   func(*decision) error // nil: it ends well
	failed func(*decision) error // nil: it fails, with the agent's words
	// overdue: nil: failed, or it fails with who did not answer.
	overdue func(*decision) error

	// Of several steps:
	first []Step // where it may begin
	// stopped goes on when the server has been stopped for it, and restored ends it when the server runs as it was, for a
	// reason. runs says that it runs otherwise.
	stopped  func(*decision) error
	restored func(d *decision, reason string) error
	runs     string
}

// Operations returns the table.
func Operations() []Operation { return slices.Clone(standard().operations) }

func operations() []Operation {
	return []Operation{
		{Kind: Create, Status: StatusBuild, Does: "make an instance",
			first: []Step{Launching, Enrolling}, begin: (*decision).create},
		{Kind: Restart, Status: StatusReboot, Does: "restart the database server", Action: "restart", Harmless: true,
			Instead: "the action restart of the cluster restarts all members, one after the other",
			Method:  datastores.MethodRestart, may: Free, done: (*decision).restarted},
		{Kind: Configure, Does: "change parameters", Harmless: true,
			Instead: "the actions configuration_attach and configuration_detach of the cluster change all members",
			Method:  datastores.MethodUpdateOverrides, begin: (*decision).configure, done: (*decision).configured, failed: (*decision).notConfigured},
		{Kind: Backup, Status: StatusBackup, Does: "make a backup", Harmless: true,
			Instead: "POST backups with the cluster's id as instance makes one of the whole cluster",
			Method:  datastores.MethodCreateBackup, begin: (*decision).backup, done: (*decision).backedUp, failed: (*decision).notBackedUp},
		{Kind: Resize, Status: StatusResize, Does: "give an instance another flavor or a larger volume",
			Instead: "members of another size can be had in a new cluster",
			first:   []Step{Stopping, Resizing}, begin: (*decision).resize,
			stopped: (*decision).resizeStopped, restored: (*decision).notResizedRuns, runs: "the database server runs in its new size"},
		{Kind: Upgrade, Status: StatusUpgrade, Does: "bring an instance to another version",
			Instead: "the action upgrade of the cluster upgrades all members, one after the other",
			first:   []Step{Stopping, Equipping, Upgrading}, begin: (*decision).upgrade,
			stopped: (*decision).upgradeStopped, restored: (*decision).formerRuns, runs: "the database server runs"},
		{Kind: Migrate, Status: StatusMigrating, Does: "bring an instance to another host",
			Instead: "the action grow of the cluster adds a member on another host, and shrink takes this one away",
			first:   []Step{Quieting, Stopping, Yielding}, begin: (*decision).migrate,
			stopped: (*decision).leavePlace, restored: (*decision).runsAsBefore, runs: "the database server runs"},
		{Kind: Detach, Status: StatusDetach, Does: "detach its server from the source",
			Method: datastores.MethodDetachReplica, may: mayDetach, done: (*decision).detached, overdue: (*decision).keepWaiting},
		{Kind: Follow, Status: StatusBuild, Does: "have a replica follow its source again",
			first: []Step{Admitting, Snapshotting}, begin: (*decision).again},
		{Kind: Join, Status: StatusBuild, Does: "join its cluster",
			Method: datastores.MethodClusterJoin, may: mayJoin, done: (*decision).joined},
		{Kind: Leave, Status: StatusShutdown, Does: "give what it has to the other members of its cluster, and leave",
			Method: datastores.MethodClusterLeave, may: mayLeave, done: (*decision).left},
		{Kind: Modules, Does: "apply or remove modules", Harmless: true,
			Method: datastores.MethodModules, begin: (*decision).changeModules, done: (*decision).modulesChanged, failed: (*decision).modulesNotChanged},
		{Kind: Delete, Status: StatusShutdown, Does: "remove an instance",
			Instead: "the action shrink of the cluster takes members away, and deleting the cluster deletes all",
			first:   []Step{Removing}, begin: (*decision).remove},
	}
}

// Instead is what to ask a cluster for, of whose member something cannot be asked; "": it can.
func Instead(what EventType) string {
	for _, op := range standard().operations {
		if op.Ask() == what {
			return op.Instead
		}
	}
	return ""
}

// Ask is the event by which a tenant asks for the operation.
func (op Operation) Ask() EventType {
	if op.Kind == Create {
		return Created
	}
	return EventType("ask_" + op.Kind)
}

// step is the only step of an operation that has one.
func (op Operation) step() Step { return Step(op.Kind) }

// rows are those of [Table] that follow from the operation's.
func (op Operation) rows() []Row {
	if op.Method == "" {
		return []Row{{Idle, op.Ask(), op.first, op.begin}}
	}
	stays := []Step{Idle}
	rows := []Row{
		{Idle, op.Ask(), []Step{op.step()}, op.begin}, {op.step(), Done, stays, op.done},
		{op.step(), Failed, stays, op.failed}, {op.step(), Overdue, stays, op.overdue},
	}
	if op.overdue != nil {
		rows[3].Next = []Step{op.step()}
	} else if op.failed != nil {
		rows[3].act = op.failed
	}
	for i, usual := range []func(*decision) error{op.ask, op.end, (*decision).failed, (*decision).overdue} {
		if rows[i].act == nil {
			rows[i].act = usual
		}
	}
	return rows
}

// ask begins an operation of one step.
func (op Operation) ask(d *decision) error {
	may := op.may
	if may == nil {
		may = Ready
	}
	if err := may(d.self()); err != nil {
		return err
	}
	d.begin(op.Kind)
	d.enter(op.step(), "asked the guest to "+op.Does)
	return nil
}

func (op Operation) end(d *decision) error {
	d.finish(op.Kind + " has ended well")
	return nil
}
