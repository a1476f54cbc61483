package lifecycle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// upgrade may be asked for again when it has failed. The host brings packages first, while the server runs. Another image takes
// the place of the one that the server runs in, so the server is stopped before.
func (d *decision) upgrade() error {
	again := d.Instance.Failed == Upgrade && Free(d.self()) == nil
	if err := Ready(d.self()); err != nil && !again {
		return err
	}
	d.begin(Upgrade)
	target := *d.event.Target
	version := *target.Version
	version.FormerImage = d.Instance.Image
	target.Version = &version
	d.operation().Target = &target
	switch {
	case d.Instance.Host == "":
		d.upgradeData("asked the guest")
	case d.movesImage():
		d.stop("asked the guest to stop the database server, which goes on in another image")
	default:
		d.equip("asked the host")
	}
	return nil
}

// movesImage reports whether the version runs in another image than the one before.
func (d *decision) movesImage() bool {
	v := d.Instance.Operation.Target.Version
	return v.Image != v.FormerImage
}

func (d *decision) equip(whom string) {
	d.enter(Equipping, whom+" for what version "+d.Instance.Operation.Target.Version.Version+" needs")
}

func (d *decision) upgradeData(whom string) {
	d.enter(Upgrading, whom+" to upgrade to version "+d.Instance.Operation.Target.Version.Version)
}

func (d *decision) equipped() error {
	d.Instance.Image = d.Instance.Operation.Target.Version.Image
	d.upgradeData("the host has what it needs; asked the guest")
	return nil
}

func (d *decision) notEquipped() error {
	if d.movesImage() {
		d.revert()
		return nil
	}
	reason := d.reason()
	d.giveUp(reason)
	d.fault("the upgrade was not begun: " + reason)
	return nil
}

func (d *decision) upgraded() error {
	d.become(d.Instance.Operation.Target)
	d.runs()
	d.finish("the database server runs version " + d.Instance.Version)
	return nil
}

// notUpgraded: an error of kind Invalid says that nothing was changed and the old version runs, or can be started where its
// image is.
func (d *decision) notUpgraded() error {
	reason := d.reason()
	switch {
	case d.event.Error.Kind != agentpoll.Invalid:
		d.fail(reason)
	case d.movesImage():
		d.revert()
	default:
		d.giveUp(reason)
		d.fault("the upgrade was refused, and nothing was changed: " + reason)
	}
	return nil
}

// revert has the former version run again, in its image.
func (d *decision) revert() {
	reason := d.reason()
	op := d.operation()
	op.Reason, op.FailedStep = reason, op.Step
	d.Instance.Image = op.Target.Version.FormerImage
	d.enter(Reverting, "that failed; asked the host for the former image")
}

func (d *decision) reverted() error {
	d.start("the former image is back; asked the guest to start the database server as it was")
	return nil
}

func (d *decision) upgradeStopped() error {
	d.equip("the database server is stopped; asked the host")
	return nil
}

func (d *decision) formerRuns(reason string) error {
	d.giveUp(reason)
	d.fault("the upgrade failed, and the former version runs: " + reason)
	return nil
}

// upgradeSet brings the members of a set that have another version to the one asked for. All of them look first for what is in the way. Then
// they are upgraded one after the other, each by an operation of its own: replicas, which then have to follow again, and the source last.
func (d *decision) upgradeSet() error {
	version, source := d.event.Target.Version.Version, d.Set.Source()
	var waiting []string
	for _, id := range append(d.Set.Replicas(), source) {
		if d.Set.Member(id).State == etcdschema.MemberLeaving {
			continue
		}
		m := d.look(id)
		if err := mayBeUpgraded(m); err != nil {
			return err
		}
		if m.Version != version {
			waiting = append(waiting, id)
		}
	}
	if len(waiting) == 0 {
		return &NotAllowed{fmt.Sprintf("Every member of the set of instance %s has version %s.", source, version)}
	}
	d.beginSet(UpgradeSet, source)
	op := d.setOperation()
	op.Waiting, op.Target = waiting, d.event.Target
	d.inspect(0)
	return nil
}

// mayBeUpgraded refuses an upgrade of a set because of a member: each must be well, and follow, unless its upgrade has failed before.
func mayBeUpgraded(m Member) error {
	if m.Failed == Upgrade {
		return Free(m)
	}
	return cmp.Or(Ready(m), mustFollow(m))
}

// inspect asks the nth of the members that are to be upgraded what is in the way.
func (d *decision) inspect(n int) {
	op := d.setOperation()
	if n == len(op.Waiting) {
		d.renew()
		return
	}
	id := op.Waiting[n]
	d.enterSet(Inspecting, id, "asked member "+id+" what is in the way of version "+op.Target.Version.Version)
}

func (d *decision) inspected() error {
	d.inspect(slices.Index(d.Set.Operation.Waiting, d.Set.Operation.Agent) + 1)
	return nil
}

// notInspected goes on when a member cannot tell: its own upgrade will.
func (d *decision) notInspected() error {
	if d.event.Error.Kind == agentpoll.Invalid {
		return d.stopUpgrade()
	}
	d.tellOf(d.Set.Operation.Lead, "note", "member "+d.Set.Operation.Agent+" cannot tell what is in the way: "+d.reason())
	return d.inspected()
}

// renew has the next member upgraded. When all have been, the set's operation has ended.
func (d *decision) renew() {
	op := d.setOperation()
	lead, target := op.Lead, op.Target
	if len(op.Waiting) == 0 {
		d.endSet()
		d.tellOf(lead, "done", "every member of the set has version "+target.Version.Version)
		return
	}
	id, left := op.Waiting[0], len(op.Waiting)
	d.enterSet(Renewing, id, fmt.Sprintf("member %s is upgraded to version %s; %d of the set are left", id, target.Version.Version, left))
	if err := d.as(id, Event{Type: AskUpgrade, Target: target, Request: op.Request, By: op.By}); err != nil {
		d.stopUpgradeFor(err.Error())
	}
}

// renewed goes on when the own operation of the member has ended whose turn it is.
func (d *decision) renewed() {
	in, op := d.Instance, d.setOperation()
	switch {
	case in.Version != op.Target.Version.Version || in.Failed != "":
		reason := "its upgrade was given up"
		if in.Fault != nil && in.Fault.Created.Equal(d.now) {
			reason = in.Fault.Message
		}
		d.stopUpgradeFor(reason)
	case in.ID == d.Set.Source():
		op.Waiting = nil
		d.renew()
	default:
		d.enterSet(Measuring, d.Set.Source(), "replica "+in.ID+" has the new version; asked the source how far it has come")
	}
}

// renewMore waits longer for a member whose own operation has deadlines.
func (d *decision) renewMore() error {
	if m := d.look(turnOf(d.Set)); m.Operation == nil {
		d.stopUpgradeFor("its upgrade was given up")
		return nil
	}
	d.setOperation().Deadline = d.now.Add(stall)
	return nil
}

func (d *decision) measured() error {
	var p datastores.Position
	if err := json.Unmarshal(d.event.Value, &p); err != nil {
		return d.stopUpgrade()
	}
	op := d.setOperation()
	op.Position = &p
	d.enterSet(Reaching, op.Waiting[0], "waiting for replica "+op.Waiting[0]+" to follow again, and to have all of "+p.ID)
	return nil
}

func (d *decision) reached() error {
	op := d.setOperation()
	op.Waiting, op.Position = op.Waiting[1:], nil
	d.renew()
	return nil
}

func (d *decision) stopUpgrade() error {
	d.stopUpgradeFor(d.reason())
	return nil
}

// stopUpgradeFor ends the upgrade of a set half way. Its members run on, with the versions that they have: a newer replica follows an older
// source.
func (d *decision) stopUpgradeFor(reason string) {
	op := *d.Set.Operation
	id := op.Waiting[0]
	if Step(op.Step) == Inspecting {
		id = op.Agent
	}
	d.endSet()
	d.faultOf(d.member(op.Lead), fmt.Sprintf("the upgrade of the set to version %s has stopped at member %s: %s. The set works on as it is; when that is mended, ask for the upgrade again, and it goes on there",
		op.Target.Version.Version, id, reason))
}

// upgradeWithout goes on without a replica that is being deleted.
func (d *decision) upgradeWithout(id string) {
	op := d.setOperation()
	n, step := slices.Index(op.Waiting, id), Step(op.Step)
	if n < 0 {
		return
	}
	op.Waiting = slices.Delete(slices.Clone(op.Waiting), n, n+1)
	if step == Inspecting && op.Agent != id || step != Inspecting && n > 0 {
		return
	}
	if op.Command != "" {
		d.Drop = &Command{ID: op.Command, Agent: op.Agent}
	}
	if step == Inspecting {
		d.inspect(n)
		return
	}
	d.renew()
}
