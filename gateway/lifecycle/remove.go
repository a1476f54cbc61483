package lifecycle

import (
	"fmt"
	"strings"
)

// MayDelete refuses to delete an instance that is protected, or that others follow.
func MayDelete(in Member) error {
	if replicas := in.Replicas(); len(replicas) > 0 {
		return &Leading{fmt.Sprintf("Instance %s has the replicas %s; delete or detach them first.", in.ID, strings.Join(replicas, ", "))}
	}
	if in.Protected {
		return &Conflict{fmt.Sprintf("Instance %s is protected from deletion; set its deletion_protection to false first.", in.ID)}
	}
	return nil
}

// remove is possible in any state: what is being done is given up, and those that wait for this instance go on without it.
func (d *decision) remove() error {
	if err := MayDelete(d.self()); err != nil {
		return err
	}
	d.leaving()
	if d.Instance.Operation != nil {
		d.giveUp("the instance was deleted")
	}
	if d.Instance.Host == "" {
		return d.gone()
	}
	d.Instance.Failed = ""
	d.begin(Delete)
	d.enter(Removing, "asked the host to remove the instance")
	return nil
}

func (d *decision) gone() error {
	d.leave()
	d.Changed, d.Gone = true, true
	d.tell("done", "the instance has been deleted")
	return nil
}

// removeFailed keeps at it: what a tenant deleted must not stay because a host had a bad moment. The host is asked again
// after a pause; the fault says why it takes so long.
func (d *decision) removeFailed() error {
	d.Instance.Failed = Delete
	d.fault("the host could not remove the instance and will be asked again: " + d.event.Error.Message)
	d.enterUntil(Removing, d.now.Add(removePause), d.Instance.Host, "", "waiting before the host is asked again")
	return nil
}

// removeOverdue asks again after a pause; a command that was sent stays pending, for the host to find when it is back.
func (d *decision) removeOverdue() error {
	if d.Instance.Operation.Command == "" {
		d.enter(Removing, "asked the host again to remove the instance")
		return nil
	}
	d.Instance.Failed = Delete
	d.fault("delete is still waiting: " + d.overdueReason() + "; it will when it is back")
	op := d.operation()
	op.Since, op.Deadline = d.now, d.now.Add(removeTimeout)
	return nil
}
