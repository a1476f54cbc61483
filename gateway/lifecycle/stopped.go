package lifecycle

import (
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Some operations stop the server and start it again: what each does in between, and then, its row in [Operations] says.

func (d *decision) stop(message string) {
	d.enter(Stopping, message)
}

// start starts the server; with a restart, which carries them, when it lacks parameters.
func (d *decision) start(message string) { d.startWithin(guestTimeout, message) }

func (d *decision) startWithin(limit time.Duration, message string) {
	method := datastores.MethodStart
	if op := d.operation(); d.Instance.RestartRequired || op.Outdated {
		method, op.Outdated = datastores.MethodRestart, false
	}
	d.enterUntil(Starting, d.now.Add(limit), d.Instance.ID, method, message)
}

func (d *decision) stopped() error {
	d.Instance.Service = d.server(datastores.StatusShutdown)
	return d.rules.operation(d.Instance.Operation.Kind).stopped(d)
}

// isStopped reports whether the server was stopped.
func (d *decision) isStopped() bool { return d.Instance.Service.Service == datastores.StatusShutdown }

// undo remembers why, and where, the operation has failed; what undoes it follows.
func (d *decision) undo(reason string) {
	d.withdraw()
	op := d.operation()
	op.Reason, op.FailedStep = reason, op.Step
}

func (d *decision) startAgain() error {
	d.undo(d.reason())
	d.start("that failed; asked the guest to start the database server as it was")
	return nil
}

// started ends an operation whose server runs again: well, or with the reason for which it runs as it was.
func (d *decision) started() error {
	d.runs()
	op := d.rules.operation(d.Instance.Operation.Kind)
	if reason := d.Instance.Operation.Reason; reason != "" {
		return op.restored(d, reason)
	}
	d.Instance.RestartRequired = false
	d.finish(op.runs)
	d.answered()
	return nil
}
