package lifecycle_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// cluster is a source with replicas as etcd would hold them, and the commands that are pending.
type cluster struct {
	records map[string]etcdschema.Instance
	pending []lifecycle.Command
	fenced  map[string]bool // what each server was told last: to refuse writes, or to take them
	now     time.Time
	newID   func() string
}

func newCluster(replicas int) *cluster {
	c := &cluster{records: map[string]etcdschema.Instance{}, fenced: map[string]bool{}, now: start, newID: ids()}
	source := etcdschema.Instance{ID: "m0", Prepared: true, Host: "host", Created: start, Service: datastores.Status{Service: datastores.StatusHealthy}}
	for n := range replicas {
		r := source
		r.ID, r.Replicas, r.ReplicaOf = string([]byte{'m', byte('1' + n)}), nil, "m0"
		source.Replicas = append(source.Replicas, r.ID)
		c.records[r.ID] = r
	}
	c.records["m0"] = source
	return c
}

// apply lets an event happen to a member and writes what is decided.
func (c *cluster) apply(id string, e lifecycle.Event) error {
	in := c.records[id]
	e.Peers = nil
	for _, p := range lifecycle.Members(in, c.records[in.ReplicaOf]) {
		if peer, ok := c.records[p]; ok {
			e.Peers = append(e.Peers, peer)
		}
	}
	d, err := lifecycle.Decide(in, e, c.now, c.newID)
	if err != nil || !d.Changed {
		return err
	}
	drop := func(id string) {
		c.pending = slices.DeleteFunc(c.pending, func(p lifecycle.Command) bool { return p.ID == id })
	}
	if e.Type == lifecycle.Done || e.Type == lifecycle.Failed {
		drop(e.Command)
	}
	if d.Drop != nil {
		drop(d.Drop.ID)
	}
	for _, command := range d.Commands {
		if command.Method == datastores.MethodMakeReadOnly {
			c.fenced[command.Agent] = command.ReadOnly
		}
		if command.Waiter != "" {
			c.pending = append(c.pending, command)
		}
	}
	if c.records[id].ReplicaOf != "" && d.Instance.ReplicaOf == "" {
		c.fenced[id] = false // its guest has made it a source, or independent
	}
	c.records[id] = d.Instance
	for _, p := range d.Peers {
		c.records[p.ID] = p
	}
	if d.Gone {
		delete(c.records, id)
	}
	return nil
}

// answer lets the oldest pending command of that method end.
func (c *cluster) answer(t fataler, method, value string, failure *agentpoll.Error) {
	t.Helper()
	for _, p := range c.pending {
		if p.Method == method {
			e := lifecycle.Event{Type: lifecycle.Done, Command: p.ID, Value: []byte(value)}
			if failure != nil {
				e.Type, e.Error = lifecycle.Failed, failure
			}
			if err := c.apply(p.Waiter, e); err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			return
		}
	}
	t.Fatalf("nobody was asked to %s; pending: %+v", method, c.pending)
}

func TestPromotionSwapsTheRoles(t *testing.T) {
	c := newCluster(2)
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"m0": "PROMOTE", "m1": "PROMOTE", "m2": "PROMOTE"} {
		if got := lifecycle.Status(c.records[id]); got != want {
			t.Errorf("%s is %s while a promotion goes on, want %s", id, got, want)
		}
	}
	for _, e := range []lifecycle.EventType{lifecycle.AskBackup, lifecycle.AskRestart, lifecycle.AskPromote} {
		if err := c.apply("m2", lifecycle.Event{Type: e, Backup: "b"}); err == nil {
			t.Errorf("%s of a member was taken while a promotion goes on", e)
		}
	}
	c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
	c.answer(t, datastores.MethodWaitForTxn, ``, nil)
	c.answer(t, datastores.MethodEnableAsMaster, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, agentpoll.Errorf(agentpoll.Conflict, "it has what the source has not"))
	c.consistent(t)
	if got := c.records["m1"]; got.ReplicaOf != "" || len(got.Replicas) != 2 || lifecycle.Status(got) != "ACTIVE" {
		t.Errorf("the promoted: %+v", got)
	}
	errors := 0
	for _, id := range []string{"m0", "m2"} {
		if c.records[id].ReplicaOf != "m1" {
			t.Errorf("%s follows %q", id, c.records[id].ReplicaOf)
		}
		if lifecycle.Status(c.records[id]) == "ERROR" {
			errors++
		}
	}
	if errors != 1 {
		t.Errorf("%d members are in ERROR, want the one that could not follow", errors)
	}
}

// TestDeleteDuringAPromotion: the replica that is promoted, or another one, is deleted at any step. The source takes writes
// again, or has been followed by somebody; the rest goes on.
func TestDeleteDuringAPromotion(t *testing.T) {
	answers := []struct{ method, value string }{
		{datastores.MethodMakeReadOnly, `{"id":"7","count":7}`}, {datastores.MethodWaitForTxn, ``}, {datastores.MethodEnableAsMaster, ``},
	}
	for steps := range len(answers) {
		for _, victim := range []string{"m1", "m2"} {
			c := newCluster(2)
			if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
				t.Fatal(err)
			}
			for _, a := range answers[:steps] {
				c.answer(t, a.method, a.value, nil)
			}
			if err := c.apply(victim, lifecycle.Event{Type: lifecycle.AskDelete}); err != nil {
				t.Fatalf("delete of %s after %d steps: %v", victim, steps, err)
			}
			if victim == "m2" {
				for _, a := range answers[steps:] {
					c.answer(t, a.method, a.value, nil)
				}
				c.answer(t, datastores.MethodAttachReplica, ``, nil)
			}
			c.answer(t, deployments.MethodRemove, ``, nil)
			c.consistent(t)
			if _, there := c.records[victim]; there || c.busy() {
				t.Errorf("after the delete of %s at step %d: %+v", victim, steps, c.records)
			}
			if victim == "m1" && c.fenced["m0"] {
				t.Errorf("%s was deleted after %d steps, and the source still refuses writes", victim, steps)
			}
		}
	}
}

// TestWhatAResetCannotUndo: the status of a replica is reset while nobody knows whether it has become the source, or when it
// does not follow. None of them is shown as if all was well, and each says what to do.
func TestWhatAResetCannotUndo(t *testing.T) {
	c := newCluster(1)
	_ = c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote})
	c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
	c.answer(t, datastores.MethodWaitForTxn, ``, nil)
	_ = c.apply("m1", lifecycle.Event{Type: lifecycle.ResetStatus})
	for _, id := range []string{"m0", "m1"} {
		if in := c.records[id]; lifecycle.Status(in) != "ERROR" || !strings.Contains(in.Fault.Message, "no writes") {
			t.Errorf("%s after the reset: %s, %+v", id, lifecycle.Status(in), in.Fault)
		}
	}
	_ = c.apply("m0", lifecycle.Event{Type: lifecycle.ResetStatus})
	if lifecycle.Status(c.records["m0"]) != "ACTIVE" || c.fenced["m0"] {
		t.Errorf("the source after its own reset: %+v, fenced %v", c.records["m0"], c.fenced["m0"])
	}
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
		t.Fatalf("promote again: %v", err)
	}
	c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
	c.answer(t, datastores.MethodWaitForTxn, ``, nil)
	c.answer(t, datastores.MethodEnableAsMaster, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, agentpoll.Errorf(agentpoll.Conflict, "it has what the source has not"))
	_ = c.apply("m0", lifecycle.Event{Type: lifecycle.ResetStatus})
	_ = c.apply("m0", lifecycle.Event{Type: lifecycle.AskRestart})
	c.answer(t, datastores.MethodRestart, ``, nil)
	if in := c.records["m0"]; lifecycle.Status(in) != "ERROR" || !strings.HasPrefix(in.Fault.Message, "it has what the source has not; detach it") {
		t.Errorf("what does not follow is %s after a reset and a restart: %+v", lifecycle.Status(in), in.Fault)
	}
	if err := c.apply("m0", lifecycle.Event{Type: lifecycle.AskDetach}); err != nil {
		t.Fatal(err)
	}
	c.answer(t, datastores.MethodDetachReplica, ``, nil)
	if in := c.records["m0"]; lifecycle.Status(in) != "ACTIVE" || in.Fault != nil {
		t.Errorf("detached: %+v", in)
	}
}

// TestAFailureDoesNotHideAFence: what refuses writes is known to do so after something else has failed, and takes them again
// after its reset.
func TestAFailureDoesNotHideAFence(t *testing.T) {
	c := newCluster(1)
	_ = c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote})
	c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
	c.answer(t, datastores.MethodWaitForTxn, ``, nil)
	_ = c.apply("m1", lifecycle.Event{Type: lifecycle.ResetStatus})
	_ = c.apply("m0", lifecycle.Event{Type: lifecycle.AskRestart})
	c.answer(t, datastores.MethodRestart, ``, agentpoll.Errorf(agentpoll.Internal, "no luck"))
	_ = c.apply("m0", lifecycle.Event{Type: lifecycle.ResetStatus})
	if in := c.records["m0"]; lifecycle.Status(in) != "ACTIVE" || c.fenced["m0"] {
		t.Errorf("after the reset: %s, refuses writes: %v", lifecycle.Status(in), c.fenced["m0"])
	}
}

// TestAGivenUpPromotionStaysFenced: nobody knows whether the replica has become a source, so another promotion that fails must
// not let the source take writes again, however it ends, nor may another replica be promoted.
func TestAGivenUpPromotionStaysFenced(t *testing.T) {
	for name, end := range map[string]func(*cluster){
		"fails": func(c *cluster) {
			c.answer(t, datastores.MethodWaitForTxn, ``, agentpoll.Errorf(agentpoll.Conflict, "it is no replica"))
		},
		"given up": func(c *cluster) { _ = c.apply("m1", lifecycle.Event{Type: lifecycle.ResetStatus}) },
		"deleted":  func(c *cluster) { _ = c.apply("m1", lifecycle.Event{Type: lifecycle.AskDelete}) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(2)
			for range 2 {
				if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
					t.Fatal(err)
				}
				c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
				if c.records["m0"].Failed == lifecycle.Fence {
					break
				}
				c.answer(t, datastores.MethodWaitForTxn, ``, nil)
				_ = c.apply("m1", lifecycle.Event{Type: lifecycle.ResetStatus})
				if err := c.apply("m2", lifecycle.Event{Type: lifecycle.AskPromote}); err == nil {
					t.Error("another replica is promoted while this one may be a source")
				}
			}
			end(c)
			if c.records["m0"].Failed != lifecycle.Fence || !c.fenced["m0"] {
				t.Errorf("the source is told to take writes again: %+v", c.records["m0"])
			}
			if name != "deleted" && c.records["m1"].Failed != lifecycle.Promote {
				t.Errorf("the replica: %+v", c.records["m1"])
			}
			c.consistent(t)
		})
	}
}

// TestTheFaultNamesTheStepThatFailed, not the one that undoes what came before.
func TestTheFaultNamesTheStepThatFailed(t *testing.T) {
	c := newCluster(1)
	_ = c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote})
	c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
	c.answer(t, datastores.MethodWaitForTxn, ``, agentpoll.Errorf(agentpoll.Conflict, "the stream has ended"))
	c.answer(t, datastores.MethodMakeReadOnly, ``, nil)
	want := `the stream has ended (promote failed at step "catch up")`
	if got := c.records["m1"].Fault; got == nil || got.Message != want {
		t.Errorf("fault %+v, want %s", got, want)
	}
}

func TestEjectionElectsTheOneWithMost(t *testing.T) {
	c := newCluster(3)
	if err := c.apply("m0", lifecycle.Event{Type: lifecycle.AskEject}); err != nil {
		t.Fatal(err)
	}
	c.answer(t, datastores.MethodLatestTxn, `{"id":"a","count":3}`, nil)
	c.answer(t, datastores.MethodLatestTxn, `{"id":"b","count":9}`, nil)
	c.answer(t, datastores.MethodLatestTxn, ``, agentpoll.Errorf(agentpoll.Internal, "away"))
	if got := lifecycle.StepOf(c.records["m2"]); got != lifecycle.Promoting {
		t.Fatalf("m2, which has most, is at step %q", got)
	}
	c.answer(t, datastores.MethodEnableAsMaster, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, nil)
	c.consistent(t)
	if got := c.records["m0"]; lifecycle.Status(got) != "ERROR" || len(got.Replicas) > 0 {
		t.Errorf("the ejected: %+v", got)
	}
	if got := c.records["m2"].Replicas; len(got) != 2 {
		t.Errorf("the elected has the replicas %v", got)
	}
}

// consistent holds for a set to which nothing is being done.
func (c *cluster) consistent(t fataler) {
	t.Helper()
	for id, in := range c.records {
		if in.Operation == nil && len(in.Claims) > 0 && !c.busy() {
			t.Fatalf("%s is held though nothing is being done: %+v", id, in.Claims)
		}
		if lifecycle.Status(in) == lifecycle.StatusActive && in.ReplicaOf == "" && c.fenced[id] {
			t.Fatalf("%s is shown as ACTIVE, and was told to refuse writes", id)
		}
		if in.ReplicaOf != "" && !slices.Contains(c.records[in.ReplicaOf].Replicas, id) {
			t.Fatalf("%s follows %s, which does not know of it: %+v", id, in.ReplicaOf, c.records[in.ReplicaOf])
		}
		for _, r := range in.Replicas {
			if c.records[r].ReplicaOf != id {
				t.Fatalf("%s has the replica %s, which follows %q", id, r, c.records[r].ReplicaOf)
			}
		}
		if in.ReplicaOf != "" && len(in.Replicas) > 0 {
			t.Fatalf("%s is source and replica", id)
		}
	}
}

func (c *cluster) busy() bool {
	for _, in := range c.records {
		if in.Operation != nil {
			return true
		}
	}
	return false
}

// TestAnySetStaysConsistent asks the members of a set for things in any order, and lets commands end well, badly or not at all:
// whoever follows somebody is known there, holds end with their operation, and no set has two operations of its own.
func TestAnySetStaysConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(rapid.IntRange(1, 3).Draw(t, "replicas"))
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			c.now = c.now.Add(time.Duration(rapid.IntRange(0, 1200).Draw(t, "seconds")) * time.Second)
			names := make([]string, 0, len(c.records))
			for id := range c.records {
				names = append(names, id)
			}
			slices.Sort(names)
			if len(names) == 0 {
				return
			}
			id := rapid.SampledFrom(names).Draw(t, "member")
			kind := rapid.SampledFrom([]lifecycle.EventType{
				lifecycle.AskPromote, lifecycle.AskEject, lifecycle.AskDetach, lifecycle.AskDelete, lifecycle.AskRestart, lifecycle.AskBackup,
				lifecycle.ResetStatus, lifecycle.Overdue, lifecycle.Done, lifecycle.Done, lifecycle.Done, lifecycle.Failed,
			}).Draw(t, "event")
			switch {
			case kind == lifecycle.AskDelete && len(c.records[id].Replicas) > 0: // the gateway refuses it
			case kind == lifecycle.Done || kind == lifecycle.Failed:
				if len(c.pending) > 0 {
					p := rapid.SampledFrom(c.pending).Draw(t, "command")
					_ = c.apply(p.Waiter, lifecycle.Event{Type: kind, Command: p.ID, Value: []byte(`{"id":"x","count":1,"backup_id":"b"}`), Error: agentpoll.Errorf(agentpoll.Internal, "broken")})
				}
			default:
				_ = c.apply(id, lifecycle.Event{Type: kind, Backup: "b"})
			}
			c.consistent(t)
		}
	})
}
