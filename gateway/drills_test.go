package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// drill begins a drill of an instance; more is JSON of it. It returns the drill's id and that of the instance that is made.
func drill(t *testing.T, c gatewaytest.Client, instance, more string) (id, probe string) {
	t.Helper()
	a := c.Want(t, 202, http.MethodPost, gatewaytest.Instance(instance)+"/drills", `{"drill":{`+more+`}}`)
	return a.Text("drill", "id"), a.Text("drill", "restored_instance_id")
}

// awaitDrill waits until the newest drill of an instance is over. It must be that one.
func awaitDrill(t *testing.T, c gatewaytest.Client, instance, id string) (a gatewaytest.Answer) {
	t.Helper()
	waitFor(t, func() bool {
		a = c.Want(t, 200, http.MethodGet, gatewaytest.Instance(instance)+"/drills", "")
		return a.Text("drills", 0, "result") != "running"
	})
	if a.Text("drills", 0, "id") != id {
		t.Errorf("the newest drill is not %s: %s", id, a.Body)
	}
	return a
}

// kept is an instance of which there is a backup with one database, orders.
func kept(t *testing.T, c gatewaytest.Client) (id string) {
	t.Helper()
	id = c.Create(t, "db", `,"databases":[{"name":"orders"}]`)
	c.Await(t, id, "ACTIVE", soon)
	if got := backUp(t, c, id, "").Text("backup", "status"); got != "COMPLETED" {
		t.Fatalf("the backup is %s", got)
	}
	c.Await(t, id, "ACTIVE", soon)
	return id
}

// nothingOf checks that nothing is left of a drill but what it has found.
func nothingOf(t *testing.T, etcd *etcdtest.Server, probe string) {
	t.Helper()
	for key, value := range etcd.All(t, "/") {
		if strings.Contains(key, probe) && !strings.HasPrefix(key, "/server/deleted/") && !strings.HasPrefix(key, "/server/events/") {
			t.Errorf("of a drill that is over there is %s: %s", key, value)
		}
		if strings.HasPrefix(key, "/server/due/drill/") {
			t.Errorf("after the drill there is %s", key)
		}
		if strings.HasSuffix(key, "/usage") && strings.Contains(value, `"drills"`) {
			t.Errorf("after the drill its project uses %s", value)
		}
	}
}

const asked = `"question":{"query":"databases","answer":"orders\nsystem\n"}`

// TestDrill has the newest backup be restored, looked at, asked, and removed: with a quota of instances that is used up, and nothing of the
// question anywhere.
func TestDrill(t *testing.T) {
	_, option := stored(t)
	etcd, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := kept(t, c)
	g.Client(gatewaytest.Admin).Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"instances":1,"ram":1,"volumes":1}}`)
	first, probe := drill(t, c, id, asked)
	a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(probe), "")
	if a.Text("instance", "drill_of", "id") != id || a.Text("instance", "name") != "drill of db" {
		t.Errorf("the instance of a drill: %s", a.Body)
	}
	for key, value := range etcd.All(t, "/") {
		if strings.Contains(value, "databases\"") && strings.Contains(value, "query") || strings.Contains(value, `orders\nsystem`) {
			t.Errorf("the question stands in %s: %s", key, value)
		}
	}
	c.Want(t, 422, http.MethodPost, gatewaytest.Instance(id)+"/drills", `{"drill":{}}`)
	c.Want(t, 413, http.MethodPost, "/instances", `{"instance":{"name":"one more","flavorRef":"1","volume":{"size":1}}}`)
	a = awaitDrill(t, c, id, first)
	if a.Text("drills", 0, "result") != "passed" || a.At("drills", 0, "check", "answered") != true || a.At("drills", 0, "check", "objects") == 0.0 ||
		a.At("drills", 0, "restore_seconds") == nil || a.Text("drills", 0, "ended") == "" || a.At("drills", 0, "step") != nil {
		t.Errorf("what was found: %s", a.Body)
	}
	nothingOf(t, etcd, probe)
	if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/events", ""); !strings.Contains(string(a.Body), "the drill passed") {
		t.Errorf("it is not told: %s", a.Body)
	}
	if told := g.Metrics(t); !strings.Contains(told, `coffer_drills_total{result="passed"} 1`) {
		t.Error("it is not counted")
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.AwaitGone(t, id, soon)
	waitFor(t, func() bool { return len(etcd.All(t, "/server/drills/")) == 0 })
}

// TestDrillFails has drills fail: of damaged data, of another answer than the right one, of a question that is none, and of an instance that
// somebody deletes.
func TestDrillFails(t *testing.T) {
	_, option := stored(t)
	etcd, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := kept(t, c)
	good, probe := drill(t, c, id, "")
	address := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(probe), "").Text("instance", "ip", 0) // the next ones have it, too
	if a := awaitDrill(t, c, id, good); a.Text("drills", 0, "result") != "passed" || a.At("drills", 0, "check", "answered") != nil {
		t.Errorf("without a question: %s", a.Body)
	}
	fails := func(question, says string) {
		t.Helper()
		is, probe := drill(t, c, id, question)
		a := awaitDrill(t, c, id, is)
		if a.Text("drills", 0, "result") != "failed" || !strings.Contains(a.Text("drills", 0, "reason"), says) || strings.Contains(string(a.Body), "secret") {
			t.Errorf("want a failure that says %q: %s", says, a.Body)
		}
		nothingOf(t, etcd, probe)
	}
	fails(`"question":{"query":"databases","answer":"secret"}`, "otherwise")
	fails(`"question":{"query":"secret","answer":"1"}`, "does not take the question")
	host.Memory.Damage(address, "line 3 is damaged")
	fails(asked, "line 3 is damaged")
	release := host.Memory.Hold(address, datastores.MethodCheckData)
	is, probe := drill(t, c, id, "")
	waitFor(t, func() bool {
		return c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/drills", "").Text("drills", 0, "step") == "check"
	})
	at := gatewaytest.Instance(probe)
	for _, call := range [][3]string{
		{http.MethodPost, at + "/databases", `{"databases":[{"name":"x"}]}`}, {http.MethodPost, at + "/action", `{"restart":{}}`}, {http.MethodPost, at + "/drills", `{"drill":{}}`},
		{http.MethodPut, at, `{"instance":{"deletion_protection":true}}`}, {http.MethodPut, at, `{"instance":{"pitr":{"enabled":true}}}`},
		{http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, probe)},
		{http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"s","instance":%q,"every_hours":1}}`, probe)},
		{http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, probe)},
	} {
		c.Want(t, 422, call[0], call[1], call[2])
	}
	c.Want(t, 202, http.MethodDelete, at, "")
	c.AwaitGone(t, probe, soon)
	release()
	if a := awaitDrill(t, c, id, is); !strings.Contains(a.Text("drills", 0, "reason"), "was deleted") {
		t.Errorf("its instance was deleted: %s", a.Body)
	}
	if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/drills", ""); a.At("drills", 4) == nil || a.At("drills", 5) != nil {
		t.Errorf("five drills: %s", a.Body)
	}
}

func TestDrillRefused(t *testing.T) {
	_, option := stored(t)
	_, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	empty := c.Create(t, "new", "")
	c.Await(t, empty, "ACTIVE", soon)
	c.Want(t, 422, http.MethodPost, gatewaytest.Instance(empty)+"/drills", `{"drill":{}}`)
	c.Want(t, 422, http.MethodPost, gatewaytest.Instance(empty)+"/drills", `{"drill":{"latest":true}}`)
	id := kept(t, c)
	backup, _ := lineage(t, c, id)
	at := gatewaytest.Instance(id) + "/drills"
	for _, body := range []string{
		`"question":{"answer":"1"}`, `"question":{"query":"` + strings.Repeat("x", 5000) + `"}`, `"time":"noon"`, `"time":"2026-01-01T00:00:00Z","backup":"x"`,
	} {
		c.Want(t, 400, http.MethodPost, at, `{"drill":{`+body+`}}`)
	}
	c.Want(t, 400, http.MethodPost, at, `{}`)
	c.Want(t, 404, http.MethodPost, at, `{"drill":{"backup":"0198c0de-0000-7000-8000-000000000001"}}`)
	c.Want(t, 404, http.MethodGet, gatewaytest.Instance("0198c0de-0000-7000-8000-000000000001")+"/drills", "")
	c.Want(t, 400, http.MethodPost, gatewaytest.Instance(empty)+"/drills", fmt.Sprintf(`{"drill":{"backup":%q}}`, backup[0]))
	g.Client(gatewaytest.Admin).Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"drills":0}}`)
	c.Want(t, 413, http.MethodPost, at, `{"drill":{}}`)
}

// TestDrillWithoutItsGateway ends the gateway at which a drill was asked for while its instance is looked at: another one, which nobody asks
// anything, brings it to its end. An instance that is deleted meanwhile takes its drill with it.
func TestDrillWithoutItsGateway(t *testing.T) {
	_, option := stored(t)
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	first, second := gatewaytest.Start(t, etcd.Store(t), option), gatewaytest.Start(t, etcd.Store(t), option)
	host := gatewaytest.StartHost(t, first, second.URL)
	c := second.Client(gatewaytest.Member)
	id := kept(t, c)
	good, probe := drill(t, c, id, "")
	address := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(probe), "").Text("instance", "ip", 0)
	awaitDrill(t, c, id, good)
	drills := func() etcdschema.Drills {
		rec, err := etcdschema.Get(t.Context(), store, etcdschema.DrillsKey(gatewaytest.Project, id))
		if err != nil {
			t.Fatal(err)
		}
		return rec.Value
	}
	release := host.Memory.Hold(address, datastores.MethodCheckData)
	t.Cleanup(release)
	is, probe := drill(t, first.Client(gatewaytest.Member), id, asked)
	waitFor(t, func() bool { return drills().Now.Step == etcdschema.DrillChecks })
	first.Stop(t)
	release()
	if a := awaitDrill(t, c, id, is); a.Text("drills", 0, "result") != "passed" {
		t.Errorf("without its gateway: %s", a.Body)
	}
	nothingOf(t, etcd, probe)

	again := host.Memory.Hold(address, datastores.MethodCheckData)
	t.Cleanup(again)
	_, probe = drill(t, c, id, "")
	waitFor(t, func() bool { return drills().Now.Step == etcdschema.DrillChecks })
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.AwaitGone(t, id, soon)
	c.AwaitGone(t, probe, soon)
	waitFor(t, func() bool { return len(etcd.All(t, "/server/drills/")) == 0 })
	nothingOf(t, etcd, probe)
}

// TestDrillOnASchedule has a schedule ask for drills, with a question that nobody is shown; a run that cannot begin is skipped.
func TestDrillOnASchedule(t *testing.T) {
	_, option := stored(t)
	etcd, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := kept(t, c)
	body := fmt.Sprintf(`{"schedule":{"name":"trial","instance":%q,"every_hours":24,"kind":"drill","window_minutes":1,%s}}`, id, asked)
	a := c.Want(t, 200, http.MethodPost, "/schedules", body)
	at := "/schedules/" + a.Text("schedule", "id")
	if a.At("schedule", "question") != true || strings.Contains(string(a.Body), "orders") {
		t.Errorf("the schedule is shown as %s", a.Body)
	}
	for key, value := range etcd.All(t, "/server/schedules/") {
		if strings.Contains(value, "orders") {
			t.Errorf("the question stands in %s", key)
		}
	}
	c.Want(t, 400, http.MethodPost, "/schedules", strings.Replace(body, `"drill"`, `"full"`, 1))
	c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	a = awaitRun(t, c, at, "")
	if a.Text("schedule", "last_run", "result") != "completed" || a.Text("schedule", "last_run", "drill_id") == "" {
		t.Errorf("the run: %s", a.Body)
	}
	found := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/drills", "")
	if found.At("drills", 0, "check", "answered") != true || found.Text("drills", 0, "id") != a.Text("schedule", "last_run", "drill_id") {
		t.Errorf("what it has found: %s", found.Body)
	}
	c.Want(t, 200, http.MethodPatch, at, `{"schedule":{"question":{"query":"databases","answer":"nothing"}}}`)
	last := a.Text("schedule", "last_run", "drill_id")
	c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	waitFor(t, func() bool {
		a = c.Want(t, 200, http.MethodGet, at, "")
		return a.Text("schedule", "last_run", "drill_id") != last && a.Text("schedule", "last_run", "result") != "running"
	})
	if a.Text("schedule", "last_run", "result") != "failed" || !strings.Contains(a.Text("schedule", "last_run", "reason"), "otherwise") {
		t.Errorf("with another answer: %s", a.Body)
	}
	ids, _ := lineage(t, c, id)
	c.Want(t, 202, http.MethodDelete, "/backups/"+ids[0], "")
	c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	key := strings.TrimPrefix(at, "/schedules/")
	waitFor(t, func() bool {
		rec, err := etcdschema.Get(t.Context(), etcd.Store(t), etcdschema.ScheduleKey(gatewaytest.Project, key))
		return err == nil && !rec.Value.Waiting.IsZero()
	})
}

// TestDrillBesideMigration: an instance is brought to another host while what is kept of it is tried, and tried while it is brought back. What a drill has made moves nowhere:
// who empties its host waits for it, or deletes it.
func TestDrillBesideMigration(t *testing.T) {
	_, option := stored(t)
	etcd, g, first := start(t, option)
	second := gatewaytest.StartHostSaying(t, func(a *deployments.Announcement) { a.Name, a.Pool = "other", gatewaytest.Pool("127.99.0.0/16") }, g)
	c, admin := g.Client(gatewaytest.Member), g.Client(gatewaytest.Admin)
	id := kept(t, c)
	migrate := func(want int, id string) gatewaytest.Answer {
		t.Helper()
		return admin.Want(t, want, http.MethodPost, "/mgmt/instances/"+id+"/action", `{"migrate":{}}`)
	}
	good, probe := drill(t, c, id, "")
	address := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(probe), "").Text("instance", "ip", 0) // the next one has it, too
	awaitDrill(t, c, id, good)
	for _, h := range []*gatewaytest.Host{first, second} {
		t.Cleanup(h.Memory.Hold(address, datastores.MethodCheckData))
	}
	is, probe := drill(t, c, id, asked)
	waitFor(t, func() bool {
		return c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/drills", "").Text("drills", 0, "step") == "check"
	})
	migrate(202, id)
	if a := c.Await(t, id, "ACTIVE", soon); a.At("instance", "fault") != nil {
		t.Errorf("beside a drill it has not moved: %s", a.Body)
	}
	if a := migrate(422, probe); !strings.Contains(string(a.Body), "delete it to end the drill") {
		t.Errorf("what a drill has made is to move: %s", a.Body)
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(probe), "")
	awaitDrill(t, c, id, is)
	nothingOf(t, etcd, probe)
}
