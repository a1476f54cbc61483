package lifecycle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// create begins the life of an instance that has been placed on a host, or waits for a machine of its own. Its whole
// time is the datastore's usage_timeout, which the caller has put into Operation.Deadline.
func (d *decision) create() error {
	d.begin(Create)
	limit := d.createBy()
	if d.event.Source != "" {
		d.join(d.event.Source)
	}
	if d.Instance.Host == "" {
		d.enterUntil(Enrolling, limit, d.Instance.ID, "", "waiting for a machine to boot with the instance's user-data and enrol")
		return nil
	}
	d.enterUntil(Launching, earlier(limit, d.now.Add(launchTimeout)), d.Instance.Host, deployments.MethodLaunch, "asked the host to start a guest")
	return nil
}

func (d *decision) launched() error {
	var reply deployments.LaunchReply
	if json.Unmarshal(d.event.Value, &reply) == nil {
		for _, note := range reply.Notes {
			d.tell("note", note)
		}
	}
	d.enterUntil(Enrolling, d.createBy(), d.Instance.ID, "", "the guest was started; waiting for it to enrol")
	return nil
}

// enrolled goes on to make the server. For a replica, the source is prepared first, and held until it is ready.
func (d *decision) enrolled() error {
	if d.self().ReplicaOf() == "" {
		return d.prepare("the guest has enrolled; asked it to prepare the database server")
	}
	d.copySource("the guest has enrolled; asked the source's guest for an account and a copy of the data")
	return nil
}

// copySource holds the source while its guest makes what a replica begins with.
func (d *decision) copySource(message string) {
	d.operation().Backup = d.newID()
	d.setState(d.Instance.ID, etcdschema.MemberCopying)
	d.enter(Snapshotting, message)
}

// snapshotMade has what a replica begins with: a backup of its source, or nothing when it copies the data by itself.
func (d *decision) snapshotMade() error {
	var made datastores.SnapshotResult
	if err := json.Unmarshal(d.event.Value, &made); err != nil {
		d.fail("the answer of the source's guest cannot be read")
		return nil
	}
	if !Arriving(d.Instance) {
		d.Instance.Prepared = false // of what it had nothing stays
	}
	d.release()
	op := d.operation()
	d.Backup = &BackupEnd{ID: op.Backup, Result: made.Backup, Remove: made.Backup == nil}
	if made.Backup == nil {
		op.Backup = ""
	} else {
		d.Instance.Restore = []string{op.Backup}
	}
	return d.prepare("the source is ready; asked the guest to prepare the database server")
}

func (d *decision) prepare(message string) error {
	d.Instance.Service = d.server(datastores.StatusBuilding)
	limit := d.createBy()
	if beginsWithData(d.Instance) {
		limit = later(limit, d.now.Add(stall))
	}
	d.enterUntil(Preparing, limit, d.Instance.ID, datastores.MethodPrepare, message)
	return nil
}

func (d *decision) prepared() error {
	var reply datastores.PrepareReply
	if len(d.Instance.Modules) > 0 {
		_ = json.Unmarshal(d.event.Value, &reply) // what it does not tell of is an error of those modules
		d.Instance.Modules = slices.Clone(d.Instance.Modules)
		for i := range d.Instance.Modules { // also those of a server that was made anew
			d.Instance.Modules[i].Status = datastores.ModuleApplying
		}
		d.settleModules(reply.Modules, "the guest has not told of it")
	}
	if d.Instance.Operation.Kind == Migrate {
		return d.arrived()
	}
	if backup := d.Instance.Operation.Backup; backup != "" {
		d.Backup = &BackupEnd{ID: backup, Remove: true}
	}
	d.Instance.Prepared, d.Instance.Restore, d.Instance.Replay = true, nil, nil
	if d.self().Clustered() {
		d.setState(d.Instance.ID, etcdschema.MemberOutside)
	} else {
		d.setState(d.Instance.ID, "")
	}
	d.runs()
	d.Instance.ServiceReported = d.now
	d.finish(fmt.Sprintf("the database server is ready, %.1f s after it was asked for", d.now.Sub(d.madeSince()).Seconds()))
	return nil
}

// reset gives the operation up. What a status cannot undo stays in ERROR: an instance that never was ready, and one of which
// nobody knows what it has become.
func (d *decision) reset() error {
	reason := cmp.Or(d.event.Reason, "the status was reset")
	if leads(d.Set, d.Instance.ID) {
		d.giveUpSet(reason)
		return nil
	}
	if op := d.Instance.Operation; op != nil && op.Kind == Migrate {
		d.resetMigration(reason)
		return nil
	}
	step, op, failed := StepOf(d.Instance), d.Instance.Operation, d.Instance.Failed
	if kind, _ := d.self().held(); kind != "" && SetStepOf(d.Set) == Rejoining && op == nil {
		step = Following // it was to begin
		d.forget(d.Instance.ID)
	}
	if op != nil {
		d.giveUp(reason)
	}
	d.Changed = true
	d.tell("note", reason)
	d.Instance.Failed = ""
	switch {
	case !d.Instance.Prepared:
		d.Instance.Failed = Create
	case step == Following:
		d.Instance.Failed = Follow
		d.fault("it does not follow its source " + d.Set.Source() + ": that was given up. " + followAgain)
	case astray(failed) && d.self().ReplicaOf() != "":
		d.Instance.Failed = failed // its fault says what to do
	case failed == Fence && d.self().isHeld():
		d.Instance.Failed = Fence // a promotion that goes on needs it
	case failed == Fence && d.Instance.SetID == "":
		d.begin(Migrate) // its end
		d.letWrite("asked the guest to take writes again")
	case failed == Fence:
		d.send(Command{ID: d.newID(), Subject: d.Instance.ID, Agent: d.Instance.ID, Method: datastores.MethodMakeReadOnly, Deadline: d.now.Add(patience)})
	}
	if id := d.Instance.ID; d.Set.GivenUp == id || d.Set.GivenUp != "" && d.Set.Source() == id && failed == Fence && d.Instance.Failed == "" {
		d.Set.GivenUp, d.SetChanged = "", true // a person has said that it has not made a source
	}
	return nil
}

// report takes the guest's word for the server. A healthy server disproves a failed restart.
func (d *decision) report() error {
	d.Instance.ServiceReported = d.now
	if d.Instance.Service.Service != d.event.Status.Service {
		d.tell("status", fmt.Sprintf("the database server is %s", d.event.Status.Service))
	}
	if d.Instance.Failed == Restart && d.event.Status.Service == datastores.StatusHealthy {
		d.Instance.Failed, d.Instance.Fault = "", nil
	}
	had, astray := d.Instance.Service, Astray(d.self())
	d.Instance.Service = d.event.Status
	d.lookSoon(had)
	if d.Instance.Operation == nil {
		d.tellFollowing(astray)
	}
	if why := d.event.Status.Refused; why != had.Refused {
		d.refused(why)
	}
	switch warning := d.event.Status.Warning; {
	case warning == had.Warning:
	case warning == "":
		d.tell("status", "Not any more: "+had.Warning)
	default:
		d.tell("status", warning)
	}
	d.Changed = true
	return nil
}

// createBy is when an instance must have been made: its datastore's usage_timeout after that was asked for. An instance that
// moves is made again, and has that time from now.
func (d *decision) createBy() time.Time {
	if d.Instance.Operation.Kind == Migrate {
		return d.now.Add(UsageTimeout(d.Instance))
	}
	return d.madeSince().Add(UsageTimeout(d.Instance))
}

// madeSince is when the making of an instance was asked for. A replica may be made anew.
func (d *decision) madeSince() time.Time {
	if op := d.Instance.Operation; op.Kind == Follow {
		return op.Started
	}
	return d.Instance.Created
}

// UsageTimeout is how long an instance's create may take.
func UsageTimeout(in etcdschema.Instance) time.Duration {
	if in.UsageTimeout <= 0 {
		return datastores.DefaultUsageTimeout * time.Second
	}
	return time.Duration(in.UsageTimeout) * time.Second
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
