package lifecycle

import (
	"fmt"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// Row says what an event means in a step.
type Row struct {
	Step  Step
	Event EventType
	Next  []Step // where it may lead
	act   func(*decision) error
}

// Table returns the life cycle.
func Table() []Row {
	return []Row{
		{Idle, Created, []Step{Launching, Enrolling}, (*decision).create},
		{Idle, AskRestart, []Step{Restarting}, (*decision).restart},
		{Idle, AskDelete, []Step{Removing}, (*decision).remove},
		{Idle, ResetStatus, []Step{Idle}, (*decision).reset},
		{Idle, Reported, []Step{Idle}, (*decision).report},

		{Launching, Done, []Step{Enrolling}, (*decision).launched},
		{Launching, Enrolled, []Step{Preparing}, (*decision).prepare},
		{Launching, Failed, []Step{Idle}, (*decision).failed},
		{Launching, Overdue, []Step{Idle}, (*decision).overdue},
		{Launching, AskRestart, []Step{Launching}, (*decision).busy},
		{Launching, AskDelete, []Step{Launching}, (*decision).busy},
		{Launching, ResetStatus, []Step{Idle}, (*decision).reset},

		{Enrolling, Enrolled, []Step{Preparing}, (*decision).prepare},
		{Enrolling, Overdue, []Step{Idle}, (*decision).overdue},
		{Enrolling, AskRestart, []Step{Enrolling}, (*decision).busy},
		{Enrolling, AskDelete, []Step{Enrolling}, (*decision).busy},
		{Enrolling, ResetStatus, []Step{Idle}, (*decision).reset},

		{Preparing, Done, []Step{Idle}, (*decision).prepared},
		{Preparing, Failed, []Step{Idle}, (*decision).failed},
		{Preparing, Overdue, []Step{Idle}, (*decision).overdue},
		{Preparing, AskRestart, []Step{Preparing}, (*decision).busy},
		{Preparing, AskDelete, []Step{Preparing}, (*decision).busy},
		{Preparing, ResetStatus, []Step{Idle}, (*decision).reset},
		{Preparing, Reported, []Step{Preparing}, (*decision).report},

		{Restarting, Done, []Step{Idle}, (*decision).restarted},
		{Restarting, Failed, []Step{Idle}, (*decision).failed},
		{Restarting, Overdue, []Step{Idle}, (*decision).overdue},
		{Restarting, AskRestart, []Step{Restarting}, (*decision).busy},
		{Restarting, AskDelete, []Step{Removing}, (*decision).remove},
		{Restarting, ResetStatus, []Step{Idle}, (*decision).reset},
		{Restarting, Reported, []Step{Restarting}, (*decision).report},

		{Removing, Done, nil, (*decision).gone},
		{Removing, Failed, []Step{Removing}, (*decision).removeFailed},
		{Removing, Overdue, []Step{Removing}, (*decision).removeOverdue},
		{Removing, AskRestart, []Step{Removing}, (*decision).busy},
		{Removing, AskDelete, []Step{Removing}, (*decision).nothing},
		{Removing, ResetStatus, []Step{Removing}, (*decision).nothing},
	}
}

// create begins the life of an instance that has been placed on a host, or waits for a machine of its own. Its whole
// time is the datastore's usage_timeout, which the caller has put into Operation.Deadline.
func (d *decision) create() error {
	limit := d.createBy()
	d.begin(Create)
	if d.Instance.Host == "" {
		d.enter(Enrolling, limit, d.Instance.ID, "", "waiting for a machine to boot with the instance's user-data and enrol")
		return nil
	}
	d.enter(Launching, earlier(limit, d.now.Add(launchTimeout)), d.Instance.Host, deployments.MethodLaunch, "asked the host to start a guest")
	return nil
}

func (d *decision) launched() error {
	for _, note := range d.event.Notes {
		d.tell("note", note)
	}
	d.enter(Enrolling, d.createBy(), d.Instance.ID, "", "the guest was started; waiting for it to enrol")
	return nil
}

func (d *decision) prepare() error {
	d.Instance.Service = datastores.Status{Service: datastores.StatusBuilding}
	d.enter(Preparing, d.createBy(), d.Instance.ID, datastores.MethodPrepare, "the guest has enrolled; asked it to prepare the database server")
	return nil
}

func (d *decision) prepared() error {
	d.Instance.Prepared = true
	d.Instance.Service = datastores.Status{Service: datastores.StatusHealthy, Since: d.now}
	d.Instance.ServiceReported = d.now
	d.finish(fmt.Sprintf("the database server is ready, %.1f s after it was asked for", d.now.Sub(d.Instance.Created).Seconds()))
	return nil
}

func (d *decision) restart() error {
	if !d.Instance.Prepared {
		return notAllowed(d.Instance.ID, Status(d.Instance))
	}
	d.begin(Restart)
	d.enter(Restarting, d.now.Add(restartTimeout), d.Instance.ID, datastores.MethodRestart, "asked the guest to restart the database server")
	return nil
}

func (d *decision) restarted() error {
	d.Instance.RestartRequired = false
	d.Instance.Service = datastores.Status{Service: datastores.StatusHealthy, Since: d.now}
	d.finish("the database server was restarted")
	return nil
}

func (d *decision) remove() error {
	if d.Instance.Operation != nil {
		d.withdraw()
	}
	if d.Instance.Host == "" {
		return d.gone()
	}
	d.Instance.Failed = ""
	d.begin(Delete)
	d.enter(Removing, d.now.Add(removeTimeout), d.Instance.Host, deployments.MethodRemove, "asked the host to remove the instance")
	return nil
}

func (d *decision) gone() error {
	d.Changed, d.Gone = true, true
	d.tell("done", "the instance has been deleted")
	return nil
}

// removeFailed keeps at it: what a tenant deleted must not stay because a host had a bad moment. The host is asked again
// after a pause; the fault says why it takes so long.
func (d *decision) removeFailed() error {
	d.Instance.Failed = Delete
	d.fault("the host could not remove the instance and will be asked again: " + d.event.Error.Message)
	d.enter(Removing, d.now.Add(removePause), d.Instance.Host, "", "waiting before the host is asked again")
	return nil
}

// removeOverdue asks again after a pause; a command that was sent stays pending, for the host to find when it is back.
func (d *decision) removeOverdue() error {
	if d.Instance.Operation.Command == "" {
		d.enter(Removing, d.now.Add(removeTimeout), d.Instance.Host, deployments.MethodRemove, "asked the host again to remove the instance")
		return nil
	}
	d.Changed = true
	d.Instance.Failed = Delete
	d.fault("delete is still waiting: " + d.overdueReason() + "; it will when it is back")
	op := *d.Instance.Operation
	op.Since, op.Deadline = d.now, d.now.Add(removeTimeout)
	d.Instance.Operation = &op
	return nil
}

func (d *decision) failed() error  { d.fail(d.event.Error.Message); return nil }
func (d *decision) overdue() error { d.fail(d.overdueReason()); return nil }
func (d *decision) nothing() error { return nil }

func (d *decision) busy() error { return notAllowed(d.Instance.ID, Status(d.Instance)) }

// reset gives the operation up. An instance that never was ready stays in ERROR: there is nothing that could work.
func (d *decision) reset() error {
	if d.Instance.Operation != nil {
		d.withdraw()
		d.Instance.Operation = nil
	}
	d.Changed = true
	if d.Instance.Prepared {
		d.Instance.Failed = ""
	} else {
		d.Instance.Failed = Create
	}
	d.tell("note", "the status was reset")
	return nil
}

// report takes the guest's word for the server. A healthy server disproves a failed restart.
func (d *decision) report() error {
	d.Instance.ServiceReported = d.now
	if d.Instance.Service.Service != d.event.Status.Service {
		d.tell("status", fmt.Sprintf("the database server is %s", d.event.Status.Service))
	}
	if d.Instance.Failed == Restart && d.event.Status.Service == datastores.StatusHealthy {
		d.Instance.Failed = ""
	}
	d.Instance.Service = d.event.Status
	d.Changed = true
	return nil
}

// createBy is when an instance's create must have ended: its datastore's usage_timeout after it was asked for.
func (d *decision) createBy() time.Time { return d.Instance.Created.Add(UsageTimeout(d.Instance)) }

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

func notAllowed(id, status string) error {
	return &NotAllowed{fmt.Sprintf("Instance %s is not currently available for an action to be performed (instance status was %s).", id, status)}
}
