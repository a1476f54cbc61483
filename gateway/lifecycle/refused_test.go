package lifecycle_test

import (
	"encoding/json"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestRefusedParameters: a server that was started without what was set leaves RESTART_REQUIRED and a fault, whichever way
// the guest says so; the next success takes both away.
func TestRefusedParameters(t *testing.T) {
	const why = "shared_buffers: too much"
	answer, err := json.Marshal(datastores.StartReply{Refused: why})
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]struct {
		step  lifecycle.Step
		event lifecycle.Event
	}{
		"restart":           {lifecycle.Restarting, lifecycle.Event{Type: lifecycle.Done, Value: answer}},
		"start in new size": {lifecycle.Starting, lifecycle.Event{Type: lifecycle.Done, Value: answer}},
		"report": {lifecycle.Idle, lifecycle.Event{
			Type: lifecycle.Reported, Status: datastores.Status{Service: datastores.StatusHealthy, Refused: why},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := at(e.step)
			if in.Operation != nil {
				e.event.Command = in.Operation.Command
			}
			d, got := decide(t, in, e.event, start)
			if got.Status != "RESTART_REQUIRED" || d.Instance.Fault == nil || d.Instance.Fault.Message != why {
				t.Fatalf("status %s, fault %+v; want RESTART_REQUIRED and the guest's words", got.Status, d.Instance.Fault)
			}
			again, _ := decide(t, d.Instance, lifecycle.Event{Type: lifecycle.Reported, Status: datastores.Status{Service: datastores.StatusHealthy, Refused: why}}, start)
			for _, e := range again.Events {
				if e.Kind == "fault" {
					t.Errorf("the same fault is told twice: %+v", e)
				}
			}
			in = again.Instance
			for _, e := range []lifecycle.Event{{Type: lifecycle.AskRestart}, {Type: lifecycle.Done}} {
				if in.Operation != nil {
					e.Command = in.Operation.Command
				}
				d, _ = decide(t, in, e, start)
				in = d.Instance
			}
			if lifecycle.Status(member(in)) != "ACTIVE" || in.Fault != nil || in.Service.Refused != "" {
				t.Errorf("after a restart with everything: status %s, %+v", lifecycle.Status(member(in)), in)
			}
		})
	}
}

// TestRefusedUpgrade: when the guest says that nothing was changed, the instance is what it was.
func TestRefusedUpgrade(t *testing.T) {
	for kind, status := range map[agentpoll.ErrorKind]string{agentpoll.Invalid: "ACTIVE", agentpoll.Internal: "ERROR"} {
		in := at(lifecycle.Upgrading)
		in.Version = "1"
		d, got := decide(t, in, lifecycle.Event{Type: lifecycle.Failed, Command: in.Operation.Command, Error: agentpoll.Errorf(kind, "adminpack")}, start)
		if got.Status != status || d.Instance.Version != "1" || d.Instance.Fault == nil {
			t.Errorf("%s: status %s, version %s, fault %+v; want %s, the old version and a fault", kind, got.Status, d.Instance.Version, d.Instance.Fault, status)
		}
	}
}

// TestSuccessClearsTheFault, but for a backup: it proves nothing of the server.
func TestSuccessClearsTheFault(t *testing.T) {
	for step, kept := range map[lifecycle.Step]bool{
		lifecycle.Restarting: false, lifecycle.Configuring: false, lifecycle.Starting: false, lifecycle.Upgrading: false, lifecycle.BackingUp: true,
	} {
		in := at(step)
		in.Fault = &etcdschema.Fault{Message: "of yesterday"}
		if d, _ := decide(t, in, event(lifecycle.Done, in), start); (d.Instance.Fault != nil) != kept {
			t.Errorf("after %q the fault is %+v", step, d.Instance.Fault)
		}
	}
}
