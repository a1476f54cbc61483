package lifecycle

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// A migration brings an instance to another host by a backup. From its first step on the server takes no writes, so what the backup has is
// all that was ever acknowledged. Until the server at the new place is asked to take writes the old one is kept, stopped, with its
// guest's identity in Operation.Former; whatever fails before leads back there.

// migrate is asked for with the host and address that are kept for it, and the id of the backup.
func (d *decision) migrate() error {
	if err := Ready(d.self()); err != nil {
		return err
	}
	if d.Instance.Host == "" {
		return &NotAllowed{fmt.Sprintf("Instance %s runs on a machine of its own; there is no host to take it from.", d.Instance.ID)}
	}
	if d.Instance.SetID != "" {
		return &NotAllowed{fmt.Sprintf("Instance %s is in a replication set. Detach or delete its replicas before; a replica is better made anew, a source has one of them promoted.", d.Instance.ID)}
	}
	d.begin(Migrate)
	op := d.operation()
	op.Target, op.Backup, op.Resizes = d.event.Target, d.event.Backup, resizes(d.event.Target)
	d.enter(Quieting, "asked the guest to take no more writes, for another host")
	return nil
}

// resizes reports whether a target has another size.
func resizes(t *etcdschema.Target) bool { return t.Flavor != nil || t.VolumeGB > 0 }

func (d *decision) quieted() error {
	d.enter(Saving, "the server takes no writes; asked the guest for a copy of the data")
	return nil
}

// saved has the copy. The server is stopped before another one is made, so that at no time two of them answer.
func (d *decision) saved() error {
	var made datastores.BackupResult
	op := d.Instance.Operation
	if err := json.Unmarshal(d.event.Value, &made); err != nil || made.BackupID != op.Backup {
		return d.loudAgain()
	}
	d.Backup = &BackupEnd{ID: op.Backup, Result: &made}
	d.Instance.Restore = []string{op.Backup}
	d.stop(fmt.Sprintf("the copy is complete, %d bytes; asked the guest to stop the database server", made.Stored))
	return nil
}

// leavePlace goes on at the new place: from here on the instance is there.
func (d *decision) leavePlace() error {
	op := d.operation()
	in := &d.Instance
	op.Former = &etcdschema.Former{Host: in.Host, Address: in.Address, FlavorID: in.FlavorID, Flavor: in.Flavor, VolumeGB: in.VolumeGB}
	in.Host, in.Address = op.Target.Host, op.Target.Address
	d.become(op.Target)
	d.enter(Launching, "the database server is stopped; asked the other host to start a guest")
	return nil
}

// loudAgain has the server take writes again that could not be copied.
func (d *decision) loudAgain() error {
	d.undo(d.reason())
	d.letWrite("that failed; asked the guest to take writes again")
	return nil
}

func (d *decision) letWrite(message string) { d.enter(Releasing, message) }

// goBack has the server run again where the instance was. What was made at the new place is removed.
func (d *decision) goBack(reason string) {
	d.undo(reason)
	op, in := d.operation(), &d.Instance
	former := *op.Former
	d.Agent, op.Former = &former.Agent, nil
	in.Host, in.Address, in.FlavorID, in.Flavor, in.VolumeGB = former.Host, former.Address, former.FlavorID, former.Flavor, former.VolumeGB
	d.endMove()
	// The guest there may have been refused since the other one enrolled, and asks ever more seldom.
	d.startWithin(stall, "that failed; asked the guest at the former host to start the database server")
}

// runsAsBefore has a server that was stopped, and runs again where it was, take writes.
func (d *decision) runsAsBefore(string) error {
	d.letWrite("the database server runs where it was; asked the guest to take writes again")
	return nil
}

// arrived has the server at the new place take writes. That this may have happened is the point of no return.
func (d *decision) arrived() error {
	d.runs()
	d.letWrite("the database server is ready on the other host; asked the guest to take writes")
	return nil
}

// released ends a migration, or one that was undone.
func (d *decision) released() error {
	op := d.Instance.Operation
	switch {
	case op.Reason != "":
		d.giveUp(op.Reason)
		d.fault("the instance is where it was, and takes writes: " + op.Reason)
	case op.Former == nil:
		d.finish("the database server takes writes again")
	default:
		d.Instance.Moved = d.now
		d.endMove()
		d.finish("the instance is on another host; its address is " + d.Instance.Address)
	}
	return nil
}

// notReleased leaves a server that may refuse writes, and says how to mend it. The data is where it runs.
func (d *decision) notReleased() error {
	d.refusesWrites(d.reason())
	return nil
}

// refusesWrites ends a migration whose server may refuse writes, wherever it is.
func (d *decision) refusesWrites(reason string) {
	if was := d.Instance.Operation.Reason; was != "" {
		reason = was + "; then: " + reason
	} else if d.Instance.Operation.Former != nil {
		d.Instance.Moved = d.now
	}
	d.giveUp(reason)
	d.Instance.Failed = Fence
	d.fault("it may refuse writes after a migration that failed: " + reason + ". Restart it if its server does not run; then reset_status lets it take writes")
}

// endMove is the end of a migration, for good or ill: the host where the instance is not has nothing of it any more, and nobody needs
// the copy.
func (d *decision) endMove() {
	op := d.operation()
	switch {
	case op.Former != nil:
		d.Left = append(d.Left, op.Former.Host)
	case op.Target != nil:
		d.Left = append(d.Left, op.Target.Host)
		if op.Resizes {
			d.Refund = op.Target
		}
	}
	if op.Backup != "" {
		d.Backup = &BackupEnd{ID: op.Backup, Remove: true}
	}
	d.Instance.Restore = nil
	op.Former, op.Target, op.Backup = nil, nil, ""
}

// resetMigration gives a migration up, which leads back where that can be.
func (d *decision) resetMigration(reason string) {
	d.tell("note", reason)
	switch step := StepOf(d.Instance); step {
	case Quieting, Saving:
		d.undo(reason)
		d.letWrite("that was given up; asked the guest to take writes again")
	case Stopping:
		d.undo(reason)
		d.start("that was given up; asked the guest to start the database server again")
	case Launching, Enrolling, Preparing:
		d.goBack(reason)
	default:
		d.refusesWrites(reason)
	}
}

// Awaits reports whether an instance waits for the guest at the new place of the migration that was begun then.
func Awaits(in etcdschema.Instance, begun time.Time) bool {
	step := StepOf(in)
	return (step == Launching || step == Enrolling) && in.Operation.Kind == Migrate && in.Operation.Started.Equal(begun)
}

// Arriving reports whether an instance's server is being made at another place, and goes again if that fails.
func Arriving(in etcdschema.Instance) bool {
	op := in.Operation
	return op != nil && op.Former != nil && Step(op.Step) != Releasing
}

// Reached is where clients find an instance. A server that arrives has an address that nobody is told, and a wall that lets nobody in: what
// would be written there goes when the migration fails.
func Reached(in etcdschema.Instance) (host, address string) {
	if Arriving(in) {
		return in.Operation.Former.Host, in.Operation.Former.Address
	}
	return in.Host, in.Address
}
