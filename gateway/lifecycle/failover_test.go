package lifecycle_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// A source that is lost while it is asked for whom it waits is replaced at once, and not when its answer is overdue.
func TestASourceThatIsLostWhileItIsAsked(t *testing.T) {
	for _, step := range []lifecycle.Step{lifecycle.Standing, lifecycle.Awaiting, lifecycle.Levelling} {
		c := setAt(step)
		look := lifecycle.Event{Type: lifecycle.AskFailover}
		if at := lifecycle.LookAt(c.set); !at.Equal(c.set.Failover.Check) {
			t.Errorf("%q: the set is looked at %v", step, at)
		}
		if err := c.apply("set", look); err != nil || lifecycle.SetStepOf(c.set) != step || !c.set.Failover.Check.After(c.now) {
			t.Errorf("%q: a look at a source that is there: %v, %+v", step, err, c.set.Operation)
		}
		look.Gone = map[string]time.Time{"m0": c.now.Add(-time.Minute)}
		d, err := c.decide("set", look)
		if err != nil {
			t.Fatal(err)
		}
		if got := lifecycle.SetStepOf(d.Set); got != lifecycle.Halting || d.Drop == nil || d.Drop.ID != "c0" || len(d.Commands) != 1 || d.Commands[0].Method != datastores.MethodStand || !d.Commands[0].ReadOnly {
			t.Errorf("%q: a look at a source that is lost leads to %q, %+v, %+v", step, got, d.Drop, d.Commands)
		}
		if step := lifecycle.LookAt(d.Set); !step.IsZero() {
			t.Errorf("a set that fails over is looked at %v", step)
		}
	}
}

// Who has come furthest and is being deleted is not promoted: nobody would hear of it.
func TestTheFurthestCandidateIsBeingDeleted(t *testing.T) {
	c := setAt(lifecycle.Halting)
	c.set.Operation.Agent, c.set.Operation.Waiting = "m2", nil
	c.set.Operation.Votes = map[string]datastores.Position{"m1": {ID: "9", Count: 9}}
	in := c.records["m1"]
	in.Operation = &etcdschema.Operation{Kind: lifecycle.Delete, Step: string(lifecycle.Removing), Deadline: c.now.Add(time.Hour)}
	c.records["m1"] = in
	if err := c.apply("set", lifecycle.Event{Type: lifecycle.Done, Command: "c0", Value: []byte(`{"id":"7","count":7}`)}); err != nil {
		t.Fatal(err)
	}
	if c.set.Operation != nil || c.set.Failover.Said == "" || len(c.pending) > 0 {
		t.Errorf("the set is at %+v and says %q; pending: %+v", c.set.Operation, c.set.Failover.Said, c.pending)
	}
}

// A replica that could not be made to follow the source may follow the one before, and says that it follows.
func TestAReplicaOfAnotherIsNoCandidate(t *testing.T) {
	c := newCluster(2)
	c.set.Failover = &etcdschema.Failover{Acks: 2, Grace: 30, Strict: true}
	for _, id := range []string{"m1", "m2"} {
		in := c.records[id]
		in.Service.Replication = &datastores.Following{Role: datastores.RoleReplica, Follows: true}
		if id == "m2" {
			in.Failed = lifecycle.Follow
		}
		c.records[id] = in
	}
	if err := c.apply("set", lifecycle.Event{Type: lifecycle.AskFailover}); err != nil {
		t.Fatal(err)
	}
	if c.set.Operation != nil || c.set.Failover.Said == "" {
		t.Errorf("the set is at %+v and says %q", c.set.Operation, c.set.Failover.Said)
	}
}

// A server that cannot follow the source of a failover, as one whose volume is full, is asked again by its set, and made anew when it has what the source lacks. What a
// person asks it to keep it keeps.
func TestAServerThatRejoinsLater(t *testing.T) {
	for name, asked := range map[string]bool{"by its set": false, "by a person": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(2)
			c.set.Failover = &etcdschema.Failover{Acks: 1, Grace: 3}
			in := c.records["m1"]
			in.Operation = &etcdschema.Operation{Kind: lifecycle.Failover, Step: string(lifecycle.Following), Since: c.now, Started: c.now, Deadline: c.now.Add(time.Minute), Agent: "m1", Command: "c0"}
			c.records["m1"] = in
			full := lifecycle.Event{Type: lifecycle.Failed, Command: "c0", Error: &agentpoll.Error{Kind: agentpoll.Full, Message: "the volume is full"}}
			if err := c.apply("m1", full); err != nil {
				t.Fatal(err)
			}
			if m := c.member("m1"); lifecycle.Status(m) != "ERROR" || !strings.Contains(m.Fault.Message, "the volume is full") || !strings.Contains(lifecycle.Next(m), "try again") {
				t.Errorf("when its volume is full: %+v; %s", m, lifecycle.Next(m))
			}
			in = c.records["m1"]
			in.Service.Service = datastores.StatusShutdown // it was stopped for that
			c.records["m1"] = in
			again := func(after time.Duration) {
				t.Helper()
				c.now = c.now.Add(after)
				ask, of := lifecycle.Event{Type: lifecycle.AskFailover}, "set"
				if asked {
					ask, of = lifecycle.Event{Type: lifecycle.AskFollow, Request: "req-1"}, "m1"
				}
				if err := c.apply(of, ask); err != nil {
					t.Fatal(err)
				}
			}
			if !asked {
				again(time.Second)
				if op := c.records["m1"].Operation; op != nil {
					t.Errorf("a second after it has failed it is asked again: %+v", op)
				}
			}
			again(time.Minute)
			c.answer(t, datastores.MethodReplicationSnapshot, "{}", nil)
			c.answer(t, datastores.MethodAttachReplica, "", &agentpoll.Error{Kind: agentpoll.Conflict, Message: "it has what the source lacks"})
			m := c.member("m1")
			if asked {
				if lifecycle.Status(m) != "ERROR" || m.Failed != lifecycle.Follow {
					t.Errorf("what a person asked it to keep: %+v", m)
				}
				return
			}
			if lifecycle.StepOf(m.Instance) != lifecycle.Snapshotting {
				t.Fatalf("with what the source lacks it is at %q: %+v", lifecycle.StepOf(m.Instance), m)
			}
			c.answer(t, datastores.MethodReplicationSnapshot, "{}", nil)
			c.answer(t, datastores.MethodPrepare, "{}", nil)
			if m = c.member("m1"); lifecycle.Status(m) != "ACTIVE" || m.Failed != "" || m.Fault != nil {
				t.Errorf("in the end: %+v", m)
			}
			c.consistent(t)
		})
	}
}

// When the last replica leaves, what its source was asked about it is withdrawn.
func TestTheLastCandidateLeaves(t *testing.T) {
	c := newCluster(1)
	c.set.Failover = &etcdschema.Failover{Acks: 1, Grace: 30}
	in := c.records["m1"]
	in.Service.Replication = &datastores.Following{Role: datastores.RoleReplica, Follows: true}
	c.records["m1"] = in
	look := lifecycle.Event{Type: lifecycle.AskFailover}
	if err := c.apply("set", look); err != nil {
		t.Fatal(err)
	}
	c.answer(t, datastores.MethodStand, `{}`, nil)
	asked := c.set.Operation.Command
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskDelete}); err != nil {
		t.Fatal(err)
	}
	d, err := c.decide("m1", lifecycle.Event{Type: lifecycle.Done, Command: c.records["m1"].Operation.Command})
	if err != nil || !d.SetGone || d.Drop == nil || d.Drop.ID != asked {
		t.Errorf("the last replica leaves while its source is asked by %s: %+v, %v", asked, d.Drop, err)
	}
}

// A candidate that ceases may be the only one that has what was acknowledged for its sake: it is one in etcd until the others have that.
func TestACandidateCeases(t *testing.T) {
	c := setAt(lifecycle.Awaiting) // m1 and m2 are candidates
	c.set.Operation.Candidates, c.set.Operation.Waiting = []string{"m1"}, nil
	if err := c.apply("set", lifecycle.Event{Type: lifecycle.Done, Command: "c0", Value: []byte(`{"id":"7","count":7}`)}); err != nil {
		t.Fatal(err)
	}
	if got := lifecycle.SetStepOf(c.set); got != lifecycle.Levelling || c.set.Operation.Agent != "m1" || len(c.set.Failover.Candidates) != 2 {
		t.Fatalf("the set is at %q, of %+v; candidates: %v", got, c.set.Operation, c.set.Failover.Candidates)
	}
	c.answer(t, datastores.MethodWaitForTxn, `{}`, nil)
	if c.set.Operation != nil || !slices.Equal(c.set.Failover.Candidates, []string{"m1"}) {
		t.Errorf("the set is at %+v; candidates: %v", c.set.Operation, c.set.Failover.Candidates)
	}
}

// TestFailoversAreCounted: a set knows how many failovers it had, and for how long it had no source, from when its guest was last there.
func TestFailoversAreCounted(t *testing.T) {
	c := setAt(lifecycle.Awaiting)
	look := lifecycle.Event{Type: lifecycle.AskFailover, Gone: map[string]time.Time{"m0": c.now.Add(-time.Minute)}}
	if err := c.apply("set", look); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if c.set.Operation == nil || c.set.Source() != "m0" {
			break
		}
		c.now = c.now.Add(5 * time.Second)
		if err := c.apply("set", lifecycle.Event{Type: lifecycle.Done, Command: c.set.Operation.Command, Value: []byte(`{"id":"7","count":7}`)}); err != nil {
			t.Fatal(err)
		}
	}
	f := c.set.Failovers
	if c.set.Source() == "m0" || f.Count != 1 || !f.Last.Equal(c.now) || f.Seconds < 65 || f.Seconds > 110 || f.Total != f.Seconds || !c.set.Failover.Lost.IsZero() {
		t.Errorf("source %s, %+v", c.set.Source(), f)
	}
}

// A member that is away after a failover is a candidate of a bounded set no longer than for the grace period, so that the next source can be lost, too. It
// is let in anew when it is back.
func TestWhoIsAwayAfterAFailoverIsNoCandidate(t *testing.T) {
	for name, kind := range map[string]string{lifecycle.Rejoin: lifecycle.Failover, lifecycle.Stray: lifecycle.Promote} {
		t.Run(kind, func(t *testing.T) {
			c := newCluster(3)
			c.set = c.set.With("m0", func(m *etcdschema.SetMember) { m.Role = etcdschema.RoleReplica }).With("m1", func(m *etcdschema.SetMember) { m.Role = etcdschema.RoleSource })
			c.set.Failover = &etcdschema.Failover{Acks: 1, Grace: 30, Bounded: true, Waits: true, Candidates: []string{"m0", "m2", "m3"}}
			old := c.records["m0"]
			old.Operation = &etcdschema.Operation{Kind: kind, Step: string(lifecycle.Following), Since: c.now, Started: c.now, Deadline: c.now.Add(30 * time.Minute), Agent: "m0", Command: "c0"}
			c.records["m0"], c.pending = old, []lifecycle.Command{{ID: "c0", Waiter: "m0", Agent: "m0", Method: datastores.MethodAttachReplica}}
			for _, id := range []string{"m2", "m3"} {
				in := c.records[id]
				in.Service.Replication = &datastores.Following{Role: datastores.RoleReplica, Follows: true}
				c.records[id] = in
			}
			look := lifecycle.Event{Type: lifecycle.AskFailover, Gone: map[string]time.Time{"m0": c.now}}
			c.now = c.now.Add(20 * time.Second)
			if err := c.apply("set", look); err != nil || c.records["m0"].Operation == nil || c.set.Operation != nil {
				t.Fatalf("before the grace period: %v, %+v, %+v", err, c.records["m0"].Operation, c.set.Operation)
			}
			c.now = c.now.Add(20 * time.Second)
			if err := c.apply("set", look); err != nil {
				t.Fatal(err)
			}
			m := c.member("m0")
			if m.Operation != nil || m.Failed != name || !strings.Contains(m.Fault.Message, "its guest is away") || len(c.pending) != 1 || !slices.Equal(c.set.Operation.Ceased, []string{"m0"}) {
				t.Fatalf("after it: %+v, %q; pending: %+v; the set is at %+v", m.Operation, m.Failed, c.pending, c.set.Operation)
			}
			c.answer(t, datastores.MethodAwaitReplicas, `{"id":"7","count":7}`, nil) // at the source first: m0 is shut out
			for range 2 {
				if len(c.set.Failover.Candidates) != 3 {
					t.Fatalf("before the others have what the source has, the candidates are %v", c.set.Failover.Candidates)
				}
				c.answer(t, datastores.MethodWaitForTxn, `{}`, nil)
			}
			if !slices.Equal(c.set.Failover.Candidates, []string{"m2", "m3"}) {
				t.Errorf("the candidates are %v", c.set.Failover.Candidates)
			}
			c.now = c.now.Add(time.Minute)
			if err := c.apply("set", lifecycle.Event{Type: lifecycle.AskFailover}); err != nil || lifecycle.StepOf(c.records["m0"]) != lifecycle.Admitting || !slices.Contains(c.set.Failover.Candidates, "m0") {
				t.Errorf("when it is back: %v, %+v, candidates %v", err, c.records["m0"].Operation, c.set.Failover.Candidates)
			}
			c.consistent(t)
		})
	}
}
