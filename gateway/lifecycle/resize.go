package lifecycle

import (
	"cmp"
	"encoding/json"

	"github.com/cofferdb/coffer/deployments"
)

// resize gives the instance another flavor, or a larger volume. A volume may grow under a running server when its host can do
// that; for another flavor the server is stopped, so that its memory settings follow. A resize heals: it is taken of an
// instance that failed or whose server is down, and ends with a start.
func (d *decision) resize() error {
	if err := cmp.Or(Hosted(d.Instance), Free(d.self())); err != nil {
		return err
	}
	d.begin(Resize)
	d.operation().Target = d.event.Target
	if d.event.Target.Flavor == nil {
		d.enter(Resizing, "asked the host for a larger volume")
		return nil
	}
	d.stop("asked the guest to stop the database server, for another flavor")
	return nil
}

func (d *decision) resizeStopped() error {
	d.enter(Resizing, "the database server is stopped; asked the host to resize")
	return nil
}

func (d *decision) notResizedRuns(reason string) error {
	d.fail(reason)
	return nil
}

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
