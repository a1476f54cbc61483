package lifecycle_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// A replica that does not follow is ACTIVE but not HEALTHY, says so once, and is not promoted before it follows again.
func TestAReplicaThatDoesNotFollow(t *testing.T) {
	c := newCluster(2)
	report := func(f datastores.Following) (told []string) {
		t.Helper()
		before := c.member("m1")
		status := datastores.Status{Service: datastores.StatusHealthy, Replication: &f}
		d, err := lifecycle.Decide(before, lifecycle.Event{Type: lifecycle.Reported, Status: status}, c.now, c.newID)
		if err != nil {
			t.Fatal(err)
		}
		c.records["m1"] = d.Instance
		for _, e := range d.Events {
			told = append(told, e.Message)
		}
		return told
	}
	well := datastores.Following{Role: datastores.RoleReplica, Follows: true}
	if told := report(well); len(told) > 0 {
		t.Errorf("a replica that follows is told of: %s", told)
	}
	for why, f := range map[string]datastores.Following{
		"a row is missing":          {Role: datastores.RoleReplica, Why: "a row is missing"},
		"its server follows nobody": {Role: datastores.RoleSource},
	} {
		if told := strings.Join(report(f), ""); !strings.Contains(told, why) {
			t.Errorf("the timeline says %q", told)
		}
		if told := report(f); len(told) > 0 {
			t.Errorf("it is told twice: %s", told)
		}
		in := c.member("m1")
		if lifecycle.Status(in) != "ACTIVE" || lifecycle.OperatingStatus(in) != "RUNNING" || !strings.Contains(lifecycle.Next(in), why) {
			t.Errorf("it is %s, %s: %s", lifecycle.Status(in), lifecycle.OperatingStatus(in), lifecycle.Next(in))
		}
		var refused *lifecycle.Conflict
		if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); !errors.As(err, &refused) || !strings.Contains(refused.Message, why) {
			t.Errorf("its promotion: %v", err)
		}
		if len(c.pending) > 0 {
			t.Errorf("before a promotion is refused, %+v is asked for", c.pending)
		}
		if told := strings.Join(report(well), ""); !strings.Contains(told, "again") || lifecycle.OperatingStatus(c.member("m1")) != "HEALTHY" {
			t.Errorf("when it follows again the timeline says %q", told)
		}
	}
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
		t.Errorf("the promotion of one that follows: %v", err)
	}
}

// A replica follows again with what it has, or anew; a failure leaves it to be asked again.
func TestFollowAgain(t *testing.T) {
	for name, discard := range map[string]bool{"with what it has": false, "anew": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(2)
			in := c.records["m1"]
			in.Failed, in.Fault = lifecycle.Follow, &etcdschema.Fault{Message: "it does not follow"}
			c.records["m1"] = in
			last, reply, made := datastores.MethodAttachReplica, "null", etcdschema.MemberState("")
			if discard {
				last, reply, made = datastores.MethodPrepare, "{}", etcdschema.MemberMaking
			}
			begin := func() {
				t.Helper()
				if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskFollow, Discard: discard}); err != nil {
					t.Fatal(err)
				}
				if got := c.status("m1"); got != "BUILD" {
					t.Errorf("meanwhile it is %s", got)
				}
			}
			begin()
			c.answer(t, datastores.MethodReplicationSnapshot, "", &agentpoll.Error{Kind: agentpoll.Conflict, Message: "no"})
			if m := c.member("m1"); lifecycle.Status(m) != "ERROR" || m.Failed != lifecycle.Follow || !m.Prepared || m.Set.Member("m1").State != "" {
				t.Errorf("when its source does not let it in: %+v", m)
			}
			begin()
			c.answer(t, datastores.MethodReplicationSnapshot, "{}", nil)
			if state := c.set.Member("m1").State; state != made {
				t.Errorf("while it is made its state is %q, want %q", state, made)
			}
			c.answer(t, last, "", &agentpoll.Error{Kind: agentpoll.Conflict, Message: "it has what the source lacks"})
			m := c.member("m1")
			if lifecycle.Status(m) != "ERROR" || m.Prepared == discard || m.Restore != nil || !strings.Contains(lifecycle.Next(m), "action follow") {
				t.Errorf("after a failure: %+v; %s", m, lifecycle.Next(m))
			}
			begin() // anew, when it was thrown away, whatever is asked for
			c.answer(t, datastores.MethodReplicationSnapshot, "{}", nil)
			c.answer(t, last, reply, nil)
			m = c.member("m1")
			if lifecycle.Status(m) != "ACTIVE" || m.Fault != nil || m.ReplicaOf() != "m0" || m.Set.Member("m1").State != "" || len(c.pending) > 0 {
				t.Errorf("in the end: %+v", m)
			}
			c.consistent(t)
		})
	}
}

// Another replica is promoted while one is made to follow again: it follows that one in the end.
func TestFollowAgainDuringAPromotion(t *testing.T) {
	for name, admitted := range map[string]bool{"its source lets it in before": true, "its source lets it in after": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(2)
			if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskFollow}); err != nil {
				t.Fatal(err)
			}
			if err := c.apply("m2", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
				t.Fatal(err)
			}
			letIn := func() { c.answer(t, datastores.MethodReplicationSnapshot, "{}", nil) }
			if admitted {
				letIn()
			}
			c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
			c.answer(t, datastores.MethodWaitForTxn, ``, nil)
			c.answer(t, datastores.MethodEnableAsMaster, ``, nil)
			if admitted {
				c.answer(t, datastores.MethodAttachReplica, ``, nil)
			} else {
				letIn()
			}
			for range 2 {
				c.answer(t, datastores.MethodAttachReplica, ``, nil)
			}
			for _, id := range []string{"m0", "m1"} {
				if m := c.member(id); lifecycle.Status(m) != "ACTIVE" || m.ReplicaOf() != "m2" {
					t.Errorf("in the end: %+v", m)
				}
			}
			if len(c.pending) > 0 || c.set.Operation != nil {
				t.Errorf("in the end: %+v, %+v", c.pending, c.set.Operation)
			}
			c.consistent(t)
		})
	}
}

// A replica that never became ready begins anew, also when nobody has said so.
func TestFollowOfOneThatNeverWasReady(t *testing.T) {
	c := newCluster(1)
	in := c.records["m1"]
	in.Prepared, in.Failed = false, lifecycle.Create
	c.records["m1"] = in
	c.set.Members[1].State = etcdschema.MemberMaking
	for _, failure := range []*agentpoll.Error{{Kind: agentpoll.Conflict, Message: "no"}, nil} {
		if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskFollow}); err != nil {
			t.Fatal(err)
		}
		c.answer(t, datastores.MethodReplicationSnapshot, "{}", nil)
		c.answer(t, datastores.MethodPrepare, "{}", failure)
		want := "ACTIVE"
		if failure != nil {
			want = "ERROR"
		}
		if in = c.records["m1"]; c.status("m1") != want || in.Prepared != (failure == nil) || failure != nil && in.Failed != lifecycle.Create {
			t.Errorf("%+v", in)
		}
	}
	if state := c.set.Member("m1").State; state != "" {
		t.Errorf("in the end its state is %q", state)
	}
}
