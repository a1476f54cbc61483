package lifecycle

import (
	"cmp"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// Step is where an instance stands: in a step of its operation, or in none.
type Step string

const (
	Idle         Step = ""
	Launching    Step = "launch"   // a host makes a place and starts the guest
	Enrolling    Step = "enrol"    // the guest has to enrol
	Snapshotting Step = "snapshot" // the source of a new replica makes an account, and a backup when one is needed
	Preparing    Step = "prepare"  // the guest makes a database server
	Stopping     Step = "stop"     // the guest stops the server
	Resizing     Step = "resize"   // the host gives the instance another size
	Starting     Step = "start"    // the guest starts the server
	Equipping    Step = "equip"    // the host brings what another version needs: packages, another image
	Reverting    Step = "revert"   // that failed; the host brings the former image back
	Upgrading    Step = "upgrade"  // the guest brings the data to another version
	Quieting     Step = "quiet"    // the guest has its server take no writes
	Yielding     Step = "yield"    // a replica becomes the source in its place
	Saving       Step = "save"     // it copies the data to the store
	Releasing    Step = "release"  // the guest has its server take writes
	Admitting    Step = "admit"    // the source of a replica that does not follow makes an account anew
	Following    Step = "follow"   // the guest makes its server follow the source
	Removing     Step = "remove"   // the host removes everything
)

// Actor is who has to do a step, as faults call it.
type Actor string

const (
	Nobody      Actor = ""
	Host        Actor = "the host"
	Guest       Actor = "the guest"
	SourceGuest Actor = "the guest of the source"
)

// StepRow is a row of the table of steps.
type StepRow struct {
	Step   Step
	Actor  Actor
	Method string // that the actor is asked for; "": the step waits for an event, or sends nothing
	Does   string // what the actor does
	// Fails says what the actor did not do when the step is overdue; "": finish.
	Fails string
	// Limit is how long the step may take; 0: as its method, see limit.
	Limit time.Duration
	// Alone: the instance's guest is not there, or nobody cares any more what it tells of the server.
	Alone bool
	// Progress gives the step more time: it moves data, or packages. It follows from the method.
	Progress bool
}

// stepTable lists the steps of operations that have several. An operation of one step has a row in [Operations] alone.
func stepTable() []StepRow {
	return []StepRow{
		{Step: Idle, Does: "nothing is being done"},
		{Step: Launching, Actor: Host, Method: deployments.MethodLaunch, Does: "makes a place and starts the guest", Fails: "start the guest", Limit: launchTimeout, Alone: true},
		{Step: Enrolling, Actor: Guest, Does: "enrols", Fails: "enrol", Alone: true},
		{Step: Snapshotting, Actor: SourceGuest, Method: datastores.MethodReplicationSnapshot, Does: "makes an account for the new replica, and a backup when one is needed", Alone: true},
		{Step: Preparing, Actor: Guest, Method: datastores.MethodPrepare, Does: "makes a database server"},
		{Step: Stopping, Actor: Guest, Method: datastores.MethodStop, Does: "stops the server"},
		{Step: Resizing, Actor: Host, Method: deployments.MethodResize, Does: "gives the instance another size", Fails: "resize it", Limit: resizeTimeout},
		{Step: Starting, Actor: Guest, Method: datastores.MethodStart, Does: "starts the server"},
		{Step: Equipping, Actor: Host, Method: deployments.MethodLaunch, Does: "brings what another version needs: packages, another image", Limit: launchTimeout},
		{Step: Reverting, Actor: Host, Method: deployments.MethodLaunch, Does: "brings the former image back after a failure", Limit: launchTimeout},
		{Step: Upgrading, Actor: Guest, Method: datastores.MethodUpgrade, Does: "brings the data to another version"},
		{Step: Quieting, Actor: Guest, Method: datastores.MethodMakeReadOnly, Does: "has its server take no writes"},
		{Step: Yielding, Does: "nothing, while a replica becomes the source in the instance's place", Limit: stall},
		{Step: Saving, Actor: Guest, Method: datastores.MethodCreateBackup, Does: "copies the data to the store"},
		{Step: Releasing, Actor: Guest, Method: datastores.MethodMakeReadOnly, Does: "has its server take writes: at the new place, or after a failure"},
		{Step: Admitting, Actor: SourceGuest, Method: datastores.MethodReplicationSnapshot, Does: "lets the replica in anew", Limit: guestTimeout},
		{Step: Following, Actor: Guest, Method: datastores.MethodAttachReplica, Does: "makes its server follow the source"},
		{Step: Removing, Actor: Host, Method: deployments.MethodRemove, Does: "removes everything", Fails: "remove it", Limit: removeTimeout, Alone: true},
	}
}

// stepRows are the rows of all steps: those of the table, and the only step of each operation that has one.
func stepRows(operations []Operation) []StepRow {
	rows := stepTable()
	for _, op := range operations {
		if op.Method != "" {
			rows = append(rows, StepRow{Step: op.step(), Actor: Guest, Method: op.Method, Does: "is asked to " + op.Does})
		}
	}
	for i, row := range rows {
		m, _ := datastores.LookupMethod(row.Method)
		rows[i].Progress = m.MovesData || row.Method == deployments.MethodLaunch
	}
	return rows
}

// limit is how long a step may take until it is heard of.
func (s StepRow) limit() time.Duration {
	if s.Limit == 0 && s.Progress {
		return stall
	}
	return cmp.Or(s.Limit, guestTimeout)
}

// Steps returns every step.
func Steps() []Step {
	var all []Step
	for _, row := range StepTable() {
		all = append(all, row.Step)
	}
	return all
}

// StepTable returns the rows of all steps.
func StepTable() []StepRow { return slices.Clone(standard().steps) }

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
	awaitTimeout  = 30 * time.Second
	// catchUpTimeout is how long the source of a promotion may be without writes; patience, how long a command waits for an
	// agent when nobody waits for it.
	catchUpTimeout = 10 * time.Minute
	patience       = 7 * 24 * time.Hour
	// stall is how long a step that moves data may go without progress.
	stall = 30 * time.Minute
)

// beginsWithData reports whether an instance's server begins with the data of another: a backup's or its source's.
func beginsWithData(in etcdschema.Instance) bool { return len(in.Restore) > 0 || in.SetID != "" }

// Stall returns by when an instance's step must be heard of again, after progress at the time now. Progress gives time only
// to a step that moves data.
func Stall(in etcdschema.Instance, now time.Time) time.Time {
	op := in.Operation
	moves := standard().step(Step(op.Step)).Progress && (Step(op.Step) != Preparing || beginsWithData(in))
	if limit := now.Add(stall); moves && limit.After(op.Deadline) {
		return limit
	}
	return op.Deadline
}
