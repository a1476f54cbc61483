package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
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
