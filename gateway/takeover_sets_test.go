package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// TestSetsOfTheReleaseBefore: instances whose records say by themselves whom they follow, one set at rest, one in the middle of a
// promotion, one that is ejected. A gateway makes sets of them before it serves, a second one finds that done, and results of commands that
// were sent before move the sets on.
func TestSetsOfTheReleaseBefore(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	id := func(set, n int) string { return fmt.Sprintf("00000000-0000-7000-8000-0000000000%d%d", set, n) }
	now := time.Now().UTC().Format(time.RFC3339)
	put := func(set, n int, more string) {
		etcd.Put(t, "/server/instances/"+gatewaytest.Project+"/"+id(set, n), fmt.Sprintf(`{"v":1,"id":%q,"project":%q,"name":"m%d","datastore":"memory","version":"1",`+
			`"manager":"memory","capabilities":["replication"],"flavor_id":"1","flavor":{"name":"small","ram":512,"vcpus":1,"disk":1},"created":%q,"updated":%q,`+
			`"prepared":true,"address":"127.98.9.%d%d","service":{"service":"healthy"},"last_event":1,%s}`, id(set, n), gatewaytest.Project, n, now, now, set, n, more))
	}
	operation := func(kind, step, agent, command, more string) string {
		return fmt.Sprintf(`"operation":{"kind":%q,"step":%q,"since":%q,"started":%q,"deadline":%q,"agent":%q,"command":%q%s}`,
			kind, step, now, now, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), agent, command, more)
	}
	replicas := func(set int) string {
		return fmt.Sprintf(`"locality":"affinity","replicas":[%q,%q]`, id(set, 1), id(set, 2))
	}
	replica := func(set int) string {
		return fmt.Sprintf(`"locality":"affinity","replica_of":%q,"replication_strategy":"memory"`, id(set, 0))
	}
	put(1, 0, replicas(1))
	put(1, 1, replica(1))
	put(1, 2, replica(1))
	held := func(kind string, set, by int) string {
		return fmt.Sprintf(`,"holds":[{"kind":%q,"by":%q}]`, kind, id(set, by))
	}
	put(2, 0, replicas(2)+held("promote", 2, 1))
	put(2, 1, replica(2)+","+operation("promote", "catch up", id(2, 1), id(2, 9),
		fmt.Sprintf(`,"members":[%q,%q],"position":{"id":"7","count":7}`, id(2, 0), id(2, 2))))
	put(2, 2, replica(2)+held("promote", 2, 1))
	put(3, 0, replicas(3)+","+operation("eject", "elect", id(3, 1), id(3, 9), fmt.Sprintf(`,"members":[%q,%q],"waiting":[%q]`, id(3, 1), id(3, 2), id(3, 2))))
	put(3, 1, replica(3)+held("eject", 3, 0))
	put(3, 2, replica(3)+held("eject", 3, 0))
	for set, method := range map[int]string{2: datastores.MethodWaitForTxn, 3: datastores.MethodLatestTxn} {
		of := map[int]int{2: 1, 3: 0}[set]
		etcd.Put(t, "/guest/commands/"+id(set, 1)+"/"+id(set, 9), fmt.Sprintf(`{"v":1,"id":%q,"method":%q,"deadline":%q,"project":%q,"instance":%q,"enqueued":%q,"step":true}`,
			id(set, 9), method, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), gatewaytest.Project, id(set, of), now))
	}
	alone := id(4, 0)
	put(4, 0, `"locality":"affinity"`)

	c := gatewaytest.Start(t, etcd.Store(t)).Client(gatewaytest.Member)
	gatewaytest.Start(t, etcd.Store(t))
	sets, err := etcdschema.List(t.Context(), store, etcdschema.Sets(gatewaytest.Project), etcdschema.Page{})
	if err != nil || len(sets.Records) != 3 {
		t.Fatalf("%d sets, %v: want 3", len(sets.Records), err)
	}
	by := map[string]etcdschema.Set{}
	for _, rec := range sets.Records {
		set := rec.Value
		by[set.Source()] = set
		if len(set.Replicas()) != 2 || set.Locality != "affinity" || set.ReplicationStrategy != "memory" || set.Members[1].Address == "" {
			t.Errorf("a set: %+v", set)
		}
	}
	for _, in := range []string{id(1, 0), id(1, 1), id(2, 1), id(3, 0), alone} {
		got := record(t, store, in)
		if got.Operation != nil || (got.SetID == "") != (in == alone) {
			t.Errorf("%s is in the set %q and does %+v", in, got.SetID, got.Operation)
		}
	}
	for set, want := range map[int]struct {
		lead   int
		step   lifecycle.Step
		status string
	}{2: {1, lifecycle.CatchingUp, "PROMOTE"}, 3: {0, lifecycle.Electing, "EJECT"}} {
		got := by[id(set, 0)]
		op := got.Operation
		if op == nil || op.Lead != id(set, want.lead) || op.Step != string(want.step) || op.Command != id(set, 9) || got.Due.IsZero() {
			t.Fatalf("the operation of set %d: %+v", set, op)
		}
		cmd, err := etcdschema.Get(t.Context(), store, etcdschema.CommandKey(id(set, 1), id(set, 9)))
		if err != nil || cmd.Value.Set != got.ID {
			t.Errorf("its command: %+v, %v", cmd.Value, err)
		}
		for n := range 3 {
			a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id(set, n)), "")
			if s := a.Text("instance", "status"); s != want.status {
				t.Errorf("member %d of set %d is %s", n, set, s)
			}
		}
	}
	if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id(1, 0)), ""); a.Text("instance", "replicas", 1, "id") != id(1, 2) || a.Text("instance", "status") == "PROMOTE" {
		t.Errorf("the source of the set at rest: %s", a.Body)
	}
	if op := by[id(3, 0)].Operation; !slices.Equal(op.Waiting, []string{id(3, 2)}) {
		t.Errorf("of the ejection %v are still to be asked", op.Waiting)
	}
	// Giving up works as ever: the promotion had come so far that the source refuses writes.
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(id(2, 1))+"/action", `{"reset_status":{}}`)
	pending, err := etcdschema.List(t.Context(), store, etcdschema.Commands(id(2, 0)), etcdschema.Page{})
	if err != nil || len(pending.Records) != 1 || pending.Records[0].Value.Method != datastores.MethodMakeReadOnly || strings.Contains(string(pending.Records[0].Value.Args), "true") {
		t.Errorf("the source is asked for %+v, %v", pending.Records, err)
	}
}

// TestStartReadsNoInstances has a gateway start over an instance that nobody can read, once an earlier start has looked at all there are.
func TestStartReadsNoInstances(t *testing.T) {
	etcd, first, _ := start(t)
	first.Stop(t)
	etcd.Put(t, etcdschema.InstanceKey(gatewaytest.Project, plan.NewID()).String(), "torn")
	gatewaytest.Start(t, etcd.Store(t))
}
