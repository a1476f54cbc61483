package lifecycle

import (
	"github.com/cofferdb/coffer/agentpoll"
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
