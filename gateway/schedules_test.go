package gateway_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/plan"
)

// schedule makes a schedule of an instance; more is further JSON of it.
func schedule(t *testing.T, c gatewaytest.Client, instance, more string) (at string) {
	t.Helper()
	a := c.Want(t, 200, http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"nightly","instance":%q%s}}`, instance, more))
	return "/schedules/" + a.Text("schedule", "id")
}

// awaitRun waits until the last run of a schedule is at an end, and another than that backup's.
func awaitRun(t *testing.T, c gatewaytest.Client, at, other string) (a gatewaytest.Answer) {
	t.Helper()
	waitFor(t, func() bool {
		a = c.Want(t, 200, http.MethodGet, at, "")
		result := a.Text("schedule", "last_run", "result")
		return result != "" && result != "running" && a.Text("schedule", "last_run", "backup_id") != other
	})
	return a
}

// lineage are the backups of an instance, the newest first, each with its parent.
func lineage(t *testing.T, c gatewaytest.Client, instance string) (ids, parents []string) {
	t.Helper()
	a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(instance)+"/backups", "")
	for i := 0; a.At("backups", i) != nil; i++ {
		ids, parents = append(ids, a.Text("backups", i, "id")), append(parents, a.Text("backups", i, "parent_id"))
	}
	return ids, parents
}

// setBack has a schedule be as if its gateways had been away: change alters its record, and it is due.
func setBack(t *testing.T, store *etcdschema.Store, at string, change func(*etcdschema.Schedule)) {
	t.Helper()
	key := etcdschema.ScheduleKey(gatewaytest.Project, strings.TrimPrefix(at, "/schedules/"))
	_, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		change(&rec.Value)
		ops := plan.DueAt(&rec.Value, rec.Value.Next, time.Now().Add(1000*time.Hour)) // so that the key moves
		return append(ops, etcdschema.Put(key, rec.Value)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestScheduleRefused(t *testing.T) {
	_, option := stored(t)
	_, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	for body, says := range map[string]string{
		`"cron":"0 3 * * *"`:                                                    "instance",
		fmt.Sprintf(`"instance":%q`, id):                                        "every_hours",
		fmt.Sprintf(`"instance":%q,"cron":"0 3 * *"`, id):                       "five fields",
		fmt.Sprintf(`"instance":%q,"cron":"0 3 * * *","timezone":"Berlin"`, id): "IANA",
		fmt.Sprintf(`"instance":%q,"cron":"0 3 * * *","every_hours":2`, id):     "not both",
		fmt.Sprintf(`"instance":%q,"every_hours":2,"kind":"partial"`, id):       "kind",
		fmt.Sprintf(`"instance":%q,"every_hours":2,"window_minutes":0`, id):     "window_minutes",
		fmt.Sprintf(`"instance":%q,"every_hours":2,"keep":-1`, id):              "keep",
		fmt.Sprintf(`"instance":%q,"every_hours":2,"full_every":1000`, id):      "full_every",
		fmt.Sprintf(`"instance":%q,"every_hours":2,"name":"`+"\\u0007"+`"`, id): "name",
	} {
		a := c.Want(t, 400, http.MethodPost, "/schedules", `{"schedule":{"name":"nightly",`+body+`}}`)
		if !strings.Contains(a.Text("badRequest", "message"), says) {
			t.Errorf("%s: %s", body, a.Body)
		}
	}
	c.Want(t, 404, http.MethodPost, "/schedules", `{"schedule":{"name":"x","instance":"0198c0de-0000-7000-8000-000000000001","every_hours":2}}`)
	c.Want(t, 404, http.MethodGet, "/schedules/0198c0de-0000-7000-8000-000000000001", "")
	for range 10 {
		schedule(t, c, id, `,"every_hours":2`)
	}
	c.Want(t, 413, http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"one more","instance":%q,"every_hours":2}}`, id))
	if a := c.Want(t, 200, http.MethodGet, "/schedules?instance_id="+id, ""); a.At("schedules", 9) == nil {
		t.Errorf("ten schedules: %s", a.Body)
	}
}

// TestSchedule has what a schedule is asked for, its runs, what it keeps, and its end with its instance.
func TestSchedule(t *testing.T) {
	_, option := stored(t)
	etcd, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	at := schedule(t, c, id, `,"cron":"30 3 * * *","timezone":"Europe/Berlin","keep":2`)
	if a := c.Want(t, 200, http.MethodGet, at, ""); a.Text("schedule", "next_run") == "" || a.At("schedule", "last_run") != nil || a.At("schedule", "enabled") != true {
		t.Errorf("a new schedule: %s", a.Body)
	}
	own := backUp(t, c, id, "").Text("backup", "id")
	last := ""
	for range 3 {
		c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
		a := awaitRun(t, c, at, last)
		if last = a.Text("schedule", "last_run", "backup_id"); a.Text("schedule", "last_run", "result") != "completed" {
			t.Errorf("a run: %s", a.Body)
		}
	}
	if ids, _ := lineage(t, c, id); len(ids) != 3 || ids[0] != last || ids[2] != own {
		t.Errorf("with keep 2 there are %v; want the last two, %s among them, and %s", ids, last, own)
	}
	a := c.Want(t, 200, http.MethodPatch, at, `{"schedule":{"every_hours":6,"enabled":false}}`)
	if a.At("schedule", "cron") != nil || a.At("schedule", "next_run") != nil || a.At("schedule", "enabled") != false {
		t.Errorf("put to rest: %s", a.Body)
	}
	c.Want(t, 400, http.MethodPatch, at, `{"schedule":{"every_hours":0}}`)
	a = c.Want(t, 200, http.MethodPatch, at, `{"schedule":{"enabled":true}}`)
	if a.Text("schedule", "next_run") == "" {
		t.Errorf("taken up again: %s", a.Body)
	}
	gone := schedule(t, c, id, `,"every_hours":3`)
	c.Want(t, 202, http.MethodDelete, gone, "")
	c.Want(t, 404, http.MethodGet, gone, "")
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.AwaitGone(t, id, soon)
	c.Want(t, 404, http.MethodGet, at, "")
	if left := etcd.All(t, "/server/schedules/"); len(left) > 0 {
		t.Errorf("of an instance that is gone there is %v", left)
	}
}

// TestScheduleBuildsOnItself has an incremental schedule begin anew with a full backup, and keep the one that a kept one needs.
func TestScheduleBuildsOnItself(t *testing.T) {
	_, option := stored(t)
	_, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	at := schedule(t, c, id, `,"every_hours":24,"kind":"incremental","full_every":2,"keep":1`)
	var made []string
	for i, want := range []int{1, 2, 1, 2} {
		c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
		last := ""
		if i > 0 {
			last = made[i-1]
		}
		made = append(made, awaitRun(t, c, at, last).Text("schedule", "last_run", "backup_id"))
		ids, parents := lineage(t, c, id)
		if len(ids) != want || ids[0] != made[i] || (parents[0] != "") != (want == 2) {
			t.Errorf("run %d leaves %v with the parents %v, of %v made; want %d", i+1, ids, parents, made, want)
		}
	}
}

// TestScheduleThatWasMissed has a schedule be due that should have run thrice while no gateway was there: it runs once, whoever sees it.
func TestScheduleThatWasMissed(t *testing.T) {
	_, option := stored(t)
	etcd, g, _ := start(t, option)
	second := gatewaytest.Start(t, etcd.Store(t), option)
	c := second.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	at := schedule(t, g.Client(gatewaytest.Member), id, `,"every_hours":6`)
	missed := time.Now().Add(-13 * time.Hour).UTC()
	setBack(t, etcd.Store(t), at, func(s *etcdschema.Schedule) { s.Next, s.Created = missed, missed.Add(-6*time.Hour) })
	a := awaitRun(t, c, at, "")
	if a.Text("schedule", "last_run", "result") != "completed" || a.Text("schedule", "last_run", "planned") != missed.Format("2006-01-02T15:04:05") {
		t.Errorf("a run that was missed: %s", a.Body)
	}
	if next, err := time.Parse("2006-01-02T15:04:05", a.Text("schedule", "next_run")); err != nil || next.Before(time.Now()) {
		t.Errorf("the next run is at %s, %v", next, err)
	}
	if ids, _ := lineage(t, c, id); len(ids) != 1 {
		t.Errorf("there are %d backups", len(ids))
	}
}

// TestScheduleWaits has a run wait for an instance that is busy, until its window has passed.
func TestScheduleWaits(t *testing.T) {
	_, option := stored(t)
	etcd, g, host := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	at := schedule(t, c, id, `,"every_hours":6,"window_minutes":5`)
	release := host.Memory.Hold(address, datastores.MethodStart)
	t.Cleanup(release)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(id)+"/action", `{"restart":{}}`)
	c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	waitFor(t, func() bool { return c.Want(t, 200, http.MethodGet, at, "").Text("schedule", "waiting_since") != "" })
	setBack(t, etcd.Store(t), at, func(s *etcdschema.Schedule) { s.Waiting = s.Waiting.Add(-5 * time.Minute) })
	a := awaitRun(t, c, at, "none")
	if a.Text("schedule", "last_run", "result") != "skipped" || a.Text("schedule", "last_run", "reason") == "" || a.At("schedule", "waiting_since") != nil {
		t.Errorf("a run that could not begin: %s", a.Body)
	}
	if events := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/events", ""); !strings.Contains(string(events.Body), "schedule nightly was skipped") {
		t.Errorf("the timeline does not say so: %s", events.Body)
	}
	release()
	c.Await(t, id, "ACTIVE", soon)
	host.Memory.Fail(address, "create_backup", fmt.Errorf("the disk is full"))
	c.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	if a := awaitRun(t, c, at, ""); a.Text("schedule", "last_run", "result") != "failed" || !strings.Contains(a.Text("schedule", "last_run", "reason"), "the disk is full") {
		t.Errorf("a run whose backup failed: %s", a.Body)
	}
}

// TestSchedulesMadeAtOnce has all of them be due some time, however often their making was tried.
func TestSchedulesMadeAtOnce(t *testing.T) {
	_, option := stored(t)
	etcd, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			a, err := c.Try(http.MethodPost, "/schedules", fmt.Sprintf(`{"schedule":{"name":"nightly","instance":%q,"every_hours":2}}`, id))
			if err != nil || a.Status != 200 {
				t.Errorf("%v %s", err, a.Body)
			}
		})
	}
	wg.Wait()
	dues := strings.Join(slices.Collect(maps.Keys(etcd.All(t, "/server/due/schedule/"))), "\n")
	list := c.Want(t, 200, http.MethodGet, "/schedules", "")
	for i := 0; list.At("schedules", i) != nil; i++ {
		if id := list.Text("schedules", i, "id"); !strings.Contains(dues, id) {
			t.Errorf("schedule %s is never due: %s", id, dues)
		}
	}
}

// TestDefaultSchedule has whatever instances a project has be backed up at its default's times: those that come later, and a set where its
// source is.
func TestDefaultSchedule(t *testing.T) {
	_, option := stored(t)
	etcd, g, _ := start(t, option)
	c := g.Client(gatewaytest.Member)
	first := c.Create(t, "first", "")
	c.Await(t, first, "ACTIVE", soon)
	replica := c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"replica","replica_of":%q}}`, first)).Text("instance", "id")
	c.Await(t, replica, "ACTIVE", soon)
	for _, bad := range []string{`"every_hours":24`, fmt.Sprintf(`"every_hours":24,"default":true,"instance":%q`, first)} {
		c.Want(t, 400, http.MethodPost, "/schedules", `{"schedule":{"name":"daily",`+bad+`}}`)
	}
	a := c.Want(t, 200, http.MethodPost, "/schedules", `{"schedule":{"name":"daily","default":true,"every_hours":24,"keep":3}}`)
	def := "/schedules/" + a.Text("schedule", "id")
	if a.At("schedule", "default") != true || a.At("schedule", "instance_id") != nil || a.Text("schedule", "next_run") == "" {
		t.Errorf("a default: %s", a.Body)
	}
	c.Want(t, 422, http.MethodPost, def+"/action", `{"run":{}}`)

	comesDue := func() {
		t.Helper()
		before := c.Want(t, 200, http.MethodGet, def, "").Text("schedule", "last_run", "began")
		setBack(t, etcd.Store(t), def, func(s *etcdschema.Schedule) { s.Next = time.Now().Add(-time.Minute).UTC() })
		waitFor(t, func() bool {
			a := c.Want(t, 200, http.MethodGet, def, "")
			return a.Text("schedule", "next_run") > control.Stamp(time.Now()) && (before == "" || a.Text("schedule", "last_run", "result") == "completed")
		})
	}
	of := func(instance string) []string {
		t.Helper()
		var ids []string
		list := c.Want(t, 200, http.MethodGet, "/schedules?instance_id="+instance, "")
		for i := 0; list.At("schedules", i) != nil; i++ {
			ids = append(ids, list.Text("schedules", i, "id"))
		}
		return ids
	}
	comesDue()
	made := of(first)
	if len(made) != 1 || len(of(replica)) != 0 {
		t.Fatalf("the source has %v, its replica %v", made, of(replica))
	}
	at := "/schedules/" + made[0]
	if a := awaitRun(t, c, at, ""); a.Text("schedule", "last_run", "result") != "completed" || a.At("schedule", "keep") != 3.0 || a.Text("schedule", "default_id") != strings.TrimPrefix(def, "/schedules/") {
		t.Errorf("the first run: %s", a.Body)
	}

	c.Want(t, 409, http.MethodPatch, at, `{"schedule":{"keep":5}}`)
	c.Want(t, 409, http.MethodDelete, at, "")
	c.Want(t, 200, http.MethodPatch, at, `{"schedule":{"enabled":false}}`)
	c.Want(t, 200, http.MethodPatch, def, `{"schedule":{"keep":4}}`)
	if a := c.Want(t, 200, http.MethodGet, at, ""); a.At("schedule", "keep") != 4.0 || a.At("schedule", "enabled") != false {
		t.Errorf("after a change of the default: %s", a.Body)
	}
	c.Want(t, 200, http.MethodPatch, at, `{"schedule":{"enabled":true}}`)

	second := c.Create(t, "second", "")
	c.Await(t, second, "ACTIVE", soon)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(replica)+"/action", `{"promote_to_replica_source":{}}`)
	waitFor(t, func() bool {
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(replica), "")
		return a.Text("instance", "status") == "ACTIVE" && a.Text("instance", "replicas", 0, "id") == first
	})
	comesDue()
	if got := of(replica); !slices.Equal(got, made) || len(of(first)) != 0 || len(of(second)) != 1 {
		t.Errorf("the new source has %v, want %v; the old one %v, the new instance %v", got, made, of(first), of(second))
	}

	c.Want(t, 202, http.MethodDelete, def, "")
	if left := etcd.All(t, "/server/schedules/"); len(left) > 0 {
		t.Errorf("of a default that is gone there is %v", left)
	}
	for range 10 {
		def = "/schedules/" + c.Want(t, 200, http.MethodPost, "/schedules", `{"schedule":{"name":"daily","default":true,"every_hours":24}}`).Text("schedule", "id")
	}
	c.Want(t, 413, http.MethodPost, "/schedules", `{"schedule":{"name":"daily","default":true,"every_hours":24}}`)
	c.Want(t, 202, http.MethodDelete, def, "")
	c.Want(t, 200, http.MethodPost, "/schedules", `{"schedule":{"name":"daily","default":true,"every_hours":24}}`)
}
