package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// migration is an instance with data, on the first of two hosts.
type migration struct {
	*testing.T
	store         *etcdschema.Store
	c, admin      gatewaytest.Client
	first, second *gatewaytest.Host
	id, address   string
}

func startMigration(t *testing.T) *migration { return startMigrationTo(t, "127.99.0.0/16") }

// startMigrationTo has a second host with that pool of addresses; the first one has the usual.
func startMigrationTo(t *testing.T, pool string) *migration {
	etcd, g, first := start(t)
	m := &migration{T: t, store: etcd.Store(t), c: g.Client(gatewaytest.Member), admin: g.Client(gatewaytest.Admin), first: first}
	m.id = m.c.Create(t, "db", `,"databases":[{"name":"orders"}],"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]}]`)
	m.address = m.c.Await(t, m.id, "ACTIVE", soon).Text("instance", "ip", 0)
	m.second = gatewaytest.StartHostSaying(t, func(a *deployments.Announcement) { a.Name, a.Pool = "other", gatewaytest.Pool(pool) }, g)
	return m
}

func (m *migration) ask(to string) {
	m.Helper()
	m.admin.Want(m, 202, http.MethodPost, "/mgmt/instances/"+m.id+"/action", `{"migrate":{`+to+`}}`)
}

// has are the hosts that have something of the instance.
func (m *migration) has() string {
	var all []string
	for _, h := range []*gatewaytest.Host{m.first, m.second} {
		rec, err := etcdschema.Get(m.Context(), m.store, etcdschema.HostKey(h.ID))
		if err != nil {
			m.Fatal(err)
		}
		if _, has := rec.Value.Allocated[m.id]; has {
			all = append(all, map[*gatewaytest.Host]string{m.first: "first", m.second: "second"}[h])
		}
	}
	return strings.Join(all, " ")
}

// whole holds the instance against what it was before.
func (m *migration) whole(where string) {
	m.Helper()
	waitFor(m.T, func() bool { return m.has() == where })
	users := m.c.Want(m, 200, http.MethodGet, gatewaytest.Instance(m.id)+"/users", "")
	dbs := m.c.Want(m, 200, http.MethodGet, gatewaytest.Instance(m.id)+"/databases", "")
	if users.Text("users", 0, "name") != "bob" || dbs.Text("databases", 0, "name") != "orders" {
		m.Errorf("after it: %s %s", users.Body, dbs.Body)
	}
	m.c.Want(m, 202, http.MethodPost, gatewaytest.Instance(m.id)+"/databases", `{"databases":[{"name":"more"}]}`)
	m.c.Want(m, 202, http.MethodDelete, gatewaytest.Instance(m.id)+"/databases/more", "")
	if left := m.c.Want(m, 200, http.MethodGet, "/backups", ""); left.At("backups", 0) != nil {
		m.Errorf("a copy is left: %s", left.Body)
	}
}

// TestMigrate brings an instance to another host and back again.
func TestMigrate(t *testing.T) {
	m := startMigration(t)
	for _, bad := range []string{`"host":"` + m.first.ID + `"`, `"host":"0199d0a1-0000-7000-8000-0000000000ff"`, `"host":7`} {
		m.admin.Want(t, 400, http.MethodPost, "/mgmt/instances/"+m.id+"/action", `{"migrate":{`+bad+`}}`)
	}
	m.ask(fmt.Sprintf(`"host":%q`, m.second.ID))
	if got := m.c.Want(t, 200, http.MethodGet, gatewaytest.Instance(m.id), "").Text("instance", "status"); got != "MIGRATING" {
		t.Errorf("meanwhile its status is %s", got)
	}
	m.c.Await(t, m.id, "ACTIVE", soon)
	m.whole("second")
	if m.second.Launched(m.id).InstanceID != m.id {
		t.Error("the other host has no guest")
	}
	m.ask("")
	m.c.Await(t, m.id, "ACTIVE", soon)
	m.whole("first")
	m.c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(m.id), "")
	m.c.AwaitGone(t, m.id, soon)
	waitFor(t, func() bool { return m.has() == "" })
}

// TestMigrateFails: whatever goes wrong before the new server is asked to take writes leads back to where the instance was.
func TestMigrateFails(t *testing.T) {
	for step, spoil := range map[string]func(*migration){
		"create_backup": func(m *migration) { m.first.Memory.Fail(m.address, "create_backup", fmt.Errorf("it does not like it")) },
		"stop_db":       func(m *migration) { m.first.Memory.Fail(m.address, "stop_db", fmt.Errorf("it does not like it")) },
		"launch":        func(m *migration) { m.second.CannotLaunch(fmt.Errorf("it does not like it")) },
	} {
		t.Run(step, func(t *testing.T) {
			m := startMigration(t)
			spoil(m)
			m.ask("")
			a := m.c.Await(t, m.id, "ACTIVE", soon)
			if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "the instance is where it was, and takes writes: ") || !strings.Contains(got, "it does not like it") {
				t.Errorf("its fault: %q", got)
			}
			m.whole("first")
		})
	}
}

// TestMigrateFailsAfterTheGuestHasEnrolled: the guest at the former host counts again, and what was made at the other is removed.
func TestMigrateFailsAfterTheGuestHasEnrolled(t *testing.T) {
	m := startMigration(t)
	m.second.Memory.Fail(m.address, "prepare", fmt.Errorf("it does not like it"))
	m.ask("")
	waitFor(t, func() bool { return m.step() == "start" })
	m.first.StopGuest(m.id) // it was refused meanwhile, and would ask again after a while
	m.first.StartGuest(t, m.id)
	a := m.c.Await(t, m.id, "ACTIVE", soon)
	if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "it does not like it") {
		t.Errorf("its fault: %q", got)
	}
	m.whole("first")
}

// TestNobodyGetsInWhileAServerArrives: an instance may have an address again that clients know from before. What they would write there goes
// when the migration fails, so nobody gets in before its server is asked to take writes, whatever is said of its access meanwhile.
func TestNobodyGetsInWhileAServerArrives(t *testing.T) {
	m := startMigration(t)
	goOn := m.second.Memory.Hold(m.address, "prepare")
	defer goOn()
	m.ask("")
	waitFor(t, func() bool { return m.step() == "prepare" })
	m.c.Want(t, 202, http.MethodPut, gatewaytest.Instance(m.id), `{"instance":{"access":{"is_public":true,"allowed_cidrs":["192.0.2.0/24"]}}}`)
	waitFor(t, func() bool { // what the host was told of it is done
		left, err := etcdschema.Count(t.Context(), m.store, etcdschema.Commands(m.second.ID))
		return err == nil && left == 0
	})
	if wall := m.second.Launched(m.id).Firewall; !wall.Closed || len(wall.CIDRs) > 0 {
		t.Errorf("while the server arrives its wall is %+v", wall)
	}
	goOn()
	m.c.Await(t, m.id, "ACTIVE", soon)
	waitFor(t, func() bool {
		wall := m.second.Launched(m.id).Firewall
		return !wall.Closed && fmt.Sprint(wall.CIDRs) == "[192.0.2.0/24]"
	})
}

// TestMigrationThatCannotSayWhetherWritesAreTaken: a server that neither refuses writes nor takes them for sure is ERROR until somebody
// has it take them.
func TestMigrationThatCannotSayWhetherWritesAreTaken(t *testing.T) {
	m := startMigration(t)
	m.first.Memory.Fail(m.address, "make_read_only", fmt.Errorf("it does not like it"))
	m.ask("")
	if a := m.c.Await(t, m.id, "ERROR", soon); !strings.Contains(a.Text("instance", "fault", "message"), "then reset_status lets it take writes") {
		t.Errorf("its fault: %s", a.Body)
	}
	m.first.Memory.Fail(m.address, "make_read_only", nil)
	m.admin.Want(t, 202, http.MethodPost, "/mgmt/instances/"+m.id+"/action", `{"reset-task-status":{}}`)
	m.c.Await(t, m.id, "ACTIVE", soon)
	m.whole("first")
}

// TestMigrationIsGivenUp: reset_status leads back, and a delete removes what there is on both hosts.
func TestMigrationIsGivenUp(t *testing.T) {
	for _, how := range []string{"reset", "delete"} {
		t.Run(how, func(t *testing.T) {
			m := startMigration(t)
			release := m.second.HoldLaunches()
			m.ask("")
			waitFor(t, func() bool { return m.step() == "launch" })
			if how == "reset" {
				m.admin.Want(t, 202, http.MethodPost, "/mgmt/instances/"+m.id+"/action", `{"reset-task-status":{}}`)
				m.c.Await(t, m.id, "ACTIVE", soon)
				release()
				m.whole("first")
				return
			}
			m.c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(m.id), "")
			release()
			m.c.AwaitGone(t, m.id, soon)
			waitFor(t, func() bool { return m.has() == "" })
		})
	}
}

func (m *migration) step() string {
	return m.c.Want(m, 200, http.MethodGet, gatewaytest.Instance(m.id)+"/why", "").Text("why", "step")
}

// TestResizeMoves: an instance whose host has no room for another size moves to a host that has. Where that fails, the instance is as it
// was, and so is what its project is charged for.
func TestResizeMoves(t *testing.T) {
	m := startMigration(t)
	m.first.Says(func(a *deployments.Announcement) { a.Capacity.MemoryMB = 1024 })
	hosts := func() string { return string(m.admin.Want(t, 200, http.MethodGet, "/mgmt/hosts", "").Body) }
	waitFor(t, func() bool { return strings.Contains(hosts(), `"memory_mb":1024`) })
	action := gatewaytest.Instance(m.id) + "/action"
	size := func(flavor string, ram float64) {
		t.Helper()
		used := m.c.Want(t, 200, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "").At("quotas", 1, "in_use")
		if got := m.c.Want(t, 200, http.MethodGet, gatewaytest.Instance(m.id), "").Text("instance", "flavor", "id"); got != flavor || used != ram {
			t.Errorf("it has flavor %s and its project uses %v MB, want %s and %v", got, used, flavor, ram)
		}
	}

	m.admin.Want(t, 202, http.MethodPatch, "/mgmt/hosts/"+m.second.ID, `{"host":{"disabled":true}}`)
	refused := m.c.Want(t, 422, http.MethodPost, action, `{"resize":{"flavorRef":"2"}}`)
	for _, want := range []string{"too little for it", "It cannot move to another host either", "disabled"} {
		if !strings.Contains(string(refused.Body), want) {
			t.Errorf("the refusal lacks %q: %s", want, refused.Body)
		}
	}
	m.admin.Want(t, 202, http.MethodPatch, "/mgmt/hosts/"+m.second.ID, `{"host":{"disabled":false}}`)
	size("1", 512)

	m.second.CannotLaunch(fmt.Errorf("it does not like it"))
	m.c.Want(t, 202, http.MethodPost, action, `{"resize":{"flavorRef":"2"}}`)
	m.c.Await(t, m.id, "ACTIVE", soon)
	m.whole("first")
	size("1", 512)

	m.second.CannotLaunch(nil)
	m.c.Want(t, 202, http.MethodPost, action, `{"resize":{"flavorRef":"2"}}`)
	if got := m.c.Want(t, 200, http.MethodGet, gatewaytest.Instance(m.id), "").Text("instance", "status"); got != "RESIZE" {
		t.Errorf("meanwhile its status is %s", got)
	}
	m.c.Await(t, m.id, "ACTIVE", soon)
	m.whole("second")
	size("2", 2048)
	if got := m.second.Launched(m.id).MemoryMB; got != 2048 {
		t.Errorf("it was launched with %d MB", got)
	}
}
