package lifecycle

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// TestAnOperationIsARow adds an operation: its step, event, status, refusals and ends follow from the row.
func TestAnOperationIsARow(t *testing.T) {
	r := newRules(append(operations(), Operation{
		Kind: "vacuum", Status: "VACUUM", Does: "vacuum its data", Action: "vacuum", Method: datastores.MethodCreateBackup,
	}))
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	ready := etcdschema.Instance{ID: "guest", Host: "host", Prepared: true, Service: datastores.Status{Service: datastores.StatusHealthy}}
	decide := func(in etcdschema.Instance, e Event, at time.Time) (Decision, error) {
		if in.Operation != nil {
			e.Command = in.Operation.Command
		}
		return r.decide(Alone(in), e, at, func() string { return "c1" })
	}

	d, err := decide(ready, Event{Type: "ask_vacuum"}, now)
	if err != nil || len(d.Commands) != 1 || d.Commands[0].Method != datastores.MethodCreateBackup || d.Commands[0].Agent != "guest" {
		t.Fatalf("it was asked for: %+v, %v", d, err)
	}
	begun := d.Instance
	if got := r.status(Alone(begun)); got != "VACUUM" || StepOf(begun) != "vacuum" {
		t.Errorf("status %s in step %q", got, StepOf(begun))
	}
	if limit := begun.Operation.Deadline.Sub(now); limit != stall {
		t.Errorf("its method moves data, and it is given %s", limit)
	}
	if _, err := decide(begun, Event{Type: AskRestart}, now); err == nil {
		t.Error("a restart was taken meanwhile")
	}
	if _, err := decide(begun, Event{Type: "ask_vacuum"}, now); err == nil {
		t.Error("it was taken twice")
	}
	if d, err := decide(begun, Event{Type: AskDelete}, now); err != nil || StepOf(d.Instance) != Removing {
		t.Errorf("it cannot be deleted: %+v, %v", d, err)
	}
	for name, c := range map[string]struct {
		event  Event
		status string
		fault  string
	}{
		"done":    {Event{Type: Done}, StatusActive, ""},
		"failed":  {Event{Type: Failed, Error: agentpoll.Errorf(agentpoll.Internal, "no space")}, StatusError, `no space (vacuum failed at step "vacuum")`},
		"overdue": {Event{Type: Overdue}, StatusError, `the guest did not finish within 30m0s (vacuum failed at step "vacuum")`},
		"reset":   {Event{Type: ResetStatus}, StatusActive, ""},
	} {
		d, err := decide(begun, c.event, now.Add(time.Hour))
		fault := ""
		if d.Instance.Fault != nil {
			fault = d.Instance.Fault.Message
		}
		if got := r.status(Alone(d.Instance)); err != nil || got != c.status || d.Instance.Operation != nil || fault != c.fault {
			t.Errorf("%s: status %s, fault %q, %v; want %s, %q", name, got, fault, err, c.status, c.fault)
		}
	}
	stopped := ready
	stopped.Service.Service = datastores.StatusShutdown
	if _, err := decide(stopped, Event{Type: "ask_vacuum"}, now); err == nil {
		t.Error("it was taken of a server that does not run")
	}
}
