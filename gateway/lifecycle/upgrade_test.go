package lifecycle_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestUpgradeIntoAnotherImage: the server is stopped while the image that it runs in is exchanged. Whatever fails until the data
// was touched, the former version runs again, in the former image.
func TestUpgradeIntoAnotherImage(t *testing.T) {
	ask := event(lifecycle.AskUpgrade, etcdschema.Instance{})
	ask.Target = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2", Image: "newer"}}
	invalid := &agentpoll.Error{Kind: agentpoll.Invalid, Message: "it does not fit"}
	type step struct {
		event lifecycle.EventType
		want  lifecycle.Step
	}
	begin := []step{{lifecycle.AskUpgrade, lifecycle.Stopping}}
	back := []step{{lifecycle.Done, lifecycle.Starting}, {lifecycle.Done, lifecycle.Idle}}
	for name, c := range map[string]struct {
		steps          []step
		image, version string
		fault          bool
	}{
		"through":                  {append(begin, step{lifecycle.Done, lifecycle.Equipping}, step{lifecycle.Done, lifecycle.Upgrading}, step{lifecycle.Done, lifecycle.Idle}), "newer", "2", false},
		"the server does not stop": {append(begin, step{lifecycle.Failed, lifecycle.Starting}, step{lifecycle.Done, lifecycle.Idle}), "older", "1", true},
		"the image is not there":   {append(append(begin, step{lifecycle.Done, lifecycle.Equipping}, step{lifecycle.Failed, lifecycle.Reverting}), back...), "older", "1", true},
		"the data does not fit":    {append(append(begin, step{lifecycle.Done, lifecycle.Equipping}, step{lifecycle.Done, lifecycle.Upgrading}, step{lifecycle.Failed, lifecycle.Reverting}), back...), "older", "1", true},
	} {
		in := at(lifecycle.Idle)
		in.SetID, in.Version, in.Image = "", "1", "older"
		for i, s := range c.steps {
			e := event(s.event, in)
			if s.event == lifecycle.AskUpgrade {
				e = ask
			}
			if s.event == lifecycle.Failed {
				e.Error = invalid
			}
			d, err := lifecycle.Decide(member(in), e, start, ids())
			if err != nil || lifecycle.StepOf(d.Instance) != s.want {
				t.Fatalf("%s, event %d: step %q (err %v), want %q", name, i, lifecycle.StepOf(d.Instance), err, s.want)
			}
			in = d.Instance
		}
		if in.Image != c.image || in.Version != c.version || (in.Fault != nil) != c.fault || in.Service.Service != datastores.StatusHealthy {
			t.Errorf("%s: image %q, version %q, fault %+v, service %s", name, in.Image, in.Version, in.Fault, in.Service.Service)
		}
	}
	if ask.Target.Version.FormerImage != "" {
		t.Error("the target that was asked for is changed")
	}
}

// renew lets the upgrade of the member whose turn it is end, and has a replica follow again.
func renew(t *testing.T, c *cluster, id string, failure *agentpoll.Error) {
	t.Helper()
	if c.set.Operation == nil || c.set.Operation.Step != string(lifecycle.Renewing) || c.records[id].Operation == nil {
		t.Fatalf("it is not the turn of %s: %+v", id, c.set.Operation)
	}
	c.answer(t, deployments.MethodLaunch, ``, nil)
	c.answer(t, datastores.MethodUpgrade, ``, failure)
	if failure == nil && c.member(id).ReplicaOf() != "" {
		c.answer(t, datastores.MethodLatestTxn, `{"id":"7","count":7}`, nil)
		c.answer(t, datastores.MethodWaitForTxn, ``, nil)
	}
	c.consistent(t)
}

func inspect(t *testing.T, c *cluster, members int) {
	t.Helper()
	if err := c.apply("m0", lifecycle.Event{Type: lifecycle.AskUpgradeSet}); err != nil {
		t.Fatal(err)
	}
	for range members {
		c.answer(t, datastores.MethodCheckUpgrade, ``, nil)
	}
}

func (c *cluster) versions() string {
	var all []string
	for _, m := range c.set.Members {
		all = append(all, m.ID+"="+c.records[m.ID].Version)
	}
	return strings.Join(all, " ")
}

// TestASetIsUpgradedOneAfterTheOther: all look first, the source is last, what has failed stops it, and asked again it goes on there.
func TestASetIsUpgradedOneAfterTheOther(t *testing.T) {
	c := newCluster(2)
	inspect(t, c, 3)
	for id, want := range map[string]string{"m0": "UPGRADE", "m1": "UPGRADE", "m2": "UPGRADE"} {
		if got := c.status(id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	if err := lifecycle.Serves(c.member("m0")); err != nil {
		t.Errorf("the source cannot be used while a replica is upgraded: %v", err)
	}
	if lifecycle.Leads(c.member("m0")) == nil {
		t.Error("a new replica may be made of a source that is to be upgraded")
	}
	renew(t, c, "m1", nil)
	renew(t, c, "m2", agentpoll.Errorf(agentpoll.Internal, "no space left on device"))
	if f := c.records["m0"].Fault; c.set.Operation != nil || c.status("m0") != "ACTIVE" || c.status("m2") != "ERROR" || f == nil || !strings.Contains(f.Message, "member m2: no space") {
		t.Errorf("after a failure: %s and %s, %+v", c.status("m0"), c.status("m2"), f)
	}
	if err := c.apply("m1", lifecycle.Event{Type: lifecycle.AskPromote}); err == nil {
		t.Error("a newer replica is promoted; its source could not follow it")
	}
	inspect(t, c, 2)
	renew(t, c, "m2", nil)
	renew(t, c, "m0", nil)
	if got := c.versions(); got != "m0=2 m1=2 m2=2" || c.busy() || c.records["m0"].Fault != nil {
		t.Errorf("in the end %s, %+v, %+v", got, c.set.Operation, c.records["m0"].Fault)
	}
	if err := c.apply("m0", lifecycle.Event{Type: lifecycle.AskUpgradeSet}); err == nil {
		t.Error("a set that has the version is upgraded to it")
	}
}

// TestAnObstacleAtAnyMemberStopsTheUpgradeOfASet before anything is changed; a member that is not well is refused at once.
func TestAnObstacleAtAnyMemberStopsTheUpgradeOfASet(t *testing.T) {
	c := newCluster(2)
	inspect(t, c, 2)
	c.answer(t, datastores.MethodCheckUpgrade, ``, agentpoll.Errorf(agentpoll.Invalid, "transaction 7 is prepared"))
	if f := c.records["m0"].Fault; c.busy() || f == nil || !strings.Contains(f.Message, "member m0: transaction 7") || c.versions() != "m0= m1= m2=" {
		t.Errorf("%s, %+v", c.versions(), f)
	}
	for name, spoil := range map[string]func(*etcdschema.Instance){
		"down":   func(in *etcdschema.Instance) { in.Service.Service = datastores.StatusCrashed },
		"failed": func(in *etcdschema.Instance) { in.Failed = lifecycle.Restart },
		"busy":   func(in *etcdschema.Instance) { in.Operation = &etcdschema.Operation{Kind: lifecycle.Backup} },
		"astray": func(in *etcdschema.Instance) {
			in.Service.Replication = &datastores.Following{Role: datastores.RoleReplica, Why: "the log is gone"}
		},
	} {
		c := newCluster(2)
		in := c.records["m2"]
		spoil(&in)
		c.records["m2"] = in
		if err := c.apply("m0", lifecycle.Event{Type: lifecycle.AskUpgradeSet}); err == nil || !strings.Contains(err.Error(), "m2") {
			t.Errorf("with a member that is %s: %v", name, err)
		}
	}
}

// TestDeleteDuringTheUpgradeOfASet: the replica whose turn it is, or a later one, is deleted at any step; the rest goes on to the end.
func TestDeleteDuringTheUpgradeOfASet(t *testing.T) {
	steps := []struct{ method, value string }{
		{datastores.MethodCheckUpgrade, ``}, {datastores.MethodCheckUpgrade, ``}, {datastores.MethodCheckUpgrade, ``}, {deployments.MethodLaunch, ``},
		{datastores.MethodUpgrade, ``}, {datastores.MethodLatestTxn, `{"id":"7","count":7}`}, {datastores.MethodWaitForTxn, ``},
	}
	for n := range len(steps) + 1 {
		for _, victims := range [][]string{{"m1"}, {"m2"}, {"m2", "m1"}} {
			c := newCluster(2)
			if err := c.apply("m0", lifecycle.Event{Type: lifecycle.AskUpgradeSet}); err != nil {
				t.Fatal(err)
			}
			for _, s := range steps[:n] {
				c.answer(t, s.method, s.value, nil)
			}
			for _, id := range victims {
				if err := c.apply(id, lifecycle.Event{Type: lifecycle.AskDelete}); err != nil {
					t.Fatal(err)
				}
				c.answer(t, deployments.MethodRemove, ``, nil)
			}
			for c.set.ID != "" && c.busy() || c.records["m0"].Operation != nil {
				p := c.pending[0]
				c.answer(t, p.Method, `{"id":"7","count":7}`, nil)
				c.consistent(t)
			}
			left := slices.ContainsFunc([]string{"m1", "m2"}, func(id string) bool { in, is := c.records[id]; return is && in.Version != "2" })
			if left || c.set.ID != "" && c.records["m0"].Version != "2" || len(c.pending) > 0 {
				t.Errorf("%v deleted after %d steps: %+v, pending %+v", victims, n, c.records, c.pending)
			}
		}
	}
}
