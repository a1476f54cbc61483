package lifecycle_test

import (
	"encoding/json"
	"errors"
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

// TestModulesOfAMemberWait: a member of a cluster changes no modules while the cluster does something, also when it is the member's turn, and the cluster begins
// nothing while a member does.
func TestModulesOfAMemberWait(t *testing.T) {
	set := etcdschema.Set{ID: "s", Project: "p", Kind: etcdschema.SetCluster, Members: []etcdschema.SetMember{{ID: "a", Role: etcdschema.RoleNode}, {ID: "b", Role: etcdschema.RoleNode}}}
	well := etcdschema.Instance{ID: "a", Project: "p", Host: "host", SetID: "s", Prepared: true, Service: datastores.Status{Service: datastores.StatusHealthy}}
	busy := well
	busy.Operation = &etcdschema.Operation{Kind: lifecycle.Modules, Step: string(lifecycle.Bundling)}
	turn := set
	turn.Operation = &etcdschema.SetOperation{Turn: []string{"a"}, Lead: "a", Operation: etcdschema.Operation{Kind: lifecycle.Grow, Step: string(lifecycle.Joining)}}
	ask := func(m lifecycle.Member, what lifecycle.EventType, a etcdschema.Instance) error {
		e := event(what, m.Instance)
		e.Each, e.Members = lifecycle.Restart, []string{"b"}
		e.Read = func(id string) (etcdschema.Instance, error) {
			if id == "a" {
				return a, nil
			}
			other := well
			other.ID = id
			return other, nil
		}
		if m.ID == "" {
			_, err := lifecycle.DecideSet(m.Set, e, start, ids())
			return err
		}
		_, err := lifecycle.Decide(m, e, start, ids())
		return err
	}
	for _, c := range []struct {
		m      lifecycle.Member
		what   lifecycle.EventType
		a      etcdschema.Instance
		begins bool
	}{
		{lifecycle.Member{Instance: well, Set: set}, lifecycle.AskModules, well, true},
		{lifecycle.Member{Instance: well, Set: turn}, lifecycle.AskModules, well, false},
		{lifecycle.Member{Set: set}, lifecycle.AskRoll, well, true},
		{lifecycle.Member{Set: set}, lifecycle.AskRoll, busy, false},
		{lifecycle.Member{Set: set}, lifecycle.AskShrink, well, true},
		{lifecycle.Member{Set: set}, lifecycle.AskShrink, busy, false},
		{lifecycle.Member{Set: set}, lifecycle.AskMend, busy, false},
		{lifecycle.Member{Set: set}, lifecycle.AskDissolve, busy, true},
	} {
		err := ask(c.m, c.what, c.a)
		if no := (*lifecycle.NotAllowed)(nil); (err == nil) != c.begins || err != nil && !errors.As(err, &no) {
			t.Errorf("%s, while a member has an operation, %t: %v; want it to begin: %t", c.what, c.a.Operation != nil, err, c.begins)
		}
	}
}
