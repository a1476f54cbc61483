package lifecycle_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// setAt builds a source m0 with the replicas m1 and m2, and the set at a step: of the ejection of m0, or of the promotion of m1.
func setAt(step lifecycle.Step) *cluster {
	c := newCluster(2)
	if step == lifecycle.Idle {
		return c
	}
	op := &etcdschema.SetOperation{Lead: "m1", Operation: etcdschema.Operation{
		Kind: lifecycle.Promote, Step: string(step), Since: start, Started: start, Deadline: start.Add(time.Minute), Agent: "m1", Command: "c0",
	}}
	switch step {
	case lifecycle.Electing:
		op.Kind, op.Lead, op.Agent, op.Waiting = lifecycle.Eject, "m0", "m1", []string{"m2"}
	case lifecycle.Fencing, lifecycle.Unfencing:
		op.Agent = "m0"
	case lifecycle.Rejoining:
		op.Agent, op.Command, op.Waiting = "", "", []string{"m2"}
	case lifecycle.Halting, lifecycle.Standing, lifecycle.Awaiting, lifecycle.Levelling:
		op.Kind, op.Lead, op.Waiting, op.Candidates, op.Acks = lifecycle.Arrange, "m0", []string{"m1", "m2"}, []string{"m1", "m2"}, 1
		c.set.Failover = &etcdschema.Failover{Acks: 1, Grace: 30, Candidates: op.Candidates}
		switch step {
		case lifecycle.Halting:
			op.Kind, op.Waiting = lifecycle.Failover, []string{"m2"}
		case lifecycle.Awaiting:
			op.Agent = "m0"
		case lifecycle.Levelling:
			op.Position = &datastores.Position{ID: "7", Count: 7}
		}
	case lifecycle.Inspecting, lifecycle.Renewing, lifecycle.Measuring, lifecycle.Reaching:
		op.Kind, op.Lead, op.Waiting = lifecycle.UpgradeSet, "m0", []string{"m1", "m2", "m0"}
		op.Target = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2"}}
		switch step {
		case lifecycle.Renewing:
			op.Command = ""
			in := c.records["m1"]
			in.Operation = &etcdschema.Operation{Kind: lifecycle.Upgrade, Step: string(lifecycle.Upgrading), Since: start, Started: start, Deadline: start.Add(time.Hour), Agent: "m1", Command: "c1", Target: op.Target}
			c.records["m1"] = in
		case lifecycle.Measuring:
			op.Agent = "m0"
		}
	}
	c.set.Operation = op
	return c
}

// setOutcome is what one cell of the table of sets leads to, in short.
type setOutcome struct {
	Step    lifecycle.Step
	Lead    string // its status: m1's, or of an ejection m0's
	Command string // method@agent
	Drop    string
	Refused bool
}

// TestSetTable holds every step of a set against every event: what is not listed must change nothing.
func TestSetTable(t *testing.T) {
	const fence, unfence = datastores.MethodMakeReadOnly + "@m0", datastores.MethodMakeReadOnly + "@m0"
	want := map[lifecycle.Step]map[lifecycle.EventType]setOutcome{
		lifecycle.Idle: {
			lifecycle.AskPromote:    {Step: lifecycle.Fencing, Lead: "PROMOTE", Command: fence},
			lifecycle.AskEject:      {Step: lifecycle.Electing, Lead: "EJECT", Command: datastores.MethodLatestTxn + "@m1"},
			lifecycle.AskUpgradeSet: {Step: lifecycle.Inspecting, Lead: "UPGRADE", Command: datastores.MethodCheckUpgrade + "@m1"},
		},
		lifecycle.Electing: {
			lifecycle.Done:    {Step: lifecycle.Electing, Lead: "EJECT", Command: datastores.MethodLatestTxn + "@m2"},
			lifecycle.Failed:  {Step: lifecycle.Electing, Lead: "EJECT", Command: datastores.MethodLatestTxn + "@m2", Drop: "c0@m1"},
			lifecycle.Overdue: {Step: lifecycle.Electing, Lead: "EJECT", Command: datastores.MethodLatestTxn + "@m2", Drop: "c0@m1"},
		},
		lifecycle.Fencing: {
			lifecycle.Done:    {Step: lifecycle.CatchingUp, Lead: "PROMOTE", Command: datastores.MethodWaitForTxn + "@m1"},
			lifecycle.Failed:  {Step: lifecycle.Unfencing, Lead: "PROMOTE", Command: unfence, Drop: "c0@m0"},
			lifecycle.Overdue: {Step: lifecycle.Unfencing, Lead: "PROMOTE", Command: unfence, Drop: "c0@m0"},
		},
		lifecycle.CatchingUp: {
			lifecycle.Done:    {Step: lifecycle.Promoting, Lead: "PROMOTE", Command: datastores.MethodEnableAsMaster + "@m1"},
			lifecycle.Failed:  {Step: lifecycle.Unfencing, Lead: "PROMOTE", Command: unfence, Drop: "c0@m1"},
			lifecycle.Overdue: {Step: lifecycle.Unfencing, Lead: "PROMOTE", Command: unfence, Drop: "c0@m1"},
		},
		lifecycle.Promoting: {
			lifecycle.Done:    {Lead: "ACTIVE"},
			lifecycle.Failed:  {Step: lifecycle.Unfencing, Lead: "PROMOTE", Command: unfence, Drop: "c0@m1"},
			lifecycle.Overdue: {Step: lifecycle.Promoting, Lead: "PROMOTE"},
		},
		lifecycle.Unfencing: {
			lifecycle.Done:    {Lead: "ERROR", Drop: "c0@m0"},
			lifecycle.Failed:  {Lead: "ERROR", Drop: "c0@m0"},
			lifecycle.Overdue: {Step: lifecycle.Unfencing, Lead: "PROMOTE"},
		},
		lifecycle.Rejoining: {
			lifecycle.Overdue: {Lead: "ACTIVE"},
		},
		lifecycle.Inspecting: {
			lifecycle.Done:    {Step: lifecycle.Inspecting, Lead: "UPGRADE", Command: datastores.MethodCheckUpgrade + "@m2"},
			lifecycle.Failed:  {Step: lifecycle.Inspecting, Lead: "UPGRADE", Command: datastores.MethodCheckUpgrade + "@m2"},
			lifecycle.Overdue: {Lead: "ACTIVE", Drop: "c0@m1"},
		},
		lifecycle.Renewing: {
			lifecycle.Overdue: {Step: lifecycle.Renewing, Lead: "UPGRADE"},
		},
		lifecycle.Measuring: {
			lifecycle.Done:    {Step: lifecycle.Reaching, Lead: "UPGRADE", Command: datastores.MethodWaitForTxn + "@m1"},
			lifecycle.Failed:  {Lead: "ACTIVE", Drop: "c0@m0"},
			lifecycle.Overdue: {Lead: "ACTIVE", Drop: "c0@m0"},
		},
		lifecycle.Reaching: {
			lifecycle.Done:    {Step: lifecycle.Renewing, Lead: "UPGRADE"},
			lifecycle.Failed:  {Lead: "ACTIVE", Drop: "c0@m1"},
			lifecycle.Overdue: {Lead: "ACTIVE", Drop: "c0@m1"},
		},
		lifecycle.Halting: {
			lifecycle.Done:    {Step: lifecycle.Halting, Lead: "EJECT", Command: datastores.MethodStand + "@m2"},
			lifecycle.Failed:  {Lead: "ACTIVE", Drop: "c0@m1"},
			lifecycle.Overdue: {Lead: "ACTIVE", Drop: "c0@m1"},
		},
		lifecycle.Standing: {
			lifecycle.Done:    {Step: lifecycle.Standing, Lead: "ACTIVE", Command: datastores.MethodStand + "@m2"},
			lifecycle.Failed:  {Lead: "ACTIVE", Drop: "c0@m1"},
			lifecycle.Overdue: {Lead: "ACTIVE", Drop: "c0@m1"},
		},
		lifecycle.Awaiting: {
			lifecycle.Done:    {Lead: "ACTIVE", Drop: "c0@m0"},
			lifecycle.Failed:  {Lead: "ACTIVE", Drop: "c0@m0"},
			lifecycle.Overdue: {Lead: "ACTIVE", Drop: "c0@m0"},
		},
		lifecycle.Levelling: {
			lifecycle.Done:    {Step: lifecycle.Levelling, Lead: "ACTIVE", Command: datastores.MethodWaitForTxn + "@m2"},
			lifecycle.Failed:  {Lead: "ACTIVE", Drop: "c0@m1"},
			lifecycle.Overdue: {Lead: "ACTIVE", Drop: "c0@m1"},
		},
	}
	for _, step := range []lifecycle.Step{lifecycle.Standing, lifecycle.Awaiting, lifecycle.Levelling} { // beside which anything is
		for _, ask := range setAsks {
			o := want[lifecycle.Idle][ask]
			if o.Drop = "c0@m1"; step == lifecycle.Awaiting {
				o.Drop = "c0@m0"
			}
			want[step][ask] = o
		}
	}
	events := append([]lifecycle.EventType{lifecycle.Done, lifecycle.Failed, lifecycle.Overdue}, setAsks...)
	var steps []lifecycle.Step
	for _, row := range lifecycle.SetSteps() {
		steps = append(steps, row.Step)
	}
	for _, step := range append(steps, lifecycle.Idle) {
		for _, kind := range events {
			c := setAt(step)
			c.now = start.Add(2 * time.Minute)
			e := lifecycle.Event{Type: kind, Command: "c0", Value: []byte(`{"id":"gtid-7","count":7}`)}
			if kind == lifecycle.Failed {
				e.Error = agentpoll.Errorf(agentpoll.Internal, "no space left on device")
			}
			lead, id := "m1", "set"
			if slices.Contains(setAsks, kind) {
				id = map[lifecycle.EventType]string{lifecycle.AskEject: "m0", lifecycle.AskPromote: "m1", lifecycle.AskUpgradeSet: "m0"}[kind]
			}
			if op := c.set.Operation; op != nil && op.Lead == "m0" || step == lifecycle.Idle && id == "m0" {
				lead = "m0"
			}
			before := c.status(lead)
			d, err := c.decide(id, e)
			if err == nil {
				c.write(d)
			}
			got := setOutcome{Step: lifecycle.SetStepOf(c.set), Lead: c.status(lead), Refused: err != nil}
			for _, command := range d.Commands {
				if command.Set != "" {
					got.Command = command.Method + "@" + command.Agent
				}
			}
			if d.Drop != nil {
				got.Drop = d.Drop.ID + "@" + d.Drop.Agent
			}
			expected, listed := want[step][kind]
			if !listed {
				expected = setOutcome{Step: step, Lead: before, Refused: strings.HasPrefix(string(kind), "ask_")}
				if d.Changed {
					t.Errorf("%q in step %q changed something", kind, step)
				}
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("%q in step %q (-want +got):\n%s", kind, step, diff)
			}
		}
	}
}

// TestALargeSetIsPromotedInSmallSteps: no decision reads or writes more than a few of a hundred members, and in the end all follow.
func TestALargeSetIsPromotedInSmallSteps(t *testing.T) {
	c := newCluster(100)
	if err := c.apply("m7", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
		t.Fatal(err)
	}
	follow := 0
	for len(c.pending) > 0 {
		p := c.pending[0]
		if p.Method == datastores.MethodAttachReplica {
			follow++
		}
		e := lifecycle.Event{Type: lifecycle.Done, Command: p.ID, Value: []byte(`{"id":"7","count":7}`)}
		d, err := c.decide(waiter(p), e)
		if err != nil || len(c.read) > 20 || len(d.Peers) > 10 {
			t.Fatalf("%s has read %d members and changed %d: %v", p.Method, len(c.read), len(d.Peers), err)
		}
		if err := c.apply(waiter(p), e); err != nil {
			t.Fatal(err)
		}
	}
	c.consistent(t)
	if follow != 100 || c.busy() || c.set.Source() != "m7" {
		t.Errorf("%d members were asked to follow %s; the set: %+v", follow, c.set.Source(), c.set.Operation)
	}
}

// TestAMemberThatIsBusyFollowsLater: what it does goes on, and when that has ended it follows.
func TestAMemberThatIsBusyFollowsLater(t *testing.T) {
	c := newCluster(2)
	if err := c.apply("m2", lifecycle.Event{Type: lifecycle.AskBackup, Backup: "b"}); err != nil {
		t.Fatal(err)
	}
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err != nil {
		t.Fatal(err)
	}
	c.answer(t, datastores.MethodMakeReadOnly, `{"id":"7","count":7}`, nil)
	c.answer(t, datastores.MethodWaitForTxn, ``, nil)
	c.answer(t, datastores.MethodEnableAsMaster, ``, nil)
	c.answer(t, datastores.MethodAttachReplica, ``, nil)
	if c.set.Operation == nil || c.status("m2") != "BACKUP" || c.status("m1") != "ACTIVE" {
		t.Fatalf("m2 makes a backup and is %s, m1 is %s; the set: %+v", c.status("m2"), c.status("m1"), c.set.Operation)
	}
	c.answer(t, datastores.MethodCreateBackup, `{"backup_id":"b"}`, nil)
	if lifecycle.StepOf(c.records["m2"]) != lifecycle.Following || c.set.Operation != nil {
		t.Errorf("after its backup m2 is %+v, the set %+v", c.records["m2"].Operation, c.set.Operation)
	}
}

// TestTheFirstReplicaMakesTheSet, and when only one member is left there is none.
func TestTheFirstReplicaMakesTheSet(t *testing.T) {
	c := &cluster{records: map[string]etcdschema.Instance{}, fenced: map[string]bool{}, now: start, newID: ids()}
	c.records["m0"] = etcdschema.Instance{
		ID: "m0", Prepared: true, Host: "host", Created: start, Locality: "affinity", Service: datastores.Status{Service: datastores.StatusHealthy},
	}
	for _, id := range []string{"m1", "m2"} {
		c.records[id] = etcdschema.Instance{ID: id, Host: "host", Created: start, ReplicationStrategy: "log"}
		m := lifecycle.Member{Instance: c.records[id], Set: c.set}
		d, err := lifecycle.Decide(m, lifecycle.Event{Type: lifecycle.Created, Source: "m0", Read: func(id string) (etcdschema.Instance, error) { return c.records[id], nil }}, start, c.newID)
		if err != nil {
			t.Fatal(err)
		}
		c.write(d)
		c.consistent(t)
	}
	if set := c.set; set.Source() != "m0" || len(set.Replicas()) != 2 || set.Locality != "affinity" || set.ReplicationStrategy != "log" {
		t.Errorf("the set: %+v", set)
	}
	for _, id := range []string{"m1", "m2"} {
		for _, e := range []lifecycle.Event{{Type: lifecycle.AskDelete}, {Type: lifecycle.Done}} {
			if op := c.records[id].Operation; op != nil {
				e.Command = op.Command
			}
			if err := c.apply(id, e); err != nil {
				t.Fatal(err)
			}
		}
		c.consistent(t)
	}
	if in := c.records["m0"]; c.set.ID != "" || in.SetID != "" || in.Locality != "affinity" || len(c.records) != 1 {
		t.Errorf("what is left: %+v, %+v", c.set, in)
	}
}
