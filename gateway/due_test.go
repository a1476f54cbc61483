package gateway_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// restarting returns the id of an instance whose restart does not end before the returned function is called.
func restarting(t *testing.T, g *gatewaytest.Gateway, host *gatewaytest.Host) (id string, release func()) {
	t.Helper()
	c := g.Client(gatewaytest.Member)
	id = c.Create(t, "busy", "")
	release = host.Memory.Hold(c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0), datastores.MethodStart)
	t.Cleanup(release)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(id)+"/action", `{"restart":{}}`)
	return id, release
}

func record(t *testing.T, store *etcdschema.Store, id string) etcdschema.Instance {
	t.Helper()
	rec, err := etcdschema.Get(t.Context(), store, etcdschema.InstanceKey(gatewaytest.Project, id))
	if err != nil {
		t.Fatal(err)
	}
	return rec.Value
}

// dueKeys are those of instances.
func dueKeys(t *testing.T, store *etcdschema.Store) (names []string) {
	t.Helper()
	list, err := etcdschema.List(t.Context(), store, etcdschema.Dues(plan.DueInstance), etcdschema.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range list.Records {
		names = append(names, etcdschema.Dues(plan.DueInstance).Name(rec.Key))
	}
	return names
}

// faults counts the lines of an instance's timeline that tell of one.
func faults(t *testing.T, store *etcdschema.Store, id string) (n int) {
	t.Helper()
	list, err := etcdschema.List(t.Context(), store, etcdschema.Events(id), etcdschema.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range list.Records {
		if rec.Value.Kind == "fault" {
			n++
		}
	}
	return n
}

// TestDeadlineWithoutItsGateway ends the gateway that began an operation before the deadline: others that nobody asks anything, one of them
// started later, let it happen, once. An operation that ends well leaves no key.
func TestDeadlineWithoutItsGateway(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	first, second := gatewaytest.Start(t, etcd.Store(t)), gatewaytest.Start(t, etcd.Store(t))
	host := gatewaytest.StartHost(t, first, second.URL)
	id, _ := restarting(t, first, host)
	if got := dueKeys(t, store); len(got) != 1 || !strings.HasSuffix(got[0], id) || !record(t, store, id).Due.Equal(etcdschema.DueTime(record(t, store, id).Operation.Deadline)) {
		t.Errorf("keys of one restart: %v; its record: %+v", got, record(t, store, id))
	}
	first.Stop(t)
	expire(t, store, id, time.Now().Add(500*time.Millisecond))
	gatewaytest.Start(t, etcd.Store(t))
	until.True(t, soon, "the restart is overdue", func() bool { return record(t, store, id).Operation == nil })
	if got := record(t, store, id); got.Failed != "restart" || !got.Due.IsZero() || faults(t, store, id) != 1 {
		t.Errorf("it has failed at %q, is due at %s and has %d faults", got.Failed, got.Due, faults(t, store, id))
	}
	if got := dueKeys(t, store); len(got) != 0 {
		t.Errorf("keys are left: %v", got)
	}
}

// TestEarlyKeyMoves lets a key come due before its record's deadline, as progress leaves it: it goes on to the deadline, and nothing else
// happens; that deadline then counts.
func TestEarlyKeyMoves(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, etcd.Store(t))
	id, _ := restarting(t, g, gatewaytest.StartHost(t, g))
	deadline := record(t, store, id).Operation.Deadline
	expire(t, store, id, time.Now().Add(500*time.Millisecond))
	key := etcdschema.InstanceKey(gatewaytest.Project, id)
	if _, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		op := *rec.Value.Operation
		op.Deadline, rec.Value.Operation = deadline, &op
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
	}); err != nil {
		t.Fatal(err)
	}
	until.True(t, soon, "the key moves", func() bool { return record(t, store, id).Due.Equal(etcdschema.DueTime(deadline)) })
	if got := dueKeys(t, store); len(got) != 1 || record(t, store, id).Operation == nil {
		t.Errorf("keys: %v", got)
	}
	expire(t, store, id, time.Now())
	until.True(t, soon, "the restart is overdue", func() bool { return record(t, store, id).Operation == nil })
}

// TestDuesOfAnEarlierRelease starts a gateway over an operation that an earlier release has begun: it gets its key and comes to its end. While
// a gateway of that release runs, nobody believes that it was the last.
func TestDuesOfAnEarlierRelease(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	old := etcdschema.GatewayKey("01234567-89ab-7cde-8f01-23456789abcd")
	etcd.Put(t, old.String(), `{"v":1,"version":"0"}`)
	first := gatewaytest.Start(t, etcd.Store(t))
	host := gatewaytest.StartHost(t, first)
	id, _ := restarting(t, first, host)
	first.Stop(t)
	key := etcdschema.InstanceKey(gatewaytest.Project, id)
	if _, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in := rec.Value
		op := *in.Operation
		orphan := etcdschema.DueKey(plan.DueInstance, time.Now(), in.Project, in.ID)
		gone := etcdschema.Delete(etcdschema.DueKey(plan.DueInstance, in.Due, in.Project, in.ID))
		in.Due, op.Deadline, in.Operation = time.Time{}, time.Now().Add(time.Second), &op
		return []etcdschema.Op{gone, etcdschema.Put(orphan, etcdschema.Due{}), etcdschema.Put(key, in)}, err
	}); err != nil {
		t.Fatal(err)
	}
	second := gatewaytest.Start(t, etcd.Store(t))
	until.True(t, soon, "the restart is overdue", func() bool { return record(t, store, id).Operation == nil })
	until.True(t, soon, "no key is left", func() bool { return len(dueKeys(t, store)) == 0 })
	mark := etcdschema.TakenOverKey(etcdschema.TakenDueInstances)
	if _, err := etcdschema.Get(t.Context(), store, mark); err == nil {
		t.Error("the index is said to be complete while a gateway of an earlier release runs")
	}
	second.Stop(t)
	etcd.Delete(t, old.String())
	gatewaytest.Start(t, etcd.Store(t))
	until.True(t, soon, "the index is complete", func() bool {
		_, err := etcdschema.Get(t.Context(), store, mark)
		return err == nil
	})
}

// TestRemovalWithoutItsGateway has the store of blobs fail while the gateway that was asked to remove from it ends: another one removes the
// parts of a backup that failed, and the logs of an instance that was deleted.
func TestRemovalWithoutItsGateway(t *testing.T) {
	dir := t.TempDir()
	blobs, err := blobstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	stuck := &sticky{Store: blobs}
	stuck.sticks.Store(true)
	etcd, first, _ := start(t, func(c *gateway.Config) { c.Blobs = stuck })
	store := etcd.Store(t)
	c := first.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	good := backUp(t, c, id, "").Text("backup", "id")
	line := "a line"
	if err := blobs.Put(t.Context(), segments.LogsPrefix(gatewaytest.Project, id)+"/general/0", int64(len(line)), fmt.Sprintf("%x", sha256.Sum256([]byte(line))), strings.NewReader(line)); err != nil {
		t.Fatal(err)
	}
	instance := etcdschema.InstanceKey(gatewaytest.Project, id)
	if _, err := store.Update(t.Context(), []etcdschema.Ref{instance}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, instance)
		rec.Value.Logs = []string{"general"}
		return []etcdschema.Op{etcdschema.Put(instance, rec.Value)}, err
	}); err != nil {
		t.Fatal(err)
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.AwaitGone(t, id, soon)
	keys := func(kind string) []string {
		return slices.Collect(maps.Keys(etcd.All(t, etcdschema.Dues(kind).String())))
	}
	later := func(kind string) func() bool { // it has been tried, and is put off
		return func() bool {
			return slices.ContainsFunc(keys(kind), func(key string) bool {
				at, _, _, ok := etcdschema.ParseDueName(etcdschema.Dues(kind).Name(key))
				return ok && time.Until(at) > time.Minute
			})
		}
	}
	waitFor(t, later(plan.DueLogs))
	backup := etcdschema.BackupKey(gatewaytest.Project, good)
	if _, err := store.Update(t.Context(), []etcdschema.Ref{backup}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, backup)
		rec.Value.Status = etcdschema.BackupFailed
		return append(plan.DueRemoval(&rec.Value, time.Now(), time.Now()), etcdschema.Put(backup, rec.Value)), err
	}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, later(plan.DueBackup))
	first.Stop(t)
	if len(files(t, dir)) == 0 {
		t.Error("nothing is left: this test shows nothing")
	}

	stuck.sticks.Store(false)
	removalDue(t, store, good)
	old := keys(plan.DueLogs)
	etcd.Delete(t, old[0])
	etcd.Put(t, etcdschema.DueKey(plan.DueLogs, time.Now(), gatewaytest.Project, id).String(), `{"v":1}`)
	gatewaytest.Start(t, etcd.Store(t), func(c *gateway.Config) { c.Blobs = stuck })
	waitFor(t, func() bool {
		return len(files(t, dir)) == 0 && len(keys(plan.DueLogs)) == 0 && len(keys(plan.DueBackup)) == 0
	})
}
