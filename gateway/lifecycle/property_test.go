package lifecycle_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestAnyOrder lets events happen to an instance in any order, late, twice and out of place, while a model keeps the
// commands that are pending in etcd: whatever happens, the instance is in a legal state, waits only for a command that is
// pending, leaves none behind that nobody waits for, and can always be deleted in the end.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := start
		newID := ids()
		in := etcdschema.Instance{ID: "guest", Created: now, UsageTimeout: rapid.IntRange(0, 900).Draw(t, "usage_timeout")}
		if rapid.Bool().Draw(t, "on a host") {
			in.Host = "host"
		}
		pending := map[string]bool{}
		var sent []string
		apply := func(e lifecycle.Event) (gone bool) {
			d, err := lifecycle.Decide(member(in), e, now, newID)
			if err != nil {
				return false
			}
			checkInvariants(t, in, d)
			if e.Type == lifecycle.Done || e.Type == lifecycle.Failed {
				delete(pending, e.Command) // the transaction that commits a result deletes its command
			}
			if d.Drop != nil {
				delete(pending, d.Drop.ID)
			}
			if c := own(d); c != nil {
				pending[c.ID] = true
				sent = append(sent, c.ID)
			}
			in = d.Instance
			if op := in.Operation; op != nil && op.Command != "" && !pending[op.Command] && !d.Gone {
				t.Fatalf("after %s it waits for %s, which is not pending", e.Type, op.Command)
			}
			for id := range pending {
				if op := in.Operation; !d.Gone && (op == nil || op.Command != id) && !launchOvertaken(in, id) {
					t.Fatalf("after %s command %s is pending and nobody waits for it", e.Type, id)
				}
			}
			return d.Gone
		}
		apply(lifecycle.Event{Type: lifecycle.Created})
		for range rapid.IntRange(0, 30).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second)
			if apply(anyEvent(t, in, sent, pending)) {
				return
			}
		}
		if _, err := lifecycle.Decide(member(in), event(lifecycle.AskDelete, in), now, newID); err != nil { // whatever it is at
			t.Fatalf("it cannot be deleted: %v; %+v", err, in)
		}
		for range 10 { // and now it has to end
			for _, e := range []lifecycle.EventType{lifecycle.AskDelete, lifecycle.Done} {
				if apply(event(e, in)) {
					return
				}
			}
		}
		t.Fatalf("it could not be deleted: %+v", in)
	})
}

// target is what an instance may be asked to become.
func target(flavor bool) *etcdschema.Target {
	none := ""
	t := &etcdschema.Target{Configuration: &none, VolumeGB: 2, Version: &etcdschema.Upgrade{Version: "2"}, Host: "other", Address: "10.0.0.2"}
	if flavor {
		t.Flavor = &etcdschema.Flavor{RAM: 512}
	}
	return t
}

// launchOvertaken: a guest may enrol before its host has said that it was started; that answer is still to come.
func launchOvertaken(in etcdschema.Instance, id string) bool { return id == "c1" && in.Host != "" }

// anyEvent draws an event; results are of commands that were sent, pending or not.
func anyEvent(t *rapid.T, in etcdschema.Instance, sent []string, pending map[string]bool) lifecycle.Event {
	e := lifecycle.Event{
		Type:   rapid.SampledFrom(lifecycle.EventTypes()[1:]).Draw(t, "event"),
		Status: datastores.Status{Service: rapid.SampledFrom([]datastores.ServiceStatus{"healthy", "crashed", "shutdown"}).Draw(t, "service")},
		Error:  agentpoll.Errorf(agentpoll.Internal, "broken"),
		Value:  []byte(`{"backup_id":"b1"}`),
		Backup: "b1",
		Target: target(rapid.Bool().Draw(t, "flavor")),
	}
	e.Target.Modules = &etcdschema.ModuleChange{}
	if len(sent) == 0 {
		return e
	}
	e.Command = rapid.SampledFrom(sent).Draw(t, "command")
	if (e.Type == lifecycle.Done || e.Type == lifecycle.Failed) && !pending[e.Command] {
		e.Type = lifecycle.Reported // the gateway refuses a result for a command that is gone
	}
	return e
}
