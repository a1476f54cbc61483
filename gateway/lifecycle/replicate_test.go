package lifecycle_test

import (
	"cmp"
	"fmt"
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
	set     etcdschema.Set // zero: there is none any more
	pending []lifecycle.Command
	fenced  map[string]bool // what each server was told last: to refuse writes, or to take them
	now     time.Time
	newID   func() string
	read    map[string]bool // by the decision before
}

func newCluster(replicas int) *cluster {
	c := &cluster{records: map[string]etcdschema.Instance{}, fenced: map[string]bool{}, now: start, newID: ids()}
	c.set = etcdschema.Set{ID: "set", Kind: etcdschema.SetReplication, Created: start}
	for n := range replicas + 1 {
		id, role := fmt.Sprintf("m%d", n), etcdschema.RoleReplica
		if n == 0 {
			role = etcdschema.RoleSource
		}
		c.set.Members = append(c.set.Members, etcdschema.SetMember{ID: id, Role: role, Address: "at host"})
		c.records[id] = etcdschema.Instance{
			ID: id, SetID: "set", Prepared: true, Host: "host", Address: "at host", Created: start, Service: datastores.Status{Service: datastores.StatusHealthy},
		}
	}
	return c
}

// member is an instance with its set.
func (c *cluster) member(id string) lifecycle.Member {
	m := lifecycle.Alone(c.records[id])
	if m.SetID != "" {
		m.Set = c.set
	}
	return m
}

func (c *cluster) status(id string) string { return lifecycle.Status(c.member(id)) }

// setAsks are what is asked of the set, by way of a member.
var setAsks = []lifecycle.EventType{lifecycle.AskPromote, lifecycle.AskEject, lifecycle.AskUpgradeSet}

// decide lets an event happen to a member, or to the set when its id is given or that is what is asked.
func (c *cluster) decide(id string, e lifecycle.Event) (lifecycle.Decision, error) {
	c.read = map[string]bool{}
	e.Read = func(id string) (etcdschema.Instance, error) { c.read[id] = true; return c.records[id], nil }
	if slices.Contains(setAsks, e.Type) {
		if c.records[id].SetID == "" {
			return lifecycle.Decision{}, &lifecycle.NotAllowed{Message: "it is alone"} // the gateway refuses it
		}
		if e.Type == lifecycle.AskUpgradeSet {
			if len(c.member(id).Replicas()) == 0 {
				return lifecycle.Decision{}, &lifecycle.NotAllowed{Message: "it is no source"} // so is this
			}
			e.Target = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2"}}
		}
		e.Member, id = id, "set"
	}
	if id == "set" {
		return lifecycle.DecideSet(c.set, e, c.now, c.newID)
	}
	return lifecycle.Decide(c.member(id), e, c.now, c.newID)
}

// write keeps what was decided, but for commands.
func (c *cluster) write(d lifecycle.Decision) {
	if d.Instance.ID != "" {
		c.records[d.Instance.ID] = d.Instance
	}
	for _, p := range d.Peers {
		c.records[p.ID] = p
	}
	if d.Gone {
		delete(c.records, d.Instance.ID)
	}
	if d.SetChanged {
		c.set = d.Set
	}
	if d.SetGone {
		c.set = etcdschema.Set{}
	}
}

// waiter is who waits for a command.
func waiter(c lifecycle.Command) string { return cmp.Or(c.Set, c.Waiter) }

// apply lets an event happen to a member and writes what is decided.
func (c *cluster) apply(id string, e lifecycle.Event) error {
	before := c.member(id)
	promoted := ""
	if op := c.set.Operation; id == "set" && op != nil {
		promoted = op.Lead
	}
	d, err := c.decide(id, e)
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
		if waiter(command) != "" {
			c.pending = append(c.pending, command)
		}
	}
	was := c.set.Source()
	c.write(d)
	if is := d.Set.Source(); promoted == is && was != is {
		c.fenced[is] = false // its guest has made it a source
	}
	if before.ReplicaOf() != "" && c.member(id).SetID == "" {
		c.fenced[id] = false // or independent
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
			if err := c.apply(waiter(p), e); err != nil {
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
		if got := c.status(id); got != want {
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
	if got := c.member("m1"); got.ReplicaOf() != "" || len(got.Replicas()) != 2 || lifecycle.Status(got) != "ACTIVE" {
		t.Errorf("the promoted: %+v", got)
	}
	errors := 0
	for _, id := range []string{"m0", "m2"} {
		if c.member(id).ReplicaOf() != "m1" {
			t.Errorf("%s follows %q", id, c.member(id).ReplicaOf())
		}
		if c.status(id) == "ERROR" {
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
		if in := c.records[id]; c.status(id) != "ERROR" || !strings.Contains(in.Fault.Message, "no writes") {
			t.Errorf("%s after the reset: %s, %+v", id, c.status(in.ID), in.Fault)
		}
	}
	_ = c.apply("m0", lifecycle.Event{Type: lifecycle.ResetStatus})
	if c.status("m0") != "ACTIVE" || c.fenced["m0"] {
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
	if in := c.records["m0"]; c.status("m0") != "ERROR" || !strings.HasPrefix(in.Fault.Message, "it has what the source has not. The action follow") {
		t.Errorf("what does not follow is %s after a reset and a restart: %+v", c.status(in.ID), in.Fault)
	}
	if err := c.apply("m0", lifecycle.Event{Type: lifecycle.AskDetach}); err != nil {
		t.Fatal(err)
	}
	c.answer(t, datastores.MethodDetachReplica, ``, nil)
	if in := c.records["m0"]; c.status("m0") != "ACTIVE" || in.Fault != nil {
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
	if in := c.records["m0"]; c.status("m0") != "ACTIVE" || c.fenced["m0"] {
		t.Errorf("after the reset: %s, refuses writes: %v", c.status(in.ID), c.fenced["m0"])
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
	if got := c.set.Operation; got == nil || got.Lead != "m2" || got.Step != string(lifecycle.Promoting) {
		t.Fatalf("m2 has most: %+v", got)
	}
	c.answer(t, datastores.MethodEnableAsMaster, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, nil)
	c.consistent(t)
	if got := c.member("m0"); lifecycle.Status(got) != "ERROR" || got.SetID != "" || got.Failed != lifecycle.Fence {
		t.Errorf("the ejected: %+v", got)
	}
	if got := c.member("m2").Replicas(); len(got) != 2 {
		t.Errorf("the elected has the replicas %v", got)
	}
}

// consistent holds for a set whatever is being done to it.
func (c *cluster) consistent(t fataler) {
	t.Helper()
	for id := range c.records {
		if m := c.member(id); lifecycle.Status(m) == lifecycle.StatusActive && m.ReplicaOf() == "" && c.fenced[id] {
			t.Fatalf("%s is shown as ACTIVE, and was told to refuse writes", id)
		}
		if (c.records[id].SetID != "") != (c.set.Member(id).ID != "") {
			t.Fatalf("%s is in the set %q, and the set is %+v", id, c.records[id].SetID, c.set)
		}
	}
	if c.set.ID == "" {
		return
	}
	sources := 0
	for _, m := range c.set.Members {
		if m.Role == etcdschema.RoleSource {
			sources++
		}
		if _, there := c.records[m.ID]; !there {
			t.Fatalf("the set has the member %s, which is not there", m.ID)
		}
	}
	if sources != 1 || len(c.set.Members) < 2 {
		t.Fatalf("a set of %d members has %d sources: %+v", len(c.set.Members), sources, c.set)
	}
	if op := c.set.Operation; op != nil && op.Deadline.IsZero() {
		t.Fatalf("the set waits for ever: %+v", op)
	}
}

func (c *cluster) busy() bool {
	for _, in := range c.records {
		if in.Operation != nil {
			return true
		}
	}
	return c.set.Operation != nil
}

// TestAnySetStaysConsistent asks the members of a set for things in any order, and lets commands end well, badly or not at all:
// records and set agree on who is in it, it has one source, and what is left alone has no set.
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
				lifecycle.AskPromote, lifecycle.AskEject, lifecycle.AskUpgradeSet, lifecycle.AskDetach, lifecycle.AskDelete, lifecycle.AskRestart, lifecycle.AskBackup,
				lifecycle.ResetStatus, lifecycle.Overdue, lifecycle.Done, lifecycle.Done, lifecycle.Done, lifecycle.Failed,
			}).Draw(t, "event")
			switch {
			case kind == lifecycle.AskDelete && len(c.member(id).Replicas()) > 0: // the gateway refuses it
			case kind == lifecycle.Done || kind == lifecycle.Failed:
				if len(c.pending) > 0 {
					p := rapid.SampledFrom(c.pending).Draw(t, "command")
					_ = c.apply(waiter(p), lifecycle.Event{Type: kind, Command: p.ID, Value: []byte(`{"id":"x","count":1,"backup_id":"b"}`), Error: agentpoll.Errorf(agentpoll.Internal, "broken")})
				}
			case kind == lifecycle.Overdue && rapid.Bool().Draw(t, "of the set"):
				_ = c.apply("set", lifecycle.Event{Type: kind})
			default:
				_ = c.apply(id, lifecycle.Event{Type: kind, Backup: "b"})
			}
			c.consistent(t)
		}
	})
}
