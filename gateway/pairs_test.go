package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// call is one of two that are made at once.
type call struct{ method, path, body string }

// arena is where pairs of calls meet: two gateways over one etcd, and an instance that stays.
type arena struct {
	*testing.T
	store *etcdschema.Store
	by    [2]gatewaytest.Client
	admin gatewaytest.Client
	host  *gatewaytest.Host
	db    string
}

// pairs are calls that make a reference, each with one that removes what is referred to. serial are the statuses of both, in
// their order, that come when one is made after the other, in either order.
var pairs = []struct {
	name   string
	make   func(a *arena) (refer, remove call)
	serial [][2]int
}{
	{"incremental and its parent", func(a *arena) (call, call) {
		parent := a.backup()
		return call{http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"i","instance":%q,"parent_id":%q}}`, a.db, parent)}, call{http.MethodDelete, "/backups/" + parent, ""}
	}, [][2]int{{202, 422}, {202, 202}, {404, 202}}}, // 202, 202: the incremental one was complete, and goes with its parent
	{"restore and its backup", func(a *arena) (call, call) {
		backup := a.backup()
		return create(fmt.Sprintf(`"restorePoint":{"backupRef":%q}`, backup)), call{http.MethodDelete, "/backups/" + backup, ""}
	}, [][2]int{{200, 409}, {200, 202}, {404, 202}}}, // 200, 202: the restore had ended
	{"one backup twice", func(a *arena) (call, call) {
		backup := call{http.MethodDelete, "/backups/" + a.backup(), ""}
		return backup, backup
	}, [][2]int{{202, 404}, {404, 202}}},
	{"create and its configuration group", func(a *arena) (call, call) {
		group := a.group()
		return create(fmt.Sprintf(`"configuration":%q`, group)), call{http.MethodDelete, "/configurations/" + group, ""}
	}, [][2]int{{200, 400}, {404, 202}}},
	{"attach and its configuration group", func(a *arena) (call, call) {
		a.by[0].Want(a, 202, http.MethodPut, gatewaytest.Instance(a.db), `{"instance":{}}`)
		group := a.group()
		return call{http.MethodPut, gatewaytest.Instance(a.db), fmt.Sprintf(`{"instance":{"configuration":%q}}`, group)}, call{http.MethodDelete, "/configurations/" + group, ""}
	}, [][2]int{{202, 400}, {404, 202}}},
	{"replica and its source", func(a *arena) (call, call) {
		source := a.by[0].Create(a, "source", "")
		a.by[0].Await(a, source, "ACTIVE", soon)
		return call{http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"replica","replica_of":%q}}`, source)}, call{http.MethodDelete, gatewaytest.Instance(source), ""}
	}, [][2]int{{200, 403}, {404, 202}, {422, 202}}}, // 422: the source is being removed
	{"two backups and a quota of one more", func(a *arena) (call, call) {
		used := a.admin.Want(a, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 3, "in_use").(float64)
		a.admin.Want(a, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, fmt.Sprintf(`{"quotas":{"backups":%d}}`, int(used)+1))
		backup := call{http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"q","instance":%q}}`, a.db)}
		return backup, backup
	}, [][2]int{{202, 422}, {422, 202}, {202, 413}, {413, 202}}}, // 422: the first is still being made
	{"two instances and a quota of one more", func(a *arena) (call, call) {
		used := a.admin.Want(a, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 0, "in_use").(float64)
		a.admin.Want(a, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, fmt.Sprintf(`{"quotas":{"instances":%d}}`, int(used)+1))
		return create(`"access":{"is_public":false}`), create(`"access":{"is_public":false}`)
	}, [][2]int{{200, 413}, {413, 200}}},
}

func create(with string) call {
	return call{http.MethodPost, "/instances", `{"instance":{"name":"new","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},` + with + `}}`}
}

// TestTwoCallsAtOnce makes the calls of each pair together, through two gateways: what comes is what one of the two orders
// gives, and nothing refers to what is not there.
func TestTwoCallsAtOnce(t *testing.T) {
	for _, p := range pairs {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			a := newArena(t)
			for round := range 5 {
				refer, remove := p.make(a)
				got := a.both(refer, remove, round%2)
				if !slices.Contains(p.serial, [2]int{got[0].Status, got[1].Status}) {
					t.Errorf("%d %s and %d %s together; want one of %v", got[0].Status, got[0].Body, got[1].Status, got[1].Body, p.serial)
				}
				a.settle()
			}
		})
	}
}

func newArena(t *testing.T) *arena {
	t.Helper()
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	_, option := stored(t)
	one := gatewaytest.Start(t, store, option)
	two := gatewaytest.Start(t, etcd.Store(t), option)
	if err := one.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	host := gatewaytest.StartHost(t, one, two.URL)
	a := &arena{T: t, store: store, host: host, by: [2]gatewaytest.Client{one.Client(gatewaytest.Member), two.Client(gatewaytest.Member)}, admin: one.Client(gatewaytest.Admin)}
	a.admin.Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"instances":-1,"volumes":-1,"backups":-1}}`)
	a.db = a.by[0].Create(t, "db", "")
	a.by[0].Await(t, a.db, "ACTIVE", soon)
	return a
}

func (a *arena) backup() string {
	a.Helper()
	b := backUp(a.T, a.by[0], a.db, "")
	if b.Text("backup", "status") != "COMPLETED" {
		a.Fatalf("the backup that is to be fought over: %s", b.Body)
	}
	return b.Text("backup", "id")
}

func (a *arena) group() string {
	a.Helper()
	return a.by[0].Want(a, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","values":{"cache_mb":64},"datastore":{"type":"memory","version":"1"}}}`).Text("configuration", "id")
}

// both makes two calls together, through two gateways; swapped by turns.
func (a *arena) both(one, other call, turn int) (got [2]gatewaytest.Answer) {
	a.Helper()
	begin, done := make(chan struct{}), make(chan error, 2)
	for i, c := range []call{one, other} {
		go func() {
			<-begin
			var err error
			got[i], err = a.by[(i+turn)%2].Try(c.method, c.path, c.body)
			done <- err
		}()
	}
	close(begin)
	for range 2 {
		if err := <-done; err != nil {
			a.Fatal(err)
		}
	}
	return got
}

// settle waits until nothing is being done and no reference dangles; what dangles then stays so.
func (a *arena) settle() {
	a.Helper()
	var problems []string
	if !until.Holds(soon, func() bool { problems = a.dangling(); return len(problems) == 0 }) {
		a.Fatalf("after both calls:\n%s", strings.Join(problems, "\n"))
	}
}

// dangling names every record whose references and counts do not agree with the others, and what is still being done.
func (a *arena) dangling() (problems []string) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	sum := etcdschema.Usage{}
	instances, backups := records(a, etcdschema.AllInstances()), records(a, etcdschema.AllBackups())
	groups, hosts := records(a, etcdschema.AllConfigurations()), records(a, etcdschema.Hosts())
	sets := records(a, etcdschema.AllSets())
	counted := 0
	var held, logs int64
	for id, b := range backups {
		if !b.Snapshot && !b.Refunded {
			counted++
		}
		held += b.Held
		wrong(b.Refunded && b.Held != 0 || b.Status == etcdschema.BackupCompleted && b.Held > b.Stored+8<<20, "backup %s of %d bytes is charged as %d", id, b.Stored, b.Held)
		wrong(b.Running() || b.Deleting, "backup %s is %s, deleting %t", id, b.Status, b.Deleting)
		wrong(b.Parent != "" && !slices.Contains(backups[b.Parent].Children, id), "backup %s is not a child of its parent %s", id, b.Parent)
		for _, child := range b.Children {
			wrong(backups[child].Parent != id, "backup %s has the child %s", id, child)
		}
		for _, reader := range b.Readers {
			wrong(!slices.Contains(instances[reader].Restore, id), "backup %s has the reader %s", id, reader)
		}
	}
	for id, in := range instances {
		for _, bytes := range in.LogBytes {
			logs += bytes
		}
		wrong(in.Operation != nil, "instance %s is busy: %+v", id, in.Operation)
		wrong(in.Failed != "", "instance %s failed: %+v", id, in.Fault)
		wrong(in.Configuration != "" && !slices.Contains(groups[in.Configuration].Instances, id), "instance %s is not in its group %s", id, in.Configuration)
		wrong(in.SetID != "" && sets[in.SetID].Member(id).ID == "", "instance %s is not in its set %s", id, in.SetID)
		for _, backup := range in.Restore {
			wrong(!slices.Contains(backups[backup].Readers, id), "instance %s is no reader of backup %s", id, backup)
		}
		sum.RAM, sum.Volumes = sum.RAM+in.Flavor.RAM, sum.Volumes+in.VolumeGB
		has, allocated := hosts[in.Host].Allocated[id]
		wrong(!allocated, "instance %s has no place on its host", id)
		wrong(has.MemoryMB != in.Flavor.RAM || has.DiskGB != in.VolumeGB, "instance %s has %+v of its host; want %+v, %d GB", id, has, in.Flavor, in.VolumeGB)
	}
	for id, set := range sets {
		wrong(set.Operation != nil, "set %s is busy: %+v", id, set.Operation)
		wrong(len(set.Members) < 2 || set.Source() == "" || len(set.Replicas()) != len(set.Members)-1, "set %s has the members %+v", id, set.Members)
		for _, m := range set.Members {
			wrong(instances[m.ID].SetID != id || m.State != "", "set %s has the member %+v, which is in %q", id, m, instances[m.ID].SetID)
		}
	}
	for id, group := range groups {
		for _, member := range group.Instances {
			wrong(instances[member].Configuration != id, "group %s lists %s", id, member)
		}
	}
	for id, host := range hosts {
		for instance := range host.Allocated {
			wrong(instances[instance].Host != id, "host %s has a place for %s", id, instance)
		}
	}
	usage, err := etcdschema.Get(a.Context(), a.store, etcdschema.UsageKey(gatewaytest.Project))
	wrong(err != nil, "usage: %v", err)
	wrong(usage.Value.Backups != counted, "%d backups are counted, %d are there", usage.Value.Backups, counted)
	wrong(usage.Value.BackupBytes != held || usage.Value.LogBytes != logs, "%d and %d bytes are counted of backups and logs, %d and %d are there", usage.Value.BackupBytes, usage.Value.LogBytes, held, logs)
	wrong(usage.Value.RAM != sum.RAM || usage.Value.Volumes != sum.Volumes, "%d MB and %d GB are counted, %d and %d are there", usage.Value.RAM, usage.Value.Volumes, sum.RAM, sum.Volumes)
	wrong(usage.Value.Instances != len(instances), "%d instances are counted, %d are there", usage.Value.Instances, len(instances))
	return problems
}

// records are those of a prefix by the last part of their names.
func records[T any](a *arena, from etcdschema.Prefix[T]) map[string]T {
	list, err := etcdschema.List(a.Context(), a.store, from, etcdschema.Page{})
	if err != nil {
		a.Fatal(err)
	}
	all := map[string]T{}
	for _, rec := range list.Records {
		all[rec.Key[strings.LastIndex(rec.Key, "/")+1:]] = rec.Value
	}
	return all
}
