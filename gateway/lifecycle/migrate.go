package lifecycle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// A migration brings an instance to another host by a backup. From its first step on the server takes no writes, so what the backup has is
// all that was ever acknowledged. Until the server at the new place is asked to take writes the old one is kept, stopped, with its
// guest's identity in Operation.Former; whatever fails before leads back there.
//
// A replica has nothing that its source lacks. It is stopped, and made anew from its source on the other host; whatever fails leads back
// to the old one, which follows again with what it has.
//
// A source with replicas yields its part to one of them first, by a promotion. Then it moves as a replica does.

// migrate is asked for with the host and address that are kept for it, and of an instance alone the id of the backup.
func (d *decision) migrate() error {
	m := d.self()
	if err := cmp.Or(Hosted(m.Instance), Ready(m)); err != nil {
		return err
	}
	switch {
	case m.ReplicaOf() != "":
		return d.migrateReplica()
	case m.SetID != "":
		return d.yield()
	}
	d.beginMove()
	d.enter(Quieting, "asked the guest to take no more writes, for another host")
	return nil
}

func (d *decision) beginMove() {
	d.begin(Migrate)
	op := d.operation()
	op.Target, op.Backup, op.Resizes = d.event.Target, d.event.Backup, resizes(d.event.Target)
}

// migrateReplica takes the replica out of what its set does until it follows again: nobody else is promoted meanwhile.
func (d *decision) migrateReplica() error {
	m := d.self()
	source := d.look(d.Set.Source())
	if err := cmp.Or(mustFollow(m), Leads(source), asItsSource(m, source)); err != nil {
		return err
	}
	d.beginMove()
	d.setState(m.ID, etcdschema.MemberMaking)
	d.stop("asked the guest to stop the database server, which is made anew on another host, from its source")
	return nil
}

// yield promotes the first replica that can take the source's place, while that waits.
func (d *decision) yield() error {
	m := d.self()
	if op := d.Set.Operation; op != nil {
		if op.Kind != Arrange {
			return notAllowed(m)
		}
		d.endSet()
	}
	err := error(&NotAllowed{fmt.Sprintf("Instance %s has no replica that could take its place.", m.ID)})
	for _, id := range m.Replicas() {
		d.event.Member = id
		if err = d.promote(); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	d.beginMove()
	d.enter(Yielding, "replica "+d.Set.Operation.Lead+" becomes the source; then this instance moves, as a replica")
	return nil
}

// yielded moves an instance that was the source.
func (d *decision) yielded() error {
	d.setState(d.Instance.ID, etcdschema.MemberMaking)
	d.stop("another member is the source; asked the guest to stop the database server, which is made anew on another host, from that")
	return nil
}

// notYielded leaves the source where and what it is.
func (d *decision) notYielded() error {
	reason := "no replica has taken its place: the timeline of the one that was to says why"
	d.giveUp(reason)
	if !lasts(d.Instance.Failed) {
		d.fault("the instance is where it was: " + reason)
	}
	return nil
}

// yieldMore waits longer for the promotion, whose steps have deadlines of their own.
func (d *decision) yieldMore() error {
	if d.Set.Operation == nil {
		return d.notYielded()
	}
	d.operation().Deadline = d.now.Add(stall)
	return nil
}

// yieldsNo tells the source that waited for the set's operation, when that ends without another source, that it does not move.
func (d *decision) yieldsNo(source string) {
	if StepOf(d.look(source).Instance) == Yielding {
		d.err = cmp.Or(d.err, d.as(source, Event{Type: Failed, Request: d.event.Request}))
	}
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
	d.settleAt(op.Target.Host, op.Target.Address)
	d.become(op.Target)
	d.enter(Launching, "the database server is stopped; asked the other host to start a guest")
	return nil
}

// settleAt says where the instance is, to the others of its set, too.
func (d *decision) settleAt(host, address string) {
	in := &d.Instance
	in.Host, in.Address = host, address
	if d.Set.Member(in.ID).ID != "" {
		d.Set = d.Set.With(in.ID, func(m *etcdschema.SetMember) { m.Address = address })
		d.SetChanged = true
	}
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
	d.settleAt(former.Host, former.Address)
	in.FlavorID, in.Flavor, in.VolumeGB = former.FlavorID, former.Flavor, former.VolumeGB
	d.release()
	d.endMove()
	// The guest there may have been refused since the other one enrolled, and asks ever more seldom.
	d.startWithin(stall, "that failed; asked the guest at the former host to start the database server")
}

// runsAsBefore has a server that was stopped, and runs again where it was, take writes, or follow its source. That has perhaps another
// account for it by now.
func (d *decision) runsAsBefore(string) error {
	if d.self().ReplicaOf() != "" {
		d.endMove()
		d.operation().Kind = Follow
		d.setState(d.Instance.ID, "")
		d.enter(Admitting, "the database server runs where it was; asked the source's guest to let it in again")
		return nil
	}
	d.letWrite("the database server runs where it was; asked the guest to take writes again")
	return nil
}

// arrived has the server at the new place take writes. That this may have happened is the point of no return. A replica takes none: it
// is there.
func (d *decision) arrived() error {
	d.runs()
	if d.self().ReplicaOf() != "" {
		d.setState(d.Instance.ID, "")
		d.Instance.Sealed, d.Instance.Moved = nil, d.now
		d.endMove()
		d.finish("the instance is on another host, and follows its source; its address is " + d.Instance.Address)
		return nil
	}
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
	if op := d.Instance.Operation; op.Reason == "" && op.Former != nil {
		d.Instance.Moved = d.now
	}
	reason = d.first(reason)
	d.giveUp(reason)
	d.Instance.Failed = Fence
	d.fault("it may refuse writes after a migration that failed: " + reason + ". Restart it if its server does not run; then reset_status lets it take writes")
}

// stays ends the migration of a replica that does not run where it was.
func (d *decision) stays(reason string) {
	d.setState(d.Instance.ID, "")
	d.fail(d.first(reason))
}

// first says why an operation failed in the first place, before why what undoes it has.
func (d *decision) first(reason string) string {
	if was := d.Instance.Operation.Reason; was != "" {
		return was + "; then: " + reason
	}
	return reason
}

// endMove is the end of a migration, for good or ill: the host where the instance is not has nothing of it any more, and nobody needs
// the copy.
func (d *decision) endMove() {
	op := d.operation()
	switch {
	case op.Former != nil:
		d.leaves(op.Former.Host)
	case op.Target != nil:
		d.leaves(op.Target.Host)
		if op.Resizes {
			d.refund(op.Target)
		}
	}
	if op.Backup != "" {
		d.Backup = &BackupEnd{ID: op.Backup, Remove: true}
	}
	d.Instance.Restore = nil
	op.Former, op.Target, op.Backup = nil, nil, ""
}

func (d *decision) leaves(host string) {
	d.Left = append(slices.Clone(d.Left), Left{d.Instance.ID, host})
}

func (d *decision) refund(t *etcdschema.Target) { d.Refund = &Refund{d.Instance.ID, *t} }

// resetMigration gives a migration up, which leads back where that can be.
func (d *decision) resetMigration(reason string) {
	d.tell("note", reason)
	switch step := StepOf(d.Instance); step {
	case Yielding:
		d.giveUp(reason)
	case Quieting, Saving:
		d.undo(reason)
		d.letWrite("that was given up; asked the guest to take writes again")
	case Stopping:
		d.undo(reason)
		d.start("that was given up; asked the guest to start the database server again")
	case Launching, Enrolling, Snapshotting, Preparing:
		d.goBack(reason)
	default:
		if d.self().ReplicaOf() != "" {
			d.stays(reason)
			return
		}
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
