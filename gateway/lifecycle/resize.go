package lifecycle

import (
	"encoding/json"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

// resize gives the instance another flavor, or a larger volume. A volume may grow under a running server when its host can do
// that; for another flavor the server is stopped, so that its memory settings follow. A resize heals: it is taken of an
// instance that failed or whose server is down, and ends with a start.
func (d *decision) resize() error {
	if err := Free(d.Instance); err != nil {
		return err
	}
	if d.Instance.Host == "" {
		return &NotAllowed{fmt.Sprintf("Instance %s runs on a machine of its own, which no host can resize.", d.Instance.ID)}
	}
	d.begin(Resize)
	d.operation().Target = d.event.Target
	if d.event.Target.Flavor == nil {
		d.enter(Resizing, resizeTimeout, d.Instance.Host, deployments.MethodResize, "asked the host for a larger volume")
		return nil
	}
	d.stop("asked the guest to stop the database server, for another flavor")
	return nil
}

func (d *decision) stop(message string) {
	d.enter(Stopping, guestTimeout, d.Instance.ID, datastores.MethodStop, message)
}

// start starts the server; with a restart, which carries them, when it lacks parameters.
func (d *decision) start(message string) {
	method := datastores.MethodStart
	if op := d.operation(); d.Instance.RestartRequired || op.Outdated {
		method, op.Outdated = datastores.MethodRestart, false
	}
	d.enter(Starting, guestTimeout, d.Instance.ID, method, message)
}

func (d *decision) stopped() error {
	d.Instance.Service = datastores.Status{Service: datastores.StatusShutdown, Volume: d.Instance.Service.Volume, TLS: d.Instance.Service.TLS}
	if d.Instance.Operation.Kind == Upgrade {
		d.equip("the database server is stopped; asked the host")
		return nil
	}
	d.enter(Resizing, resizeTimeout, d.Instance.Host, deployments.MethodResize, "the database server is stopped; asked the host to resize")
	return nil
}

// isStopped tells whether the server was stopped for the resize.
func (d *decision) isStopped() bool { return d.Instance.Service.Service == datastores.StatusShutdown }

func (d *decision) resized() error {
	var reply deployments.ResizeReply
	if len(d.event.Value) > 0 && json.Unmarshal(d.event.Value, &reply) != nil {
		return d.notResized()
	}
	for _, note := range reply.Notes {
		d.tell("note", note)
	}
	if reply.StopFirst {
		if d.isStopped() {
			return d.notResized()
		}
		d.stop("the volume grows only while the database server is stopped; asked the guest to stop it")
		return nil
	}
	op := d.operation()
	d.become(op.Target)
	op.Target = nil
	if d.Instance.Failed == "" && !down(d.Instance) {
		d.finish("the volume is larger")
		return nil
	}
	d.start("resized; asked the guest to start the database server")
	return nil
}

// notResized starts the server again, as it was.
func (d *decision) notResized() error {
	if d.isStopped() {
		return d.startAgain()
	}
	d.fail(d.reason())
	return nil
}

func (d *decision) startAgain() error {
	reason := d.reason()
	d.withdraw()
	op := d.operation()
	op.Reason, op.FailedStep = reason, op.Step
	d.start("that failed; asked the guest to start the database server as it was")
	return nil
}

func (d *decision) reason() string {
	if d.event.Error != nil {
		return d.event.Error.Message
	}
	if d.event.Type == Done {
		return "the answer makes no sense: " + string(d.event.Value)
	}
	return d.overdueReason()
}

func (d *decision) started() error {
	d.runs()
	switch reason := d.Instance.Operation.Reason; {
	case reason != "" && d.Instance.Operation.Kind == Upgrade:
		d.giveUp(reason)
		d.fault("the upgrade failed, and the former version runs: " + reason)
		return nil
	case reason != "":
		d.fail(reason)
		return nil
	}
	d.Instance.RestartRequired = false
	d.finish("the database server runs in its new size")
	d.answered()
	return nil
}
